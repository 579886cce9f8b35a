"""Does a printed accuracy mean what it says? Labels are coin flips, so that the truth is 0.5 for whatever is chosen.

    python benchmarks/coin_flips.py --repeats 20
    python benchmarks/coin_flips.py --repeats 20 --rows 60 100 --columns 500 --roads estimator    wide tables

Each road prints an accuracy on rows that it did not train on: ``fit`` on its held-out part; ``tune``, which chooses by
accuracy, corrected for having chosen; ``compare`` of the first of four alternatives, and of the best of them, which is
not corrected for having been picked; the estimator, corrected. The table has the mean over data sets, its standard
error, and how often the printed interval held 0.5. The intervals are of 90 %, those of ``compare`` of 95 %; ``fit``
prints a standard error, of which 1.645 are taken to both sides. A table of 60 coins has 33 of one side on average, and
stratified folds share that luck: a constant model is right on 0.55 of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

Answer = tuple[float, float, float]
"""Accuracy and the ends of its interval, 90 %."""


def coins(num_rows: int, num_columns: int, seed: int) -> pd.DataFrame:
    """Return a table of normal numbers and a coin flip."""
    noise = np.random.default_rng((num_rows, seed))
    names = [f"x{place}" for place in range(num_columns)]
    table = pd.DataFrame(noise.normal(size=(num_rows, num_columns)), columns=names)
    return table.assign(y=noise.choice(["heads", "tails"], num_rows))


def printed(*line: str) -> dict[str, object]:
    """Return what a command prints as JSON."""
    from meden.cli.app import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        status = main([*line, "--json"])
    assert status == 0, line
    return json.loads(out.getvalue())  # type: ignore[no-any-return]


def around(value: float, error: float) -> Answer:
    """Return an estimate with its interval."""
    return value, value - 1.645 * error, value + 1.645 * error


def by_fit(_table: pd.DataFrame) -> Answer:
    """Return what ``meden fit`` prints of its held-out rows."""
    found = printed("fit", "coins.csv", "-t", "y", "-o", "fit")
    return around(found["held_out"]["accuracy"], found["held_out_error"]["accuracy"])  # type: ignore[index]


def by_tune(_table: pd.DataFrame) -> Answer:
    """Return what ``meden tune`` expects on new rows, corrected for having chosen."""
    usual = ("-o", "tune", "--metric", "accuracy", "--model", "mlp", "--budget", "8")
    found = printed("tune", "coins.csv", "-t", "y", *usual)
    (score,) = [score for score in found["scores"] if score["metric"] == "accuracy"]  # type: ignore[attr-defined]
    return score["estimate"], score["low"], score["high"]


def by_compare(_table: pd.DataFrame) -> Answer:
    """Return the first alternative of ``meden compare``, the recipe as it is."""
    first = _compared()[0]
    return first["accuracy"], first["accuracy_low"], first["accuracy_high"]


def by_compare_best(_table: pd.DataFrame) -> Answer:
    """Return the alternative of ``meden compare`` that a reader would pick."""
    best = max(_compared(), key=lambda one: one["accuracy"])
    return best["accuracy"], best["accuracy_low"], best["accuracy_high"]


def _compared() -> list[dict[str, float]]:
    return printed("compare", "coins.csv", "-t", "y")["alternatives"]  # type: ignore[return-value]


def by_estimator(table: pd.DataFrame) -> Answer:
    """Return what the estimator expects on new rows."""
    from meden.integrations.sklearn import MLPClassifierCV

    fitted = MLPClassifierCV(budget=4).fit(table.drop(columns="y"), table["y"])
    return fitted.score_.estimate, *fitted.score_interval_


ROADS: dict[str, Callable[[pd.DataFrame], Answer]] = {
    "fit": by_fit,
    "tune": by_tune,
    "compare": by_compare,
    "compare, best": by_compare_best,
    "estimator": by_estimator,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=list(ROADS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("road           rows  printed accuracy  interval holds 0.5", flush=True)
    for num_rows in options.rows:
        for road in options.roads:
            found = []
            for seed in range(options.repeats):
                table = coins(num_rows, options.columns, seed)
                with tempfile.TemporaryDirectory() as folder:
                    os.chdir(folder)
                    table.to_csv("coins.csv", index=False)
                    found.append(ROADS[road](table))
                    os.chdir(Path(folder).parent)
            values, lows, highs = np.array(found).T
            held = ((lows <= 0.5) & (0.5 <= highs)).mean()
            error = values.std(ddof=1) / math.sqrt(len(values))
            print(f"{road:13} {num_rows:5d}  {values.mean():.3f} +- {error:.3f}    {held:.2f}", flush=True)


if __name__ == "__main__":
    main()
