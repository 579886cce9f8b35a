"""Reference models: short, plain modules that the command line and the examples train."""

from meden.models.conv import ConvNet
from meden.models.decoder import Decoder
from meden.models.linear import Linear
from meden.models.mlp import MLP
from meden.models.tabular import TabularNet
from meden.models.transformer import CausalTransformer, Transformer

__all__ = ["MLP", "CausalTransformer", "ConvNet", "Decoder", "Linear", "TabularNet", "Transformer"]
