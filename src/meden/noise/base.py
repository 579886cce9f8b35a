"""What a noise layer is: a level, a key and a step; seeding of all noise layers of a model, and their state.

The three 0-d buffers are the whole random state of a layer, so that a population can stack them (another level and
another stream per member). They are not persistent, like the absent state of ``torch.nn.Dropout``: the state
dictionary of a model is the same with and without noise. :func:`noise_state` is what a checkpoint needs besides.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_number
from meden.noise.rng import stream


class Noise(nn.Module, abc.ABC):
    """A layer that perturbs its input while training and is the exact identity in evaluation.

    Each call draws with (key, step) and then adds one to ``step`` in place, so that two calls in one forward pass
    draw independently. ``key`` comes from :func:`seed_noise`.

    Args:
        level: the strength of the noise, kept as a 0-d float32 buffer under the name ``level_name``.
    """

    level_name: ClassVar[str] = "p"
    """Name of the buffer: ``p`` for a probability to drop, ``std`` or ``alpha`` for a scale."""
    level_high: ClassVar[float] = 1.0
    """The level lies in [0, level_high)."""
    place: ClassVar[str] = "input"
    """Where :func:`~meden.noise.attach` puts it on a layer: ``input``, ``output`` or ``weight``."""
    key: Tensor
    step: Tensor

    def __init__(self, level: float | Tensor) -> None:
        super().__init__()
        self.register_buffer(self.level_name, torch.zeros(()), persistent=False)
        self.register_buffer("key", stream(0), persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.set_level(level)

    @abc.abstractmethod
    def _perturb(self, x: Tensor) -> Tensor:
        """Return the perturbed input, of the shape and dtype of ``x``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` itself in evaluation; in training, perturb it and count the step."""
        if not self.training:
            return x
        perturbed = self._perturb(x)
        self.step.add_(1)
        return perturbed

    @property
    def level(self) -> Tensor:
        """The strength of the noise, 0-d."""
        return self.get_buffer(self.level_name)

    def set_level(self, level: float | Tensor) -> None:
        """Change the strength of the noise in place.

        Raises:
            InputError: if ``level`` is a number outside [0, level_high).
        """
        self.check_level(level)
        self.level.copy_(torch.as_tensor(level))

    def check_level(self, level: float | Tensor) -> None:
        """Check a strength of the noise.

        Raises:
            InputError: if ``level`` is a number outside [0, level_high).
        """
        name = f"{type(self).__name__} {self.level_name}"
        check_number(name, level, low=0.0, high=self.level_high, high_open=math.isfinite(self.level_high))

    def extra_repr(self) -> str:
        """Show the level."""
        return f"{self.level_name}={self.level.item():g}" if self.level.ndim == 0 else f"{self.level_name} per member"


def noise_layers(model: nn.Module) -> dict[str, Noise]:
    """Return the noise layers of a model by qualified name (a shared layer once, under its first name)."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Noise)}


def seed_noise(model: nn.Module, key: int) -> None:
    """Give every noise layer its own stream, derived from ``key`` and the layer's qualified name, at step 0.

    Example:
        >>> from meden.noise import Dropout
        >>> model = nn.Sequential(Dropout(0.5), Dropout(0.5))
        >>> seed_noise(model, 7)
        >>> bool(model[0].key == model[1].key)
        False
    """
    for name, layer in noise_layers(model).items():
        layer.key.copy_(stream(key, name))
        layer.step.zero_()


def noise_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of level, key and step of every noise layer by qualified name: what a checkpoint must keep."""
    return {name: buffer.detach().clone() for name, buffer in _noise_buffers(model)}


def load_noise_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`noise_state` returned.

    Raises:
        InputError: if the names are not those of the model's noise layers.
    """
    own = dict(_noise_buffers(model))
    for name in sorted(own.keys() ^ state.keys()):
        problem = "is missing" if name in own else "is not in the model"
        raise InputError(f"state must name the noise buffers of the model, but {name!r} {problem}")
    for name, buffer in own.items():
        buffer.copy_(state[name])


def _noise_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, layer in noise_layers(model).items():
        yield from layer.named_buffers(prefix=name, recurse=False)
