"""Rules on losses over the epochs."""
