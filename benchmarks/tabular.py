"""Tables: the estimators of meden under a time limit, beside boosted trees and other networks.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/tabular.py --data DIR --out runs/tabular --limit 120

Every method gets the same rows as a DataFrame, with its own usual preparation: scikit-learn's trees take categories as
they are, CatBoost takes strings, scikit-learn's network a standardised one-hot pipeline under a grid search, RealMLP
prepares for itself. What is measured is balanced accuracy, so every classifier is told that all classes count alike, as
far as it can be told: by the weights of classes, and by the score that a grid search or RealMLP's stopping goes by (it
takes no weights). All else is at its default. Results are appended to a JSON-lines file as they come: a run that was
cut off goes on, and ``--tables``, ``--methods`` and ``--splits`` do it in pieces. The table that is printed tells all
that the file holds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV

CLASSIFICATION = (
    "adult",
    "anneal",
    "australian",
    "blood_transfusion",
    "cnae_9",
    "credit_g",
    "jasmine",
    "kc1",
    "mfeat_factors",
    "mice_protein",
    "phoneme",
    "pima_diabetes",
    "shuttle",
    "sonar",
    "spambase",
    "vehicle",
)
REGRESSION = ("abalone", "ames_housing", "boston", "california_housing", "concrete")
TABLES = [*CLASSIFICATION, *REGRESSION]
PACKAGES = {"CatBoost": "catboost", "RealMLP-TD": "pytabkit"}
"""What a method needs besides meden and scikit-learn."""
MOST_LEVELS = 255
"""What scikit-learn's trees take; columns of names with more are left out."""
LARGE = 10_000
"""Rows beyond which scikit-learn's network stops early."""
HOW_TO_INSTALL = "pip install -c constraints.txt -e '.[bench]'"


class Task(NamedTuple):
    """What a method is given."""

    regression: bool
    limit: float
    seed: int


class Result(NamedTuple):
    """One line of the file."""

    table: str
    split: int
    method: str
    score: float
    """Balanced accuracy or R2 on the test rows."""
    seconds: float
    """Of fitting and predicting."""
    limit: float
    note: str = ""


Predict = Callable[[pd.DataFrame, pd.Series, pd.DataFrame, Task], Any]
"""(training rows, targets, test rows, task) -> predictions."""


def with_meden(X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, task: Task) -> Any:
    settings = {"time_limit": task.limit, "random_state": task.seed}
    model = MLPRegressorCV(**settings) if task.regression else MLPClassifierCV(class_weight="balanced", **settings)
    return model.fit(X, y).predict(new)


def with_boosting(X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, task: Task) -> Any:
    kept = [name for name in X if name not in texts(X) or X[name].nunique() < MOST_LEVELS]
    X, new = as_categories(X[kept], new[kept])
    if task.regression:
        return HistGradientBoostingRegressor(random_state=task.seed).fit(X, y).predict(new)
    model = HistGradientBoostingClassifier(class_weight="balanced", random_state=task.seed)
    return model.fit(X, y).predict(new)


def with_catboost(X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, task: Task) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    X, new = (rows.fillna(dict.fromkeys(texts(rows), "missing")) for rows in (X, new))
    settings = {"thread_count": torch.get_num_threads(), "verbose": False, "allow_writing_files": False}
    settings |= {"cat_features": texts(X), "random_seed": task.seed}
    if task.regression:
        model = CatBoostRegressor(**settings)
    else:
        model = CatBoostClassifier(auto_class_weights="Balanced", **settings)
    return np.ravel(model.fit(X, y).predict(new))


def with_grid(X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, task: Task) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    levels = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    prepare = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (levels, make_column_selector(dtype_exclude="number"))
    )
    make = MLPRegressor if task.regression else MLPClassifier
    stops = len(X) > LARGE  # as scikit-learn's trees decide by themselves
    model = make_pipeline(prepare, make(hidden_layer_sizes=(128, 128), early_stopping=stops, random_state=task.seed))
    step = model.steps[-1][0]
    grid = {f"{step}__alpha": [1e-4, 1e-2, 1.0], f"{step}__learning_rate_init": [1e-3, 1e-2]}
    target = y if not task.regression else (y - y.mean()) / y.std()
    scoring, weights = "r2", {}
    if not task.regression:
        scoring, weights = "balanced_accuracy", {f"{step}__sample_weight": compute_sample_weight("balanced", y)}
    found = GridSearchCV(model, grid, scoring=scoring, cv=5, n_jobs=torch.get_num_threads()).fit(X, target, **weights)
    return found.predict(new) if not task.regression else found.predict(new) * y.std() + y.mean()


def with_realmlp(X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, task: Task) -> Any:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    for name in ("lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    settings = {"device": "cpu", "random_state": task.seed, "n_threads": torch.get_num_threads()}
    if task.regression:
        model = RealMLP_TD_Regressor(**settings)
    else:
        model = RealMLP_TD_Classifier(val_metric_name="1-balanced_accuracy", **settings)
    numbers = X.select_dtypes("number")
    medians = numbers.median()  # it takes no missing numbers
    X, new = (rows.fillna(medians) for rows in as_categories(X, new))
    return model.fit(X, y.to_numpy()).predict(new)


METHODS: dict[str, Predict] = {
    "meden": with_meden,
    "HistGradientBoosting": with_boosting,
    "CatBoost": with_catboost,
    "MLP grid": with_grid,
    "RealMLP-TD": with_realmlp,
}


def texts(rows: pd.DataFrame) -> list[str]:
    """Return the columns that are no numbers."""
    return [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]


def as_categories(X: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return text columns as pandas categories, those of the training rows; other levels are missing."""
    kinds = {name: pd.CategoricalDtype(sorted(X[name].fillna("missing").unique())) for name in texts(X)}
    filled = (rows.fillna(dict.fromkeys(kinds, "missing")) for rows in (X, new))
    first, second = (
        rows.assign(**{n: pd.Categorical(rows[n], dtype=kind) for n, kind in kinds.items()}) for rows in filled
    )
    return first, second


def read(data: Path, table: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return the columns of a table, and its target, the last one."""
    (path,) = (data / table).iterdir()
    frame = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False, na_values=[""])
    )
    return frame.iloc[:, :-1], frame.iloc[:, -1]


def measure(data: Path, table: str, split: int, method: str, limit: float) -> Result:
    """Fit one method to three quarters of a table, and score it on the others."""
    X, y = read(data, table)
    regression = table in REGRESSION
    if not regression:
        y = y.astype(str)
    X, new, y, true = train_test_split(X, y, test_size=0.25, random_state=split, stratify=None if regression else y)
    filled = X.columns[X.notna().any()]  # not all methods take a column without a value
    X, new = X[filled].reset_index(drop=True), new[filled].reset_index(drop=True)
    started = time.perf_counter()
    try:
        told = METHODS[method](X, y.reset_index(drop=True), new, Task(regression, limit, split))
        score = r2_score(true, told) if regression else balanced_accuracy_score(true, told)
        note = ""
    except Exception as error:  # one that fails is told in the table, and the others go on
        score, note = float("nan"), f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return Result(table, split, method, float(score), round(time.perf_counter() - started, 1), limit, note)


def results(path: Path, limit: float) -> dict[tuple[str, int, str], Result]:
    """Return what a file holds of a time limit."""
    lines = path.read_text().splitlines() if path.exists() else []
    told = (Result(**json.loads(line)) for line in lines)
    return {(r.table, r.split, r.method): r for r in told if r.limit == limit}


def mean_ranks(scores: pd.DataFrame) -> pd.Series:
    """Return the mean rank of each method (a column) over tables and splits (rows) that all of them have; 1 is best."""
    return scores.dropna().rank(axis=1, ascending=False).mean()


def cell(values: Iterable[float]) -> str:
    """Return mean ± standard error."""
    scores = np.array(list(values))
    if len(scores) == 0 or np.isnan(scores).all():
        return "-"
    error = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else float("nan")
    return f"{scores.mean():.3f} ± {error:.3f}"


def show(found: Mapping[tuple[str, int, str], Result], limit: float) -> None:
    """Print what is known: a line per table, then ranks and seconds."""
    methods = [name for name in METHODS if any(key[2] == name for key in found)]
    table = pd.DataFrame([r._asdict() for r in found.values()])
    wide = table.pivot(index=["table", "split"], columns="method", values="score")[methods]
    print(f"\nbalanced accuracy, or R2 of {', '.join(REGRESSION)}: mean ± standard error over splits")
    print(f"{'':20s}" + "".join(f"{name:>22s}" for name in methods))
    for name, rows in wide.groupby(level="table"):
        print(f"{name:20s}" + "".join(f"{cell(rows[method].dropna()):>22s}" for method in methods))
    ranks, seconds = mean_ranks(wide), table.groupby("method")["seconds"].agg(["mean", "max"])
    print(f"{'mean rank':20s}" + "".join(f"{ranks[method]:22.2f}" for method in methods))
    print(f"{'seconds, mean':20s}" + "".join(f"{seconds['mean'][method]:22.1f}" for method in methods))
    print(f"{'seconds, longest':20s}" + "".join(f"{seconds['max'][method]:22.1f}" for method in methods))
    print(f"ranks over {len(wide.dropna())} splits of {wide.dropna().index.get_level_values(0).nunique()} tables")
    for r in found.values():
        if r.note:
            print(f"failed: {r.method} on {r.table}, split {r.split}: {r.note}")
    print(f"limit {limit:g} s; torch {torch.__version__}, {torch.get_num_threads()} threads; {platform.platform()}")


def present(methods: Iterable[str]) -> list[str]:
    """Return the methods whose packages are here, and say how to install the others."""
    absent = [m for m in methods if m in PACKAGES and importlib.util.find_spec(PACKAGES[m]) is None]
    for method in absent:
        print(f"{method}: not here; {HOW_TO_INSTALL}")
    return [method for method in methods if method not in absent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with a folder for each table")
    parser.add_argument("--out", type=Path, default=Path("runs/tabular"), help="folder of results.jsonl")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that a fit of meden may take")
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES, metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--show", action="store_true", help="print what the file holds, and run nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.jsonl"
    methods = [] if options.show else present(options.methods)
    for table in options.tables:
        for split in options.splits:
            for method in methods:
                if (table, split, method) in results(path, options.limit):
                    continue
                result = measure(options.data, table, split, method, options.limit)
                with path.open("a") as file:
                    file.write(json.dumps(result._asdict()) + "\n")
                print(
                    f"{table:20s} split {split} {method:22s} {result.score:.4f} {result.seconds:7.1f} s {result.note}"
                )
    show(results(path, options.limit), options.limit)


if __name__ == "__main__":
    main()
