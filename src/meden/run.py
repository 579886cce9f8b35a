"""One run: what was trained, and what came of it: weights, recipe, history, how it ended."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meden import checkpoint
from meden._checks import InputError, check_choice, check_count
from meden._checksums import FILES, check_files, checksums
from meden._fields import Count, check_all, checked_fields, damaged
from meden._files import read_json, write_json
from meden._shown import Pair, Shown
from meden.data import Encoder, Predictions, num_batches
from meden.data.characters import Coding, coding_from_dict
from meden.data.new_rows import ON_MISSING, OnMissing, check_answered, warn_unanswered
from meden.diagnosis import Answers, Evidence, Plan, of_history, source_of
from meden.edits import takes_dropout
from meden.history import History
from meden.models.named import check_size, find_model
from meden.objective import EVAL_ROWS, evaluating, on_device
from meden.optim import labels
from meden.params import inner_names
from meden.progress import LOST, Outcome, Status
from meden.recipe import Recipe

RUN = "run.json"
"""Written last: a folder that has it holds a whole run."""
WEIGHTS = "model.safetensors"
PARTS = ("recipe.yaml", "history.json", WEIGHTS)
"""Files of a run that are written with it."""


@dataclass(frozen=True, repr=False)
class HeldOut(Shown):
    """What a model makes of the rows that score it, in the fold's order."""

    losses: NDArray[np.float32]
    """Data loss of each row; NaN if the run diverged."""
    scores: NDArray[np.float64]
    """Whether each row is right, or its squared error in the user's units."""
    outputs: NDArray[np.floating[Any]]
    """Probabilities of the classes, float32 (n, C), or numbers in the user's units, float64 (n, M); (n, 0) if the run
    was lost, or rows have several labels each."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeldOut:
        """Rebuild from :meth:`to_dict`."""
        losses, scores, outputs = (
            np.asarray(values[name], dtype=np.float64) for name in ("losses", "scores", "outputs")
        )
        shaped = losses.ndim == scores.ndim == 1 and outputs.ndim == 2
        check_all("held_out must have a loss, a score and outputs of each row", shaped, values)
        same = len(losses) == len(scores) == len(outputs) > 0
        check_all("held_out must have a loss, a score and outputs of each row", same, values)
        return cls(losses.astype(np.float32), scores, outputs)

    @property
    def loss(self) -> float:
        """Mean over the rows."""
        return float(self.losses.mean(dtype=np.float64))

    @property
    def loss_error(self) -> float | None:
        """Standard error of the mean over the rows; None for a single row."""
        num = len(self.losses)
        return float(self.losses.std(ddof=1, dtype=np.float64)) / math.sqrt(num) if num > 1 else None

    def _pairs(self) -> Iterable[Pair]:
        yield from (("rows", len(self.losses)), ("loss", self.loss))
        if self.loss_error is not None:
            yield "error", self.loss_error


class SeenLosses(NamedTuple):
    """Data loss of each row that a model was made by, in the fold's order, at the state that was kept."""

    fit: NDArray[np.floating[Any]]
    """Of the rows that trained."""
    stop: NDArray[np.floating[Any]]
    """Of the stop split; empty where there is none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Run(Shown):
    """One run: what was trained, and its results.

    Attributes:
        model: the trained model, in evaluation mode, at its best state.
        recipe: how it was trained.
        history: a record of each epoch.
        status: how it ended: ``"completed"``, ``"stopped_early"``, ``"diverged"``, ``"failed"`` or ``"dropped"``.
        reason: why it ended, in words.
        best_step: optimizer steps of the state that ``model`` is in.
        best_epoch: epochs of the state that ``model`` is in.
        seed: of weights, batches and noise.
        held_out: results on the scored rows of a member's fold.
        newest: the same of the state at the end, if another one was kept, for a member that asked for it.
        seen: losses of the rows of a member's fold that it was made by, for a member that asked for them.
        encoder: turns raw rows into the model's inputs, and outputs into labels; None where the caller brought tensors.
        vocabulary: turns text into the tokens of a model of language, and back; None for other models.
        model_name: which of :mod:`meden.models` it is; None for a model of the caller's.
        model_args: what the model was made with, where meden made it.
        constant_loss: loss of the best constant model for the data set; None where the caller brought tensors.
        num_rows: rows that it was fitted on; None where the trainer does not say.
        temperature: what the logits were divided by after training: the losses of ``history`` are those before.
    """

    model: nn.Module
    recipe: Recipe
    history: History
    status: Status
    reason: str
    best_step: Count
    best_epoch: Count
    seed: int
    held_out: HeldOut | None = None
    newest: HeldOut | None = None
    seen: SeenLosses | None = None
    encoder: Encoder | None = None
    vocabulary: Coding | None = None
    model_name: str | None = None
    model_args: dict[str, Any] | None = None
    constant_loss: float | None = None
    num_rows: Count | None = None
    temperature: float = 1.0

    @property
    def failure(self) -> str:
        """Why the model cannot predict: that it diverged, and how; empty if it can."""
        return f"{self.status}: {self.reason}" if self.status == "diverged" else ""

    def predict(self, rows: Any, *, on_missing: OnMissing = "error") -> Predictions:
        """Predict new rows.

        Warns about strings that have no level of their own, missing values where the fit had none, and numbers far
        outside of the fitted range: those of a table are clipped, those of arrays taken as they are.

        Args:
            rows: a table of raw columns, or an array or tensor of inputs (n, ...).
            on_missing: what becomes of rows that have no answer, as a cell cannot be read, a number of an array is
                missing, or the model's output is not finite. ``"error"`` predicts nothing; ``"empty"`` leaves the
                predictions of these rows empty (None or NaN), with a warning.

        Raises:
            InputError: naming rows that have no answer; or if the run has no encoder (call ``run.model`` instead), a
                column is missing, or it diverged.
        """
        (outputs,), refused = answers([self], rows, on_missing)
        assert self.encoder is not None
        return self.encoder.decode(outputs).without(refused)

    def evidence(self) -> Evidence:
        """Return what :func:`meden.diagnose` goes by."""
        lost = self.reason if self.status == "diverged" else ""
        curve = of_history(self.history, kept=self.best_epoch or None, lost=lost, apart=self._decays())
        if self.held_out is not None and self.status not in LOST and self.temperature == 1:  # else of other logits
            curve = replace(curve, scored=self.held_out.loss, scored_error=self.held_out.loss_error)
        dropout = self.recipe.dropout if self.recipe.dropout and takes_dropout(self.model) else 0.0
        classes = self.encoder is not None and bool(self.encoder.classes)
        source = source_of(self.model_name, None, None if self.encoder is None else self.encoder.label.name)
        return Evidence(
            (curve,),
            self.constant_loss,
            self.model,
            self.passes,
            dropout,
            plan=plan_of(self.recipe, self.num_rows),
            answers=answers_of([self.held_out], source) if self.held_out is not None and classes else None,
            of_classes="accuracy" in (self.history[-1].train if len(self.history) else ()),
            source=source,
        )

    @property
    def passes(self) -> float | None:
        """How often each fitting row was trained on, up to the end; None if the rows are not known."""
        if not self.num_rows or not len(self.history):
            return None
        return self.history[-1].step / num_batches(self.num_rows, self.recipe.batch_size)

    def _decays(self) -> list[str]:
        """Return the labels of penalties that are no part of the objective: decay apart from an adaptive optimizer."""
        adaptive = self.recipe.adaptive
        named = zip(labels(self.recipe.regularizers), self.recipe.regularizers, strict=True)
        return [label for label, r in named if adaptive and r.resolve(adaptive=adaptive) == "decoupled"]

    def _pairs(self) -> Iterable[Pair]:
        yield "status", f"{self.status}: {self.reason}"
        yield "model", self.model_name or type(self.model).__name__
        yield from ((name, value) for name, value in self._losses().items() if value is not None)
        yield "best epoch", f"{self.best_epoch} of {len(self.history)}"
        yield "optimizer", f"{self.recipe.optimizer}, lr {self.recipe.lr:.4g}"
        yield "regularizers", [regularizer.label for regularizer in self.recipe.regularizers]
        yield "seed", self.seed

    def _losses(self) -> dict[str, float | None]:
        """Return the losses of the state that was kept; none if there is none."""
        kept = next((record for record in self.history if record.epoch == self.best_epoch), None)
        valid = None if kept is None or kept.valid is None else kept.valid["loss"]
        held_out = self.held_out.loss if self.held_out is not None else valid
        train = "train loss" if self.temperature == 1 else "uncalibrated train loss"
        return {train: None if kept is None else kept.train["loss"], "held-out loss": held_out}

    def save(self, folder: Path | str) -> None:
        """Write ``recipe.yaml``, ``history.json``, ``model.safetensors`` and, last, ``run.json`` into a folder.

        The last has size and SHA-256 of the others: :func:`load_run` says which is missing or was changed.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe.save(folder / "recipe.yaml")
        self.history.save(folder / "history.json")
        summary: dict[str, Any] = {name: getattr(self, name) for name in _SUMMARY}
        summary["encoder"] = None if self.encoder is None else self.encoder.to_dict()
        summary["vocabulary"] = None if self.vocabulary is None else self.vocabulary.to_dict()
        summary["held_out"] = None if self.held_out is None else self.held_out.to_dict()
        inner = inner_names(self.model)
        checkpoint.save(folder / WEIGHTS, {inner[name]: t for name, t in self.model.state_dict().items()}, {})
        write_json(folder / RUN, summary | {FILES: checksums(folder, PARTS)})


def finished(
    model: nn.Module, recipe: Recipe, seed: int, history: History, outcome: Outcome, num_rows: int | None = None
) -> Run:
    """Return the run of a model that ended, in its best state."""
    ended = outcome._asdict()
    return Run(model=model.eval(), recipe=recipe, seed=seed, history=history, num_rows=num_rows, **ended)


@dataclass(frozen=True, kw_only=True, repr=False)
class Ensemble(Shown):
    """Runs whose predictions are averaged: the probabilities of classes, or the numbers.

    Each run has its own encoder, which has seen its own fitting rows.
    """

    runs: tuple[Run, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe of all runs."""
        return self.runs[0].recipe

    @property
    def encoder(self) -> Encoder | None:
        """The first run's, which knows the columns; None where the caller brought tensors."""
        return self.runs[0].encoder

    @property
    def failure(self) -> str:
        """Why it cannot predict: that a run of it diverged, and how; empty if it can."""
        return next((run.failure for run in self.runs if run.failure), "")

    def predict(self, rows: Any, *, on_missing: OnMissing = "error") -> Predictions:
        """Predict new rows, as :meth:`Run.predict` does; a row has an answer if each run has one."""
        outputs, refused = answers(self.runs, rows, on_missing)
        each = [run.encoder.decode(part) for run, part in zip(self.runs, outputs, strict=True) if run.encoder]
        probabilities = np.mean([one.probabilities for one in each], axis=0)
        if not each[0].classes:
            return Predictions(np.mean([one.values for one in each], axis=0), (), probabilities).without(refused)
        labels = np.asarray(each[0].classes, dtype=each[0].values.dtype)
        return Predictions(labels[probabilities.argmax(axis=1)], each[0].classes, probabilities).without(refused)

    def evidence(self) -> Evidence:
        """Return what :func:`meden.diagnose` goes by."""
        each = [run.evidence() for run in self.runs]
        curves = tuple(curve for one in each for curve in one.curves)
        scored = [run.held_out for run in self.runs if run.held_out is not None]
        known = each[0].answers is not None
        return replace(each[0], curves=curves, answers=answers_of(scored, each[0].source) if known else None)

    def _pairs(self) -> Iterable[Pair]:
        yield "runs", len(self.runs)
        yield "status", f"cannot predict: {self.failure}" if self.failure else Counter(run.status for run in self.runs)
        for number, run in enumerate(self.runs):
            yield f"run {number}", run

    def save(self, folder: Path | str) -> None:
        """Write each run into a folder of its own, ``fold_0`` and so on, then ``recipe.yaml`` and ``run.json``."""
        folder = Path(folder)
        for number, run in enumerate(self.runs):
            run.save(folder / f"fold_{number}")
        self.recipe.save(folder / "recipe.yaml")
        parts = [f"fold_{number}/{RUN}" for number in range(len(self.runs))]
        write_json(folder / RUN, {"num_runs": len(self.runs), FILES: checksums(folder, ("recipe.yaml", *parts))})


@torch.no_grad()
def answers(runs: Sequence[Run], rows: Any, on_missing: OnMissing = "error") -> tuple[list[Tensor], Mapping[int, str]]:
    """Return raw outputs (n, ...) of runs for new rows, zeros where they are not finite; and rows without an answer.

    Arguments and errors are those of :meth:`Run.predict`.
    """
    check_choice("on_missing", on_missing, ON_MISSING)
    outputs: list[Tensor] = []
    refused: dict[int, str] = {}
    remarks: dict[str, str] = {}
    for run in runs:
        if run.failure:
            raise InputError(f"run must have a model that can predict, got one that {run.failure}")
        if run.encoder is None:
            raise InputError("run.predict needs a run whose data meden encoded; call run.model(x) for tensors")
        found = run.encoder.transform(rows)
        with evaluating(run.model):
            parts = [run.model(on_device(part, run.model)) for part in torch.split(found.x, EVAL_ROWS)]
        told = torch.cat(parts)
        lost = ~torch.isfinite(told.flatten(1)).all(1)
        outputs.append(told.masked_fill(lost.view(-1, *[1] * (told.ndim - 1)), 0.0))
        reason = "the model's output is not finite"
        refused = dict.fromkeys(torch.nonzero(lost)[:, 0].tolist(), reason) | refused | dict(found.refused)
        remarks = dict(found.remarks) | remarks
    if on_missing == "error":
        check_answered(refused, len(outputs[0]))
    warn_unanswered(refused, len(outputs[0]))
    for remark in remarks.values():
        warnings.warn(remark, stacklevel=3)
    return outputs, refused


def plan_of(recipe: Recipe, num_rows: int | None) -> Plan:
    """Return what a recipe lays out for a run on so many fitting rows."""
    size, stopping = recipe.batch_size, recipe.early_stopping
    return Plan(
        lr=recipe.lr,
        epochs=recipe.last_epoch,
        patience=None if stopping is None else stopping.patience,
        batch_size=None if size == "full" else size,
        num_rows=num_rows,
    )


def answers_of(held_out: Iterable[HeldOut], source: str) -> Answers | None:
    """Return how sure models were of the classes that they named, and whether they were right.

    None where none of them has probabilities of its rows, since it was lost, or rows have several labels each.
    """
    known = [one for one in held_out if one.outputs.shape[1] > 1 and np.isfinite(one.outputs).all()]
    if not known:
        return None
    sure = np.concatenate([one.outputs.max(axis=1) for one in known]).astype(np.float64)
    return Answers(np.clip(sure, 0.0, 1.0), np.concatenate([one.scores for one in known]) > 0.5, source)


_SUMMARY = (
    *("status", "reason", "best_step", "best_epoch", "seed"),
    *("model_name", "model_args", "constant_loss", "num_rows", "temperature"),
)


def load_run(
    folder: Path | str,
    make_model: Any = None,
    *,
    penalties: Mapping[str, type[Any]] | None = None,
    augmentations: Mapping[str, type[Any]] | None = None,
) -> Run | Ensemble:
    """Load a run or an ensemble saved by :meth:`Run.save` or :meth:`Ensemble.save`.

    Args:
        folder: of the run.
        make_model: called with the saved ``model_args``; returns the model whose weights are then loaded. None makes
            the one of :mod:`meden.models` that the file names.
        penalties: penalties of your own that the recipe holds, by name: ``{"Mine": Mine}``.
        augmentations: the same for augmentations.

    Raises:
        Damaged: an InputError, if a file is missing or was changed since it was written, naming it.
        InputError: if one is of another major version; or if it names no model and ``make_model`` is None.
    """
    folder = Path(folder)
    if not (folder / RUN).is_file():
        raise InputError(f"folder must hold a saved run (a {RUN}), got {str(folder)!r}")
    summary = read_json(folder / RUN)
    check_files(folder / RUN, summary, ("recipe.yaml",) if "num_runs" in summary else PARTS)
    if "num_runs" in summary:
        check_count(f"num_runs in {str(folder / RUN)!r}", summary["num_runs"])
        folders = (folder / f"fold_{number}" for number in range(summary["num_runs"]))
        parts = [load_run(one, make_model, penalties=penalties, augmentations=augmentations) for one in folders]
        return Ensemble(runs=tuple(run for run in parts if isinstance(run, Run)))
    recipe = Recipe.load(folder / "recipe.yaml", penalties=penalties, augmentations=augmentations)
    history = History.load(folder / "history.json")
    tensors, _ = checkpoint.load(folder / WEIGHTS)
    named = None if make_model else _named(summary.get("model_name"), folder)
    with damaged(f"folder {str(folder)!r} must hold a whole run"):
        fields = checked_fields(Run, summary, *_SUMMARY)
        check_all(
            "temperature must be above 0", 0 < fields.get("temperature", 1.0) < math.inf, fields.get("temperature")
        )
        arguments = fields.get("model_args") or {}
        last = history[-1].epoch if len(history) else 0
        check_all("best_epoch must be one of the history", fields["best_epoch"] <= last, fields["best_epoch"])
        if named is not None:
            check_size(named, arguments, tensors)
        model = (named or make_model)(**arguments)
        outer = {inner: name for name, inner in inner_names(model).items()}
        model.load_state_dict({outer.get(name, name): tensor for name, tensor in tensors.items()})
        encoder, held_out, vocabulary = (summary.get(name) for name in ("encoder", "held_out", "vocabulary"))
        return Run(
            model=model.eval(),
            recipe=recipe,
            history=history,
            encoder=None if encoder is None else _fitting(Encoder.from_dict(encoder), arguments),
            held_out=None if held_out is None else HeldOut.from_dict(held_out),
            vocabulary=None if vocabulary is None else coding_from_dict(vocabulary),
            **fields,
        )


def _fitting(encoder: Encoder, arguments: Mapping[str, Any]) -> Encoder:
    """Return an encoder whose inputs and outputs are those that the model was made for."""
    inputs, outputs = encoder.num_inputs, len(getattr(encoder.target, "classes", ())) or arguments.get("num_outputs")
    check_all("inputs of the encoder must be those of the model", arguments.get("num_inputs", inputs) == inputs, inputs)
    right = arguments.get("num_outputs", outputs) == outputs
    check_all("classes of the encoder must be the outputs of the model", right, outputs)
    return encoder


def _named(name: str | None, folder: Path) -> Callable[..., nn.Module]:
    if name is None:
        raise InputError(f"make_model must be given for {str(folder)!r}, whose model is not one of meden.models")
    return find_model(name)
