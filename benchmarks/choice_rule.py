"""Which configuration a search on a table should keep: the best, or the simplest within one standard error of it.

    python benchmarks/choice_rule.py --data DIR --out runs/choice.jsonl
    python benchmarks/choice_rule.py --data DIR --out runs/choice.jsonl --tables sonar vehicle --rows 600 --epochs 48

Searches are those of the estimators by default (8 configurations, 5 folds, the mean of a model a fold), on two thirds
of the rows; what either rule keeps is trained from the same search and scored on the other third. Results are appended
to a file as they come, and a run that was cut off goes on. Differences are those of one_se over best, above 0 for
better: means over splits, then over tables, with the standard error over tables.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import train_test_split

import meden
from meden.data import as_dataset
from meden.study import Study
from meden.study.results import Which
from meden.tabular.defaults import BUDGET, DEFAULTS, FOLDS, MODEL, STRATEGY
from meden.tabular.networks import Networks
from meden.tabular.setup import set_up

CLASSIFICATION = ("sonar", "credit_g", "vehicle", "blood_transfusion", "pima_diabetes", "australian")
REGRESSION = ("boston", "concrete", "abalone")
TABLES = (*CLASSIFICATION, *REGRESSION)
Scores = dict[str, float]


def compared(path: Path, split: int, rows: int, epochs: int | None) -> dict[str, object]:
    """Search once, and return what each rule keeps and what its models do on the rows kept aside."""
    frame, table = pd.read_csv(path), path.parent.name
    frame = frame.sample(min(len(frame), rows), random_state=0)
    target = frame.columns[-1]
    strata = frame[target] if table in CLASSIFICATION else None
    train, test = train_test_split(frame, test_size=1 / 3, random_state=split, stratify=strata)
    task = "regression" if table in REGRESSION else "classification"
    dataset = as_dataset(train.reset_index(drop=True), target=target, task=task)
    recipe = DEFAULTS[MODEL].recipe_for(dataset.task)
    search = set_up(dataset, recipe=recipe.replace(epochs=epochs or recipe.epochs)).arguments() | {
        "folds": FOLDS,
        "budget": BUDGET,
        "strategy": STRATEGY,
    }
    study = meden.tune(**search, seed=split, baselines=False)
    found = {"best": scored(study, "best", test, target)}
    found["one_se"] = found["best"] if study.one_se is study.best else scored(study, "one_se", test, target)
    kept = {"best": study.best.params, "one_se": study.one_se.params}
    return {"table": table, "split": split, "params": kept, "scores": found}


def scored(study: Study, which: Which, test: pd.DataFrame, target: str) -> Scores:
    """Return the scores of the mean of a model a fold."""
    runs = study.refit(which, policy="folds").runs
    answers = Networks(runs, (1 / len(runs),) * len(runs)).answers(test.drop(columns=target))
    if study.data.task == "regression":
        return {"r2": float(r2_score(test[target], answers))}
    classes = np.array(study.data.classes)
    labels = np.array([list(map(str, classes)).index(str(label)) for label in test[target]])
    loss = log_loss(labels, answers, labels=range(len(classes)))
    return {"accuracy": float(accuracy_score(labels, answers.argmax(axis=1))), "loss": float(loss)}


def summarise(results: pd.DataFrame) -> None:
    """Print the paired differences, by table and in all."""
    for metric in ("accuracy", "loss", "r2"):
        told = results[[metric in scores["best"] for scores in results["scores"]]]
        if told.empty:
            continue
        sign = -1 if metric == "loss" else 1
        gains = pd.Series([sign * (s["one_se"][metric] - s["best"][metric]) for s in told["scores"]], told["table"])
        by_table = gains.groupby(level=0).mean()
        error = by_table.std() / np.sqrt(len(by_table))
        print(f"\n{metric}: one_se better by {by_table.mean():+.4f} ± {error:.4f} ({len(gains)} searches)")
        best = pd.Series([s["best"][metric] for s in told["scores"]], told["table"]).groupby(level=0).mean()
        other = pd.Series([not_same(p) for p in told["params"]], told["table"]).groupby(level=0).sum()
        print(pd.DataFrame({"best": best, "one_se gains": by_table, "choices differ": other}).round(4).to_string())


def not_same(params: dict[str, dict[str, object]]) -> bool:
    return params["best"] != params["one_se"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines")
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2], help="by their seeds")
    parser.add_argument("--rows", type=int, default=1000, help="of a table; of more, so many are drawn")
    parser.add_argument("--epochs", type=int, help="of a fit; the default recipe's unless given")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    lines = asked.out.read_text().splitlines() if asked.out.exists() else []
    done = {(line["table"], line["split"]) for line in map(json.loads, lines)}
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")
    for split in asked.splits:
        for table in asked.tables:
            if (table, split) in done:
                continue
            found = next((asked.data / table).glob(f"{table}.csv*"))
            with asked.out.open("a") as file:
                file.write(json.dumps(compared(found, split, asked.rows, asked.epochs)) + "\n")
            print(table, split, flush=True)
    summarise(pd.read_json(asked.out, lines=True))


if __name__ == "__main__":
    main()
