"""Randomness inside a model: layers, schedules, and surgery that puts them into a finished model."""

from meden.noise.base import Noise, load_noise_state, noise_layers, noise_state, seed_noise
from meden.noise.dropout import Dropout, GaussianDropout, SpatialDropout, TokenDropout
from meden.noise.rng import derive
from meden.noise.surgery import set_dropout

__all__ = [
    "Dropout",
    "GaussianDropout",
    "Noise",
    "SpatialDropout",
    "TokenDropout",
    "derive",
    "load_noise_state",
    "noise_layers",
    "noise_state",
    "seed_noise",
    "set_dropout",
]
