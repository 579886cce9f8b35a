"""A training loop of your own, searched honestly: it stays as it is, and gets folds, early stopping, races, a verdict.

Digits, 64-64-10, AdamW. The loop says what it does: which rows it fits, what the stop rows lose after each epoch, and
what it makes of the scored rows. Data that are watched see to it that no scored row is read before.

Run: python examples/any_trainer.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import meden

SPACE = {
    "lr": meden.LogUniform(3e-4, 3e-2),
    "weight_decay": meden.LogUniform(1e-5, 1.0),
    "dropout": meden.Uniform(0.0, 0.6),
    "width": meden.Choice(32, 128),
}
X, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))


def train(job: meden.Job) -> torch.Tensor:
    """Train one configuration in one fold; nothing in here but the lines with ``job`` knows of a search."""
    x, labels = job.watch(X.float()), job.watch(y)
    scale = x[job.fit].std()  # of the rows to fit: of all rows would be a leak, and raises
    model = nn.Sequential(
        nn.Linear(64, job.params["width"]),
        nn.ReLU(),
        nn.Dropout(job.params["dropout"]),
        nn.Linear(job.params["width"], 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), job.params["lr"], weight_decay=job.params["weight_decay"])
    job.keep_best(model)
    for epoch in range(1, job.epochs + 1):
        model.train()
        for batch in torch.randperm(len(job.fit)).split(64):
            rows = job.fit[batch]
            optimizer.zero_grad()
            cross_entropy(model(x[rows] / scale), labels[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            stop_loss = cross_entropy(model(x[job.stop] / scale), labels[job.stop])
        if job.report(epoch, stop_loss):  # early stopping and races
            break
    with job.scoring():
        return model(x[job.score] / scale)


def main(arguments: Sequence[str] | None = None) -> meden.Study:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30, help="of each training, at most (30)")
    parser.add_argument("--budget", type=int, default=16, help="configurations (16)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--study", help="folder to keep the study in, and go on from")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the net is small
    recipe = meden.Recipe(epochs=options.epochs, early_stopping=meden.EarlyStopping(patience=5))
    limits = {"folds": 3, "budget": options.budget, "racing": True, "jobs": options.jobs}
    study = meden.tune(train, rows=y, space=SPACE, recipe=recipe, study_dir=options.study, **limits)
    print(study.verdict)
    print(f"choice: {study.choice.params}")
    return study


if __name__ == "__main__":
    main()
