"""Penalties, noise and diagnosis inside a Trainer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from meden import checkpoint
from meden._checks import InputError
from meden.history import History
from meden.integrations._attachment import Attached, Attachment, InModel, check_callback
from meden.integrations._guest import guest
from meden.integrations.huggingface.logs import TRAIN, history_of
from meden.logs.alignment import PENALTY, ZERO_GROUPS
from meden.optim import Regularizer

transformers = guest("hf", "transformers")
_Callback: Any = transformers.TrainerCallback
FILE = "meden.safetensors"
"""What is written into each checkpoint."""
TRAINER_STATE = "trainer_state.json"


class MedenCallback(Attached, _Callback):  # type: ignore[misc]
    """Attaches penalties and noise to a Trainer's training, and says what stands out at its end.

    Penalties act at the optimizer's steps, as :func:`meden.regularize` says: behind gradient accumulation, clipping
    and loss scaling. Each checkpoint gets a file ``meden.safetensors`` (the steps
    done, starting weights of ``PullTo``, the state of the noise), and ``trainer.train(resume_from_checkpoint=...)``
    goes on from it: the result equals that of an uninterrupted training. ``history`` is there after the training has
    ended, see :func:`history_of`, and ``findings`` is what stands out in it; where the log is none that has a history,
    a warning says why. One callback takes all regularizers of a Trainer.

    Args:
        regularizers: which penalties, where and how. Where the optimizer decays too, see
            :func:`meden.integrations.huggingface.decay_groups`.
        noise: noise for the model: a number for its dropout, or ``{selector: layer of meden.noise}``, such as
            ``{"*.embed_tokens": EmbeddingNoise(5.0)}`` for NEFTune. It adds no name to the model's state. Noise layers
            that the model has are seeded and kept in checkpoints also without this.
        diagnose: whether to print at the end what stands out in the curves.
        seed: of all noise of the model; None is ``args.seed``.
        valid: name of the held-out loss, such as ``"eval_a_loss"`` where ``eval_dataset`` is a dictionary; None is
            ``"eval_loss"``, or else the only other one.
        resume_from: the checkpoint, if ``resume_from_checkpoint`` is not one in ``args.output_dir``: a Trainer does not
            tell its callbacks.

    Raises:
        InputError: if an argument is none of these; when a training begins, what :func:`meden.regularize` raises, or if
            the checkpoint that it resumes from has no such file or other regularizers, or another MedenCallback is
            there.

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
        seed: int | None = None,
        valid: str | None = None,
        resume_from: Path | str | None = None,
    ) -> None:
        self.attachment = Attachment(regularizers, noise, 0 if seed is None else seed)
        check_callback(diagnose=diagnose, valid=valid)
        if not (resume_from is None or isinstance(resume_from, str | Path)):
            raise InputError(f"resume_from must be the folder of a checkpoint, got {resume_from!r}")
        self.diagnose, self.seed, self.valid, self.resume_from = diagnose, seed, valid, resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Attach, and go on from the checkpoint if there is one: the Trainer has loaded its own part of it."""
        if vars(state).setdefault("_has_meden", self) is not self:  # the one thing that callbacks of a Trainer share
            raise InputError(
                "callbacks must have only one MedenCallback, with all regularizers, got two: a checkpoint has one state"
            )
        before = self.attachment
        self.attachment = Attachment(before.regularizers, before.noise, args.seed if self.seed is None else self.seed)
        self.attachment.follow(before)
        self.attachment.prepare(kwargs["model"])
        self.attachment.attach(kwargs["optimizer"], kwargs["model"])
        if state.global_step:
            self._resume(self._folder(args, state))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Add to the log what a Trainer does not measure."""
        measured = self.attachment.measured(kwargs["model"])
        penalties = {PENALTY + label: value for label, value in measured.pop("penalties").items()}
        zeros = {ZERO_GROUPS + label: num for label, num in measured.pop("num_zero_groups").items()}
        state.log_history[-1].update(measured | penalties | zeros)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Write the state into the checkpoint."""
        if state.is_world_process_zero:
            tensors: dict[str, Tensor] = {}
            values = _without(tensors, self.attachment.state_dict())
            checkpoint.save(_newest(args, state) / FILE, tensors, values)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Detach, and diagnose."""
        self.attachment.detach()
        self.attachment.as_logged = not any(TRAIN in row for row in state.log_history)
        self.attachment.history = self._history(state.log_history)
        if self.diagnose and state.is_world_process_zero and (found := self.diagnosis) is not None:
            print(found)

    def _history(self, log: Sequence[Mapping[str, Any]]) -> History:
        if any("loss" in row or TRAIN in row for row in log):
            try:
                return history_of(log, self.valid)
            except InputError as error:
                warnings.warn(f"there is no history of this training: {error}", stacklevel=2)
        return History()

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
                f"checkpoint {str(folder)!r} must hold {FILE} to be resumed with a MedenCallback; resume from an "
                "earlier one, or train without the callback"
            )
        tensors, values = checkpoint.load(folder / FILE)
        self.attachment.load_state_dict(_with(tensors, values))


def _without(tensors: dict[str, Tensor], state: Any) -> Any:
    """Return a state as values that JSON can hold; its tensors go into a dictionary, by their numbers."""
    if isinstance(state, Tensor):
        tensors[name := str(len(tensors))] = state
        return {"tensor": name}
    if isinstance(state, Mapping):
        return {name: _without(tensors, part) for name, part in state.items()}
    return state


def _with(tensors: Mapping[str, Tensor], values: Any) -> Any:
    """Return a state from what :func:`_without` made of it."""
    if not isinstance(values, Mapping):
        return values
    if values.keys() == {"tensor"} and isinstance(values["tensor"], str):
        return tensors[values["tensor"]]
    return {name: _with(tensors, part) for name, part in values.items()}


def _log(state: Any) -> str:
    """Return a log to be compared, in which NaN is itself."""
    return json.dumps(state.log_history)


def _newest(args: Any, state: Any) -> Path:
    """Return the checkpoint that was just written, in a search of the Trainer's own below a folder of the trial."""
    name = f"checkpoint-{state.global_step}"
    folders = [Path(args.output_dir, name), *Path(args.output_dir).glob(f"run-*/{name}")]
    return max((folder for folder in folders if folder.is_dir()), key=lambda folder: folder.stat().st_mtime)
