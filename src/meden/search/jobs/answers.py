"""What a training function returned, as results of the scored rows.

Legend: ``n`` scored rows of a fold, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from meden._checks import InputError, one_line
from meden.data import Dataset
from meden.job_files import KINDS
from meden.progress import LOST
from meden.run import HeldOut, Run
from meden.study.ledger import FIRST, Key, Ledger
from meden.workers.coordinator import Result

SUM = 1e-3
"""Numbers of a row that add up to 1 so closely, and are not negative, are probabilities."""


def held_out_of(returned: Any, rows: Dataset, score: NDArray[np.int64]) -> HeldOut:
    """Return losses, scores and outputs of the scored rows.

    Args:
        returned: by the function; see :class:`meden.search.Job`.
        rows: the study's, with their labels.
        score: numbers of the scored rows.

    Raises:
        InputError: if it is no result of these rows.

    Example:
        >>> from meden.data import as_dataset
        >>> told = held_out_of(np.eye(3)[[0, 1, 1]] * 0.97 + 0.01, as_dataset("iris"), np.array([0, 50, 100]))
        >>> told.losses.round(2), told.scores
        (array([0.02, 0.02, 4.61], dtype=float32), array([1., 1., 0.]))
    """
    if isinstance(returned, Run):
        returned = returned.held_out
    if isinstance(returned, HeldOut):
        _check_rows("held_out", returned.losses, score)
        return returned
    kind, values = _named(returned, rows)
    _check_rows(kind, values, score)
    labels = rows.labels[score]
    if kind == "losses":
        return HeldOut(values.astype(np.float32), values.astype(np.float64), np.empty((len(score), 0)))
    if kind == "predictions":
        errors = (values.astype(np.float64) - labels) ** 2
        return HeldOut((errors / 2).astype(np.float32), errors, values.astype(np.float64).reshape(len(score), -1))
    logs = log_softmax(values.astype(np.float64), axis=1) if kind == "logits" else _logs(values)
    probabilities = np.exp(logs) if kind == "logits" else values
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    losses = -logs[np.arange(len(score)), labels]
    return HeldOut(losses.astype(np.float32), right, probabilities.astype(np.float32))


def _logs(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return logarithms; a probability of 0 counts as the precision of its type, as in scikit-learn's log loss."""
    kept = probabilities if probabilities.dtype.kind == "f" else probabilities.astype(np.float64)
    logs: NDArray[np.float64] = np.log(np.clip(kept, np.finfo(kept.dtype).eps, None).astype(np.float64))
    return logs


def _named(returned: Any, rows: Dataset) -> tuple[str, NDArray[Any]]:
    """Return which kind of answer it is, and its numbers: said by a mapping, or told by their shape."""
    if isinstance(returned, Mapping):
        if len(returned) != 1 or (kind := next(iter(returned))) not in KINDS:
            raise InputError(f"train must return one of {', '.join(KINDS)}, got {', '.join(map(repr, returned))}")
        values = _numbers(returned[kind])
        if kind in ("logits", "probabilities") and rows.task != "classification":
            raise InputError(f"train must return predictions or losses when rows are numbers, got {kind}")
        if kind == "predictions" and rows.task != "regression":
            raise InputError(f"train must return {_OF[rows.task]}, got predictions")
        if kind in ("logits", "probabilities"):
            return kind, _of_classes(kind, values, len(rows.classes))
        return kind, values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    values = _numbers(returned)
    if values.ndim == 2 and rows.task == "classification":
        sums = values.min(initial=0.0) >= 0 and np.abs(values.sum(axis=1) - 1).max(initial=0.0) < SUM
        kind = "probabilities" if sums else "logits"
        return kind, _of_classes(kind, values, len(rows.classes))
    whole = values.dtype.kind in "iub"
    if values.ndim == 1 and rows.task != "regression" and not (whole and rows.task == "classification"):
        return "losses", values
    if values.ndim == 1:
        others = "'predictions'" if rows.task == "regression" else "'probabilities'"
        raise InputError(
            f"train must name the meaning of its numbers (n,): return {{'losses': ...}} or {{{others}: ...}}, got "
            f"an array of {values.dtype}"
        )
    raise InputError(f"train must return {_OF[rows.task]}, got an array of shape {values.shape}")


_OF = {
    "classification": "losses (n,), or logits or probabilities of the classes (n, C)",
    "regression": "{'losses': (n,)} or {'predictions': (n,)}",
    "losses": "a loss for each scored row (n,)",
}


def _of_classes(kind: str, values: NDArray[Any], num_classes: int) -> NDArray[Any]:
    if values.ndim == 2 and values.shape[1] == 1 and num_classes == 2:
        values = values[:, 0]
    if values.ndim == 1 and num_classes == 2:  # of the second class
        other = -values if kind == "logits" else 1 - values
        return np.stack([other / 2, values / 2] if kind == "logits" else [other, values], axis=1)
    if values.ndim != 2 or values.shape[1] != num_classes:
        raise InputError(
            f"train must return {kind} of shape (n, {num_classes}) for {num_classes} classes, got {values.shape}"
        )
    sums = values.sum(axis=1)
    if kind == "probabilities" and np.isfinite(values).all() and (values.min() < 0 or np.abs(sums - 1).max() > SUM):
        raise InputError(f"train must return probabilities of at least 0 that sum to 1, got {values[0]}")
    return values


def _numbers(returned: Any) -> NDArray[Any]:
    if returned is None:
        raise InputError("train must return losses or predictions of the scored rows, got None")
    if isinstance(returned, torch.Tensor):
        returned = returned.detach().to("cpu")
        returned = returned.float() if returned.dtype == torch.bfloat16 else returned
    elif isinstance(returned, (list, tuple)) and returned and isinstance(returned[0], torch.Tensor):
        returned = [part.detach().cpu().float().numpy() for part in returned]
    try:
        values = np.asarray(returned)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"train must return an array of numbers, got {one_line(error):.200}") from None
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"train must return numbers for the scored rows, got {type(returned).__name__}: {returned!r:.60}"
        )
    return values


def _check_rows(kind: str, values: NDArray[Any], score: NDArray[np.int64]) -> None:
    if len(values) != len(score) or (kind in ("losses", "predictions") and values.ndim != 1):
        raise InputError(
            f"train must return {kind} for the {len(score)} scored rows (job.score), got an array of shape "
            f"{values.shape}"
        )


class Answers:
    """Sees to it that the jobs of a study return the same kind of answer, and that the first returns one.

    Args:
        ledger: of the study.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def check(self, key: Key, result: Result) -> Result:
        """Return a result, as failed if it is of another kind than those before.

        Raises:
            InputError: if the very first job of a study fails: so would all others.
        """
        kinds = (row.outputs.shape[1] for row in self._ledger.rows.values() if row.status not in LOST)
        known = next(kinds, None)
        if known is not None and result.held_out is not None and (own := result.held_out.outputs.shape[1]) != known:
            reason = f"train must return the same kind of result in each job, got {_kind(own)} after {_kind(known)}"
            result = result._replace(status="failed", reason=reason, held_out=None, best_epoch=0)
        if result.status == "failed" and key == FIRST:
            error = InputError(f"{result.reason} (in the first job: configuration 0, fold 0)")
            if result.trace:
                error.add_note(result.trace)
            raise error
        return result


def _kind(num_outputs: int) -> str:
    return f"{num_outputs} numbers a row" if num_outputs else "losses"
