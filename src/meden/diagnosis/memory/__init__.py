"""Whether a network knows its rows by heart."""
