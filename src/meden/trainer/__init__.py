"""Train one model by a recipe."""

from meden.trainer.fit import check_augmentations, check_recipe, fit, prepare
from meden.trainer.training import Training

__all__ = ["Training", "check_augmentations", "check_recipe", "fit", "prepare"]
