"""How often `meden.check` says something of tables in which there is nothing, and what it says of real ones.

    python benchmarks/check_alarms.py --data ../shared/data

Real tables are not known to be clean. Each is therefore checked as it is, where every finding is to be looked at by
hand; and as clean twins, in which what may be wrong is taken out or made random: copies, identifiers and columns that
determine the target are left out and the rows shuffled; the target is permuted; the rows are split at random. Tables
with a rare class and correct labels are drawn besides.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

import meden
from meden.diagnosis import duplicates
from meden.diagnosis.tables.columns import identifiers
from meden.diagnosis.tables.copies import equal_rows, near_rows
from meden.diagnosis.tables.table import Table

TABLES = (
    "adult credit_g anneal vehicle kc1 mfeat_factors cnae_9 australian blood_transfusion phoneme jasmine sonar "
    "pima_diabetes spambase mice_protein shuttle california_housing concrete ames_housing abalone boston colon_alon "
    "leukemia_golub riboflavin prostate_esl"
).split()
MOST_ROWS = 5_000
"""Of a twin."""
SPLIT = ["split_drift", "rows_across"]
BY_TARGET = [
    "target_copy", "target_determined", "strong_column", "telling_missingness", "like_neighbours", "label_suspects",
]  # fmt: skip


def main() -> None:
    """Check all tables and their twins, and print the findings and the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=TABLES)
    parser.add_argument("--twins", type=int, default=5, help="of each kind and table")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rates: dict[str, list[list[str]]] = {"shuffled": [], "permuted target": [], "random split": [], "rare class": []}
    told: dict[str, Counter[str]] = {kind: Counter() for kind in rates}
    print("| table | rows | CPU s | findings, as it is |\n|---|---|---|---|")
    for name in arguments.tables:
        frame = read(arguments.data / name)
        target = str(frame.columns[-1])
        began = time.process_time()
        found = meden.check(frame, target=target)
        seconds = time.process_time() - began
        codes = ", ".join(f"{f.severity} {f.code}" for f in found.findings)
        print(f"| {name} | {len(frame):,} | {seconds:.1f} | {codes} |", flush=True)
        for finding in found.findings:
            print(f"<!-- {finding} -->", flush=True)
        clean = cleaned(frame, target, found.table)
        for seed in range(arguments.twins):
            shuffled = clean.sample(frac=1, random_state=seed).reset_index(drop=True)
            permuted = shuffled.assign(**{target: shuffled[target].sample(frac=1, random_state=seed + 100).to_numpy()})
            parts = np.random.default_rng(seed).permutation(np.where(np.arange(len(clean)) % 5 == 0, "test", "train"))
            twins = {
                "shuffled": meden.check(shuffled, target=target, seed=seed),
                "permuted target": meden.check(permuted, target=target, seed=seed, select=BY_TARGET),
                "random split": meden.check(shuffled, target=target, seed=seed, split=parts, select=SPLIT),
            }
            for kind, twin in twins.items():
                alarms = [f.code for f in twin.findings if kind == "permuted target" or f.severity != "info"]
                rates[kind].append(alarms)
                told[kind].update(alarms)
                for finding in twin.findings:
                    if finding.code in alarms:
                        print(f"<!-- {kind} {name} {seed}: {finding} -->", flush=True)
    for signal in (0.0, 1.0, 2.0, 8.0):
        for share in (0.02, 0.03, 0.05, 0.1, 0.2):
            for seed in range(arguments.twins):
                made = meden.check(imbalanced(signal, share, seed), target="y", seed=seed, select=BY_TARGET)
                alarms = [f.code for f in made.findings if f.severity != "info"]
                rates["rare class"].append(alarms)
                told["rare class"].update(alarms)
    print("\n| twins | tables | with an alarm | rate, 95 % interval | alarms |\n|---|---|---|---|---|")
    for kind, alarms in rates.items():
        hit = sum(map(bool, alarms))
        ends = binomtest(hit, len(alarms)).proportion_ci(0.95, "wilson")
        listed = ", ".join(f"{code} {count}" for code, count in told[kind].most_common())
        share = f"{100 * hit / len(alarms):.1f} % ({100 * ends.low:.1f} to {100 * ends.high:.1f})"
        print(f"| {kind} | {len(alarms)} | {hit} | {share} | {listed} |")


def imbalanced(signal: float, share: float, seed: int, num: int = 600) -> pd.DataFrame:
    """Return a table of correct labels, a share of which are of a class that one column tells by so much."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(draw.standard_normal((num, 5)), columns=[*"abcde"])
    score = signal * frame["a"] + draw.standard_normal(num)
    return frame.assign(y=np.where(score > score.quantile(1 - share), "rare", "usual"))


def read(folder: Path) -> pd.DataFrame:
    """Return a table whose target is its last column, without columns in which there is nothing."""
    path = next(path for suffix in ("*.csv", "*.csv.gz", "*.parquet") for path in folder.glob(suffix))
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else _text(path)
    return frame.dropna(axis=1, how="all")


def _text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def cleaned(frame: pd.DataFrame, target: str, table: Table) -> pd.DataFrame:
    """Return a table without the copies, near copies and identifiers found in it, and without rare classes."""
    first = np.unique(table.once(equal_rows).groups, return_index=True)[1]
    duplicates.MOST_ASKED = len(frame)
    near = near_rows(table)[:, 1]
    clean = frame.iloc[np.setdiff1d(first, near)].drop(columns=table.once(identifiers))
    clean = clean.sample(min(len(clean), MOST_ROWS), random_state=0)
    if table.is_classes:
        clean = clean[clean.groupby(target)[target].transform("size") >= table.folds]
    duplicates.MOST_ASKED = 2_000
    return clean


if __name__ == "__main__":
    main()
