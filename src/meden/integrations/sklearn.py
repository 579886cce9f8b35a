"""scikit-learn estimators: the best answer on a table, with the amount of regularisation found by cross-validation.

Legend: ``n`` rows, ``C`` classes, ``T`` answers of a row, ``M`` numbers to predict.
"""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d, validate_data

from meden import search
from meden._checks import InputError, check_choice, check_count, check_number
from meden.data import Dataset
from meden.data.dataset import group_codes, name_of, with_warning
from meden.data.frames import as_pandas
from meden.data.tables import Table, named_columns, read_columns
from meden.data.targets import Target, as_label
from meden.deadline import now
from meden.integrations._selector import Selector
from meden.models.placed import HERE, check_device
from meden.recipe import Recipe
from meden.run import Run
from meden.space.names import Space
from meden.study import Score, Study
from meden.study.decision import check_costs
from meden.study.metrics import MetricName
from meden.tabular.answer import FAMILIES, REFITS, Question, Refit
from meden.tabular.candidate import Family
from meden.tabular.defaults import FOLDS, PRESETS
from meden.tabular.mixture import Mixture
from meden.tabular.network_search import NetworkSearch
from meden.tabular.networks import Networks
from meden.tabular.select import select_inputs
from meden.tabular.selection import InputSelection

__all__ = ["MLPClassifierCV", "MLPRegressorCV", "cv_results"]

Array = NDArray[Any]
PresetName = Literal["fast", "good", "best"]
OPTIONAL = ("study_", "best_params_", "best_recipe_", "best_index_", "cv_results_", "selection_", "support_")
"""Attributes that a fit may not have."""
NOTHING = "no column"
"""A column of zeros, which the models are given where no column is kept."""


@dataclasses.dataclass(frozen=True)
class Given:
    """Rows as they came."""

    frame: pd.DataFrame
    answers: Array
    """(n,), (n, T) or (n, M)"""
    groups: Any
    weights: Array | None
    """(n,), or None for 1 each"""
    name: str
    """Of what is to be predicted."""

    @property
    def counting(self) -> Array:
        """Which rows have a weight above 0, (n,)."""
        return np.ones(len(self.frame), dtype=bool) if self.weights is None else self.weights > 0

    def take(self, kept: Array) -> Given:
        """Return some rows, chosen by a mask (n,)."""
        groups, weights = (None if part is None else np.asarray(part)[kept] for part in (self.groups, self.weights))
        return Given(self.frame[kept], self.answers[kept], groups, weights, self.name)

    def dataset(self, target: Target) -> Dataset:
        """Return the data set; weights are 1 in the mean."""
        weights = None if self.weights is None else self.weights / self.weights.mean()
        made = Dataset(read_rows(self.frame), target, group_codes(self.groups, len(self.frame)), weights)
        return with_warning(made)


class _TableEstimator(Selector, BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: reading X, selecting columns, the search, the final models."""

    preset: PresetName | None
    budget: int | None
    time_limit: float | None
    cv: int
    metric: MetricName
    families: Sequence[Family]
    space: Space | None
    recipe: Recipe | None
    refit: Refit
    select: Literal["inputs"] | None
    device: str
    random_state: Any
    verbose: int

    classes_: Any
    mixture_: Mixture
    score_: Score
    score_interval_: tuple[float, float]
    study_: Study
    runs_: list[Run]
    best_params_: dict[str, Any]
    best_recipe_: Recipe
    best_index_: int
    cv_results_: dict[str, Any]
    selection_: InputSelection
    n_features_in_: int
    feature_names_in_: Array

    def _search(self, given: Given, target: Target, folds: int, costs: Array | None = None) -> Self:
        """Search, train what predicts, and set the attributes of a fitted estimator."""
        started = now()
        for name in set(OPTIONAL) & set(vars(self)):  # of a fit before
            delattr(self, name)
        dataset = given.dataset(target)
        num_units = dataset.num_rows if dataset.groups is None else len(np.unique(dataset.groups))
        folds, seed = max(2, min(folds, num_units)), seed_of(self.random_state)
        if self.select is not None:
            dataset = self._selected(dataset, given.frame, folds, seed)
        found = Question(
            dataset=dataset,
            families=tuple(self.families),
            metric=self.metric,
            costs=costs,
            folds=folds,
            search=NetworkSearch(
                space=self.space,
                recipe=self.recipe,
                budget=self.budget,
                device=self.device,
                seed=seed,
                on_progress=self._progress(),
            ),
            refit=self.refit,
            time_limit=self._limit,
            since=started,
        ).answer()
        self.mixture_, self.score_ = found.mixture, found.score
        self.runs_ = [run for model in self.mixture_.models if isinstance(model, Networks) for run in model.runs]
        if self.select is not None:  # the rows of the study have chosen its columns
            self.score_ = self.selection_.score("kept", cast(MetricName, found.score.metric), found.score.confidence)
        self.score_interval_ = (self.score_.low, self.score_.high)
        if found.study is not None and found.study.usable:
            self.study_, choice = found.study, found.study.choice
            self.best_recipe_, self.best_params_ = self.study_.recipe_of(choice)[0], choice.params
            self.best_index_ = [trial.number for trial in self.study_.trials].index(choice.number)
            self.cv_results_ = cv_results(self.study_)
        return self

    @property
    def _limit(self) -> float | None:
        return self.time_limit if self.preset is None else PRESETS[self.preset].seconds

    def _selected(self, dataset: Dataset, frame: pd.DataFrame, folds: int, seed: int) -> Dataset:
        """Return the data set with the columns that survive, or one of zeros if none does."""
        self.selection_ = select_inputs(
            dataset, device=self.device, noise=False, cv=search.CV(folds=folds), seed=seed, on_progress=self._progress()
        )
        kept = set(self.selection_.kept)
        self.support_ = np.array([str(name) in kept for name in frame.columns])
        assert isinstance(dataset.inputs, Table)
        inputs = dataset.inputs.only(kept)
        if not kept:
            warnings.warn(
                "no column survives: the models have no inputs and predict the same for all rows", stacklevel=5
            )
            inputs = read_rows(_with_nothing(frame)[[NOTHING]])
        return dataclasses.replace(dataset, inputs=inputs)

    def _progress(self) -> search.ProgressLines | None:
        return search.ProgressLines(each=self.verbose > 1) if self.verbose else None

    def _check_settings(self) -> None:
        """Check the parameters, at the time of fitting, as scikit-learn wants it."""
        if self.budget is not None:
            check_count("budget", self.budget)
        if self.preset is not None:
            check_choice("preset", self.preset, PRESETS)
            if self.time_limit is not None:
                told = f"preset={self.preset!r} already means {PRESETS[self.preset].seconds:g} s"
                raise InputError(f"time_limit must be None: {told}, got {self.time_limit!r}")
        if isinstance(self.families, str) or not isinstance(self.families, Sequence):
            raise InputError(f"families must be a list of some of {', '.join(FAMILIES)}, got {self.families!r:.80}")
        check_count("cv", self.cv, low=2)
        check_choice("refit", self.refit, REFITS)
        if self.select is not None:
            check_choice("select", self.select, ("inputs",))
            if getattr(self, "costs", None) is not None:
                raise InputError("costs must be None when columns are selected, got a matrix")
            if self._limit is not None:
                raise InputError(f"preset and time_limit must be None when columns are selected, got {self._limit:g} s")
        check_device("device", self.device)
        check_count("verbose", self.verbose, low=0)
        if self.time_limit is not None:
            check_number("time_limit", self.time_limit, low=0.0, low_open=True)
        if not isinstance(self.recipe, Recipe | None):
            raise InputError(f"recipe must be a meden.Recipe or None, got {self.recipe!r:.80}")
        if not isinstance(self.space, Mapping | None):
            raise InputError(f"space must be a mapping of names to dimensions or None, got {self.space!r:.80}")

    def _frame(self, X: Any, *, fitting: bool) -> pd.DataFrame:
        """Return X as a table with names of columns; NaN is a missing value."""
        X = as_pandas(X)
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=fitting, skip_check_array=True)
            if len(X) < 1 + fitting:
                raise InputError(f"X must have at least {1 + fitting} rows, got {len(X)} sample(s)")
            return X.reset_index(drop=True)
        least = {"ensure_min_samples": 2} if fitting else {}
        cells = validate_data(self, X, reset=fitting, dtype=None, ensure_all_finite="allow-nan", **least)
        return pd.DataFrame(cells, columns=[f"x{i}" for i in range(cells.shape[1])]).infer_objects()

    def _answers(self, X: Any) -> Array:
        check_is_fitted(self)
        frame = self._frame(X, fitting=False)
        nothing = self.select is not None and not self.support_.any()
        return self.mixture_.answers(_with_nothing(frame) if nothing else frame)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.multi_output = True
        return tags


class MLPClassifierCV(ClassifierMixin, _TableEstimator):  # type: ignore[misc]
    """A classifier for tables: a mixture of models whose regularisation is chosen by cross-validation.

    Networks, linear models and trees learn from the same folds; what they say of rows that they have not seen decides
    what is mixed (greedy ensemble selection), so that where few columns matter, or columns outnumber rows, a sparse
    linear model may answer, and a network where that is better.

    X may be a DataFrame with numbers, strings, categories, booleans, dates and missing values, or an array (n, D) in
    which NaN is a missing value: encoders are fitted inside the folds. y holds classes (n,), or the labels of several
    answers (n, T), such as zeros and ones for T tags.

    Args:
        preset: ``"fast"``, ``"good"`` or ``"best"``: a time limit of 10, 60 or 600 seconds. None is none.
        budget: configurations of networks, 1 or more; with the default space the first is the usual one. None is 16,
            or as many as there is time for.
        time_limit: seconds for the whole fit. What is found then depends on the speed of the machine. None is no limit.
        cv: number of folds, 2 or more; fewer where no class has so many rows.
        metric: what counts, as for :func:`meden.tune`: it decides what is mixed and which label ``predict`` names.
            Balanced accuracy divides probabilities by the shares of the classes, F1 moves the thresholds; all others
            name the most probable class.
        families: what may be mixed: ``"network"``, ``"linear"`` (ridge, lasso and logistic regressions along paths of
            strengths) and ``"trees"`` (boosted trees and randomised forests of scikit-learn).
        space: what is searched, as in :func:`meden.tune`; None is the default space.
        recipe: what all configurations share, but for names that are searched: where it sets the learning rate, give a
            ``space`` without ``lr``, too. None is the default one for tables.
        refit: what predicts of each network that is mixed: ``"folds"``, the mean of a model a fold; ``"all"``, one
            model trained on all rows; ``"seeds"``, the mean of several of these. Linear models and trees are always
            the mean of the folds.
        select: ``"inputs"`` keeps the columns of X that survive a path of strengths at the one-SE strength
            (:func:`meden.tabular.select.select_inputs`), and searches and trains on these alone; the estimator then is
            a selector, too. None keeps all.
        device: that networks are trained on, as torch names it: ``"cuda"`` pays where rows are many. What is fitted is
            on the CPU, and predicts there.
        class_weight: weights of classes, a mapping; ``"balanced"`` for the same total in each; None for 1 each. They
            multiply those of rows.
        costs: (C, C), what it costs to name a class (column) where another is true (row), in the order of
            ``classes_``: ``predict`` then names the class that costs least. None is what ``metric`` says.
        random_state: a seed, the same as that of ``meden tune``; a ``RandomState``; or None.
        verbose: 0 is silent; 1 prints how far the search is, a line every half minute; 2 one with each configuration
            that is finished, too.

    Attributes:
        classes_: class labels in sorted order, (C,); a list of T such arrays for several labels per row.
        mixture_: the :class:`meden.tabular.mixture.Mixture` that predicts: ``mixture_.parts`` lists its parts, with the
            weight and the loss of each alone.
        score_: expected score on new rows in ``metric`` (accuracy or RMSE if that is the loss): the out-of-fold score
            of the mixture, corrected for the selection, including that of its temperature and decision rule.
        score_interval_: its 90 % interval.
        study_: the :class:`meden.study.Study` of the networks, including the training rows.
        runs_: the networks of the mixture, one run per fold.
        best_params_: parameters of the study's choice: as in ``meden tune``, the simplest configuration within one
            standard error of the best, so that its rank may be above 1.
        best_recipe_: recipe of the choice.
        best_index_: index of the choice in ``cv_results_``.
        cv_results_: results of every configuration, in the format of scikit-learn's searches; ``mean_test_score`` is
            the negative held-out cross-entropy in nats, ``mean_test_accuracy`` the accuracy.
        support_: with ``select``, mask of the columns of X that are kept, (D,).
        selection_: with ``select``, the :class:`meden.tabular.selection.InputSelection`: how often each column is kept,
            and how good predictions from the kept columns are. The columns were selected on all rows, so the scores of
            ``study_`` and ``cv_results_`` are too optimistic; ``score_interval_`` is then that of the default network
            on the columns kept within each fold.
        n_features_in_: number of columns of X.
        feature_names_in_: names of the columns of X, if they have names.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = MLPClassifierCV(budget=1, cv=2, recipe=Recipe(epochs=3), random_state=0).fit(X, y)
        >>> model.predict_proba(X).shape
        (150, 3)
    """

    def __init__(
        self,
        *,
        preset: PresetName | None = None,
        budget: int | None = None,
        time_limit: float | None = None,
        cv: int = FOLDS,
        metric: MetricName = "loss",
        families: Sequence[Family] = FAMILIES,
        space: Space | None = None,
        recipe: Recipe | None = None,
        refit: Refit = "folds",
        select: Literal["inputs"] | None = None,
        device: str = HERE,
        class_weight: Mapping[Any, float] | str | None = None,
        costs: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.preset = preset
        self.budget = budget
        self.time_limit = time_limit
        self.cv = cv
        self.metric = metric
        self.families = families
        self.space = space
        self.recipe = recipe
        self.refit = refit
        self.select = select
        self.device = device
        self.class_weight = class_weight
        self.costs = costs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Search, and train what predicts.

        Args:
            X: (n, D) table or array.
            y: (n,) classes, or (n, T) labels.
            sample_weight: (n,) zero or more: what each row counts in training, stopping and choosing, relative to the
                others; encoders do not heed it. Rows of weight 0 are left out.
            groups: (n,) labels of rows that stay together in a fold; None if rows are independent.

        Raises:
            ValueError: in one line, before any compute, if something does not fit.
        """
        self._check_settings()
        frame, labels = self._frame(X, fitting=True), self._labels(y)
        check_consistent_length(frame, labels, groups)
        weights = row_weights(len(frame), sample_weight)
        if self.class_weight is not None:
            weights = times_classes(weights, self.class_weight, labels)
        given = Given(frame, labels, groups, weights, name_of(y))
        self._several = labels.ndim == 2
        return self._fit_several(given) if self._several else self._fit_one(given)

    def _fit_one(self, given: Given) -> Self:
        self.classes_, codes = np.unique(given.answers, return_inverse=True)
        sizes = np.bincount(codes[given.counting], minlength=len(self.classes_))
        self._known = np.flatnonzero(sizes > 1)
        if len(self._known) < 2:
            counts = ", ".join(f"{size} of {name!r}" for name, size in zip(self.classes_.tolist(), sizes, strict=True))
            raise InputError(f"y must hold at least two classes with at least two rows each, got {counts:.200}")
        if lone := self.classes_[sizes == 1].tolist():
            warnings.warn(
                f"classes with only one row cannot be both trained on and held out; left out: {lone!r}", stacklevel=3
            )
        given = given.take(given.counting & np.isin(codes, self._known))
        known = self.classes_[self._known]
        labels = np.searchsorted(known, given.answers)
        target = Target(given.name, "classification", tuple(map(as_label, known)), labels)
        costs = (
            None
            if self.costs is None
            else check_costs(self.costs, len(self.classes_))[np.ix_(self._known, self._known)]
        )
        return self._search(given, target, max(2, min(self.cv, int(sizes.max()))), costs)

    def _fit_several(self, given: Given) -> Self:
        if self.costs is not None:
            raise InputError("costs must be None for several labels per row, got a matrix")
        self.classes_ = [np.unique(column) for column in given.answers.T]
        given = given.take(given.counting)
        columns = zip(self.classes_, given.answers.T, strict=True)
        codes = np.stack([np.searchsorted(classes, column) for classes, column in columns], axis=1)
        num_classes = max(2, *map(len, self.classes_))
        return self._search(given, Target(given.name, "classification", tuple(range(num_classes)), codes), self.cv)

    def _labels(self, y: Any) -> Array:
        """Return y as an array (n,) or (n, T) of labels."""
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = as_pandas(y)
        if isinstance(y, pd.Series):
            y = y.reset_index(drop=True)
            if y.isna().any():
                rows = np.flatnonzero(y.isna())
                raise InputError(f"y must have a label in every row, got {len(rows)} missing, NaN (row {rows[0]})")
            y = y.astype(object).infer_objects().to_numpy()
        cells = check_array(y, dtype=None, ensure_2d=False, input_name="y")
        check_classification_targets(cells)
        several = type_of_target(cells).startswith("multi") and cells.ndim == 2 and cells.shape[1] > 1
        return np.asarray(cells if several else column_or_1d(cells, warn=True))

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities (n, C); for several answers a list of T arrays, with the classes of each."""
        probabilities = self._answers(X)
        if not self._several:
            full = np.zeros((len(probabilities), len(self.classes_)))
            full[:, self._known] = probabilities
            return full
        each = [probabilities[:, i, : len(classes)] for i, classes in enumerate(self.classes_)]
        return [part / part.sum(axis=1, keepdims=True) for part in each]

    def predict(self, X: Any) -> Array:
        """Return labels, (n,) or (n, T): the most probable, or what ``metric`` or ``costs`` make of probabilities."""
        check_is_fitted(self)
        if not self._several:
            probabilities = self._answers(X)
            assert self.mixture_.decision is not None
            return np.asarray(self.classes_[self._known[self.mixture_.decision.labels(probabilities)]])
        each = zip(self.classes_, self.predict_proba(X), strict=True)
        return np.stack([classes[part.argmax(axis=1)] for classes, part in each], axis=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressorCV(RegressorMixin, _TableEstimator):  # type: ignore[misc]
    """A regressor for tables: a mixture of models whose regularisation is chosen by cross-validation.

    y holds numbers (n,), or several numbers a row (n, M), which are standardised one by one. In all else it is like
    :class:`MLPClassifierCV`; ``mean_test_score`` is minus half the held-out squared error in units of the target's
    standard deviation, and ``mean_test_mse`` the squared error in the target's own units. ``score_interval_`` is of the
    RMSE; ``study_.score_of("r2")`` has that of R2.

    Args:
        preset: ``"fast"``, ``"good"`` or ``"best"``, as for :class:`MLPClassifierCV`.
        budget: configurations of networks, 1 or more.
        time_limit: seconds for the whole fit; None is no limit.
        cv: number of folds, 2 or more.
        metric: what counts, as for :func:`meden.tune`: it decides what is mixed.
        families: what may be mixed, as for :class:`MLPClassifierCV`.
        space: what is searched, as in :func:`meden.tune`; None is the default space.
        recipe: what all configurations share, but for names that are searched: where it sets the learning rate, give a
            ``space`` without ``lr``, too. None is the default one for tables.
        refit: what predicts of each network that is mixed, as for :class:`MLPClassifierCV`.
        select: ``"inputs"`` keeps the columns of X that survive, as for :class:`MLPClassifierCV`; None keeps all.
        device: that networks are trained on, as for :class:`MLPClassifierCV`.
        random_state: a seed, the same as that of ``meden tune``; a ``RandomState``; or None.
        verbose: 0 is silent; 1 prints how far the search is, a line every half minute; 2 one with each configuration
            that is finished, too.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = MLPRegressorCV(budget=1, cv=2, recipe=Recipe(epochs=3), random_state=0).fit(X, y)
        >>> model.predict(X).shape
        (442,)
    """

    def __init__(
        self,
        *,
        preset: PresetName | None = None,
        budget: int | None = None,
        time_limit: float | None = None,
        cv: int = FOLDS,
        metric: MetricName = "loss",
        families: Sequence[Family] = FAMILIES,
        space: Space | None = None,
        recipe: Recipe | None = None,
        refit: Refit = "folds",
        select: Literal["inputs"] | None = None,
        device: str = HERE,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.preset = preset
        self.budget = budget
        self.time_limit = time_limit
        self.cv = cv
        self.metric = metric
        self.families = families
        self.space = space
        self.recipe = recipe
        self.refit = refit
        self.select = select
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Search, and train what predicts.

        Args:
            X: (n, D) table or array.
            y: (n,) or (n, M) numbers.
            sample_weight: (n,) zero or more: what each row counts in training, stopping and choosing, relative to the
                others; encoders do not heed it. Rows of weight 0 are left out.
            groups: (n,) labels of rows that stay together in a fold; None if rows are independent.

        Raises:
            ValueError: in one line, before any compute, if something does not fit.
        """
        self._check_settings()
        frame = self._frame(X, fitting=True)
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        values = check_array(y, dtype="numeric", ensure_2d=False, input_name="y")
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        check_consistent_length(frame, values, groups)
        given = Given(frame, values, groups, row_weights(len(frame), sample_weight), name_of(y))
        given = given.take(given.counting)
        return self._search(given, Target(given.name, "regression", (), given.answers.astype(np.float64)), self.cv)

    def predict(self, X: Any) -> Array:
        """Return numbers, (n,) or (n, M)."""
        return self._answers(X)


def _with_nothing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{NOTHING: 0.0})


def read_rows(frame: pd.DataFrame) -> Table:
    """Return the columns of a table that hold a value.

    Raises:
        InputError: if no column does, or one cannot be read.
    """
    frame = named_columns(frame)
    holding = frame.columns[frame.notna().any()]
    if len(holding) == 0:
        raise InputError("X must have a column with values, got none")
    return read_columns(frame[holding])


def seed_of(random_state: Any) -> int:
    """Return the seed of a search: a whole number is the seed itself, as on the command line."""
    state = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, numbers.Integral) else int(state.randint(2**31 - 1))


def cv_results(study: Study) -> dict[str, Any]:
    """Return the configurations of a study in the form of scikit-learn's ``cv_results_``.

    ``split<i>_test_score`` is minus the mean held-out loss of a fold (and seed), and ``mean_test_<metric>`` the mean
    accuracy or squared error; a configuration that diverged has NaN and ranks last.
    """
    scores = -np.stack([trial.fold_losses for trial in study.trials])
    means = scores.mean(axis=1)
    columns: dict[str, Any] = {"params": [trial.params for trial in study.trials]}
    for name in study.space:
        columns[f"param_{name}"] = np.ma.array([trial.params[name] for trial in study.trials], dtype=object)
    columns |= {f"split{i}_test_score": column for i, column in enumerate(scores.T)}
    columns |= {"mean_test_score": means, "std_test_score": scores.std(axis=1)}
    columns["rank_test_score"] = rankdata(np.where(np.isfinite(means), -means, np.inf), method="min").astype(np.int32)
    return columns | {f"mean_test_{study.metric}": np.array([trial.score for trial in study.trials])}


def row_weights(num_rows: int, sample_weight: Any) -> Array | None:
    """Return the weights of rows (n,), or None if there are none.

    Raises:
        InputError: if they are no (n,) numbers of at least 0, or are all 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"))
    if weights.shape != (num_rows,):
        raise InputError(f"sample_weight must be {num_rows} numbers of at least 0, got shape {weights.shape}")
    if weights.min() < 0:
        raise InputError(f"sample_weight must be {num_rows} numbers of at least 0, got {weights.min():g}")
    if not weights.any():
        raise InputError("sample_weight must be above zero in some rows, got zero weights only")
    return weights


def times_classes(weights: Array | None, class_weight: Mapping[Any, float] | str, labels: Array) -> Array:
    """Return the weights of rows (n,) times those of their classes, of which rows of weight 0 are no part.

    Raises:
        InputError: if no row has a weight above 0.

    Example:
        >>> times_classes(np.array([0.0, 1.0, 1.0, 2.0]), "balanced", np.array(["a", "a", "b", "b"])).tolist()
        [0.0, 1.5, 0.75, 1.5]
    """
    weights = np.ones(len(labels)) if weights is None else weights
    counting = weights > 0
    product = np.zeros(len(labels))
    product[counting] = weights[counting] * compute_sample_weight(class_weight, labels[counting])
    if (product < 0).any() or not product.any():
        raise InputError(
            f"class_weight must be numbers of at least 0, and above 0 in some rows, got {class_weight!r:.80}"
        )
    return product
