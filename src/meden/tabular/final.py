"""The models that predict after a search on a table.

Legend: ``n`` rows, ``C`` classes, ``T`` answers of a row, ``M`` numbers to predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError
from meden.data.targets import ClassCodec
from meden.deadline import Deadline
from meden.run import Ensemble, Run, answers
from meden.study import Study

Array = NDArray[Any]


def final_models(study: Study, policy: Literal["all", "folds"], deadline: Deadline | None = None) -> Sequence[Run]:
    """Train what predicts with the choice: see :meth:`meden.study.Study.refit`.

    Raises:
        InputError: if every run diverged.
    """
    final = study.refit(policy=policy, deadline=deadline)
    if final.failure:
        raise InputError(f"every final model {final.failure}; try lower learning rates")
    runs = final.runs if isinstance(final, Ensemble) else (final,)
    for run in runs:
        run.model.double()  # what a row gets then does not depend on the rows beside it, to nine digits
    return runs


def predicted(runs: Sequence[Run], frame: pd.DataFrame) -> Array:
    """Return the mean answer of models: probabilities (n, C) or (n, T, C), or numbers (n,) or (n, M)."""
    total: Any = 0.0
    for run, outputs in zip(runs, answers(runs, frame)[0], strict=True):
        assert run.encoder is not None
        classified = isinstance(run.encoder.target, ClassCodec)
        total = total + (outputs.softmax(-1).numpy() if classified else run.encoder.decode(outputs).values)
    return np.asarray(total / len(runs))
