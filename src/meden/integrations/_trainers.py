"""What a training function around another library's trainer needs: settings and parameters of a job, and its answer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from meden._checks import InputError, check_choice, check_count, nearest
from meden.integrations._attachment import SAID, Attachment
from meden.optim import Regularizer
from meden.penalties import L1, L2

RESULTS = ("losses", "logits", "probabilities", "predictions")
"""What a training function may return for the rows that score it."""
_PENALTIES = {"l1": L1, "l2": L2}


@dataclass(frozen=True, eq=False)
class TrainerFunction:
    """A training function around a factory of somebody's own: its code is that of the factory.

    Its settings are those of the ``functools.partial`` that it is handed out in. It goes to other processes if its
    parts do.
    """

    make: Callable[..., Any]
    train: Callable[..., Any]
    """Called with the factory, a job and the settings."""
    said: set[str] = field(default_factory=set, init=False, repr=False)
    """Warnings that a job gave about its penalties."""

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """Whose code it is."""
        return self.make

    def __call__(self, job: Any, **settings: Any) -> Any:
        """Train and score as a job says.

        Raises:
            InputError: if there is no stop split, whose loss a trainer reports.
        """
        if not len(job.stop):
            raise InputError("stop_fraction must be above 0 for a trainer, which reports the loss of these rows, got 0")
        token = SAID.set(self.said)
        try:
            return self.train(self.make, job, **settings)
        finally:
            SAID.reset(token)


@dataclass
class Told:
    """What a job was told last: kept with the state of the training, so that one that goes on can tell it again.

    Report, then save: an epoch whose state was not kept comes again, and none goes by that was not reported.
    """

    epochs: int = 0
    stop_loss: float = math.nan
    train_loss: float = math.nan

    def tell(self, job: Any, stop_loss: float, train_loss: float = math.nan) -> bool:
        """Report one more epoch to a job; returns whether to stop."""
        self.epochs, self.stop_loss, self.train_loss = self.epochs + 1, stop_loss, train_loss
        return self.again(job)

    def again(self, job: Any) -> bool:
        """Report the last epoch, if there is one, once its state is there; returns whether to stop."""
        known = None if math.isnan(self.train_loss) else self.train_loss
        return self.epochs > 0 and bool(job.report(self.epochs, self.stop_loss, known))


def check_settings(argument: str, make: Any, keep: str, returns: str | None, batch_size: int) -> None:
    """Check what all trainer functions take; ``argument`` is the name of ``make``, the factory.

    Raises:
        InputError: naming what is allowed.
    """
    if not callable(make):
        raise InputError(f"{argument} must be a function of a job's parameters, got {make!r}")
    check_choice("keep", keep, ("best", "last"))
    if returns is not None:
        check_choice("returns", returns, RESULTS)
    check_count("batch_size", batch_size)


def arguments(
    make: Callable[..., Any], params: Mapping[str, Any], taken: Iterable[str] = (), num_given: int = 0
) -> dict[str, Any]:
    """Return those of a job's parameters that a factory is called with: all that are not taken, ``epochs`` among them.

    Args:
        make: the factory.
        params: of the job; a ``batch_size`` that is taken must be a whole number.
        taken: names that are no matter of the factory.
        num_given: how many of its first arguments are given to it, and are no parameters of a job.

    Raises:
        InputError: naming one that is no argument of it, and the nearest that is.
    """
    taken = (*taken, "epochs")
    if "batch_size" in taken and "batch_size" in params:
        check_count("batch_size", params["batch_size"])
    signature = list(inspect.signature(make).parameters.values())[num_given:]
    own = [p.name for p in signature if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    given = {name: value for name, value in params.items() if name not in taken}
    if not any(p.kind is p.VAR_KEYWORD for p in signature):
        known = [*own, *taken]
        for name in given:
            if name not in own:
                raise InputError(f"space must name {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return given


def short_names(params: Mapping[str, Any], given: Attachment | None = None) -> Attachment:
    """Return what the short names of a space stand for: ``l1`` and ``l2``, canonical and proximal, and ``dropout``.

    Args:
        params: of a job.
        given: of a callback that the factory brings: its penalties stay, and its noise unless the space has dropout.
    """
    given = given or Attachment()
    found = [make(params[name]) for name, make in _PENALTIES.items() if params.get(name)]
    noise = given.noise if params.get("dropout") is None else params["dropout"]
    return Attachment([*given.regularizers, *(Regularizer(penalty, coupling="proximal") for penalty in found)], noise)


SHORT_NAMES = (*_PENALTIES, "dropout")


def per_row(parts: Sequence[Any], returns: str) -> dict[str, Any]:
    """Return what a model said of the rows that score it, under the name that tells what it is.

    Args:
        parts: a batch each: tensors (B, ...), objects with ``logits``, or mappings that hold one of :data:`RESULTS`.
        returns: which of these tensors are.
    """
    first = parts[0]
    if isinstance(first, Mapping) and (own := [name for name in RESULTS if name in first]):
        return {name: _joined([part[name] for part in parts]) for name in own[:1]}
    if not isinstance(first, Tensor) and hasattr(first, "logits"):
        return {"logits": _joined([part.logits for part in parts])}
    return {returns: _joined(parts)}


def _joined(parts: Sequence[Any]) -> Any:
    return torch.cat([torch.as_tensor(part).detach().cpu() for part in parts]).float().numpy()
