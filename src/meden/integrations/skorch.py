"""skorch: exact penalties, noise and diagnosis as a callback, and an honest search around a net."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from meden._checks import InputError
from meden._randomness import seed_all
from meden.integrations._attachment import Attached, Attachment, InModel, check_callback
from meden.integrations._guest import guest
from meden.integrations._trainers import (
    SHORT_NAMES,
    Told,
    TrainerFunction,
    arguments,
    check_settings,
    short_names,
)
from meden.noise import derive
from meden.optim import Regularizer

skorch = guest("skorch", "skorch")
_Callback: Any = guest("skorch", "skorch.callbacks").Callback


class Regularize(Attached, _Callback):  # type: ignore[misc]
    """Penalties, noise and diagnosis in the training of a skorch net.

    Penalties act at every step of the optimizer as :func:`meden.regularize` has it; ``partial_fit`` goes on with them,
    and ``fit`` begins anew. A pickled or copied net goes on as it was. So does one whose ``Checkpoint`` has
    ``f_meden="meden.pt"`` (``f_meden_NAME`` where ``optimizer`` is NAME), strength schedules, ``PullTo`` and noise
    included; in the list of callbacks a ``LoadInitState`` comes after this one. ``history`` has a record of each epoch,
    whose training loss is the one of the net's own passes; ``findings`` is what stands out in it.

    Args:
        regularizers: which penalties, where and how; names are those of ``net.module_``.
        noise: noise for the module: a number for its dropout, or ``{selector: layer of meden.noise}``.
        diagnose: whether a net that is verbose prints at the end what stands out in its curves.
        seed: of all noise of the module.
        optimizer: which of the net's optimizers steps what is penalised, such as ``"optimizer"``; None if there is one.

    Raises:
        InputError: when training begins, if an argument is none of these, there are several optimizers and none was
            named, a ``LoadInitState`` comes first, or another one is there for the same optimizer.

    Example:
        >>> import numpy as np
        >>> from meden.penalties import L1
        >>> callback = Regularize([Regularizer(L1(10.0))], diagnose=False)
        >>> settings = dict(max_epochs=1, lr=0.1, callbacks=[callback], callbacks__print_log=None)
        >>> net = skorch.NeuralNetRegressor(torch.nn.Linear(2, 1), **settings)
        >>> x = np.ones((8, 2), dtype="float32")
        >>> net.fit(x, x[:, :1]).module_.weight.tolist()
        [[0.0, 0.0]]
    """

    def __init__(
        self,
        regularizers: Sequence[Regularizer] = (),
        *,
        noise: InModel | None = None,
        diagnose: bool = True,
        seed: int = 0,
        optimizer: str | None = None,
    ) -> None:
        self.regularizers, self.noise, self.diagnose = regularizers, noise, diagnose
        self.seed, self.optimizer = seed, optimizer

    def initialize(self) -> Regularize:
        """Begin anew."""
        check_callback(diagnose=self.diagnose)
        before, self.attachment = self.attachment, Attachment(self.regularizers, self.noise, self.seed)
        self.attachment.follow(before)
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Attach the penalties, unless the optimizer has them."""
        callbacks = [callback for _, callback in net.callbacks_]
        if any(isinstance(callback, skorch.callbacks.LoadInitState) for callback in callbacks[: callbacks.index(self)]):
            raise InputError("callbacks must have LoadInitState after Regularize, whose state it loads, got it before")
        if any(isinstance(c, Regularize) and c is not self and c.optimizer == self.optimizer for c in callbacks):
            raise InputError(
                "callbacks must have only one Regularize for each optimizer, with all its regularizers, got two: a "
                "checkpoint has one state"
            )
        self.attachment.prepare(net.module_)
        self.attachment.attach(self._chosen(net), net.module_)
        own = "meden_" if self.optimizer is None else f"meden_{self.optimizer}_"
        setattr(net, own, self.attachment)  # where Checkpoint(f_meden=...) looks

    def _chosen(self, net: Any) -> Optimizer:
        names = list(net._optimizers)
        name = self.optimizer or (names[0] if len(names) == 1 else None)
        if name not in names:
            raise InputError(f"optimizer must be one of {', '.join(names)}, got {self.optimizer!r}")
        chosen: Optimizer = getattr(net, f"{name}_")
        return chosen

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Record the epoch."""
        last = net.history[-1]
        if "train_loss" in last:
            self.attachment.record(
                net.module_,
                epoch=last["epoch"],
                step=sum(row["train_batch_count"] for row in net.history),
                lr=float(self._chosen(net).param_groups[0]["lr"]),
                train=float(last["train_loss"]),
                held_out=float(last["valid_loss"]) if "valid_loss" in last else None,
            )

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Print what stands out."""
        if self.diagnose and net.verbose and (found := self.diagnosis) is not None:
            print(found)


def trainer_function(
    make_net: Callable[..., Any],
    data: tuple[Any, Any],
    *,
    returns: str | None = None,
    keep: str = "best",
) -> Callable[[Any], Any]:
    """Return a training function for :func:`meden.tune` around a skorch net.

    The net's validation loss decides about races, early stopping and the state to keep, on rows that the search sets
    apart for that; the rows that score it are read once, at the end. A job that was killed goes on after its last whole
    epoch, to the same result; one whose net has callbacks of its own begins anew, since their state is not known.

    Args:
        make_net: called with a job's parameters, returns the net. ``l1``, ``l2`` (canonical, proximal), ``dropout`` and
            ``batch_size`` are no arguments of it: they need no line in it.
        data: x and y of all rows, arrays (n, ...) and (n, ...).
        returns: what is taken for a row: ``"probabilities"`` (``predict_proba``) or ``"predictions"`` (``predict``);
            None is probabilities for a classifier, and predictions for another net.
        keep: the state that is scored, the ``"best"`` by held-out loss or the ``"last"``.

    Raises:
        InputError: if an argument is none of these; in a job, if the space names no argument of ``make_net``.
    """
    check_settings("make_net", make_net, keep, returns, 1)
    if returns not in (None, "probabilities", "predictions"):
        raise InputError(f"returns must be probabilities, predictions or None, got {returns!r}")
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(f"data must be a pair (x, y) of arrays, got {type(data).__name__}")

    return functools.partial(TrainerFunction(make_net, _train), data=data, returns=returns, keep=keep)


def _train(
    make_net: Callable[..., Any], job: Any, *, data: tuple[Any, Any], returns: str | None, keep: str
) -> dict[str, Any]:
    net = make_net(**arguments(make_net, job.params, (*SHORT_NAMES, "batch_size")))
    if not isinstance(net, skorch.NeuralNet):
        raise InputError(f"make_net must return a skorch.NeuralNet, got {type(net).__name__}")
    x, y = (job.watch(part) for part in data)
    given = next((own for own in map(_unnamed, net.callbacks or ()) if isinstance(own, Regularize)), Regularize())
    asked = short_names(job.params, Attachment(given.regularizers, given.noise))
    penalties = Regularize(asked.regularizers, noise=asked.noise, seed=job.seed, optimizer=given.optimizer)
    own = [callback for callback in net.callbacks or () if _unnamed(callback) is not given]
    epochs = _Epochs(job, penalties, resumes=not own)
    split = guest("skorch", "skorch.helper").predefined_split
    stop = guest("skorch", "skorch.dataset").Dataset(x[job.stop], y[job.stop])
    net.set_params(verbose=0, train_split=split(stop), callbacks=[*own, penalties, epochs])
    if "batch_size" in job.params:
        net.set_params(batch_size=job.params["batch_size"])
    net.initialize()
    if keep == "best":
        job.keep_best(net.module_)
    epochs.go_on(net)
    if not epochs.told_.again(job):
        net.partial_fit(x[job.fit], y[job.fit], epochs=job.epochs - epochs.told_.epochs)
        if not job.stopped:  # skorch takes it for an end like any other
            raise KeyboardInterrupt
    kind = returns or ("probabilities" if hasattr(net, "predict_proba") and _classifies(net) else "predictions")
    with job.scoring():
        said = net.predict_proba(x[job.score]) if kind == "probabilities" else net.predict(x[job.score])
    return {kind: said if kind == "probabilities" else said.reshape(len(job.score), -1).squeeze(1)}


def _unnamed(callback: Any) -> Any:
    return callback[1] if isinstance(callback, tuple) else callback


def _classifies(net: Any) -> bool:
    return isinstance(net, (skorch.NeuralNetClassifier, skorch.NeuralNetBinaryClassifier))


class _Epochs(_Callback):  # type: ignore[misc]
    """Tells a job of each epoch, and keeps what is needed to go on after it."""

    def __init__(self, job: Any, penalties: Regularize, resumes: bool) -> None:
        self.job, self.penalties, self.resumes = job, penalties, resumes
        self.told_, self.path_ = Told(), Path(job.checkpoint_dir) / "last.pt"

    def go_on(self, net: Any) -> None:
        """Take up what an interrupted job has left."""
        if self.resumes and self.path_.exists():
            saved = torch.load(self.path_, weights_only=True)
            self.told_ = Told(**saved["told"])
            net.module_.load_state_dict(saved["module"])
            net.optimizer_.load_state_dict(saved["optimizer"])
            self.penalties.attachment.load_state_dict(saved["meden"])

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        seed_all(derive(self.job.seed, "epoch", self.told_.epochs))

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        last = net.history[-1]
        stops = self.told_.tell(self.job, float(last["valid_loss"]), float(last["train_loss"]))
        parts = {"module": net.module_, "optimizer": net.optimizer_, "meden": self.penalties.attachment}
        part = self.path_.with_suffix(".part")
        torch.save({name: own.state_dict() for name, own in parts.items()} | {"told": asdict(self.told_)}, part)
        os.replace(part, self.path_)
        if stops:
            raise KeyboardInterrupt  # skorch's way to end a training
