"""Penalties, noise and diagnosis inside a Trainer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from meden import checkpoint
from meden._checks import InputError
from meden.diagnosis import Evidence, Finding, diagnose, of_history
from meden.history import History
from meden.integrations._trainers import Attachment, InModel, guest
from meden.integrations.huggingface.logs import PENALTY, TRAIN, history_of
from meden.noise import derive, seed_noise
from meden.optim import Handle, Regularizer

transformers = guest("hf", "transformers")
_Callback: Any = transformers.TrainerCallback
FILE = "meden.safetensors"
"""What is written into each checkpoint."""
TRAINER_STATE = "trainer_state.json"


class MedenCallback(_Callback):  # type: ignore[misc]
    """Attaches penalties and noise to a Trainer's training, and says what stands out at its end.

    Penalties act at the optimizer's steps, as :func:`meden.regularize` says: behind gradient accumulation, clipping
    and loss scaling. Noise is seeded by ``args.seed``. Each checkpoint gets a file ``meden.safetensors`` (the steps
    done, starting weights of ``PullTo``, the state of the noise), and ``trainer.train(resume_from_checkpoint=...)``
    goes on from it: the result equals that of an uninterrupted training.

    Args:
        regularizers: which penalties, where and how. Where the optimizer decays too, see :func:`decay_groups`.
        noise: noise for the model: a number for its dropout, or ``{selector: layer of meden.noise}``, such as
            ``{"*.embed_tokens": EmbeddingNoise(5.0)}`` for NEFTune. It adds no name to the model's state. Noise layers
            that the model has are seeded and kept in checkpoints also without this.
        diagnose: print the findings at the end.
        resume_from: the checkpoint, if ``resume_from_checkpoint`` is not one in ``args.output_dir``: a Trainer does not
            tell its callbacks.

    Raises:
        InputError: if an argument is none of these; when a training begins, what :func:`meden.regularize` raises, or if
            the checkpoint that it resumes from has no such file.

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
        noise: InModel | None = None,
        diagnose: bool = True,
        resume_from: Path | str | None = None,
    ) -> None:
        self.attachment = Attachment(regularizers, noise)
        self.diagnose, self.resume_from = diagnose, resume_from
        self.history: History | None = None
        """Of the training, after it has ended, see :func:`history_of`; None if no loss was logged."""
        self.findings: tuple[Finding, ...] = ()
        """What stands out in it."""
        self._started = 0.0

    @property
    def handle(self) -> Handle | None:
        """What :func:`meden.regularize` returned; it stays to be looked at when it acts no more."""
        return self.attachment.handle

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Attach, and go on from the checkpoint if there is one: the Trainer has loaded its own part of it."""
        model = kwargs["model"]
        self.attachment.detach()  # from a training that was interrupted
        self.attachment.prepare(model)
        seed_noise(model, derive(args.seed, "noise"))
        self.attachment.attach(kwargs["optimizer"], model)
        self._started = time.perf_counter()
        if state.global_step:
            self._resume(self._folder(args, state))

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
        found = self.attachment.state_dict()
        tensors, starts = checkpoint.prefixed("noise.", found["noise"]), found["handle"].get("starts", {})
        for number, of_one in enumerate(starts.values()):
            tensors |= checkpoint.prefixed(f"starts.{number}.", of_one)
        values = {"num_steps": found["handle"].get("num_steps"), "labels": list(starts)}
        values["seconds"] = time.perf_counter() - self._started
        checkpoint.save(_newest(args, state) / FILE, tensors, values)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Detach, and diagnose."""
        self.attachment.detach()
        log = state.log_history
        if not any("loss" in row for row in log):
            return
        self.history = history_of(log)
        curve = of_history(self.history, as_logged=not any(TRAIN in row for row in log))
        diagnosis = diagnose(Evidence((curve,)))
        self.findings = diagnosis.findings
        if self.diagnose and state.is_world_process_zero:
            print(diagnosis)

    def _folder(self, args: Any, state: Any) -> Path:
        """Return the checkpoint that the Trainer has gone on from: it has the log that the Trainer has."""
        asked = self.resume_from or args.resume_from_checkpoint
        folder = (
            Path(asked) if isinstance(asked, str | Path) else Path(args.output_dir, f"checkpoint-{state.global_step}")
        )
        path = folder / TRAINER_STATE
        if not path.is_file() or _log(transformers.TrainerState.load_from_json(path)) != _log(state):
            raise InputError(
                f"resume_from must be the checkpoint that the Trainer resumes from, which {str(folder)!r} is not: "
                "give MedenCallback(..., resume_from=...) the same folder"
            )
        return folder

    def _resume(self, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise InputError(
                f"checkpoint {str(folder)!r} must hold {FILE} to be resumed from with a MedenCallback; go on from an "
                "earlier one, or train without the callback"
            )
        tensors, values = checkpoint.load(folder / FILE)
        labels = enumerate(values["labels"])
        starts = {label: checkpoint.under(f"starts.{number}.", tensors) for number, label in labels}
        handle = {} if values["num_steps"] is None else {"num_steps": values["num_steps"], "starts": starts}
        self.attachment.load_state_dict({"handle": handle, "noise": checkpoint.under("noise.", tensors)})
        self._started -= values["seconds"]


def _log(state: Any) -> str:
    """Return a log to be compared, in which NaN is itself."""
    return json.dumps(state.log_history)


def _newest(args: Any, state: Any) -> Path:
    """Return the checkpoint that was just written, in a search of the Trainer's own below a folder of the trial."""
    name = f"checkpoint-{state.global_step}"
    folders = [Path(args.output_dir, name), *Path(args.output_dir).glob(f"run-*/{name}")]
    return max((folder for folder in folders if folder.is_dir()), key=lambda folder: folder.stat().st_mtime)
