"""How often the rules of honesty find a fault in splits that have none, and in splits that have one.

Each round draws a table (columns of numbers that depend on each other, some of them skewed or rounded, and categories),
a target, groups and moments, divides it honestly, prepares it by the fitting rows, and trains a linear model in each
fold for its curves. Then one fault at a time is planted. Rows of scikit-learn's tables join every second round.

    python benchmarks/honesty_alarms.py --rounds 100
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler, TargetEncoder

from meden.data import Fold
from meden.diagnosis import Curve, Evidence, Split, diagnose

BUNDLED = ("iris", "wine", "breast_cancer", "diabetes", "digits")
SCALERS = (StandardScaler, MinMaxScaler, RobustScaler)
FOLDS, EPOCHS = 5, 15


def table(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return inputs and a target of two classes or of numbers."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        bundle = getattr(datasets, f"load_{BUNDLED[seed // 2 % len(BUNDLED)]}")()
        chosen = rng.permutation(len(bundle.target))[: rng.integers(100, 600)]
        x, y = pd.DataFrame(bundle.data[chosen]).drop_duplicates(), bundle.target[chosen]
        return x.reset_index(drop=True), y[x.index]
    num, columns = int(rng.integers(100, 800)), int(rng.integers(2, 12))
    x = rng.standard_normal((num, columns)) @ rng.standard_normal((columns, columns))
    y = x @ rng.standard_normal(columns) + rng.standard_normal(num)
    frame = pd.DataFrame(x)
    frame[0] = np.exp(frame[0].clip(-4, 4))
    frame[1] = frame[1].round(1)
    return frame, (y > 0).astype(int) if seed % 4 == 0 else y


def divided(num: int, seed: int, groups: np.ndarray, moments: np.ndarray, kind: int) -> list[Fold]:
    """Return honest folds: at random, of whole groups, or each of the past and what follows."""
    order = np.argsort(moments, kind="stable")
    splitter: Any = (KFold(FOLDS, shuffle=True, random_state=seed), GroupKFold(FOLDS), TimeSeriesSplit(FOLDS))[kind]
    folds = []
    for before, score in splitter.split(np.zeros(num), groups=groups if kind == 1 else None):
        before, score = (order[before], order[score]) if kind == 2 else (before, score)
        if kind == 1:
            stop = np.isin(groups[before], np.random.default_rng(seed).permutation(np.unique(groups[before]))[:4])
        else:
            stop = np.arange(len(before)) >= 0.8 * len(before)
        folds.append(Fold(before[~stop], before[stop], score))
    return folds


def prepared(x: pd.DataFrame, category: np.ndarray, y: np.ndarray, rows: np.ndarray, seed: int) -> pd.DataFrame:
    """Return columns scaled, and a category encoded, by some rows."""
    scaler = SCALERS[seed % 3]().fit(x.iloc[rows])
    kind = "continuous" if y.dtype.kind == "f" else "multiclass" if len(np.unique(y)) > 2 else "binary"
    smooth: Any = ("auto", 0.0, 5.0)[seed % 3]
    encoder = TargetEncoder(target_type=kind, smooth=smooth).fit(category[rows, None], y[rows])
    encoded = encoder.transform(category[:, None])
    return pd.DataFrame(np.column_stack([scaler.transform(x), encoded]))


def curves(x: np.ndarray, y: np.ndarray, folds: list[Fold], seed: int, *, carried: bool, same: bool) -> Evidence:
    """Return the curves of a linear model, by stochastic steps on the squared error."""
    rng = np.random.default_rng(seed)
    target = (y - y.mean()) / y.std()
    x = np.column_stack([(x - x.mean(0)) / np.maximum(x.std(0), 1e-9), np.ones(len(x))])
    weights, found = rng.standard_normal(x.shape[1]) / np.sqrt(x.shape[1]), []
    for fold in folds:
        weights = weights if carried and found else rng.standard_normal(x.shape[1]) / np.sqrt(x.shape[1])
        losses = []
        for _ in range(EPOCHS):
            seen = []
            for rows in np.array_split(rng.permutation(fold.fit), max(1, len(fold.fit) // 16)):
                error = x[rows] @ weights - target[rows]
                seen.append((error**2).mean() / 2)
                weights = weights - 0.3 / x.shape[1] * x[rows].T @ error / len(rows)
            stop, score = (((x[part] @ weights - target[part]) ** 2).mean() / 2 for part in (fold.stop, fold.score))
            losses.append((np.mean(seen), stop))
        train, held_out = (list(map(float, part)) for part in zip(*losses, strict=True))
        best = int(np.argmin(held_out))
        scored = held_out[best] if same else float(score)
        found.append(Curve(train=train, held_out=held_out, kept=best + 1, scored=scored, as_logged=True))
    return Evidence(tuple(found))


def codes(subject: Split | Evidence) -> set[str]:
    return {finding.code for finding in diagnose(subject, select=["honesty"]).findings}


def one_round(seed: int) -> tuple[set[str], dict[str, bool]]:
    """Return what is found in honest splits, and for each planted fault whether it is."""
    rng = np.random.default_rng(seed)
    x, y = table(seed)
    num, kind = len(x), seed % 3
    groups, moments = rng.integers(0, max(20, num // 8), num), rng.permutation(num) // 3
    category = rng.integers(0, 12, num).astype(str)
    folds = divided(num, seed, groups, moments, kind)
    known: dict[str, Any] = {1: {"groups": groups}, 2: {"moments": moments}}.get(kind, {})
    alarms = codes(curves(x.to_numpy(), y, folds, seed, carried=False, same=False))
    for fold in folds:
        alarms |= codes(Split(folds=[fold], inputs=prepared(x, category, y, fold.fit, seed), target=y, **known))
    fold, every = folds[-1], np.unique(np.concatenate([folds[-1].fit, folds[-1].stop, folds[-1].score]))
    honest = prepared(x, category, y, fold.fit, seed)
    leaky = prepared(x, category, y, every, seed)
    copies = honest.copy()
    twin = rng.choice(fold.score, 5, replace=False), rng.choice(fold.fit, 5, replace=False)
    copies.iloc[twin[0]] = copies.iloc[twin[1]].to_numpy()
    torn = Fold(fold.fit, fold.stop, np.concatenate([fold.score[1:], fold.stop[:1]]))
    random = divided(num, seed, groups, moments, 0)[-1]
    planted = {
        "rows_across": codes(Split(folds=[fold], inputs=copies)),
        "stop_rows_scored": codes(Split(folds=[torn])),
        "groups_torn": codes(Split(folds=[random], groups=groups)),
        "later_rows_fit": codes(Split(folds=[random], moments=moments)),
        "scaled_on_all": codes(Split(folds=[fold], inputs=leaky, target=y)),
        "target_encoded_on_all": codes(Split(folds=[fold], inputs=leaky, target=y)),
        "weights_carried": codes(curves(x.to_numpy(), y, folds, seed, carried=True, same=False)),
        "stop_loss_scored": codes(curves(x.to_numpy(), y, folds, seed, carried=False, same=True)),
    }
    return alarms, {code: code in found for code, found in planted.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    alarms, found, rounds_with = Counter(), Counter(), 0
    for seed in range(rounds):
        honest, planted = one_round(seed)
        alarms.update(honest)
        rounds_with += bool(honest)
        found.update(code for code, is_found in planted.items() if is_found)
        if honest or not all(planted.values()):
            print(f"round {seed}: alarms {sorted(honest)}, missed {[c for c, hit in planted.items() if not hit]}")
    print(f"{'rule':24}{'false alarms':>14}{'planted, found':>16}   of {rounds} rounds")
    for code in planted:
        print(f"{code:24}{alarms[code]:14}{found[code]:16}")
    print(f"rounds with a false alarm: {rounds_with}")


if __name__ == "__main__":
    main()
