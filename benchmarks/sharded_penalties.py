"""What a penalty costs on two ranks: a step under FSDP2 with each of them, beside the plain step of the same model.

``blocks`` are 4 layers of nn.TransformerEncoderLayer of width 256 (3.2 million parameters), 8 sequences of 64 vectors
on each rank; ``mlp`` is 784-1024-1024-10 (1.9 million), 128 rows on each rank. Each module with weights is a shard of
its own. The two ranks are processes that talk through gloo, with one thread each. Prints the median over interleaved
rounds of the time of a step and of its ratio to the plain step of the same round, the ratio of the CPU seconds, and the
collectives that the penalty adds to a step, in all and for each of the tensors that it is on.

Run: python benchmarks/sharded_penalties.py [--rounds 15] [--steps 3] [--models blocks mlp] [--optimizers AdamW SGD]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.debug import CommDebugMode

import meden
from meden.penalties import L1, L2, GroupLasso, MaxNorm, Nuclear, Penalty

PENALTIES: dict[str, Penalty | None] = {
    "plain": None,
    "L1": L1(1e-6),
    "L2": L2(1e-2),
    "GroupLasso units": GroupLasso(1e-6),
    "GroupLasso inputs": GroupLasso(1e-6, dim="inputs"),
    "GroupLasso block 2": GroupLasso(1e-6, block=2),
    "MaxNorm": MaxNorm(1.0),
    "Nuclear": Nuclear(1e-6),
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "AdamW": lambda params: torch.optim.AdamW(params, lr=1e-5, weight_decay=0.0, fused=True),
    "SGD": lambda params: torch.optim.SGD(params, lr=1e-4, momentum=0.9),
}


def blocks() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True) for _ in range(4)]
    for layer in layers:
        fully_shard(layer)
    return nn.Sequential(*layers), torch.randn(8, 64, 256), torch.randn(8, 64, 256)


def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    for layer in layers[::2]:
        fully_shard(layer)
    return nn.Sequential(*layers), torch.randn(128, 784), torch.randn(128, 10)


MODELS = {"blocks": blocks, "mlp": mlp}


def make_step(model_name: str, optimizer_name: str, penalty: Penalty | None) -> tuple[Callable[[], None], int]:
    """Return one step, and on how many tensors the penalty is."""
    torch.manual_seed(dist.get_rank())
    model, x, y = MODELS[model_name]()
    fully_shard(model)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    regularizers = [] if penalty is None else [meden.Regularizer(penalty)]
    handle = meden.regularize(optimizer, model, regularizers) if regularizers else None

    def step() -> None:
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, sum(len(b.params) for b in handle.bound) if handle else 0


def seconds(step: Callable[[], None], num_steps: int) -> tuple[float, float]:
    """Return the seconds of a step, and those of this process's CPU."""
    dist.barrier()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(num_steps):
        step()
    dist.barrier()
    return (time.perf_counter() - start) / num_steps, (time.process_time() - cpu) / num_steps


def collectives(step: Callable[[], None]) -> int:
    with CommDebugMode() as counted:
        step()
    return counted.get_total_counts()


def measure(model_name: str, optimizer_name: str, rounds: int, num_steps: int) -> None:
    made = {name: make_step(model_name, optimizer_name, penalty) for name, penalty in PENALTIES.items()}
    for step, _ in made.values():
        seconds(step, 2)
    counts = {name: collectives(step) for name, (step, _) in made.items()}
    taken = [{name: seconds(step, num_steps) for name, (step, _) in made.items()} for _ in range(rounds)]
    if dist.get_rank():
        return
    for name, (_, num_tensors) in made.items():
        median = statistics.median(r[name][0] for r in taken)
        ratio, cpu = (statistics.median(r[name][i] / r["plain"][i] for r in taken) for i in (0, 1))
        added = counts[name] - counts["plain"]
        print(
            f"{model_name:<8}{optimizer_name:<8}{name:<20}{median * 1e3:>9.1f}{ratio:>9.3f}{cpu:>9.3f}{added:>8}"
            f"{added / max(num_tensors, 1):>9.2f}",
            flush=True,
        )


def work(rank: int, folder: str, arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for model_name in arguments.models:
        for optimizer_name in arguments.optimizers:
            measure(model_name, optimizer_name, arguments.rounds, arguments.steps)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS))
    arguments = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, 2 ranks of one thread, gloo, torch {torch.__version__}")
    print(f"{'model':<8}{'rule':<8}{'penalty':<20}{'ms/step':>9}{'x plain':>9}{'x CPU':>9}{'added':>8}{'a tensor':>9}")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder, arguments), nprocs=2)


if __name__ == "__main__":
    main()
