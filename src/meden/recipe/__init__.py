"""All that decides how a model is trained, apart from the model and the data; to YAML and back."""

from meden.recipe.recipe import OptimizerName, Recipe, make_optimizer, prepare_noise

__all__ = ["OptimizerName", "Recipe", "make_optimizer", "prepare_noise"]
