"""Many models trained as one: stacking, updates, the trainer."""

from meden.population.feed import Entrant
from meden.population.sizing import fastest_chunk, free_bytes, member_bytes, steady_chunk
from meden.population.stacking import recipe_key, structure
from meden.population.trainer import Outcome, Population, Programs

__all__ = [
    "Entrant",
    "Outcome",
    "Population",
    "Programs",
    "fastest_chunk",
    "free_bytes",
    "member_bytes",
    "recipe_key",
    "steady_chunk",
    "structure",
]
