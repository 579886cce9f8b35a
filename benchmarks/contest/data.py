"""The tables of the benchmark: what is read from files, and three that are made from stated seeds.

Three columns of mice_protein and all identifiers are left out: genotype, treatment and behaviour together are its
target. Rows are split at random, a quarter is scored; classes keep their shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

TEST_SHARE = 0.25
SPLITS, SPLITS_OF_FEW_ROWS = 3, 10
"""A quarter of fewer than 300 rows says little, and costs little."""
NUM_COLUMNS, NUM_MATTER = 500, 20
CHUNK = 100_000
Made = tuple[pd.DataFrame, pd.Series]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Where a table comes from; its target is the last column."""

    numbers: bool = False
    """Whether a number is to be predicted, and not a class."""
    without: tuple[str, ...] = ()
    """Columns that are no inputs."""
    splits: int = SPLITS
    large: bool = False
    """Too large for methods that have neither a budget nor a fast way."""
    make: Callable[[], Made] | None = None
    """What makes it; None for a file."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Three quarters of a table, and the others."""

    inputs: pd.DataFrame
    targets: pd.Series
    """Strings for classes."""
    new: pd.DataFrame
    truth: pd.Series


def pairs(num_rows: int, seed: int = 0) -> Made:
    """Return 500 normal columns, 20 of which decide between two classes, by themselves a little and in pairs a lot.

    The log odds are 3 times the standardised sum of ten products of two columns and half of each column; the twenty
    are named ``matters_...``, in random places.
    """
    random = np.random.default_rng(seed)
    x = random.normal(size=(num_rows, NUM_COLUMNS)).astype(np.float32)
    matter = random.permutation(NUM_COLUMNS)[:NUM_MATTER]
    z = x[:, matter].astype(np.float64)
    score = (z[:, ::2] * z[:, 1::2]).sum(axis=1) + 0.5 * z @ random.choice([-1.0, 1.0], NUM_MATTER)
    names = [f"{'matters' if place in set(matter.tolist()) else 'noise'}_{place:03d}" for place in range(NUM_COLUMNS)]
    odds = 3.0 * score / np.sqrt(NUM_MATTER / 2 + 0.25 * NUM_MATTER)  # the standard deviation that it has
    return pd.DataFrame(x, columns=names), _drawn(odds, random)


def rows(num_rows: int, seed: int = 0) -> Made:
    """Return 20 columns of float32 and two classes, made in chunks: waves, steps, products and ten columns of noise."""
    x = np.empty((num_rows, 20), dtype=np.float32)
    y = []
    for number, start in enumerate(range(0, num_rows, CHUNK)):
        random = np.random.default_rng([seed, number])
        part = x[start : start + CHUNK]
        part[:] = random.standard_normal(part.shape, dtype=np.float32)
        z = part.astype(np.float64)
        odds = np.sin(3 * z[:, 0]) + z[:, 1] * z[:, 2] + np.abs(z[:, 3]) * np.sign(z[:, 4]) + 0.5 * z[:, 5]
        odds += np.where(z[:, 6] > 0.5, z[:, 7], -z[:, 8]) + np.cos(2 * z[:, 9] + z[:, 0])
        y.append(_drawn(2 * odds, random))
    return pd.DataFrame(x, columns=[f"x{place}" for place in range(20)]), pd.concat(y, ignore_index=True)


def _drawn(odds: np.ndarray, random: np.random.Generator) -> pd.Series:
    """Return classes drawn with these log odds, (n,)."""
    return pd.Series(np.where(random.random(len(odds)) < 1 / (1 + np.exp(-odds)), "yes", "no"), name="answer")


FEW = SPLITS_OF_FEW_ROWS
TABLES: dict[str, Table] = {
    "colon_alon": Table(splits=FEW),
    "leukemia_golub": Table(splits=FEW, without=("official_split",)),
    "riboflavin": Table(splits=FEW, numbers=True),
    "prostate_esl": Table(splits=FEW, numbers=True, without=("official_split",)),
    "sonar": Table(splits=FEW),
    "boston": Table(numbers=True),
    "australian": Table(),
    "blood_transfusion": Table(),
    "pima_diabetes": Table(),
    "vehicle": Table(),
    "anneal": Table(),
    "credit_g": Table(),
    "concrete": Table(numbers=True),
    "cnae_9": Table(),
    "mice_protein": Table(without=("MouseID", "Genotype", "Treatment", "Behavior")),
    "mfeat_factors": Table(),
    "kc1": Table(),
    "ames_housing": Table(numbers=True, without=("Order", "PID")),
    "jasmine": Table(),
    "abalone": Table(numbers=True),
    "spambase": Table(),
    "phoneme": Table(),
    "california_housing": Table(numbers=True),
    "adult": Table(),
    "shuttle": Table(),
    "pairs_2000": Table(make=partial(pairs, 2_000)),
    "pairs_10000": Table(make=partial(pairs, 10_000)),
    "million_rows": Table(make=partial(rows, 1_000_000), splits=1, large=True),
}
"""By name; the smaller first."""
FILES = [name for name, table in TABLES.items() if table.make is None]


def read(folder: Path, name: str) -> Made:
    """Return the inputs and the target of a table; an empty field is a missing value."""
    table = TABLES[name]
    if table.make is not None:
        return table.make()
    (path,) = (folder / name).iterdir()
    frame = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False, na_values=[""])
    )
    return frame.iloc[:, :-1].drop(columns=list(table.without)), frame.iloc[:, -1]


def split(folder: Path, name: str, seed: int) -> Split:
    """Return the rows that train and those that are scored; columns that are empty in the former are left out."""
    x, y = read(folder, name)
    numbers = TABLES[name].numbers
    y = y.astype(np.float64) if numbers else y.astype(str)
    x, new, y, truth = train_test_split(x, y, test_size=TEST_SHARE, random_state=seed, stratify=None if numbers else y)
    filled = x.columns[x.notna().any()]  # not all methods take a column without a value
    parts = (part.reset_index(drop=True) for part in (x[filled], y, new[filled], truth))
    return Split(**dict(zip(("inputs", "targets", "new", "truth"), parts, strict=True)))
