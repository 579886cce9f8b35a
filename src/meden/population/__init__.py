"""Many models trained as one: stacking, updates, the trainer."""

from meden.population.feed import Entrant
from meden.population.stacking import recipe_key, structure
from meden.population.trainer import Outcome, Population

__all__ = ["Entrant", "Outcome", "Population", "recipe_key", "structure"]
