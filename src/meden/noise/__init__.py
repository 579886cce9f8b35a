"""Randomness inside a model: layers, the places they sit at, schedules, random bits."""

from meden.noise.base import Noise, load_noise_state, noise_layers, noise_state, seed_noise, set_shard
from meden.noise.dropout import Dropout, GaussianDropout, SpatialDropout, TokenDropout
from meden.noise.paths import DropBlock, DropConnect, DropPath, EmbeddingNoise, GaussianNoise
from meden.noise.places import attach, detach
from meden.noise.prediction import NoisyPrediction, mc_predict
from meden.noise.rng import Draws, derive, stream
from meden.noise.seeded import Seeded, draws_past_torch, find_other_draws, may_draw, passing, seeded
from meden.noise.torch_functions import PassDraws

__all__ = [
    "Draws",
    "DropBlock",
    "DropConnect",
    "DropPath",
    "Dropout",
    "EmbeddingNoise",
    "GaussianDropout",
    "GaussianNoise",
    "Noise",
    "NoisyPrediction",
    "PassDraws",
    "Seeded",
    "SpatialDropout",
    "TokenDropout",
    "attach",
    "derive",
    "detach",
    "draws_past_torch",
    "find_other_draws",
    "load_noise_state",
    "may_draw",
    "mc_predict",
    "noise_layers",
    "noise_state",
    "passing",
    "seed_noise",
    "seeded",
    "set_shard",
    "stream",
]
