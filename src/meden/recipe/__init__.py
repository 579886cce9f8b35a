"""All that decides how a model is trained, apart from the model and the data; to YAML and back."""

from meden.recipe.rates import layerwise_factors, lr_factors_of, selectors_of, set_rate
from meden.recipe.recipe import OptimizerName, Recipe, make_optimizer, prepare_noise
from meden.recipe.transfer import Scale, transfer

__all__ = [
    "OptimizerName",
    "Recipe",
    "Scale",
    "layerwise_factors",
    "lr_factors_of",
    "make_optimizer",
    "prepare_noise",
    "selectors_of",
    "set_rate",
    "transfer",
]
