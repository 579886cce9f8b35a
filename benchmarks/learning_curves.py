"""Learning curves in rows: what a quarter, or half, of the rows says of all of them, against what was measured there.

    python benchmarks/learning_curves.py                          six tables, five times each
    python benchmarks/learning_curves.py phoneme --repeats 1      one of them, once
    python benchmarks/learning_curves.py --table --out FILE       what a file holds already, without training

Each repetition takes other rows of its table, at most 3,000, in other folds. Eight sizes up to a quarter of the fitting
rows are measured as `meden.learning_curve` does where a quarter is all there is; then half of them and all of them, for
as many steps (or epochs) again, which are the truth. The law is fitted to the eight sizes alone. Twice the rows is as
far as `predict` goes; four times is beyond it. A level holds what the folds share, in the truth too; a gain (how much
lower than at the quarter) does not, and is the sharper test.
Results are kept in a file, line by line, and a run that was cut off goes on. Tables are looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

import meden
from meden.data import num_batches
from meden.models import MLP
from meden.search.learning_curve import FEWEST_ROWS, NUM_SIZES, REACH
from meden.study.size_curve import SizeCurve, interval_of

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TABLES = ("adult", "phoneme", "california_housing", "spambase", "abalone", "mfeat_factors")
MOST_ROWS = 3000
FOLDS = 5
RECIPE = meden.Recipe(lr=3e-3, epochs=30, batch_size=64, dropout=0.2, early_stopping=meden.EarlyStopping(patience=6))


def read(name: str) -> meden.Dataset:
    path = next(path for path in (DATA / name / f"{name}.csv", DATA / name / f"{name}.csv.gz") if path.exists())
    import pandas as pd

    return meden.as_dataset(path, target=str(pd.read_csv(path, nrows=1).columns[-1]))


def measure(name: str, repeat: int, same: str) -> dict[str, object]:
    """Return the losses of each fold at each size."""
    whole = read(name)
    rows = np.random.default_rng(repeat).permutation(whole.num_rows)[:MOST_ROWS]
    data = whole.take(np.sort(rows))
    folds = meden.data.make_folds(data, FOLDS, seed=repeat)
    most = min(len(fold.fit) for fold in folds)
    quarter, fewest = most // 4, max(FEWEST_ROWS, 2 * len(data.classes))
    sizes = sorted({round(n) for n in np.geomspace(max(fewest, quarter / REACH), quarter, NUM_SIZES)})
    recipe = RECIPE if same == "epochs" else RECIPE.replace(steps_per_epoch=num_batches(quarter, RECIPE.batch_size))
    beyond = [most // 2, most]
    started = time.process_time()
    found = meden.learning_curve(MLP, data, recipe, sizes=[*sizes, *beyond], folds=folds, seed=repeat, same="epochs")
    return {
        "table": name,
        "repeat": repeat,
        "same": same,
        "metric": found.metric,
        "sizes": found.sizes.tolist(),
        "values": found.chosen.values.tolist(),
        "seconds": time.process_time() - started,
    }


def judge(case: dict[str, object]) -> dict[str, object]:
    """Hold what the sizes up to a quarter say against what was measured beyond."""
    sizes, values = np.array(case["sizes"]), np.array(case["values"])
    known = SizeCurve("chosen", sizes[:-2], values[:, :-2], int(str(case["repeat"])))
    now = known.mean[-1]
    told: dict[str, object] = {"table": case["table"], "repeat": case["repeat"], "reason": known.reason, "now": now}
    if known.fit is None:
        return told
    for times, place in ((2, -2), (4, -1)):
        n, truth = sizes[place], float(values[:, place].mean())
        for what, drawn, true in (("level", known.possible(n), truth), ("gain", known.possible_gain(n), now - truth)):
            middle, low, high = interval_of(drawn)
            told[f"{what}{times}"] = bool(low <= true <= high)
            told[f"{what}{times}_width"] = (high - low) / now
            told[f"{what}{times}_error"] = (middle - true) / now
            told[f"{what}{times}_true"] = true / now
    return told


def show(cases: list[dict[str, object]]) -> None:
    """Print coverage, widths and errors by table, and all together."""
    told = [judge(case) for case in cases]
    print("| table | cases | nothing said | times | level | width | gain | width | median error | true gain |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in (*dict.fromkeys(str(one["table"]) for one in told), "all"):
        own = [one for one in told if name in ("all", one["table"])]
        said = [one for one in own if not one["reason"]]
        for times in (2, 4):
            if not said:
                print(f"| {name} | {len(own)} | {len(own)} | {times} | | | | | | |")
                continue
            cells = [f"{sum(bool(one[f'{what}{times}']) for one in said)}/{len(said)}" for what in ("level", "gain")]
            widths = [100 * np.median([one[f"{what}{times}_width"] for one in said]) for what in ("level", "gain")]
            error = 100 * np.median([abs(one[f"gain{times}_error"]) for one in said])
            true = 100 * np.median([one[f"gain{times}_true"] for one in said])
            print(
                f"| {name} | {len(own)} | {len(own) - len(said)} | {times} | {cells[0]} | {widths[0]:.0f} % | "
                f"{cells[1]} | {widths[1]:.0f} % | {error:.1f} % | {true:.1f} % |"
            )
    for one in told:
        missed = [f"{w}{t}" for t in (2, 4) for w in ("level", "gain") if not one["reason"] and not one[f"{w}{t}"]]
        if one["reason"] or missed:
            print(f"{one['table']} {one['repeat']}: {one['reason'] or 'missed ' + ', '.join(missed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=TABLES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--same", default="steps", choices=("steps", "epochs"))
    parser.add_argument("--out", type=Path, default=Path("learning_curves.jsonl"))
    parser.add_argument("--table", action="store_true", help="only show what the file holds")
    asked = parser.parse_args()
    lines = asked.out.read_text().splitlines() if asked.out.exists() else []
    cases = [case for case in map(json.loads, lines) if case["same"] == asked.same]
    done = {(case["table"], case["repeat"]) for case in cases}
    for repeat in range(0 if asked.table else asked.repeats):
        for name in asked.tables:
            if (name, repeat) not in done:
                cases.append(measure(name, repeat, asked.same))
                with asked.out.open("a") as file:
                    file.write(json.dumps(cases[-1]) + "\n")
    show([case for case in cases if case["table"] in asked.tables])
    cpu = sum(case["seconds"] for case in cases)
    print(f"\n{cpu:.0f} CPU seconds, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
