"""What networks know by heart: with width and epochs, with each regulariser's strength, and of rows never seen.

    python benchmarks/memorisation.py --data ../shared/data --out runs/memorisation   (half an hour on a busy core)

Digits (scikit-learn's, 1,797 rows) and credit_g (1,000 rows); a perceptron of two layers, Adam, 5 folds, nothing
stopped early. AUC of membership by the loss alone (Yeom et al. 2018) and by likelihood ratios with the models of other
folds as shadows (Carlini et al. 2022), with 95 % intervals; 0.5 is nothing known by heart. Studies are kept in --out,
so that a run that was cut off goes on; a page for each data set is written there.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

import meden
from meden.diagnosis.memory.memorisation import RowLosses, membership_aucs
from meden.models import MLP
from meden.space.dimensions import Dimension
from meden.study import Study
from meden.study.tradeoff import Tradeoff

RECIPE = meden.Recipe(optimizer="adam", lr=2e-3, batch_size=64, epochs=40)
SIZES = {"width": meden.Choice(16, 64, 256), "epochs": meden.Choice(5, 20, 80)}
STRENGTHS: dict[str, Dimension] = {
    "l2": meden.LogUniform(1e-5, 1.0),
    "l1": meden.LogUniform(1e-6, 1e-2),
    "dropout": meden.Uniform(0.0, 0.8),
    "label_smoothing": meden.Uniform(0.0, 0.4),
    "mixup": meden.LogUniform(0.05, 5.0),
    "epochs": meden.Choice(40, 20, 10, 5, 2),
}
NUM_STRENGTHS = 5
SIMULATIONS = 1000


def read(name: str, data: Path) -> meden.Dataset:
    if name == "digits":
        bunch = load_digits()
        return meden.as_dataset((bunch.data.astype(np.float32) / 16, bunch.target))
    return meden.as_dataset(str(data / "credit_g" / "credit_g.csv"), target="class")


def searched(dataset: meden.Dataset, space: Mapping[str, Dimension], budget: int, out: Path, **model: Any) -> Study:
    """Return a grid of configurations, the losses of all rows kept."""

    def make(num_inputs: int, num_outputs: int, width: int = 128) -> torch.nn.Module:
        return MLP(num_inputs, num_outputs, width=width, depth=2, **model)

    settings = {"folds": 5, "stop_fraction": 0.0, "budget": budget, "strategy": "grid", "baselines": False}
    return meden.tune(make, dataset, space, recipe=RECIPE, keep_losses=True, study_dir=out, **settings)


def unseen(study: Study) -> None:
    """Say how often the interval of rows that no model has seen leaves out 0.5."""
    random = np.random.default_rng(0)
    trial = study.trials[-1]
    num, missed = study.data.num_rows, 0
    for _ in range(SIMULATIONS):
        row = trial.rows[random.integers(len(trial.rows))]  # rows that it scored, half of which are called fitted
        parts = np.where(random.random((1, len(row.losses))) < 0.5, 1, 3).astype(np.uint8)
        found, _ = membership_aucs(RowLosses(losses=row.losses[None], parts=parts))
        missed += found is not None and not found.low <= 0.5 <= found.high
    print(
        f"rows never seen, of {num}: {missed / SIMULATIONS:.1%} of {SIMULATIONS} intervals leave out 0.5\n", flush=True
    )


def size_table(study: Study) -> None:
    print("| width | epochs | train loss | held-out loss | AUC by the loss | AUC by likelihood ratios |")
    print("|---|---|---|---|---|---|")
    for trial in sorted(study.trials, key=lambda trial: (trial.params["width"], trial.params["epochs"])):
        (point,) = (p for curve in study.tradeoff().curves.values() for p in curve if p.params == trial.params)
        losses = f"{trial.train_loss:.4f} | {trial.loss:.4f}"
        print(
            f"| {trial.params['width']} | {trial.params['epochs']} | {losses} | {point.auc} | {point.lira} |",
            flush=True,
        )
    print(flush=True)


def strength_table(tradeoff: Tradeoff) -> None:
    print("| regulariser | strength | held-out loss | AUC by the loss | AUC by likelihood ratios |")
    print("|---|---|---|---|---|")
    for name, points in tradeoff.curves.items():
        for p in points:
            strength = next(iter(p.params.values()))
            print(f"| {name} | {strength:.3g} | {p.loss:.4f} ± {p.loss_error:.4f} | {p.auc} | {p.lira} |", flush=True)
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/memorisation"))
    parser.add_argument("--repeats", type=int, default=8, help="divisions of the rows for the likelihood ratios")
    given = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"{platform.processor() or platform.machine()}, {threads} thread(s), torch {torch.__version__}\n", flush=True)
    for name in ("digits", "credit_g"):
        started, dataset, out = time.perf_counter(), read(name, given.data), given.out / name
        print(f"## {name}\n", flush=True)
        sizes = searched(dataset, SIZES, 9, out / "sizes")
        size_table(sizes)
        unseen(sizes)
        studies = {what: {what: dimension} for what, dimension in STRENGTHS.items()}
        each = {what: searched(dataset, space, NUM_STRENGTHS, out / what).tradeoff() for what, space in studies.items()}
        together = Tradeoff.together(each)
        strength_table(together)
        print(f"page: {together.report(out / 'tradeoff.html')}\n")
        large = searched(dataset, {"width": meden.Choice(256)}, 1, out / "large")
        for repeats in (1, 2, given.repeats):
            print(
                f"width 256, 40 epochs, {repeats} division(s) of the rows:\n{large.memorisation(repeats=repeats)}\n",
                flush=True,
            )
        print(f"{time.perf_counter() - started:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
