"""Penalties and noise in another library's training, attached once, with their state and a history.

A guest calls, in this order::

    prepare(model)                  before the optimizer is made: noise goes in, and gets its streams
    load_state_dict(state)          if training goes on from a checkpoint, before or after the next line
    attach(optimizer, model)
    record(model, ...)              at the end of each epoch
    state_dict()                    for each checkpoint: tensors, numbers and strings
    detach()                        at the end
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.optim import Optimizer

from meden._checks import InputError, check_count, check_number
from meden.diagnosis import Diagnosis, Evidence, Finding, diagnose, of_history
from meden.edits import insert, own_dropouts, set_dropout
from meden.history import History, Record
from meden.noise import Noise, derive, load_noise_state, noise_layers, noise_state, seed_noise
from meden.optim import Handle, Regularizer, regularize
from meden.params import Selector

InModel = float | Mapping[Selector, Noise]
"""Noise for a finished model: one number for its dropout, as :func:`meden.edits.set_dropout` sets it, or a layer of
:mod:`meden.noise` for each selector, as :func:`meden.edits.insert` puts it in."""

SAID: ContextVar[set[str] | None] = ContextVar("said", default=None)
"""Warnings that the jobs of one search gave about their penalties, each given once; None where there is no search."""


class Attachment:
    """Penalties and noise in someone else's training.

    Args:
        regularizers: which penalties, where and how.
        noise: what is put into the model, see :data:`InModel`; None leaves it as it is.
        seed: of all noise of the model, zero or more: the draws are those of :func:`meden.fit` with this seed.

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
        self.as_logged = True
        """Whether the history's training losses are of passes in training mode, while the weights still move."""
        self._model: nn.Module | None = None
        self._prepared: nn.Module | None = None
        self._seeded = False
        self._loaded: dict[str, Any] = {}
        self._started, self._seconds = time.perf_counter(), 0.0

    def prepare(self, model: nn.Module) -> None:
        """Put the noise into a model, once, and seed all that it has.

        Torch's own dropout layers become ours, which a checkpoint can hold, where noise goes in.
        """
        if self._prepared is not model:
            if self.noise is not None:
                own_dropouts(model)
            if isinstance(self.noise, Mapping):
                for on, layer in self.noise.items():
                    insert(model, on, layer)
            elif self.noise is not None:
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
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.handle = regularize(optimizer, model, self.regularizers) if self.regularizers else None
        _pass_on(caught)
        self.is_attached = True
        self._restore()

    def follow(self, before: Attachment) -> None:
        """Take over from the one before, which lets go: a model that it has put the same noise into gets none twice."""
        before.detach()
        if before.noise is self.noise:
            self._prepared = before._prepared

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes with a copy: it attaches anew, and goes on as this one is."""
        state = self._loaded or ({} if self._model is None else self.state_dict())
        return vars(self) | {"handle": None, "is_attached": False, "_loaded": state}

    def detach(self) -> None:
        """Let go of the optimizer."""
        self._elapsed()
        if self.is_attached and self.handle is not None:
            self.handle.remove()
        self.is_attached = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the penalties' handle, noise and history, as tensors, numbers and strings."""
        return {
            "handle": {} if self.handle is None else self.handle.state_dict(),
            "noise": {} if self._model is None else noise_state(self._model),
            "history": self.history.to_list(),
            "seconds": self._elapsed(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, now or as soon as there is an optimizer."""
        self._loaded = dict(state)
        self.history = History.from_list(state.get("history", []))
        self._seconds = state.get("seconds", 0.0)
        self._started = time.perf_counter() - self._seconds
        if self.is_attached:
            self._restore()

    def _restore(self) -> None:
        state, self._loaded = self._loaded, {}
        assert self._model is not None
        if state:
            self._check_starts(state.get("handle", {}).get("starts", {}))
        if self.handle is not None and state.get("handle"):
            self.handle.load_state_dict(state["handle"])
        if state.get("noise") or (state and noise_layers(self._model)):
            load_noise_state(self._model, state["noise"])

    def _check_starts(self, saved: Mapping[str, Any]) -> None:
        present = {} if self.handle is None else self.handle.state_dict()["starts"]
        if saved.keys() != present.keys():
            raise InputError(
                "regularizers must be those of the checkpoint that is resumed, whose starting weights are those of "
                f"{_listed(saved)}, got starting weights of {_listed(present)}"
            )

    def _elapsed(self) -> float:
        if self.is_attached:
            self._seconds = time.perf_counter() - self._started
        return self._seconds

    def measured(self, model: nn.Module) -> dict[str, Any]:
        """Return what a record says of a model and its training besides losses."""
        params = [p.detach() for p in model.parameters()]
        return {
            "penalties": {} if self.handle is None else self.handle.values(),
            "num_zero_groups": {} if self.handle is None else self.handle.num_zero_groups(),
            "num_zeros": int(sum((p == 0).sum() for p in params)),
            "weight_norm": math.sqrt(math.fsum(float(p.double().square().sum()) for p in params)),
            "seconds": round(self._elapsed(), 4),
        }

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
        valid = None if held_out is None else {"loss": held_out}
        measured = self.measured(model)
        record = Record(epoch=epoch, step=step, train={"loss": train}, valid=valid, lr=lr, **measured)
        self.history = History((*(r for r in self.history if r.epoch < epoch), record))

    def diagnosis(self) -> Diagnosis | None:
        """Say what stands out in the history; None if there is none.

        Where training losses are as the trainer logs them, a held-out loss below them is no finding.
        """
        tried = tuple(r for r in self.history if r.valid is not None) or self.history.records
        if not tried:
            return None
        curve = of_history(History(tried), as_logged=self.as_logged)
        return diagnose(Evidence((curve,), source=""))  # no command trains by the guest


class Attached:
    """What a callback shows, whose trainer it may be; before any training there is nothing to be seen."""

    attachment = Attachment()

    @property
    def handle(self) -> Handle | None:
        """What :func:`meden.regularize` returned; it stays to be looked at when it acts no more."""
        return self.attachment.handle

    @property
    def history(self) -> History:
        """The records of the training."""
        return self.attachment.history

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What stands out in the history; None before there is one."""
        return self.attachment.diagnosis()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the diagnosis."""
        return () if (found := self.diagnosis) is None else found.findings


def check_callback(*, diagnose: Any, **names: Any) -> None:
    """Check what all callbacks take.

    Args:
        diagnose: yes or no.
        **names: of logged losses, or None.

    Raises:
        InputError: naming the argument.
    """
    if not isinstance(diagnose, bool):
        raise InputError(f"diagnose must be True or False, got {diagnose!r}")
    for argument, name in names.items():
        if name is not None and not isinstance(name, str):
            raise InputError(f"{argument} must be the name of a logged loss, got {name!r}")


def _listed(labels: Mapping[str, Any]) -> str:
    return ", ".join(sorted(labels)) or "none"


def _pass_on(caught: Sequence[warnings.WarningMessage]) -> None:
    """Give the warnings of an attachment, but for those that another job of the search gave."""
    said = SAID.get()
    for one in caught:
        if said is None or str(one.message) not in said:
            warnings.warn(one.message, one.category, stacklevel=3)
        if said is not None:
            said.add(str(one.message))
