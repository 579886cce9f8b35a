"""What a noise layer is: a level, a key and a step; seeding of all noise layers of a model, and their state.

The three 0-d buffers are the whole random state of a layer, so that a population can stack them (another level and
another stream per member). They are not persistent, like the absent state of ``torch.nn.Dropout``: the state
dictionary of a model is the same with and without noise. :func:`noise_state` is what a checkpoint needs besides.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_number
from meden.noise.recompute import Calls, forget, steps_to_draw
from meden.noise.rng import Moment, stream
from meden.noise.shards import Shard, check_shard, numbers_of, own_key, rows_of
from meden.params import all_layers


class Noise(nn.Module, abc.ABC):
    """A layer that perturbs its input while training and is the exact identity in evaluation.

    Each call draws with (key, step) and then adds one to ``step`` in place, so that two calls in one forward pass
    draw independently. ``key`` comes from :func:`seed_noise`. Where ``torch.utils.checkpoint`` computes a part of the
    forward pass again, what was drawn is drawn again; a layer that is called more than once in a pass raises there.

    The rows of a batch that is spread over processes draw independently: the rank is a part of the key, unless
    :func:`set_shard` says which rows there are. Noise on a weight is the same in all processes, which train one model.

    Args:
        level: the strength of the noise, kept as a 0-d float32 buffer under the name ``level_name``.
    """

    level_name: ClassVar[str] = "p"
    """Name of the buffer: ``p`` for a dropout probability, ``std`` or ``alpha`` for a scale."""
    level_high: ClassVar[float] = 1.0
    """Upper end of the level's range, [0, level_high)."""
    place: str = "input"
    """Where the noise acts on a layer, or where :func:`~meden.noise.attach` puts it: ``input``, ``output`` or
    ``weight``."""
    shard: Shard = None
    """The part of the batch that it sees, see :func:`set_shard`."""
    numbers: Tensor | None = None
    """The row numbers as a tensor (B,), if rows are numbered: with a range, a compiled step would be recompiled each
    time."""
    key: Tensor
    step: Tensor

    def __init__(self, level: float | Tensor) -> None:
        super().__init__()
        self.register_buffer(self.level_name, torch.zeros(()), persistent=False)
        self.register_buffer("key", stream(0), persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.calls = Calls()
        self._seeded_by: tuple[int | str, ...] = (0,)
        self.set_level(level)

    @abc.abstractmethod
    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        """Return the perturbed input, of the shape and dtype of ``x``; all that is drawn is drawn by ``at``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` itself in evaluation; in training, perturb it and count the step."""
        if not self.training:
            return x
        if torch.compiler.is_compiling():
            step, after = steps_to_draw(self.step, self.key)
            perturbed = self._perturb(x, self._moment(step))
            self.step.copy_(after)
            return perturbed
        back = self.calls.steps_back()
        step = self.step - back if back else self.step
        perturbed = x if _is_none(self.level) else self._perturb(x, self._moment(step))
        if not back:
            self.step.add_(1)
        return perturbed

    def _moment(self, step: Tensor) -> Moment:
        if self.place == "weight":
            return Moment(self.key, step)
        if torch.compiler.is_compiling() and self.numbers is not None:
            return Moment(self.key, step, self.numbers)
        return Moment(own_key(self.key, self.shard), step, rows_of(self.shard))

    def seed(self, *identifiers: int | str) -> None:
        """Take the stream of these identifiers, from step 0 on."""
        self._seeded_by = identifiers
        self.key.copy_(stream(*identifiers))
        self.step.zero_()
        forget(self.calls, self.key)

    def reset_parameters(self) -> None:
        """Put back the level that was asked for and the stream that was seeded, at step 0.

        That happens by itself where memory is given to a layer without its content: after a start on the meta device
        and ``to_empty``.
        """
        self.set_level(self._asked)
        self.seed(*self._seeded_by)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        key = self.key
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if _is_lost(key, self.key):
            self.reset_parameters()
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set; a buffer that leaves the meta device comes without content."""
        before = self.__dict__.get("_buffers", {}).get(name)
        super().__setattr__(name, value)
        if before is not None and before.is_meta and isinstance(value, Tensor) and not value.is_meta:
            self.reset_parameters()

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
        self._asked = level.detach().clone() if isinstance(level, Tensor) else level
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
        level = self._asked if self.level.is_meta else self.level
        if isinstance(level, Tensor) and (level.ndim or level.is_meta):
            return f"{self.level_name} per member"
        return f"{self.level_name}={float(level):g}"


def noise_layers(model: nn.Module) -> dict[str, Noise]:
    """Return the noise layers of a model by qualified name (a shared layer once, under its first name).

    Names are those of the model inside ``DistributedDataParallel``, ``torch.compile`` and the like.
    """
    found: dict[Noise, str] = {}
    for name, module in all_layers("", model):
        if isinstance(module, Noise):
            found.setdefault(module, name)
    return {name: layer for layer, name in found.items()}


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
        layer.seed(key, name)


def set_shard(model: nn.Module, shard: Shard) -> None:
    """Say which rows of the whole batch this process sees, to all noise layers of a model.

    Masks are functions of the row: processes that number their rows draw together what one draws that has all of
    them. The numbers are those of positions in the whole batch of a step; ``DropBlock`` alone divides by a share that
    each process measures by itself. Without numbers the rank is a part of the key, which makes rows independent.

    Args:
        model: any module; it may be wrapped by ``DistributedDataParallel`` or ``fully_shard`` now or later.
        shard: a range of row numbers, as many as there are rows in the process's part, such as ``range(8, 16)`` or
            ``range(rank, 64, num_ranks)``; or a rank among the processes that see different rows, where it is not
            the global one, as in tensor parallel groups: ``mesh.get_local_rank("dp")``; or None: the global rank.

    Raises:
        InputError: if it is none of these.

    Example:
        >>> from meden.noise import Dropout
        >>> whole, part, x = Dropout(0.5), Dropout(0.5), torch.ones(8, 3)
        >>> set_shard(part, range(1, 8, 2))
        >>> torch.equal(part(x[1::2]), whole(x)[1::2])
        True
    """
    check_shard(shard)
    for layer in noise_layers(model).values():
        layer.shard = shard
        layer.numbers = numbers_of(shard, layer.key.device)


def noise_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of level, key and step of every noise layer by qualified name: what a checkpoint must keep."""
    return {name: buffer.detach().clone() for name, buffer in _noise_buffers(model)}


def load_noise_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Restore a state returned by :func:`noise_state`.

    Raises:
        InputError: if the names are not those of the model's noise layers.
    """
    own = dict(_noise_buffers(model))
    for name in sorted(own.keys() ^ state.keys()):
        problem = "is missing" if name in own else "is not in the model"
        raise InputError(f"state must name the noise buffers of the model, but {name!r} {problem}")
    for name, buffer in own.items():
        buffer.copy_(state[name])
    for layer in noise_layers(model).values():
        forget(layer.calls, layer.key)


def _noise_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, layer in noise_layers(model).items():
        yield from layer.named_buffers(prefix=name, recurse=False)


def _is_none(level: Tensor) -> bool:
    """Say whether there is no noise to draw, where the level is that of one model and can be read without waiting."""
    own = type(level) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(level)
    return own and level.device.type == "cpu" and level.ndim == 0 and float(level) == 0.0


def _is_lost(before: Tensor, after: Tensor) -> bool:
    """Say whether moving a key left what happened to be in the new memory."""
    if after.is_meta or type(after) is not Tensor:  # a fake tensor has no values
        return False
    return before.is_meta or not torch.equal(before.to(after.device, after.dtype), after)
