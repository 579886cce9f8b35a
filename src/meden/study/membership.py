"""What a study, or one trained model, knows by heart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from meden._checks import InputError
from meden.data.answered import rows_and_target
from meden.diagnosis.memory.memorisation import FIT, SCORE, Memorisation, RowLosses, memorisation_of
from meden.objective import as_pair, check_fits, row_loss, task_of
from meden.run import Run, answers
from meden.study.study import Study
from meden.training.reading import as_source
from meden.training.scoring import score_model


def memorisation(subject: Study | Run | nn.Module, *, seen: Any = None, unseen: Any = None) -> Memorisation:
    """Measure memorisation: how reliably the loss of a row reveals whether a model was fitted on it.

    Of a study, the models of its choice in all folds are each other's shadows, see :meth:`meden.Study.memorisation`.
    Of a single model the loss alone tells, and it must be said which rows it has seen. An AUC of 0.5 is nothing known
    by heart; intervals are of 95 %.

    Args:
        subject: a study, a run or a model.
        seen: rows that a single model was fitted on: a pair (x, y); of a run with an encoder also a table.
        unseen: rows of the same kind that it never saw, neither to stop nor to be chosen; scored rows will do. Rows
            that differ in other ways, such as newer ones, are told apart for that.

    Raises:
        InputError: if rows are missing, do not fit or are fewer than two; and as :meth:`meden.Study.memorisation` does.

    Example:
        >>> import meden, torch
        >>> x, y = torch.randn(200, 8), torch.randint(2, (200,))
        >>> model = meden.models.MLP(8, 2)
        >>> recipe = meden.Recipe(epochs=100, lr=0.01)
        >>> run = meden.fit(model, train=(x[:100], y[:100]), recipe=recipe)
        >>> found = meden.memorisation(run, seen=(x[:100], y[:100]), unseen=(x[100:], y[100:]))
        >>> found.loss.auc.low > 0.6
        True

    Reference:
        S. Yeom, I. Giacomelli, M. Fredrikson and S. Jha, Privacy risk in machine learning: analyzing the connection to
        overfitting, 2018; N. Carlini et al., Membership inference attacks from first principles, 2022.
    """
    given = {"seen": seen, "unseen": unseen}
    if isinstance(subject, Study):
        for name, rows in given.items():
            if rows is not None:
                raise InputError(f"{name} must be None for a study, whose folds tell which rows a model has seen")
        return subject.memorisation()
    if not isinstance(subject, Run | nn.Module):
        raise InputError(f"subject must be a study, a run or a model, got {type(subject).__name__}")
    if isinstance(subject, Run) and subject.failure:
        raise InputError(f"run must have a model that can predict, got one that {subject.failure}")
    for name, rows in given.items():
        if rows is None:
            raise InputError(
                f"{name} must be given for a single model, as rows (x, y) that it was or was not fitted on, got None"
            )
    each = [_losses(name, subject, rows) for name, rows in given.items()]
    (first, classified), (second, _) = each
    parts = np.repeat(np.array([[FIT, SCORE]], np.uint8), [len(first), len(second)], axis=1)
    losses = np.concatenate([first, second])[None]
    return memorisation_of(RowLosses(losses=losses, parts=parts, classified=classified))


def _losses(name: str, subject: Run | nn.Module, rows: Any) -> tuple[NDArray[np.float64], bool]:
    """Return the loss of each row, and whether it is a cross-entropy."""
    if isinstance(subject, Run) and subject.encoder is not None:
        return _encoded_losses(name, subject, rows)
    model = subject.model if isinstance(subject, Run) else subject
    pair = as_pair(name, rows, model)
    task = task_of(pair[1])
    check_fits(model, task, {name: pair})
    return score_model(model, as_source(name, pair, model), task, 0).losses.astype(np.float64), task == "classification"


def _encoded_losses(name: str, run: Run, data: Any) -> tuple[NDArray[np.float64], bool]:
    encoder = run.encoder
    assert encoder is not None
    rows, cells = rows_and_target(name, data, encoder.label.name)
    labels = encoder.labels(cells)
    if not encoder.classes:
        wrong = run.predict(rows).values.reshape(len(labels), -1) - labels.reshape(len(labels), -1)
        return np.asarray((wrong.astype(np.float64) ** 2).sum(1) / 2), False
    (outputs,), _ = answers([run], rows)
    y = torch.as_tensor(labels, device=outputs.device)
    return row_loss("classification", outputs, y).double().cpu().numpy(), True
