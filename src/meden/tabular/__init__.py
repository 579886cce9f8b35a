"""The network, the space and the time plan for tables."""
