"""Which axis of a weight counts the units that a layer computes, and which the inputs that it reads: by layer type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from meden.params import Site

Axes = Mapping[str, int]
"""Axis of the ``"units"`` and of the ``"inputs"``, without a word that no single axis of the weight stands for."""

_ROWS: Axes = {"units": 0, "inputs": 1}
_COLUMNS: Axes = {"units": 1, "inputs": 0}


def axes(sites: Sequence[Site], owners: Mapping[int, nn.Module]) -> Axes:
    """Return the axes of a tensor that are known; those of a tied one are what all of its layers agree in.

    A layer of one's own declares them under the parameter's name and ``_axes``, such as
    ``weight_axes = {"units": 0, "inputs": 1}``. What has one axis has one number for each unit. The rows of a
    recurrent layer are the gates of its units; the inputs of an embedding are its tokens.

    Args:
        sites: of the tensor.
        owners: see :func:`owners`.

    Example:
        >>> from meden.params import select_sites
        >>> layer = nn.ConvTranspose2d(3, 5, 2)
        >>> axes(select_sites(layer, "weight")["weight"], {})
        {'inputs': 0, 'units': 1}
    """
    first, *others = (_axes(site, owners) for site in sites)
    return {word: axis for word, axis in sorted(first.items()) if all(other.get(word) == axis for other in others)}


def owners(model: nn.Module) -> dict[int, nn.Module]:
    """Return the Keras layers of a model by the ids of their parameters, which torch sees in a dictionary only."""
    found = {}
    for module in model.modules():
        if is_keras(module):
            for layer in module._flatten_layers():  # type: ignore[operator]
                found.update({id(variable.value): layer for variable in layer._trainable_variables})
    return found


def _axes(site: Site, owners: Mapping[int, nn.Module]) -> Axes:
    layer = owners.get(id(site.param), site.module)
    declared: Axes | None = getattr(layer, f"{site.leaf}_axes", None)
    if declared is not None:
        return declared
    if site.param.ndim < 2:
        return {"units": 0}
    if is_keras(layer):
        return keras_axes(layer, site.leaf, site.param.ndim)
    if any(kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.") for kind in type(layer).__mro__):
        return _COLUMNS
    return next((of(layer) for kinds, of in _TABLE if isinstance(layer, kinds)), {})


def _convolution(layer: nn.Module) -> Axes:
    return _ROWS if layer.groups == 1 else {"units": 0}


def _transposed(layer: nn.Module) -> Axes:
    return _COLUMNS if layer.groups == 1 else {"inputs": 0}


_TABLE: tuple[tuple[type | tuple[type, ...], Callable[[nn.Module], Axes]], ...] = (
    (nn.modules.conv._ConvTransposeNd, _transposed),
    (nn.modules.conv._ConvNd, _convolution),
    ((nn.Linear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention), lambda _: _ROWS),
    ((nn.Embedding, nn.EmbeddingBag), lambda _: _COLUMNS),
    (nn.Bilinear, lambda _: {"units": 0}),
)


def is_keras(module: nn.Module) -> bool:
    """Say whether a module is a Keras layer, or a model of Keras's, on its torch backend."""
    return any(kind.__name__ == "Layer" and kind.__module__.startswith("keras.") for kind in type(module).__mro__)


def keras_axes(layer: nn.Module, leaf: str, num_axes: int) -> Axes:
    """Return the axes of a Keras layer's tensor of two axes or more, whose channels come last."""
    kinds, last = {kind.__name__ for kind in type(layer).__mro__}, num_axes - 1
    outwards, inwards = {"units": last, "inputs": last - 1}, {"units": last - 1, "inputs": last}
    if "BaseConvTranspose" in kinds:
        return inwards
    if "BaseConv" in kinds:
        return outwards if layer.groups == 1 else {"units": last}
    if "BaseSeparableConv" in kinds and leaf.endswith("pointwise_kernel"):
        return {"units": last}
    is_plain = kinds & {"Dense", "Embedding", "SimpleRNNCell", "LSTMCell", "GRUCell"}
    return outwards if is_plain and num_axes == 2 else {}
