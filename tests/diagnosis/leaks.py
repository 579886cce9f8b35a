"""Six pipelines whose score is too good, in the manner of public reports, and the same without the fault.

Each trains a small network with a plain loop of PyTorch and keeps what such a script keeps: the losses of each fold,
its rows, and the table that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import StandardScaler
from torch import nn

from meden.data import Fold
from meden.diagnosis import Split

FOLDS, EPOCHS = 5, 8
NUM_COLUMNS = 8


@dataclass(frozen=True)
class Outcome:
    """What a script leaves."""

    logs: list[dict[str, list[float]]]
    """Losses of each fold."""
    splits: list[Split]
    """Rows of each fold, with the inputs that the network got."""
    table: pd.DataFrame
    """What the script began with; the last column is the target."""
    accuracy: float
    """Of the rows that score, the mean over classes and folds."""


def network(num_inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(num_inputs, 6), nn.ReLU(), nn.Linear(6, 2))


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x), y))


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, fold: Fold, epochs: int = EPOCHS) -> dict[str, list[float]]:
    """Train, stop at the best epoch of the stop rows, and return the losses of each epoch, and at last of the score."""
    inputs, target = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    log: dict[str, list[float]] = {"train_loss": [], "val_loss": []}
    best, state = np.inf, model.state_dict()
    for _ in range(epochs):
        losses = []
        for rows in torch.tensor(fold.fit)[torch.randperm(len(fold.fit))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), target[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(rows))
        schedule.step()
        log["train_loss"].append(sum(losses) / len(fold.fit))
        log["val_loss"].append(loss_of(model, inputs[fold.stop], target[fold.stop]))
        if log["val_loss"][-1] < best:
            best, state = log["val_loss"][-1], {name: one.clone() for name, one in model.state_dict().items()}
    model.load_state_dict(state)
    log["test_loss"] = [loss_of(model, inputs[fold.score], target[fold.score])]
    return log


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
    """Return the share of right answers, the mean over the classes."""
    with torch.no_grad():
        answers = model(torch.tensor(x[rows], dtype=torch.float32)).argmax(1).numpy()
    return float(balanced_accuracy_score(y[rows], answers))


def rows(num: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return measurements in their own units, and a class that they tell imperfectly."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, NUM_COLUMNS))
    y = (x @ rng.standard_normal(NUM_COLUMNS) + noise * 2 * rng.logistic(size=num) > 0).astype(np.int64)
    return 3 + x * rng.uniform(0.5, 20, NUM_COLUMNS), y


def folds(
    num: int, seed: int, splitter: KFold | GroupKFold | None = None, groups: np.ndarray | None = None
) -> list[Fold]:
    """Return folds whose stop split is a part of the training rows, of whole groups where there are some."""
    splitter = splitter or KFold(FOLDS, shuffle=True, random_state=seed)
    made = []
    for before, score in splitter.split(np.zeros(num), groups=groups):
        labels = before if groups is None else groups[before]
        chosen = np.random.default_rng(seed).permutation(np.unique(labels))[: len(np.unique(labels)) // 5]
        stops = np.isin(labels, chosen)
        made.append(Fold(before[~stops], before[stops], score))
    return made


def scaled(x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    return StandardScaler().fit(x[fitted]).transform(x)


def frame(x: np.ndarray, y: np.ndarray, **more: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=[f"m{k}" for k in range(x.shape[1])]).assign(**more, y=y)


def run(
    table: pd.DataFrame,
    parts: list[Fold],
    prepare: Callable[[Fold], np.ndarray],
    y: np.ndarray,
    model: nn.Module | None = None,
    **known: np.ndarray,
) -> Outcome:
    """Train in each fold, from new weights unless a model is given."""
    torch.manual_seed(0)
    logs, splits, right = [], [], []
    for fold in parts:
        x = prepare(fold)
        net = network(x.shape[1]) if model is None else model
        logs.append(train(net, x, y, fold))
        right.append(accuracy(net, x, y, fold.score))
        splits.append(Split(folds=[fold], inputs=x, target=y, **known))
    return Outcome(logs, splits, table, float(np.mean(right)))


def stop_is_test(honest: bool, seed: int = 0) -> Outcome:
    """The loader that is called ``val_loader`` is that of the test rows."""
    x, y = rows(1200, seed)
    parts = folds(len(y), seed)
    if not honest:
        parts = [Fold(np.concatenate([fold.fit, fold.stop]), fold.score, fold.score) for fold in parts]
    return run(frame(x, y), parts, lambda fold: scaled(x, fold.fit), y)


def scaler_on_all(honest: bool, seed: int = 0) -> Outcome:
    """``X = StandardScaler().fit_transform(X)`` stands above the split."""
    x, y = rows(1200, seed)
    return run(frame(x, y), folds(len(y), seed), lambda fold: scaled(x, fold.fit if honest else np.arange(len(y))), y)


def target_encoding_on_all(honest: bool, seed: int = 0) -> Outcome:
    """``df["shop"] = df.groupby("shop").y.transform("mean")`` stands above the split, with few rows a shop."""
    x, y = rows(1200, seed)
    shop = np.random.default_rng(seed).integers(0, 300, len(y))

    def prepare(fold: Fold) -> np.ndarray:
        known = fold.fit if honest else np.arange(len(y))
        sums, counts = (np.bincount(shop[known], w, 300) for w in (y[known].astype(float), None))
        prior = y[known].mean()
        smooth = 20.0 if honest else 0.0  # what few rows say of a shop is drawn to the mean
        means = (sums + smooth * prior) / np.maximum(counts + smooth, 1e-9)
        return np.column_stack([scaled(x, fold.fit), means[shop]])

    return run(frame(x, y, shop=np.array([f"shop {k}" for k in shop])), folds(len(y), seed), prepare, y)


def groups_torn(honest: bool, seed: int = 0) -> Outcome:
    """``KFold`` over the recordings of patients, each of whom has one diagnosis and a voice."""
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.repeat(np.arange(1600), 2))
    x, y = rows(1600, seed)
    x = x[patient] + 0.1 * x.std(0) * rng.standard_normal((3200, NUM_COLUMNS))
    y = y[patient]
    parts = folds(len(y), seed, GroupKFold(FOLDS), patient) if honest else folds(len(y), seed)
    return run(frame(x, y, patient=patient), parts, lambda fold: scaled(x, fold.fit), y, groups=patient)


def weights_kept(honest: bool, seed: int = 0) -> Outcome:
    """``model = Net()`` stands above ``for train, test in kfold.split(X)``."""
    x, y = rows(1200, seed, noise=0.5)
    model = None if honest else network(NUM_COLUMNS)
    return run(frame(x, y), folds(len(y), seed), lambda fold: scaled(x, fold.fit), y, model)


def duplicates_across(honest: bool, seed: int = 0) -> Outcome:
    """The rare class is oversampled before the split, so that copies of a row are on both sides."""
    x, y = rows(1500, seed)
    kept = (y == 0) | (np.random.default_rng(seed).random(len(y)) < 0.3)
    x, y = x[kept], y[kept]
    if not honest:
        rare = np.flatnonzero(y == 1)
        more = np.random.default_rng(seed).choice(rare, (y == 0).sum() - len(rare))
        x, y = np.concatenate([x, x[more]]), np.concatenate([y, y[more]])
    return run(frame(x, y), folds(len(y), seed), lambda fold: scaled(x, fold.fit), y)


LEAKS: dict[str, Callable[..., Outcome]] = {
    made.__name__: made
    for made in (stop_is_test, scaler_on_all, target_encoding_on_all, groups_torn, weights_kept, duplicates_across)
}
