"""A Keras model as a module of torch: its structure, called with the module's own tensors.

The Keras model stays the one that knows how to compute; the tensors of each call are those of the module. So it can be
copied, moved and called with other tensors, and a copy costs its tensors alone.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meden._checks import InputError
from meden.axes import keras_axes
from meden.integrations._guest import Missing, guest
from meden.integrations._keras_description import describe


def keras_on_torch() -> Any:
    """Import Keras.

    Raises:
        Missing: if it is not there, or has another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported
    if "keras" in sys.modules or backend == "torch":
        keras = guest("keras", "keras")
        backend = keras.backend.backend()
    if backend != "torch":
        raise Missing(f"Keras must run on torch: set KERAS_BACKEND=torch before it is imported, got {backend!r}")
    return keras


class Place(NamedTuple):
    """A variable of Keras's, and the tensor of the module that stands for it."""

    variable: Any
    module: str
    leaf: str

    @classmethod
    def of(cls, variable: Any, module: str) -> Place:
        """Return the place of a variable of a layer."""
        return cls(variable, module, variable.name.replace(".", "_"))

    @property
    def name(self) -> str:
        """Of the tensor."""
        return f"{self.module}.{self.leaf}".lstrip(".")


class _Shared:
    """What all copies of a module have in common: the Keras model, and the places of its variables."""

    def __init__(self, keras_model: Any) -> None:
        from keras.src.random.seed_generator import global_seed_generator

        self.keras_model = keras_model
        self.layers = list(_named_layers(keras_model))
        self.trained = [Place.of(v, name) for name, layer in self.layers for v in layer._trainable_variables]
        self.counted = [Place.of(v, name) for name, layer in self.layers for v in layer._non_trainable_variables]
        self.dropouts = {name: layer for name, layer in self.layers if _is_dropout(layer)}
        self.seeds = [generator.state for _, layer in self.layers for generator in layer._seed_generators]
        """Variables that hold the state of a generator of Keras's."""
        self.seeds.append(global_seed_generator().state)  # of what was given no seed

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shared, (self.keras_model,)


class KerasLayer(nn.Module):
    """The tensors of one layer of Keras's, which Keras itself calls."""

    def __init__(self, axes: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__()
        for leaf, own in axes.items():
            setattr(self, f"{leaf}_axes", own)  # as meden's penalties on units and inputs look it up

    def forward(self, *_: Any) -> Tensor:
        """Raise: nothing calls it."""
        raise InputError("a layer of a Keras model must be called by Keras, got a direct call")

    def register_forward_pre_hook(self, *_: Any, **__: Any) -> Any:
        """Raise, since it would never act."""
        raise InputError(
            "layers of a Keras model cannot take noise or hooks from outside, since Keras calls them; add a layer "
            "such as keras.layers.Dropout to the model"
        )

    register_forward_hook = register_forward_pre_hook


class KerasModule(nn.Module):
    """What :func:`meden.integrations.keras.as_module` returns.

    All that Keras draws in training is drawn from torch's global generator, as torch's own dropout does: whatever
    seeds that one decides.
    """

    def __init__(self, keras_model: Any) -> None:
        super().__init__()
        self._shared = shared = _Shared(keras_model)
        self.description = describe(layer for _, layer in shared.layers)
        """What models have in common that compute the same of the same tensors."""
        self._takes_training = bool(getattr(keras_model, "_call_has_training_arg", False))
        for name, layer in shared.layers:
            places = [place for place in shared.trained if place.module == name]
            if name and (places or name in shared.dropouts or any(place.module == name for place in shared.counted)):
                sizes = {place.leaf: len(place.variable.shape) for place in places}
                holder = KerasLayer({leaf: keras_axes(layer, leaf, n) for leaf, n in sizes.items() if n > 1})
                _parent(self, name).add_module(name.rpartition(".")[2], holder)
        for name, layer in shared.dropouts.items():
            setattr(self.get_submodule(name), "dropout", float(layer.rate))  # noqa: B010 - where edits of dropout look
        for place in shared.trained:
            self._owner(place).register_parameter(place.leaf, place.variable.value)
        for place in shared.counted:
            kept = place.variable.value.detach()  # the same memory as Keras's own
            self._owner(place).register_buffer(place.leaf, kept)

    @property
    def keras_model(self) -> Any:
        """The Keras model, with the weights and rates of dropout of this module."""
        self._set_rates()
        with torch.no_grad():
            for variable, tensor in self._mapping(self._shared.trained, self._shared.counted):
                variable.value.copy_(tensor)
        return self._shared.keras_model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the Keras model says of a batch (B, ...), in the mode that this module is in.

        Raises:
            InputError: if the Keras model adds a loss of its own while it is called, which nobody would minimise.
        """
        model, counted = self._shared.keras_model, self._mapping(self._shared.counted)
        mapping = [*self._mapping(self._shared.trained), *counted]
        if self._takes_training:
            kwargs["training"] = self.training
        scope = _scope_class()(state_mapping=mapping, collect_losses=True)
        scope.drawn = {id(state) for state in self._shared.seeds} if self.training else set()
        before = self._set_rates()
        try:
            with scope:
                outputs = model(*args, **kwargs)
        finally:
            for layer, rate in before:
                layer.rate = rate
        if self.training and scope.losses:
            raise InputError(
                "keras_model must leave the loss to the trainer, got one that adds its own when it is called "
                "(add_loss or activity_regularizer)"
            )
        with torch.no_grad():
            for variable, tensor in counted:
                if (new := scope.get_current_value(variable)) is not tensor:
                    tensor.copy_(new)
        return outputs

    def _set_rates(self) -> list[tuple[Any, float]]:
        """Give Keras's layers the rates of this module; returns those that they had."""
        before = [(layer, layer.rate) for layer in self._shared.dropouts.values()]
        for name, layer in self._shared.dropouts.items():
            layer.rate = self.get_submodule(name).dropout
        return before

    def _owner(self, place: Place) -> nn.Module:
        return self.get_submodule(place.module)

    def _mapping(self, *parts: list[Place]) -> list[tuple[Any, Tensor]]:
        return [(place.variable, getattr(self._owner(place), place.leaf)) for places in parts for place in places]


def _is_dropout(layer: Any) -> bool:
    from keras.layers import Dropout

    return isinstance(layer, Dropout) and 0 < layer.rate < 1


@functools.cache
def _scope_class() -> Any:
    """Return the class of scopes in which Keras's variables have other values, and its generators new seeds."""
    from keras import StatelessScope

    class Scope(StatelessScope):  # type: ignore[misc]
        drawn: set[int]

        def get_current_value(self, variable: Any) -> Any:
            if id(variable) in self.drawn and id(variable) not in self.state_mapping:
                self.state_mapping[id(variable)] = torch.randint(0, 2**31 - 1, (2,)).to(variable._value)
            return super().get_current_value(variable)

    return Scope


def _named_layers(layer: Any, name: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield a layer and all layers below it, each once, by dotted names.

    Names that Keras made up count all layers that a process has made; here they count those of the model, so that a
    model made twice has the same names.
    """
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield name, layer
    taken: set[str] = set()
    for child in layer._layers:
        own = child.name.replace(".", "_").replace("/", "_")
        kind = _snake(type(child).__name__)
        if re.fullmatch(rf"{kind}(_\d+)?", own):
            own = next(n for n in _numbered(kind) if n not in taken)
        taken.add(own)
        yield from _named_layers(child, f"{name}.{own}".lstrip("."), seen)


def _numbered(kind: str) -> Iterator[str]:
    yield kind
    number = 0
    while True:
        yield f"{kind}_{(number := number + 1)}"


def _snake(name: str) -> str:
    """Return a class's name as Keras makes it the name of a layer: ``conv2d``, ``batch_normalization``."""
    from keras.src.utils.naming import to_snake_case

    return str(to_snake_case(name))


def _parent(module: nn.Module, name: str) -> nn.Module:
    """Return the module that holds the one of a dotted name, made if it is not there."""
    for leaf in name.split(".")[:-1]:
        if leaf not in module._modules:
            module.add_module(leaf, KerasLayer({}))
        module = module._modules[leaf]  # type: ignore[assignment]
    return module
