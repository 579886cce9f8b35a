"""The methods: each with its makers' defaults, or told which metric is measured as far as they have foreseen it.

Boosted trees and networks of pytabkit take one thread each, AutoGluon one core. Nothing is tuned by hand.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from contest.prepare import Levels, standard_columns, texts
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LassoCV, LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

METRICS = ("balanced_accuracy", "log_loss", "roc_auc", "accuracy")
"""Of classes, which a method can be told. Of numbers all measure squared errors by default."""
MOST_LEVELS = 255
"""What scikit-learn's trees take; columns of names with more are left out."""
LARGE = 10_000
"""Rows beyond which scikit-learn's network stops early, as its trees do by themselves."""
STRENGTHS = 20
"""Of the linear models' grids."""
SCORINGS = {"balanced_accuracy": "balanced_accuracy", "log_loss": "neg_log_loss", "roc_auc": "roc_auc_ovr"}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a method is told, besides the rows."""

    numbers: bool
    """Whether a number is to be predicted, and not a class."""
    told: str = ""
    """The metric; empty for its defaults."""
    limit: float = 0.0
    """Seconds; 0 is no limit."""
    seed: int = 0
    threads: int = 1

    @property
    def balanced(self) -> str | None:
        """What scikit-learn's ``class_weight`` is."""
        return "balanced" if self.told == "balanced_accuracy" else None


class Fitted(Protocol):
    """What answers: labels or numbers; a classifier has ``predict_proba``, too, in the sorted order of classes."""

    def predict(self, X: pd.DataFrame) -> Any:
        """Return labels or numbers, (n,)."""


Fit = Callable[[pd.DataFrame, pd.Series, Task], Any]


def meden(X: pd.DataFrame, y: pd.Series, task: Task, **settings: Any) -> Fitted:
    from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV

    make = MLPRegressorCV if task.numbers else MLPClassifierCV
    settings |= {"time_limit": task.limit or None, "random_state": task.seed}
    if takes("metric") and task.told:
        settings["metric"] = task.told if task.told != "log_loss" else "loss"
    elif task.balanced:
        settings["class_weight"] = "balanced"
    return make(**settings).fit(X, y)


def takes(name: str) -> bool:
    """Return whether meden's estimators have a parameter."""
    from meden.integrations.sklearn import MLPClassifierCV

    return name in inspect.signature(MLPClassifierCV).parameters


def boosting(X: pd.DataFrame, y: pd.Series, task: Task) -> Fitted:
    if task.numbers:
        model = HistGradientBoostingRegressor(random_state=task.seed)
    else:
        # the weighted loss stops it, where it stops early: balanced accuracy on few rows would, at chance
        model = HistGradientBoostingClassifier(class_weight=task.balanced, random_state=task.seed)
    return make_pipeline(Levels(most=MOST_LEVELS), model).fit(X, y)


def catboost(X: pd.DataFrame, y: pd.Series, task: Task) -> Fitted:
    from catboost import CatBoostClassifier, CatBoostRegressor

    settings: dict[str, Any] = {"thread_count": task.threads, "verbose": False, "allow_writing_files": False}
    settings |= {"cat_features": texts(X), "random_seed": task.seed}
    if task.numbers:
        model = CatBoostRegressor(**settings)
    else:
        settings |= {"auto_class_weights": "Balanced"} if task.balanced else {}
        model = CatBoostClassifier(**settings)
    return make_pipeline(Levels("string"), model).fit(X, y)


def pytabkit(X: pd.DataFrame, y: pd.Series, task: Task, *, name: str) -> Fitted:
    import pytabkit as makers

    for logger in ("lightning.pytorch", "pytorch_lightning", "lightning"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    settings: dict[str, Any] = {"device": "cpu", "random_state": task.seed, "n_threads": task.threads}
    if task.told:  # as the docstrings of pytabkit advise
        told = {"balanced_accuracy": "1-balanced_accuracy", "log_loss": "cross_entropy", "accuracy": "class_error"}
        settings["val_metric_name"] = told.get(task.told, "cross_entropy")
        settings |= {"calibration_method": "ts-mix"} if task.told == "log_loss" else {}
        settings |= {"use_ls": False} if name == "RealMLP_TD" and task.told in ("log_loss", "roc_auc") else {}
    model = getattr(makers, f"{name}_{'Regressor' if task.numbers else 'Classifier'}")(**settings)
    prepare = Levels(medians=True).fit(X)  # it takes no missing numbers
    return Prepared(prepare, model.fit(prepare.transform(X), y.to_numpy()))


@dataclass
class Prepared:
    """A model behind what prepares its rows, where a pipeline of scikit-learn would not take it."""

    prepare: Levels
    model: Any

    def predict(self, X: pd.DataFrame) -> Any:
        """Return labels or numbers, (n,)."""
        return self.model.predict(self.prepare.transform(X))

    def predict_proba(self, X: pd.DataFrame) -> Any:
        """Return probabilities, (n, C)."""
        return self.model.predict_proba(self.prepare.transform(X))


def linear(X: pd.DataFrame, y: pd.Series, task: Task, *, l1: bool) -> Fitted:
    """Fit a linear model whose strength is chosen by cross-validation."""
    if task.numbers:
        strengths = np.geomspace(1e-3, 1e5, STRENGTHS)
        model: Any = LassoCV(cv=5, random_state=task.seed, max_iter=5000) if l1 else RidgeCV(strengths)
        return make_pipeline(standard_columns(), StandardScaler(), model).fit(X, y)
    settings: dict[str, Any] = {"Cs": STRENGTHS, "cv": 5, "random_state": task.seed}
    if l1:
        solver = "liblinear" if y.nunique() == 2 else "saga"
        settings |= {"l1_ratios": (1.0,), "solver": solver, "tol": 1e-3, "max_iter": 200}
    else:
        settings |= {"l1_ratios": (0.0,), "max_iter": 500}
    model = LogisticRegressionCV(scoring=SCORINGS.get(task.told, "accuracy"), use_legacy_attributes=False, **settings)
    named = make_pipeline(standard_columns(), StandardScaler(), model)
    return named.fit(X, y, **balancing(y, task, type(model).__name__.lower()))


def balancing(y: pd.Series, task: Task, step: str) -> dict[str, Any]:
    """Return the weights of rows for a step of a pipeline; a search takes no weights of classes named by numbers."""
    return {f"{step}__sample_weight": compute_sample_weight("balanced", y)} if task.balanced else {}


def grid(X: pd.DataFrame, y: pd.Series, task: Task) -> Fitted:
    make = MLPRegressor if task.numbers else MLPClassifier
    network = make(hidden_layer_sizes=(128, 128), early_stopping=len(X) > LARGE, random_state=task.seed)
    model, step = make_pipeline(standard_columns(), network), make.__name__.lower()
    tried = {"alpha": [1e-4, 1e-2, 1.0], "learning_rate_init": [1e-3, 1e-2]}
    named = {f"{step}__{name}": values for name, values in tried.items()}
    if task.numbers:
        found = GridSearchCV(model, named, scoring="r2", cv=5)
        return TransformedTargetRegressor(found, transformer=StandardScaler()).fit(X, y)
    scoring = SCORINGS.get(task.told, "accuracy")
    return GridSearchCV(model, named, scoring=scoring, cv=5).fit(X, y, **balancing(y, task, step))


class AutoGluon(BaseEstimator):
    """AutoGluon's predictor in a folder that goes with it."""

    def __init__(self, task: Task, preset: str | None = None) -> None:
        self.task = task
        self.preset = preset

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Self:
        """Let it train within the limit, fold after fold: workers of ray would only share the few cores."""
        from autogluon.tabular import TabularPredictor

        told = {"": None, "roc_auc": "roc_auc_ovr" if y.nunique() > 2 else "roc_auc"}.get(
            self.task.told, self.task.told
        )
        kind = "regression" if self.task.numbers else ("binary" if y.nunique() == 2 else "multiclass")
        self.folder_ = tempfile.TemporaryDirectory()
        self.model_ = TabularPredictor(
            "the answer", problem_type=kind, eval_metric=told, path=self.folder_.name, verbosity=0
        ).fit(
            X.assign(**{"the answer": y}),
            time_limit=self.task.limit or None,
            presets=self.preset,
            **({"ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"}} if self.preset else {}),
            num_cpus=self.task.threads,
            num_gpus=0,
        )
        return self

    def predict(self, X: pd.DataFrame) -> Any:
        """Return labels or numbers."""
        return self.model_.predict(X)

    def predict_proba(self, X: pd.DataFrame) -> Any:
        """Return probabilities, the classes sorted."""
        told = self.model_.predict_proba(X)
        return told[sorted(told.columns)]


def autogluon(X: pd.DataFrame, y: pd.Series, task: Task, *, preset: str | None = None) -> Fitted:
    return AutoGluon(task, preset).fit(X, y)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One contender."""

    fit: Fit
    package: str
    """Its distribution, whose version is told."""
    module: str = ""
    """What is imported, if that has another name."""
    budget: bool = False
    """Whether it takes a limit of time."""
    large: bool = False
    """Whether it is tried on tables that are large."""
    tellable: tuple[str, ...] = METRICS
    """The metrics that its makers let it be told."""
    needs: tuple[str, ...] = field(default=())
    """Parameters of meden's estimators without which it is not there yet."""

    @property
    def present(self) -> bool:
        """Whether it can run here; what it needs is imported, so that no fit pays for that."""
        try:
            importlib.import_module(self.module or self.package)
        except ImportError:
            return False
        return all(takes(name) for name in self.needs)

    @property
    def version(self) -> str:
        """Return the package's version, and meden's revision."""
        told = importlib.metadata.version(self.package)
        return f"{told}+{revision()}" if self.package == "meden" else told


def revision() -> str:
    """Return the commit that meden is imported from; empty if that is not known."""
    spec = importlib.util.find_spec("meden")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def own(fit: Fit, **settings: Any) -> Method:
    return Method(fit=fit, package="meden", module="meden.integrations.sklearn", large=True, **settings)


def of_scikit_learn(fit: Fit, large: bool = True, tellable: tuple[str, ...] = METRICS) -> Method:
    return Method(fit=fit, package="scikit-learn", module="sklearn", large=large, tellable=tellable)


def of_autogluon(fit: Fit) -> Method:
    return Method(fit=fit, package="autogluon.tabular", budget=True, large=True)


METHODS: dict[str, Method] = {
    "meden": own(meden, budget=True),
    "meden usual": own(partial(meden, budget=1, families=("network",)), budget=True, needs=("families",)),
    **{f"meden {name}": own(partial(meden, preset=name), needs=("preset",)) for name in ("fast", "good", "best")},
    "HistGradientBoosting": of_scikit_learn(boosting, tellable=("balanced_accuracy",)),
    "CatBoost": Method(fit=catboost, package="catboost", large=True, tellable=("balanced_accuracy",)),
    "ridge": of_scikit_learn(partial(linear, l1=False)),
    "lasso": of_scikit_learn(partial(linear, l1=True), large=False),
    "RealMLP-TD": Method(fit=partial(pytabkit, name="RealMLP_TD"), package="pytabkit"),
    "MLP grid": of_scikit_learn(grid, large=False),
    "TabM": Method(fit=partial(pytabkit, name="TabM_D"), package="pytabkit"),
    "AutoGluon": of_autogluon(autogluon),
    "AutoGluon best": of_autogluon(partial(autogluon, preset="best_quality")),
}
"""By name; "ridge" and "lasso" are logistic regression where there are classes."""
