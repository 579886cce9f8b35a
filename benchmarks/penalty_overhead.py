"""What a penalty costs: a training step of a network, batch 100, with none, by autograd, and by each coupling.

Prints the median time of a step over interleaved rounds, and the median over rounds of its ratio to the plain step of
the same round.

On one thread it is the thread's own processor time that counts, so that other work on the machine hardly matters.

Run: python benchmarks/penalty_overhead.py [--rounds 30] [--steps 20] [--threads 1] [--sizes 784 128 10]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

import meden
from meden.optim import bind
from meden.penalties import L2, ElasticNet

STRENGTH = 1e-4
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=1e-3),
    "SGD momentum": lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, lr=1e-5),
}
VARIANTS = ("plain", "autograd", "loss", "gradient", "proximal", "L2 decoupled")


def elastic_net_by_hand(model: nn.Module) -> Tensor:
    weights = [param for param in model.parameters() if param.ndim > 1]
    return STRENGTH * sum((w.abs().sum() + w.square().sum() / 2 for w in weights), start=torch.zeros(()))


def make_step(optimizer_name: str, variant: str, sizes: list[int]) -> Callable[[], None]:
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    x, y = torch.randn(100, sizes[0]), torch.randint(sizes[-1], (100,))
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    penalty = ElasticNet(2 * STRENGTH, l1_ratio=0.5)
    in_loss = bind(model, [meden.Regularizer(penalty, coupling="loss")], adaptive=False)
    if variant == "L2 decoupled":
        meden.regularize(optimizer, model, [meden.Regularizer(L2(STRENGTH), coupling="decoupled")])
    elif variant in ("gradient", "proximal"):
        meden.regularize(optimizer, model, [meden.Regularizer(penalty, coupling=variant)])

    def step() -> None:
        loss = nn.functional.cross_entropy(model(x), y)
        if variant == "autograd":
            loss = loss + elastic_net_by_hand(model)
        if variant == "loss":
            loss = loss + in_loss[0].value()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], num_steps: int) -> float:
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(num_steps):
        step()
    return (clock() - start) / num_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 128, 10])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} thread(s), torch {torch.__version__}")
    print(f"{'optimizer':<14}{'penalty':<14}{'us/step':>10}{'x plain':>10}")
    for name in OPTIMIZERS:
        steps = {variant: make_step(name, variant, arguments.sizes) for variant in VARIANTS}
        for step in steps.values():
            seconds(step, 5)
        rounds = [{v: seconds(step, arguments.steps) for v, step in steps.items()} for _ in range(arguments.rounds)]
        for variant in VARIANTS:
            median = statistics.median(r[variant] for r in rounds)
            ratio = statistics.median(r[variant] / r["plain"] for r in rounds)
            print(f"{name:<14}{variant:<14}{median * 1e6:>10.0f}{ratio:>10.3f}")


if __name__ == "__main__":
    main()
