"""Masks and dropout: ours against torch's own, alone and for a population. Run: python benchmarks/noise.py [device].

Medians of interleaved rounds; the ratio is torch's time over ours. "graph" is a replay of the traced function.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import dropout

from meden.noise import Dropout, stream
from meden.noise.dropout import keep_scale
from meden.noise.rng import keep_mask

P = 0.5
ROUNDS = 11


def medians(functions: dict[str, Callable[[], Tensor]], device: str) -> dict[str, float]:
    """Median seconds per call; each round calls every function for about 10 ms."""
    calls = {name: max(1, int(0.01 / max(seconds(f, 3, device), 1e-7))) for name, f in functions.items()}
    rounds = [{name: seconds(f, calls[name], device) for name, f in functions.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(r[name] for r in rounds) for name in functions}


def seconds(function: Callable[[], Tensor], calls: int, device: str) -> float:
    synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    synchronise(device)
    return (time.perf_counter() - start) / calls


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def cases(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], Tensor]]:
    """One model: mask alone, and dropout of an activation."""
    x, layer = torch.randn(shape, device=device), Dropout(P).to(device)
    return {
        "mask: ours": lambda: keep_mask(layer.key, layer.step, layer.p, x.shape),
        "mask: torch.bernoulli": lambda: torch.bernoulli(x, P),
        "dropout: ours": lambda: layer(x),
        "dropout: F.dropout": lambda: dropout(x, P, True),
    }


def population_cases(members: int, shape: tuple[int, ...], device: str) -> dict[str, Callable[[], Tensor]]:
    """The same for a stack of members with their own streams and probabilities; torch can only give them one p."""
    x = torch.randn(members, *shape, device=device)
    keys = torch.stack([stream(k) for k in range(members)]).to(device)
    steps = torch.zeros(members, dtype=torch.int64, device=device)
    p = torch.full((members,), P, device=device)
    mask = vmap(lambda k, s, p: keep_mask(k, s, p, torch.Size(shape)))
    drop = vmap(lambda k, s, p, x: x * keep_scale(k, s, p, x.shape, x.dtype))
    mask_graph, drop_graph = make_fx(mask)(keys, steps, p), make_fx(drop)(keys, steps, p, x)
    return {
        "mask: ours, vmap": lambda: mask(keys, steps, p),
        "mask: ours, graph": lambda: mask_graph(keys, steps, p),
        "mask: torch.bernoulli": lambda: torch.bernoulli(x, P),
        "dropout: ours, vmap": lambda: drop(keys, steps, p, x),
        "dropout: ours, graph": lambda: drop_graph(keys, steps, p, x),
        "dropout: F.dropout": lambda: dropout(x, P, True),
    }


def main(device: str = "cpu") -> None:
    torch.set_num_threads(1)
    title = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {device}, one thread"
    table = Table("work", "function", "us", "torch / ours", title=title)
    work = {f"alone {shape}": cases(shape, device) for shape in ((32, 64), (128, 128), (128, 1024))}
    for members, shape in ((50, (32, 64)), (50, (64, 128))):
        work[f"{members} members x {shape}"] = population_cases(members, shape, device)
    for name, functions in work.items():
        times = medians(functions, device)
        for function, spent in times.items():
            kind = function.split(":")[0]
            peer = next(t for other, t in times.items() if other.startswith(kind) and "ours" not in other)
            table.add_row(name, function, f"{spent * 1e6:.1f}", f"{peer / spent:.2f}" if "ours" in function else "")
        table.add_section()
    Console(width=100).print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
