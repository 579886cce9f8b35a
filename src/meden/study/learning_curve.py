"""A learning curve in the number of rows: what more rows would give, beside what regularisation gives.

Legend: ``F`` folds, ``S`` sizes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from meden._checks import InputError, check_choice
from meden._shown import Pair, Shown
from meden.recipe import Recipe
from meden.report import Format
from meden.study.data_summary import DataSummary
from meden.study.learning_curve_page import learning_curve_report
from meden.study.learning_curve_text import sentences_of
from meden.study.metrics import MetricName
from meden.study.model_reference import ModelReference
from meden.study.selection import Score
from meden.study.size_curve import FARTHEST, Array, Prediction, SizeCurve
from meden.study.verdict import Sentence

CHOSEN, PLAIN = "chosen", "plain"
Same = Literal["steps", "epochs"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LearningCurve(Shown):
    """The result of :func:`meden.learning_curve`; prints what more rows would gain.

    Sizes are numbers of rows that train. Of all rows that there are, a fold keeps some to stop by and some to score.

    Attributes:
        metric: what is predicted: ``"loss"``, of classes; ``"mse"``, of numbers, in the units of the target.
        chosen: losses of the recipe by size.
        plain: losses of the same network with nothing that regularises; None if it was not trained.
        gain: how much better the recipe is than the plain network with all rows; above 0 is better. None if not known.
        gain_rows: rows that train where ``gain`` is known, the mean over the folds; None is the largest size.
        scores: accuracy of each fold at each size, (F, S), averaged over seeds, by network; empty for numbers.
        same: what all sizes were trained for as many of.
        num_seeds: runs per size and fold.
        seed: of folds, subsets, weights, batches and noise.
        data: what the data set was.
        model: who makes the models.
        recipe: how they were trained.
        model_args: what they were made with.
    """

    metric: MetricName
    chosen: SizeCurve
    plain: SizeCurve | None = None
    gain: Score | None = None
    gain_rows: float | None = None
    scores: Mapping[str, Array] = field(default_factory=dict)
    same: Same = "steps"
    num_seeds: int = 1
    seed: int = 0
    data: DataSummary
    model: ModelReference
    recipe: Recipe
    model_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> Array:
        """Rows that train, (S,), the mean over the folds."""
        return self.chosen.sizes

    @property
    def status(self) -> str:
        """``"ok"``, or ``"no_law"`` where nothing can be said of more rows."""
        return "no_law" if self.chosen.reason else "ok"

    @property
    def reason(self) -> str:
        """Why nothing can be said of more rows; empty where something can."""
        return self.chosen.reason

    def predict(self, n: float, network: str = CHOSEN) -> Prediction:
        """Return what ``n`` rows that train would give: (mean, low, high), with a 95 % interval.

        The interval is of what the same study would measure there: over the folds, over the form of the law
        (``c + a n^-b``, ``a n^-b`` or a constant), over the size at which it begins, and over the runs themselves.

        Args:
            n: rows that train, from where the law begins (the smallest size, or a later one) to twice the largest.
            network: ``"chosen"``, or ``"plain"`` where it was trained.

        Raises:
            InputError: if ``n`` is beyond, or no law fits: :attr:`reason` says why.
        """
        return self.curve(network).predict(n)

    def curve(self, network: str = CHOSEN) -> SizeCurve:
        """Return the curve of a network.

        Raises:
            InputError: if there is none of the name.
        """
        check_choice("network", network, (CHOSEN, PLAIN))
        if network == PLAIN and self.plain is None:
            raise InputError(
                "network must be 'chosen' unless the plain one was trained as well (plain=True), got 'plain'"
            )
        return self.plain if network == PLAIN and self.plain is not None else self.chosen

    @functools.cached_property
    def sentences(self) -> tuple[Sentence, ...]:
        """What the curve says, the answer first."""
        return sentences_of(
            self.chosen, self.plain, self.gain, self.metric, self.same, self.data.num_rows, self.gain_rows
        )

    def table(self) -> pd.DataFrame:
        """Return a row for each size: the loss of each network, its standard error over the folds, its accuracy."""
        columns: dict[str, Any] = {"rows": self.sizes}
        for curve in self._curves:
            prefix = "" if curve is self.chosen else f"{PLAIN}_"
            columns |= {f"{prefix}{self.metric}": curve.mean, f"{prefix}{self.metric}_error": curve.error}
            if curve.name in self.scores:
                columns[f"{prefix}accuracy"] = self.scores[curve.name].mean(axis=0)
        return pd.DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, of which JSON can hold all but numbers that are not finite."""
        return {
            "status": self.status,
            "reason": self.reason,
            "metric": self.metric,
            "rows": self.sizes.tolist(),
            "folds": len(self.chosen.values),
            "seeds": self.num_seeds,
            "same": self.same,
            "sentences": [dataclasses.asdict(sentence) for sentence in self.sentences],
            "gain": None if self.gain is None else dataclasses.asdict(self.gain),
            "gain_rows": self.gain_rows,
            "curves": {curve.name: self._plain_curve(curve) for curve in self._curves},
        }

    def report(self, path: Path | str, *, format: Format = "html", command: str = "") -> Path:
        """Write one HTML file that opens offline: what more rows would give, the curves, their numbers, the recipe.

        Args:
            path: of the file.
            format: ``"html"``, or ``"md"``: Markdown without the charts.
            command: the command line that made the curve, to be shown.
        """
        return learning_curve_report(
            self._curves,
            self.sentences,
            self.table(),
            path,
            metric=self.metric,
            gain=self.gain,
            gain_rows=self.gain_rows,
            data=self.data,
            recipe=self.recipe,
            model=self.model,
            model_args=self.model_args,
            command=command,
            format=format,
        )

    @property
    def _curves(self) -> list[SizeCurve]:
        return [self.chosen, *([] if self.plain is None else [self.plain])]

    def _plain_curve(self, curve: SizeCurve) -> dict[str, Any]:
        found: dict[str, Any] = {
            "mean": curve.mean.tolist(),
            "error": curve.error.tolist(),
            "folds": curve.values.tolist(),
            "reason": curve.reason,
        }
        if curve.fit is not None:
            law = {name: float(value) for name, value in curve.fit.law._asdict().items()}
            found["law"] = law | {"form": curve.fit.form, "begins": curve.fit.begins, "weights": curve.fit.weights}
            found["law"]["misfit"] = curve.fit.misfit
        if not curve.reason:
            twice = FARTHEST * curve.rows
            found["twice"] = {"rows": twice, **curve.predict(twice)._asdict()}
            found["gain_of_twice"] = curve.gain(twice)._asdict()
        return found

    def _pairs(self) -> Iterable[Pair]:
        yield from ((sentence.kind, sentence.text) for sentence in self.sentences)
        yield "rows", np.round(self.sizes).astype(int).tolist()

    def __str__(self) -> str:
        return "\n".join(sentence.text for sentence in self.sentences)
