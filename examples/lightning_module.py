"""A LightningModule as it is: its own Trainer with exact penalties, then a search for how much of everything it needs.

Digits, 64-64-10, Adam. The module has no line about regularisation.

Run: python examples/lightning_module.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import meden
from meden.integrations.lightning import MedenCallback, trainer_function
from meden.penalties import L1

SPACE = {
    "lr": meden.LogUniform(1e-3, 3e-2),  # an argument of the module
    "l1": meden.LogUniform(1e-5, 1e-2),  # these three are no matter of the module
    "dropout": meden.Uniform(0.0, 0.6),
    "batch_size": meden.Choice(32, 128),
}


class Net(pl.LightningModule):
    """A perceptron, as people write it."""

    def __init__(self, lr: float = 3e-3) -> None:
        super().__init__()
        self.net, self.lr = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), lr

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train_once(data: TensorDataset, epochs: int) -> None:
    """Train by a Trainer of one's own, with an L1 that makes exact zeros, and see what stands out."""
    fit, held_out = train_test_split(range(len(data)), random_state=0, stratify=data.tensors[1])
    loaders = [DataLoader(torch.utils.data.Subset(data, rows), 32, shuffle=rows is fit) for rows in (fit, held_out)]
    callback = MedenCallback([meden.Regularizer(L1(1e-3))])
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    pl.seed_everything(0, verbose=False)
    net = Net()
    pl.Trainer(max_epochs=epochs, callbacks=[callback], enable_model_summary=False, **quiet).fit(net, *loaders)
    weights = torch.cat([p.detach().flatten() for p in net.parameters() if p.ndim > 1])
    print(f"{(weights == 0).float().mean():.0%} of the weights are zero; penalties now: {callback.handle.values()}\n")


def search(data: TensorDataset, epochs: int, budget: int) -> meden.Study:
    """Search how much the module needs, in folds, each with rows of its own to stop by."""
    train = trainer_function(Net, data, accelerator="cpu")
    recipe = meden.Recipe(epochs=epochs, early_stopping=meden.EarlyStopping(patience=5))
    return meden.tune(train, rows=data.tensors[1], space=SPACE, folds=3, budget=budget, recipe=recipe)


def main(arguments: Sequence[str] | None = None) -> meden.Study:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600, help="digits, at most 1797 (600)")
    parser.add_argument("--epochs", type=int, default=20, help="of each training, at most (20)")
    parser.add_argument("--budget", type=int, default=8, help="configurations (8)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the net is small
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 16, dtype=torch.float32)[: options.rows], torch.tensor(y)[: options.rows])
    train_once(data, options.epochs)
    study = search(data, options.epochs, options.budget)
    print(study.verdict)
    print(f"choice: {study.choice.params}")
    return study


if __name__ == "__main__":
    main()
