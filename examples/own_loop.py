"""Your own training loop, with an L1 penalty that makes exact zeros: digits, 64-64-10, Adam.

The same strength three times: not at all, added to the loss by hand, and attached to the optimizer.

Run: python examples/own_loop.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import meden
from meden.penalties import L1

STRENGTH = 1e-3
EPOCHS = 30


def load() -> list[torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y), random_state=0, stratify=y)
    return list(parts)


def train(way: str) -> tuple[nn.Module, torch.optim.Optimizer, list[meden.Handle]]:
    x, _, y, _ = load()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    handles = []
    if way == "proximal":
        handles.append(meden.regularize(optimizer, model, [meden.Regularizer(L1(STRENGTH))]))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            if way == "in the loss":
                loss = loss + STRENGTH * sum(p.abs().sum() for p in model.parameters() if p.ndim > 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model, optimizer, handles


def main() -> None:
    torch.set_num_threads(1)  # the net is small
    _, x, _, y = load()
    print(f"L1 of strength {STRENGTH}, {EPOCHS} epochs\n\n{'way':<14}{'zero weights':>14}{'accuracy':>10}")
    for way in ("none", "in the loss", "proximal"):
        model, optimizer, handles = train(way)
        weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])
        accuracy = (model(x).argmax(1) == y).float().mean()
        print(f"{way:<14}{(weights == 0).float().mean():>14.1%}{accuracy:>10.1%}")
    for handle in handles:
        print(f"\npenalties now: {handle.values()}")
    print(meden.audit(model, optimizer, handles))


if __name__ == "__main__":
    main()
