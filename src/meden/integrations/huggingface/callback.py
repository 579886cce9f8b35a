"""Penalties, noise and diagnosis inside a Trainer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerState

from meden import checkpoint
from meden._checks import InputError
from meden.diagnosis import Finding, diagnose
from meden.edits import Edits, insert
from meden.history import History
from meden.integrations.huggingface.logs import PENALTY, history_of
from meden.noise import Noise, load_noise_state, noise_layers, noise_state, seed_noise
from meden.optim import Handle, Regularizer, regularize
from meden.params import Selector

FILE = "meden.safetensors"
"""What is written into each checkpoint."""
TRAINER_STATE = "trainer_state.json"


class MedenCallback(TrainerCallback):
    """Attaches penalties and noise to a Trainer's training, and says what stands out at its end.

    Penalties act at the optimizer's steps, as :func:`meden.regularize` says: behind gradient accumulation, clipping
    and loss scaling. Noise is seeded by ``args.seed``. Each checkpoint gets a file ``meden.safetensors`` (the steps
    done, starting weights of ``PullTo``, the state of the noise), and ``trainer.train(resume_from_checkpoint=...)``
    goes on from it: the result equals that of an uninterrupted training.

    Args:
        regularizers: which penalties, where and how. Where the optimizer decays too, see :func:`decay_groups`.
        noise: noise to put on layers while training, ``{which layers: noise}``, such as
            ``{"*.embed_tokens": EmbeddingNoise(5.0)}`` for NEFTune. It is taken off at the end. Noise layers that the
            model has are seeded and kept in checkpoints also without this.
        diagnose: print the findings at the end, and keep them.
        resume_from: the checkpoint, if ``resume_from_checkpoint`` is not one in ``args.output_dir``: a Trainer does not
            tell its callbacks.

    Attributes:
        handle: what :func:`meden.regularize` returned, after the training has begun.
        history: see :func:`history_of`, after it has ended; None if nothing was logged.
        findings: of :func:`meden.diagnose`, after it has ended.

    Raises:
        InputError: when a training begins, what :func:`meden.regularize` raises; or if the checkpoint that it resumes
            from has no such file, or its file is of another training.

    Example:
        >>> from meden.penalties import L2, PullTo
        >>> callback = MedenCallback([Regularizer(PullTo(L2(10.0)), on="model.layers.*")])
        >>> callback.findings
        ()

    Pass it as ``Trainer(..., callbacks=[callback])``.
    """

    def __init__(
        self,
        regularizers: Sequence[Regularizer] = (),
        *,
        noise: Mapping[Selector, Noise] | None = None,
        diagnose: bool = True,
        resume_from: Path | str | None = None,
    ) -> None:
        self.regularizers, self.noise, self.diagnose, self.resume_from = (
            regularizers,
            noise or {},
            diagnose,
            resume_from,
        )
        self.handle: Handle | None = None
        self.history: History | None = None
        self.findings: tuple[Finding, ...] = ()
        self._inserted: list[Edits] = []
        self._started = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Attach, and go on from the checkpoint if there is one: the Trainer has loaded its own part of it."""
        model = kwargs["model"]
        self._detach()  # of a training that was interrupted
        self._inserted = [insert(model, on, noise) for on, noise in self.noise.items()]
        seed_noise(model, args.seed)
        if self.regularizers:
            self.handle = regularize(_inner(kwargs["optimizer"]), model, self.regularizers)
        self._started = time.perf_counter()
        if state.global_step:
            self._resume(self._folder(args, state), model)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Add to the log what a Trainer does not measure."""
        params = [param.detach() for param in kwargs["model"].parameters()]
        norms = torch.stack([param.double().norm().cpu() for param in params])
        measured = {
            "weight_norm": float(norms.norm()),
            "num_zeros": sum(int((param == 0).sum()) for param in params),
            "seconds": time.perf_counter() - self._started,
        }
        values = {} if self.handle is None else self.handle.values()
        state.log_history[-1].update(measured, **{PENALTY + label: value for label, value in values.items()})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Write the state into the checkpoint."""
        if not state.is_world_process_zero:
            return
        found = {} if self.handle is None else self.handle.state_dict()
        tensors = checkpoint.prefixed("noise.", noise_state(kwargs["model"]))
        labels = list(found.get("starts", {}))
        for number, label in enumerate(labels):
            tensors |= checkpoint.prefixed(f"starts.{number}.", found["starts"][label])
        values = {"num_steps": found.get("num_steps", 0), "labels": labels}
        values["seconds"] = time.perf_counter() - self._started
        checkpoint.save(_newest(args, state) / FILE, tensors, values)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Detach, and diagnose."""
        self._detach()
        if any("loss" in row for row in state.log_history):
            self.history = history_of(state.log_history)
        if self.diagnose and self.history is not None:
            diagnosis = diagnose(self.history)
            self.findings = diagnosis.findings
            if state.is_world_process_zero:
                print(diagnosis)

    def _detach(self) -> None:
        if self.handle is not None:
            self.handle.remove()
        while self._inserted:
            self._inserted.pop().undo()

    def _folder(self, args: Any, state: Any) -> Path:
        """Return the checkpoint that the Trainer has gone on from: it has the log that the Trainer has."""
        asked = self.resume_from or args.resume_from_checkpoint
        folder = (
            Path(asked) if isinstance(asked, str | Path) else Path(args.output_dir, f"checkpoint-{state.global_step}")
        )
        path = folder / TRAINER_STATE
        if not path.is_file() or _log(TrainerState.load_from_json(str(path))) != _log(state):
            raise InputError(
                f"resume_from must be the checkpoint that the Trainer resumes from, which {str(folder)!r} is not: "
                "give MedenCallback(..., resume_from=...) the same folder"
            )
        return folder

    def _resume(self, folder: Path, model: nn.Module) -> None:
        if not (folder / FILE).is_file():
            raise InputError(
                f"checkpoint {str(folder)!r} must hold {FILE} to be resumed from with a MedenCallback; go on from an "
                "earlier one, or train without the callback"
            )
        tensors, values = checkpoint.load(folder / FILE)
        noise = checkpoint.under("noise.", tensors)
        if noise or noise_layers(model):
            load_noise_state(model, noise)
        if self.handle is not None:
            labels = enumerate(values["labels"])
            starts = {label: checkpoint.under(f"starts.{number}.", tensors) for number, label in labels}
            self.handle.load_state_dict({"num_steps": values["num_steps"], "starts": starts})
        self._started -= values["seconds"]


def _inner(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer within accelerate's."""
    inner: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner


def _log(state: Any) -> str:
    """Return a log to be compared, in which NaN is itself."""
    return json.dumps(state.log_history)


def _newest(args: Any, state: Any) -> Path:
    """Return the checkpoint that was just written, in a search of the Trainer's own below a folder of the trial."""
    name = f"checkpoint-{state.global_step}"
    folders = [Path(args.output_dir, name), *Path(args.output_dir).glob(f"run-*/{name}")]
    return max((folder for folder in folders if folder.is_dir()), key=lambda folder: folder.stat().st_mtime)
