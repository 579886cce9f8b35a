"""What is tried: dimensions, the names they are given, ends that the data decide, the default space."""

from meden.space.cocktail import cocktail
from meden.space.dimensions import Choice, Dimension, FromData, IntUniform, LogUniform, Maybe, Uniform
from meden.space.names import AskedSpace, Space, check_names, check_space, configure

__all__ = [
    "AskedSpace",
    "Choice",
    "Dimension",
    "FromData",
    "IntUniform",
    "LogUniform",
    "Maybe",
    "Space",
    "Uniform",
    "check_names",
    "check_space",
    "cocktail",
    "configure",
]
