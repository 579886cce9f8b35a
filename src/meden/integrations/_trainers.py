"""What a callback in another library's trainer needs: penalties and noise, attached once, their state, and a history.

A guest calls, in this order::

    prepare(model)                  before the optimizer is made: noise goes in, and gets its streams
    load_state_dict(state)          if training goes on from a checkpoint, before or after the next line
    attach(optimizer, model)
    record(model, ...)              at the end of each epoch
    state_dict()                    for each checkpoint: tensors, numbers and strings
    detach()                        at the end
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import InputError, check_choice, check_count, check_number, nearest
from meden.diagnosis import Diagnosis, Evidence, diagnose, of_history
from meden.edits import insert, own_dropouts, set_dropout
from meden.history import History, Record
from meden.noise import Noise, derive, load_noise_state, noise_layers, noise_state, seed_noise
from meden.optim import Handle, Regularizer, regularize
from meden.params import Selector
from meden.penalties import L1, L2

InModel = float | Mapping[Selector, Noise]
"""Noise for a finished model: one number for its dropout, as :func:`meden.edits.set_dropout` sets it, or a layer of
:mod:`meden.noise` for each selector, as :func:`meden.edits.insert` puts it in."""
RESULTS = ("losses", "logits", "probabilities", "predictions")
"""What a training function may return for the rows that score it."""
_PENALTIES = {"l1": L1, "l2": L2}


class Missing(InputError, ImportError):
    """A guest is not installed, or was imported in a way that cannot work; the message says what to type."""


def guest(extra: str, *names: str) -> Any:
    """Import the first of these modules that is in use already, or else that is installed.

    Raises:
        Missing: naming the extra that brings it.
    """
    for name in sorted(names, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            if not (error.name and name.startswith(error.name.split(".")[0])):
                raise  # it is there, and what it needs is not
    raise Missing(f"{names[0].split('.')[0]} must be installed: pip install 'meden[{extra}]'")


class Attachment:
    """Penalties and noise in someone else's training.

    Args:
        regularizers: which penalties, where and how.
        noise: what is put into the model, see :data:`InModel`; None leaves it as it is.
        seed: of that noise, zero or more: the draws are those of :func:`meden.fit` with this seed.

    Raises:
        InputError: if an argument is none of these.
    """

    def __init__(self, regularizers: Sequence[Regularizer] = (), noise: InModel | None = None, seed: int = 0) -> None:
        if not isinstance(regularizers, Sequence) or not all(isinstance(r, Regularizer) for r in regularizers):
            raise InputError(f"regularizers must be a list of meden.Regularizer, got {regularizers!r}")
        check_count("seed", seed, low=0)
        if isinstance(noise, Mapping):
            if wrong := [layer for layer in noise.values() if not isinstance(layer, Noise)]:
                raise InputError(f"noise must hold layers of meden.noise by selector, got {wrong[0]!r}")
        elif noise is not None:
            check_number("noise", noise, low=0.0, high=1.0, high_open=True)
        self.regularizers, self.noise, self.seed = tuple(regularizers), noise, seed
        self.handle: Handle | None = None
        """The newest; it stays to be looked at when it acts no more."""
        self.is_attached = False
        self.history = History()
        self._model: nn.Module | None = None
        self._prepared: nn.Module | None = None
        self._seeded = False
        self._loaded: dict[str, Any] = {}
        self._started = time.perf_counter()

    def prepare(self, model: nn.Module) -> None:
        """Put the noise into a model, once; torch's own dropout layers become ours, which a checkpoint can hold."""
        if self.noise is None:
            return
        if self._prepared is not model:
            own_dropouts(model)
            if isinstance(self.noise, Mapping):
                for on, layer in self.noise.items():
                    insert(model, on, layer)
            else:
                set_dropout(model, self.noise)
            self._prepared, self._seeded = model, False
        if not self._seeded:
            seed_noise(model, derive(self.seed, "noise"))
            self._seeded = True

    def attach(self, optimizer: Optimizer, model: nn.Module) -> None:
        """Have an optimizer apply the penalties from its next step on; one that does already is left alone."""
        self._model, self._started = model, time.perf_counter() - self._seconds
        if self.is_attached and self.handle is not None and self.handle.optimizer is optimizer:
            return
        self.detach()
        self.handle = regularize(optimizer, model, self.regularizers) if self.regularizers else None
        self.is_attached = True
        self._restore()

    def follow(self, before: Attachment) -> None:
        """Take over from the one before: a model that it has put the same noise into gets none twice."""
        if before.noise is self.noise:
            self._prepared = before._prepared

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes with a copy: it attaches anew, and goes on as this one is."""
        state = self._loaded or ({} if self._model is None else self.state_dict())
        return vars(self) | {"handle": None, "is_attached": False, "_loaded": state}

    def detach(self) -> None:
        """Let go of the optimizer."""
        if self.is_attached and self.handle is not None:
            self.handle.remove()
        self.is_attached = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the penalties' handle, noise and history, as tensors, numbers and strings."""
        return {
            "handle": {} if self.handle is None else self.handle.state_dict(),
            "noise": {} if self._model is None else noise_state(self._model),
            "history": self.history.to_list(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, now or as soon as there is an optimizer."""
        self._loaded = dict(state)
        self.history = History.from_list(state.get("history", []))
        if self.is_attached:
            self._restore()

    def _restore(self) -> None:
        state, self._loaded = self._loaded, {}
        assert self._model is not None
        if self.handle is not None and state.get("handle"):
            self.handle.load_state_dict(state["handle"])
        if state.get("noise") or (state and noise_layers(self._model)):
            load_noise_state(self._model, state["noise"])

    @property
    def _seconds(self) -> float:
        return self.history[-1].seconds if len(self.history) else 0.0

    def record(
        self, model: nn.Module, *, epoch: int, step: int, lr: float, train: float, held_out: float | None = None
    ) -> None:
        """Add an epoch to the history.

        Args:
            model: in training.
            epoch: epochs done, from 1; one that is recorded already is replaced, with all that followed.
            step: optimizer steps done.
            lr: learning rate of the last step.
            train: the mean loss of the fitting rows, as the trainer logs it.
            held_out: the mean loss of the rows that are held out; None where it was not taken.
        """
        params = [p.detach() for p in model.parameters()]
        record = Record(
            epoch=epoch,
            step=step,
            train={"loss": train},
            valid=None if held_out is None else {"loss": held_out},
            penalties={} if self.handle is None else self.handle.values(),
            lr=lr,
            num_zeros=int(sum((p == 0).sum() for p in params)),
            weight_norm=math.sqrt(math.fsum(float(p.double().square().sum()) for p in params)),
            seconds=round(time.perf_counter() - self._started, 4),
        )
        self.history = History((*(r for r in self.history if r.epoch < epoch), record))

    def diagnosis(self) -> Diagnosis | None:
        """Say what stands out in the history; None if there is none.

        Training losses are as the trainer logs them, in training mode and while the weights still move: a held-out
        loss below them is no finding.
        """
        tried = tuple(r for r in self.history if r.valid is not None) or self.history.records
        return diagnose(Evidence((of_history(History(tried), as_logged=True),))) if tried else None


@dataclass(frozen=True, eq=False)
class TrainerFunction:
    """A training function around a factory of somebody's own: its code is that of the factory.

    Its settings are those of the ``functools.partial`` that it is handed out in. It goes to other processes if its
    parts do.
    """

    make: Callable[..., Any]
    train: Callable[..., Any]
    """Called with the factory, a job and the settings."""

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
        return self.train(self.make, job, **settings)


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


def check_settings(keep: str, returns: str | None, batch_size: int) -> None:
    """Check what all trainer functions take.

    Raises:
        InputError: naming what is allowed.
    """
    check_choice("keep", keep, ("best", "last"))
    if returns is not None:
        check_choice("returns", returns, RESULTS)
    check_count("batch_size", batch_size)


def arguments(make: Callable[..., Any], params: Mapping[str, Any], taken: Iterable[str] = ()) -> dict[str, Any]:
    """Return those of a job's parameters that a factory is called with: all that are not taken, ``epochs`` among them.

    Raises:
        InputError: naming one that is no argument of it, and the nearest that is.
    """
    signature, taken = inspect.signature(make).parameters, (*taken, "epochs")
    given = {name: value for name, value in params.items() if name not in taken}
    if not any(p.kind is p.VAR_KEYWORD for p in signature.values()):
        known = [*signature, *taken]
        for name in given:
            if name not in signature:
                raise InputError(f"space must name {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return given


def short_names(params: Mapping[str, Any]) -> Attachment:
    """Return what the short names of a space stand for: ``l1`` and ``l2``, canonical and proximal, and ``dropout``."""
    found = [make(params[name]) for name, make in _PENALTIES.items() if params.get(name)]
    noise = None if params.get("dropout") is None else float(params["dropout"])
    return Attachment([Regularizer(penalty, coupling="proximal") for penalty in found], noise)


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
