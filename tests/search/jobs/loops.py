"""Training functions that tests search, of the kinds that people write."""

import numpy as np
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.nn.functional import cross_entropy

import meden

X, Y = (torch.as_tensor(part) for part in load_iris(return_X_y=True))
X = X.float()
NUM = len(Y)
SPACE = {"lr": meden.LogUniform(1e-3, 1e-1), "decay": meden.LogUniform(1e-4, 1.0)}
RECIPE = meden.Recipe(epochs=6, early_stopping=meden.EarlyStopping(patience=3))
OPTIONS = {"rows": Y, "space": SPACE, "folds": 3, "budget": 3, "strategy": "random", "recipe": RECIPE}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))


def epoch_of(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    model.train()
    losses = []
    for part in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = cross_entropy(model(x[part]), y[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def plain(job: meden.Job) -> torch.Tensor:
    """A loop as people write it."""
    x, y = job.watch(X), job.watch(Y)
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=job.params["lr"], weight_decay=job.params["decay"])
    for epoch in range(1, job.epochs + 1):
        train_loss = epoch_of(model, optimizer, x[job.fit], y[job.fit])
        model.eval()
        with torch.no_grad():
            stop_loss = cross_entropy(model(x[job.stop]), y[job.stop])
        if job.report(epoch, stop_loss, train_loss):
            break
    model.eval()
    with job.scoring():
        return model(x[job.score])
