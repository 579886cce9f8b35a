"""Many models trained as one: stacking, updates, the population."""
