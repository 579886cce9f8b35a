"""Changes of a finished model: planned as a table, applied, proven to leave its output as it is, undone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_number
from meden.structure.example import run_quietly, tensors, try_example

Undo = Callable[[], None]
"""Takes a change back."""


@dataclass(frozen=True)
class Edit:
    """One change of a model."""

    name: str
    """Qualified name of the layer."""
    layer: str
    """Type of the layer."""
    before: str
    after: str
    apply: Callable[[], Undo] = field(repr=False)
    """Make the change and return a function that undoes it, as :func:`replace_module` and :func:`set_attribute` do."""


@dataclass(frozen=True)
class Edits:
    """Changes of a model: a table, and (unless it was a dry run) the way back, also as a context manager."""

    items: tuple[Edit, ...]
    undos: list[Undo] = field(default_factory=list, repr=False)

    @property
    def names(self) -> list[str]:
        """The names of the layers that are changed."""
        return [edit.name for edit in self.items]

    def undo(self) -> None:
        """Take all changes back, the last first; a second call does nothing."""
        while self.undos:
            self.undos.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def __str__(self) -> str:
        rows = [("name", "layer", "before", "after"), *((e.name, e.layer, e.before, e.after) for e in self.items)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def apply_edits(
    model: nn.Module, edits: Iterable[Edit], *, dry_run: bool = False, example: Any = None, tolerance: float = 0.0
) -> Edits:
    """Apply edits in order, and verify on an example that the output in evaluation mode is unchanged.

    Args:
        model: any module, changed in place.
        edits: the changes; if one of them or the proof fails, all are undone.
        dry_run: only plan.
        example: an input: a tensor, a tuple of arguments or a mapping of keyword arguments; None proves nothing.
        tolerance: how far an element of the output may move, as a share of its tensor's largest; 0 is bit for bit.

    Returns:
        the changes; print it for a table, call its ``undo`` for the way back.

    Raises:
        InputError: if the output on ``example`` changed, or holds no tensors.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Identity())
        >>> edit = Edit("1", "Identity", "Identity", "Dropout", lambda: replace_module(model, "1", nn.Dropout()))
        >>> with apply_edits(model, [edit], example=torch.ones(1, 2)):
        ...     model[1]
        Dropout(p=0.5, inplace=False)
        >>> model[1]
        Identity()
    """
    check_number("tolerance", tolerance, low=0.0)
    done = Edits(tuple(edits))
    if dry_run:
        return done
    before = None if example is None else outputs(try_example(model, example))
    try:
        for edit in done.items:
            done.undos.append(edit.apply())
        if before is not None:
            _check_same(before, outputs(run_quietly(model, example)), tolerance)
    except BaseException:
        done.undo()
        raise
    return done


def replace_module(model: nn.Module, name: str, new: nn.Module) -> Undo:
    """Put a module in the place of another, in its mode; taken back, the old one takes the mode of the new."""
    old = model.get_submodule(name)
    model.set_submodule(name, new.train(old.training))
    return partial(_put_back, model, name, old)


def set_attribute(module: nn.Module, name: str, value: Any) -> Undo:
    """Set an attribute of a module: a number, or a parameter or buffer of any shape."""
    before = getattr(module, name)
    setattr(module, name, value)
    return partial(setattr, module, name, before)


def _put_back(model: nn.Module, name: str, old: nn.Module) -> None:
    model.set_submodule(name, old.train(model.get_submodule(name).training))


def _check_same(before: list[Tensor], after: list[Tensor], tolerance: float) -> None:
    change = largest_change(before, after)
    if change > tolerance:
        raise InputError(
            f"edits must not change the output in evaluation mode by more than {tolerance:g} of its largest "
            f"element, got {change:.2g} on this example (undone)"
        )


def largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    """Return how far an element moved, as a share of its tensor's largest.

    It is infinite for other shapes and where only one is no number.

    Example:
        >>> largest_change([torch.tensor([4.0, -torch.inf])], [torch.tensor([3.0, -torch.inf])])
        0.25
    """
    same_shapes = [t.shape for t in before] == [t.shape for t in after]
    return max(map(_change, before, after), default=0.0) if same_shapes else math.inf


def _change(before: Tensor, after: Tensor) -> float:
    if torch.equal(before, after):
        return 0.0
    before, after = before.double(), after.double()
    same = (before == after) | (before.isnan() & after.isnan())
    if bool(same.all()):
        return 0.0
    moved = torch.where(same, 0.0, after - before).abs().max()
    change = float(moved / torch.where(before.isfinite(), before, 0.0).abs().max())
    return math.inf if math.isnan(change) else change


def outputs(output: Any) -> list[Tensor]:
    """Return the tensors of an output."""
    found = list(tensors(output))
    if not found:
        raise InputError("example must produce an output that holds tensors to compare")
    return found
