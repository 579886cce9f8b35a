"""Penalties on what layers put out: recorded by forward hooks while the model trains, added to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from meden._checks import InputError
from meden.params import Selector, check_selector, select_modules, selector_name
from meden.penalties import ActivityPenalty


@dataclass(frozen=True)
class Activity:
    """A penalty on the outputs of some layers; its only coupling is the loss.

    Args:
        penalty: one of ``ActivityL1``, ``ActivityL2``, ``KLSparsity``.
        on: which layers, see :data:`meden.params.Selector`.

    Example:
        >>> from meden.penalties import ActivityL1
        >>> Activity(ActivityL1(1e-4), on=nn.ReLU).label
        'ActivityL1(ReLU)'
    """

    penalty: ActivityPenalty
    on: Selector

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, ActivityPenalty):
            raise InputError(f"penalty must be ActivityL1, ActivityL2 or KLSparsity, got {self.penalty!r}")
        check_selector(self.on)

    @property
    def label(self) -> str:
        """A short name for records and tables."""
        return f"{type(self.penalty).__name__}({selector_name(self.on)})"


class Recording:
    """What the chosen layers put out in the last training pass; made by :func:`record_activity`."""

    def __init__(self, model: nn.Module, activities: Sequence[Activity]) -> None:
        self.activities = tuple(activities)
        self._outputs: list[list[Tensor]] = [[] for _ in self.activities]
        self._hooks: list[RemovableHandle] = [model.register_forward_pre_hook(self._begin)]
        for activity, outputs in zip(self.activities, self._outputs, strict=True):
            self._hooks += [
                layer.register_forward_hook(_keeper(outputs)) for layer in select_modules(model, activity.on).values()
            ]

    def value(self) -> Tensor | float:
        """Return the sum of the penalties, differentiable: add it to the loss of the same forward pass."""
        return sum(self._values())

    def values(self) -> dict[str, float]:
        """Return each penalty by label."""
        labels = [activity.label for activity in self.activities]
        return {label: float(torch.as_tensor(v)) for label, v in zip(labels, self._values(), strict=True)}

    def remove(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _values(self) -> list[Tensor | int]:
        recorded = zip(self.activities, self._outputs, strict=True)
        return [sum(activity.penalty.value(a) for a in outputs) for activity, outputs in recorded]

    def _begin(self, model: nn.Module, _inputs: Any) -> None:
        if model.training:
            for outputs in self._outputs:
                outputs.clear()


def record_activity(model: nn.Module, activities: Sequence[Activity]) -> Recording:
    """Record the outputs of layers while the model trains, one forward pass per step.

    Args:
        model: any module.
        activities: penalties and their layers.

    Raises:
        InputError: if one selects no layer.

    Example:
        >>> from meden.penalties import ActivityL1
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> recording = record_activity(model, [Activity(ActivityL1(0.1), on=nn.ReLU)])
        >>> loss = model(torch.ones(4, 2)).sum() + recording.value()
        >>> recording.remove()
    """
    return Recording(model, activities)


def _keeper(outputs: list[Tensor]) -> Any:
    def keep(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        if layer.training:
            outputs.append(output)

    return keep
