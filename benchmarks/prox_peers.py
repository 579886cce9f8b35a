"""Proximal operators beside those of pyproximal (numpy) and skglm (numba): do they agree, and how fast are they?

    pip install "meden[bench]" && python benchmarks/prox_peers.py

Each row: the largest difference of the results, and time of the peer / time of ours (above 1 = ours is faster), in
float64, on one thread. All three run in turn in each round; medians over the rounds. skglm gives a proximal operator of
one coordinate or group at a time; the loop over them is compiled here and not timed while it compiles. "-": none there.
Where results are apart, a line below the row says whose proximal objective is lower: the lower one is right.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyproximal
import skglm
import torch
from numba import njit
from skglm import penalties as sk
from skglm.utils.jit_compilation import compiled_clone

from meden.penalties import (
    L1,
    MCP,
    SCAD,
    Box,
    ElasticNet,
    GroupLasso,
    LogSum,
    MaxNorm,
    NonNegative,
    Nuclear,
    Penalty,
    SparseGroupLasso,
)

Prox = Callable[[np.ndarray], np.ndarray]
S, STEP, ROWS, COLUMNS = 0.4, 0.7, 512, 256


@dataclass(frozen=True)
class Row:
    """One penalty of ours, and what the peers call the same."""

    name: str
    ours: Penalty
    pyproximal: Prox | None = None
    skglm: Prox | None = None
    shape: tuple[int, int] = (ROWS, COLUMNS)


def numpy_prox(operator: pyproximal.ProxOperator) -> Prox:
    """The prox of pyproximal, which takes a flat vector."""
    return lambda w: operator.prox(w.ravel(), STEP).reshape(w.shape)


def grouped_numpy_prox(operator: pyproximal.ProxOperator) -> Prox:
    """The same for groups, which are columns there."""
    return lambda w: operator.prox(np.ascontiguousarray(w.T).ravel(), STEP).reshape(w.T.shape).T


@njit
def _each_coordinate(penalty, w, step):  # type: ignore[no-untyped-def]
    out = np.empty_like(w)
    for j in range(w.size):
        out[j] = penalty.prox_1d(w[j], step, j)
    return out


@njit
def _each_row(penalty, w, step):  # type: ignore[no-untyped-def]
    out = np.empty_like(w)
    for j in range(w.shape[0]):
        out[j] = penalty.prox_1group(w[j], step, j)
    return out


def numba_prox(penalty: sk.BasePenalty) -> Prox:
    """The prox of skglm for one coordinate, compiled and applied to all."""
    compiled = compiled_clone(penalty)
    return lambda w: _each_coordinate(compiled, w.ravel(), STEP).reshape(w.shape)


def grouped_numba_prox(penalty: sk.BasePenalty) -> Prox:
    """The prox of skglm for one group, compiled and applied to all rows."""
    compiled = compiled_clone(penalty)
    return lambda w: _each_row(compiled, w, STEP)


def table() -> list[Row]:
    """The penalties that at least one peer has."""
    ones, starts = np.ones(ROWS), np.arange(ROWS + 1, dtype=np.int32) * COLUMNS
    indices = np.arange(ROWS * COLUMNS, dtype=np.int32)
    sparse_group = sk.WeightedL1GroupL2(S, 0.5 * ones, 0.5 * ones, starts, indices)
    unweighted = {"size_weighted": False}
    return [
        Row("L1", L1(S), numpy_prox(pyproximal.L1(S)), numba_prox(sk.L1(S))),
        Row("ElasticNet", ElasticNet(S, 0.5), None, numba_prox(sk.L1_plus_L2(S, 0.5))),
        Row("MCP", MCP(S, 3.0), None, numba_prox(sk.MCPenalty(S, 3.0))),
        Row("SCAD", SCAD(S, 3.7), numpy_prox(pyproximal.SCAD(S, 3.7)), numba_prox(sk.SCAD(S, 3.7))),
        Row(
            "LogSum",
            LogSum(S, 0.1),
            numpy_prox(pyproximal.Log(S * np.log(11), 10)),
            numba_prox(sk.LogSumPenalty(S, 0.1)),
        ),
        Row("Box", Box(0.0, S), numpy_prox(pyproximal.Box(0, S)), numba_prox(sk.IndicatorBox(S))),
        Row("NonNegative", NonNegative(), numpy_prox(pyproximal.Box(0)), numba_prox(sk.PositiveConstraint())),
        Row(
            "MaxNorm, one row", MaxNorm(2.0), numpy_prox(pyproximal.EuclideanBall(0.0, 2.0)), None, (1, ROWS * COLUMNS)
        ),
        Row(
            "GroupLasso",
            GroupLasso(S * 57, **unweighted),
            grouped_numpy_prox(pyproximal.L21(COLUMNS, S * 57)),
            grouped_numba_prox(sk.WeightedGroupL2(S, 57 * ones, starts, indices)),
        ),
        Row("SparseGroupLasso", SparseGroupLasso(S, 0.5, **unweighted), None, grouped_numba_prox(sparse_group)),
        Row("Nuclear", Nuclear(S * 10), numpy_prox(pyproximal.Nuclear((128, 64), S * 10)), None, (128, 64)),
    ]


def seconds(function: Callable[[], object]) -> float:
    """Time of one call, of as many as take a few milliseconds."""
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.005:
        function()
        calls += 1
    return (time.perf_counter() - start) / calls


def compare(row: Row, rounds: int) -> str:
    """One line of the table."""
    w = np.random.default_rng(0).standard_normal(row.shape)
    tensor = torch.from_numpy(w)
    ours = row.ours.prox(tensor, STEP).numpy()
    runs: list[Callable[[], object]] = [lambda: row.ours.prox(tensor, STEP)]
    apart = []
    for peer in (row.pyproximal, row.skglm):
        runs.append((lambda peer=peer: peer(w)) if peer else lambda: None)
        apart.append(f"{np.abs(peer(w) - ours).max():9.1e}" if peer else f"{'-':>9}")
    times = [[seconds(run) for run in runs] for _ in range(rounds)]
    mine, *others = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [
        f"{other / mine:8.1f}" if peer else f"{'-':>8}"
        for other, peer in zip(others, (row.pyproximal, row.skglm), strict=True)
    ]
    zeros = (ours == 0).mean()
    return f"{row.name:18}{mine * 1e6:10.0f}{zeros:8.0%}   {apart[0]}{ratios[0]}   {apart[1]}{ratios[1]}" + verdict(
        row, w
    )


def verdict(row: Row, w: np.ndarray) -> str:
    """What the proximal objective says where a peer's result is another than ours."""
    lines = []
    mine = row.ours.prox(torch.from_numpy(w), STEP).numpy()
    for name, peer in (("pyproximal", row.pyproximal), ("skglm", row.skglm)):
        if peer and np.abs(peer(w) - mine).max() > 1e-6:
            ours, theirs = (
                row.ours.value(torch.from_numpy(z)).item() + ((z - w) ** 2).sum() / (2 * STEP) for z in (mine, peer(w))
            )
            lines.append(f"\n    {row.name}: objective of ours {ours:.6g}, of {name} {theirs:.6g}")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, pyproximal {pyproximal.__version__}, skglm {skglm.__version__}"
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{ROWS} x {COLUMNS} (Nuclear 128 x 64), float64, one thread, medians of {rounds} interleaved rounds\n")
    print(f"{'':18}{'ours':>10}{'':8}   {'pyproximal':^17}   {'skglm':^17}")
    print(f"{'penalty':18}{'micros.':>10}{'zeros':>8}   {'apart':>9}{'ratio':>8}   {'apart':>9}{'ratio':>8}")
    for row in table():
        print(compare(row, rounds), flush=True)


if __name__ == "__main__":
    main()
