"""``meden demo``: the main job on real digits, with few rows to train on, against what simple models make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from meden import search
from meden.cli import demo_page as page
from meden.cli.console import JsonFlag, Seed, print_json, progress, say, stdout
from meden.cli.folders import REPORT, check_new_folder, filling
from meden.data import Dataset, Fold, as_dataset, holdout
from meden.member import Member
from meden.models import MLP
from meden.optim import Schedule
from meden.recipe import Recipe
from meden.run import Ensemble, Run
from meden.space import Uniform
from meden.space.names import Space, configure
from meden.study import Study
from meden.training.fit_many import fit_many

TRAIN_ROWS = 100
FOLDS = 5
WATCHED = slice(None, None, 4)
"""Held-out rows that are scored after each epoch, for the curves; scoring all would take longer than the training."""
NETWORK = partial(MLP, width=256)
PLAIN = Recipe(lr=3e-3, batch_size=50, epochs=600, schedule=Schedule(kind="cosine"))
"""Long enough that networks on augmented images, too, are trained to convergence."""
SPACE: Space = {
    "affine": Uniform(0.6, 1.1),
    "mixup": Uniform(0.0, 0.4),
    "label_smoothing": Uniform(0.1, 0.3),
    "dropout": Uniform(0.0, 0.3),
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "turning, shifting and scaling the images": ("affine",),
    "mixing images and smoothing labels": ("mixup", "label_smoothing"),
    "dropout": ("dropout",),
}
"""Names of the space, by what they do; the chosen configuration is also trained without each group."""


class Compared(NamedTuple):
    """One split: the search on its training rows, what it chose, and how all methods did on its held-out rows."""

    study: Study
    averaged: Ensemble
    outcome: page.Outcome


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the model and the report.")] = Path(
        "runs/demo"
    ),
    repeats: Annotated[
        int, typer.Option("--repeats", min=2, help="Number of splits into training and held-out rows.")
    ] = 5,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Number of configurations to try on each split.")] = 6,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show meden at work on handwritten digits: a plain network against one regularised by meden.

    Each split keeps 100 of 1,797 images for training. On these, meden chooses by cross-validation how far to turn,
    shift, scale and mix the images, and how much label smoothing and dropout to use, and averages the networks of the
    folds. This ensemble, the plain network and three simple models are then scored on the held-out images.

    Example:

        meden demo --repeats 10
    """  # noqa: D412
    check_new_folder("--out", out)
    digits = read_digits()
    say(f"{digits.num_rows:,} images of 8 x 8 pixels, handwritten digits; {TRAIN_ROWS} for training in each split")
    with progress() as show:
        splits = [
            _compare(digits, seed + repeat, budget, partial(show, note=f"split {repeat + 1} of {repeats}"))
            for repeat in range(repeats)
        ]
    evidence = page.Evidence.of([part.outcome for part in splits], TRAIN_ROWS, digits.num_rows - TRAIN_ROWS)
    study, averaged, _ = splits[0]
    with filling(out):
        averaged.save(out)
        study.report(out / REPORT, extra=page.sections(evidence))
    if as_json:
        print_json(evidence.to_dict() | {"folder": str(out)})
        return
    stdout.print(page.intro(evidence))
    stdout.print(page.printed_table(evidence))
    stdout.print("\n".join(page.verdict(evidence)))
    stdout.print(f"Report, with the learning curves: {out / REPORT}; the model is beside it.")
    stdout.print("Next, your own table: meden tune your.csv --target COLUMN")


def read_digits() -> Dataset:
    """Return scikit-learn's digits as images, (1797, 1, 8, 8) in [0, 1]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return as_dataset(((images / 16).reshape(-1, 1, 8, 8), pd.Series(labels, name="digit")))


def split(digits: Dataset, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training rows of a seed, and all the others, which are held out."""
    rows = holdout(digits, 1 - TRAIN_ROWS / digits.num_rows, seed=seed)[0]
    return rows, np.setdiff1d(np.arange(digits.num_rows), rows)


def _compare(digits: Dataset, seed: int, budget: int, show: search.OnProgress) -> Compared:
    """Search on the training rows of one split, and score all methods on its held-out rows.

    There is no stop split, since all networks train equally long; the held-out rows that are looked at after each epoch
    decide nothing.
    """
    rows, held_out = split(digits, seed)
    study = search.tune(
        NETWORK,
        digits.take(rows),
        SPACE,
        folds=FOLDS,
        budget=budget,
        strategy="sobol",
        recipe=PLAIN,
        stop_fraction=0.0,
        seed=seed,
        baselines=False,  # the demo has its own, on the rows that no search sees
        on_progress=show,
    )
    averaged = study.refit(policy="folds")
    plain, one, *others = _networks(digits, study, rows, held_out, seed)
    images = np.asarray(digits.features(digits.fit_encoder(rows), np.arange(digits.num_rows)))
    right = averaged.predict(images[held_out]).values == digits.labels[held_out]
    accuracy = dict(_simple(images.reshape(len(images), -1), digits.labels, rows, held_out, study.folds))
    accuracy |= {page.PLAIN: _percent_right(plain), page.ONE: _percent_right(one)}
    outcome = page.Outcome(
        accuracy=accuracy | {page.CHOSEN: 100 * float(right.mean())},
        without={name: _percent_right(run) for name, run in zip(GROUPS, others, strict=True)},
        curves={page.PLAIN: _curve(plain), page.ONE: _curve(one)},
        params=study.choice.params,
    )
    return Compared(study, averaged, outcome)


def _networks(
    digits: Dataset, study: Study, rows: NDArray[np.int64], held_out: NDArray[np.int64], seed: int
) -> list[Run]:
    """Train on all training rows: the plain network, one by the choice, and one without each group of its names.

    What is off has strength 0, which changes nothing, so that all are trained together.
    """
    chosen, fold = study.choice.params, Fold(rows, held_out[WATCHED], held_out)
    off = [tuple(chosen), (), *GROUPS.values()]
    settings = [chosen | dict.fromkeys(names, 0.0) for names in off]
    members = [Member(configure(PLAIN, params)[0], fold, seed) for params in settings]
    return fit_many(NETWORK, members, digits)


def simple_models() -> dict[str, tuple[Any, dict[str, Sequence[float]]]]:
    """Return scikit-learn's models by name, each with the settings among which cross-validation chooses."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    strengths = (0.01, 0.1, 1, 10, 100, 1000)
    return {
        "k nearest neighbours": (KNeighborsClassifier(), {"n_neighbors": (1, 3, 5, 7, 9)}),
        "logistic regression": (LogisticRegression(max_iter=5000), {"C": strengths}),
        "support vector machine": (SVC(), {"C": strengths, "gamma": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)}),
    }


def _simple(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    held_out: NDArray[np.int64],
    folds: Sequence[Fold],
) -> Iterator[tuple[str, float]]:
    """Yield the held-out accuracy of each simple model, its settings chosen on the folds of the search, in percent."""
    from sklearn.model_selection import GridSearchCV

    parts = [(fold.fit, fold.score) for fold in folds]
    for name, (model, grid) in simple_models().items():
        found = GridSearchCV(model, grid, cv=parts).fit(x[rows], labels[rows])
        yield name, 100 * float(found.score(x[held_out], labels[held_out]))


def _percent_right(run: Run) -> float:
    assert run.held_out is not None
    return 100 * float(run.held_out.scores.mean())


def _curve(run: Run) -> list[float]:
    """Return the accuracy of the rows that are watched after each epoch, in percent."""
    return [100 * share for share in run.history.column("valid.accuracy")]
