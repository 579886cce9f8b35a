"""Rules on a table, before any training."""
