"""Tables with many more columns than rows: what is kept, and what it is worth on held-out rows, beside the lasso.

    python benchmarks/wide_tables.py                      all three
    python benchmarks/wide_tables.py riboflavin --noise   one, held against noise columns, too

riboflavin (71 rows, 4,088 genes, a number), colon_alon (62, 2,000, two classes) and leukemia_golub (72, 7,129, two
classes). Five folds, the same for all. scikit-learn's LassoCV and LogisticRegressionCV (l1) choose their strength in
each fold by five folds of its training rows; meden's path takes the one-SE strength of the other four folds. "path" is
the penalised model itself, "network" the usual network for tables, trained on the columns that survive in the fold
("kept") or on all. Intervals are 95 %, corrected for the rows that folds share (Nadeau and Bengio). Seconds are of the
CPU on one thread, for all folds. Data are looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from meden.data import Dataset, Fold, as_dataset
from meden.search import CV
from meden.search.alternative import mean_over_folds, overlap
from meden.tabular.select import points_by_fold, select_inputs
from meden.tabular.selection import InputSelection

Array = NDArray[np.float64]
DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TABLES = {
    "riboflavin": ("log_riboflavin", ()),
    "colon_alon": ("tissue", ()),
    "leukemia_golub": ("subtype", ("official_split",)),
}


def lasso(dataset: Dataset, folds: list[Fold]) -> tuple[Array, Array]:
    """Return how many columns it keeps in each fold, and R2 or accuracy there, (F,) each."""
    x = np.column_stack(list(dataset.inputs.values.values()))
    y, kept, scores = dataset.labels, [], []
    variance = y.var() if dataset.task == "regression" else 1.0
    for fold in folds:
        fit = np.sort(np.concatenate([fold.fit, fold.stop]))
        if dataset.task == "regression":
            model = LassoCV(cv=5, random_state=0, max_iter=5000)
        else:
            model = LogisticRegressionCV(
                Cs=10, cv=5, l1_ratios=(1.0,), solver="liblinear", random_state=0, use_legacy_attributes=False
            )
        made = make_pipeline(StandardScaler(), model).fit(x[fit], y[fit])
        kept.append(np.count_nonzero(model.coef_))
        said = made.predict(x[fold.score])
        errors = (said - y[fold.score]) ** 2 / variance if dataset.task == "regression" else said != y[fold.score]
        scores.append(1 - errors.mean())
    return np.array(kept), np.array(scores)


def of_path(found: InputSelection, dataset: Dataset) -> tuple[Array, Array]:
    """Return how many columns the path keeps in each fold, and R2 or accuracy of its penalised models."""
    points = points_by_fold(found.path)
    kept = np.array([len(point.kept[fold]) for fold, point in enumerate(points)])
    scores = np.array([point.scores[fold] for fold, point in enumerate(points)])
    return kept, 1 - scores / dataset.labels.var() if dataset.task == "regression" else scores


def show(name: str, kept: Array | float, scores: Array, shared: float, seconds: float | None = None) -> None:
    told = mean_over_folds(scores, shared)
    spent = "" if seconds is None else f"{seconds:.0f}"
    count = f"{np.mean(kept):.1f}"
    print(f"| {name} | {count} | {told.mean:.3f} | {told.low:.3f} to {min(1.0, told.high):.3f} | {spent} |", flush=True)


def run(name: str, models: list[str], noise: bool) -> None:
    target, drop = TABLES[name]
    dataset = as_dataset(DATA / name / f"{name}.csv.gz", target=target, drop=drop)
    folds = CV(folds=5).divide(dataset, 0)
    shared, metric = overlap(folds), "R2" if dataset.task == "regression" else "accuracy"
    num = len(dataset.feature_names)
    print(f"\n{name}: {dataset.num_rows} rows, {num} columns\n")
    print(f"| | columns | {metric} | 95 % | CPU s |\n|---|---|---|---|---|")
    began = time.process_time()
    kept, scores = lasso(dataset, folds)
    show("scikit-learn, l1 by cross-validation", kept, scores, shared, time.process_time() - began)
    said = []
    for model in models:
        began = time.process_time()
        found = select_inputs(dataset, model=model, noise=noise, cv=CV(folds=folds))
        seconds = time.process_time() - began
        kept, scores = of_path(found, dataset)
        show(f"meden, {model} path", kept, scores, shared, seconds)
        for which, count in (("kept", kept), ("all", num), ("none", 0)):
            if which == "kept" or model == models[0]:
                by = f"of the {model} path" if which == "kept" else ""
                show(f"network, {which} {by}".rstrip(), count, found.results[which][found.metric], shared)
        said += [f"{model}: {sentence}" for sentence in found.sentences]
    print("\n" + "\n".join(said), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"of {', '.join(TABLES)}")
    parser.add_argument("--models", nargs="+", default=["linear", "mlp"])
    parser.add_argument("--noise", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    for name in asked.tables:
        run(name, asked.models, asked.noise)


if __name__ == "__main__":
    main()
