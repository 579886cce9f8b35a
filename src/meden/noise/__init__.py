"""Randomness inside a model: layers, schedules, and surgery that puts them into a finished model."""

from meden.noise.base import Noise, load_noise_state, noise_layers, noise_state, seed_noise
from meden.noise.dropout import Dropout, GaussianDropout, SpatialDropout, TokenDropout
from meden.noise.paths import DropBlock, DropConnect, DropPath, EmbeddingNoise, GaussianNoise
from meden.noise.places import attach, detach
from meden.noise.prediction import NoisyPrediction, mc_predict
from meden.noise.retrofit import own_dropouts, set_dropout
from meden.noise.rng import Draws, derive, stream
from meden.noise.surgery import Edit, Surgery, insert, remove, retune

__all__ = [
    "Draws",
    "DropBlock",
    "DropConnect",
    "DropPath",
    "Dropout",
    "Edit",
    "EmbeddingNoise",
    "GaussianDropout",
    "GaussianNoise",
    "Noise",
    "NoisyPrediction",
    "SpatialDropout",
    "Surgery",
    "TokenDropout",
    "attach",
    "derive",
    "detach",
    "insert",
    "load_noise_state",
    "mc_predict",
    "noise_layers",
    "noise_state",
    "own_dropouts",
    "remove",
    "retune",
    "seed_noise",
    "set_dropout",
    "stream",
]
