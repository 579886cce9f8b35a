"""Who trains: one model by a recipe, or many at once."""
