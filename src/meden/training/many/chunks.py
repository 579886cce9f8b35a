"""How many members to stack: as many as memory allows, and as few as measured speed asks for.

Legend: ``K`` members, ``P`` trained numbers of one member.
"""

from __future__ import annotations

import copy
import functools
import os
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from meden.data.targets import Task
from meden.noise import seeded
from meden.objective import evaluating, mean_loss
from meden.recipe import make_optimizer
from meden.speed import wait_for
from meden.training.many.batches import Entrant
from meden.training.many.layers import plain_layers
from meden.training.many.population import FASTER_THAN_A_CORE, Population
from meden.training.many.tracing import Products

COPIES = 10
"""Tensors of the size of the parameters that a stack keeps: weights, best, gradient, optimizer state, temporaries."""
TRIAL_WORK = 100_000
"""Members of fewer products a row are stacked without a trial: per operation they cost more than their arithmetic."""
LARGEST_WORK = 1_000_000
"""Members of more are trained one by one, without a trial: one alone keeps a core busy."""
CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
STEADY_CHUNKS = {"cpu": (32, 16), "cuda": (256, 64)}
"""Members of a stack of small models, and of larger ones, where speed is not measured: on the CPU more of them are no
faster, and fewer leave more stacks to share among workers."""
STEADY_BYTES = {"cpu": 2**30, "cuda": 2**33}
TRIAL_CHUNKS = (16, 4)
TRIAL_STEPS = 4


def member_bytes(entrant: Entrant, x: Tensor, y: Tensor, task: Task) -> int:
    """Return the memory that one member of a stack needs, in bytes: parameters, state, and one batch's activations."""
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel() * tensor.element_size())
        return tensor

    model = copy.deepcopy(entrant.model).train()
    rows = torch.from_numpy(entrant.fit[: _batch_rows(entrant)])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), seeded(model, entrant.seed, "forward"):
        mean_loss(task, model(x[rows]), y[rows])
    own = sum(p.numel() * p.element_size() for p in model.parameters())
    passes = 1 if entrant.recipe.rdrop is None else 2
    return COPIES * own + 2 * passes * sum(saved)


def row_work(entrant: Entrant, x: Tensor) -> int:
    """Return the products of a forward pass of one row, and the number of weights if that is more.

    They are the same for linear layers; a convolution uses each weight at every place.
    """
    rows = x[torch.from_numpy(entrant.fit[:2])]
    products = Products()
    with torch.no_grad(), evaluating(entrant.model), plain_layers(x.device), products:
        entrant.model(rows)
    num_weights = sum(p.numel() for p in entrant.model.parameters())
    return max(products.count // len(rows), num_weights)


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):  # neither macOS nor Windows says
        return STEADY_BYTES["cpu"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def steady_chunk(entrant: Entrant, x: Tensor, y: Tensor, task: Task) -> int:
    """Return how many such members to stack, by their size and the kind of device, whatever the machine is doing."""
    work = row_work(entrant, x)
    if _are_better_alone(entrant.model, work, x.device):
        return 1
    small, larger = STEADY_CHUNKS.get(x.device.type, STEADY_CHUNKS["cuda"])
    fitting = STEADY_BYTES.get(x.device.type, STEADY_BYTES["cuda"]) // member_bytes(entrant, x, y, task)
    return max(1, min(small if work < TRIAL_WORK else larger, fitting))


def fastest_chunk(entrants: Sequence[Entrant], x: Tensor, y: Tensor, task: Task, *, pads: bool, largest: int) -> int:
    """Return how many members to stack, at most ``largest``; 1 stands for one by one.

    Small members are stacked as they are, and large ones never; nor, on the CPU, larger ones with convolutions. For
    those between, a few steps are tried, on copies, with stacks of several sizes and with a plain loop, and the least
    time per member and step wins.

    Raises:
        Exception: what keeps the models from being stacked.
    """
    work = row_work(entrants[0], x)
    if work < TRIAL_WORK * _speed(x.device):
        return largest
    if _are_better_alone(entrants[0].model, work, x.device):
        return 1
    seconds = {1: _seconds(_plain_step(entrants[0], x, y, task), x.device)}
    for chunk in sorted({largest, *(c for c in TRIAL_CHUNKS if c < largest)}):
        trial = Population(dict(enumerate(entrants[:chunk])), x, y, task, pads=pads, on_run=_ignore, on_epoch=_ignore)
        trial.trace()
        seconds[chunk] = _seconds(functools.partial(trial.try_step, trial.first_batch()), x.device) / chunk
        if seconds[chunk] > min(seconds.values()):
            break
    return min(seconds, key=lambda chunk: seconds[chunk])


def _are_better_alone(model: nn.Module, work: int, device: torch.device) -> bool:
    """Say whether members of so many products a row are trained one by one.

    Convolutions of a stack are those of groups, which the CPU does at half the speed of a plain one.
    """
    convolves = device.type == "cpu" and any(isinstance(m, CONVOLUTIONS) for m in model.modules())
    return work > LARGEST_WORK * _speed(device) or (convolves and work >= TRIAL_WORK)


def _speed(device: torch.device) -> int:
    """Return how many times as much work a model may have on a device as on a core, and still be stacked."""
    return 1 if device.type == "cpu" else FASTER_THAN_A_CORE


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    """Return the least time of a few steps on a device."""
    step()
    times = []
    for _ in range(TRIAL_STEPS):
        wait_for(device)
        started = time.perf_counter()
        step()
        wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _plain_step(entrant: Entrant, x: Tensor, y: Tensor, task: Task) -> Callable[[], None]:
    model: nn.Module = copy.deepcopy(entrant.model).train()
    optimizer = make_optimizer(entrant.recipe, [p for p in model.parameters() if p.requires_grad])
    rows = torch.from_numpy(entrant.fit[: _batch_rows(entrant)])

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(1 if entrant.recipe.rdrop is None else 2):
            with seeded(model, entrant.seed, "forward"):
                torch.autograd.backward(mean_loss(task, model(x[rows]), y[rows]))
        optimizer.step()

    return step


def _batch_rows(entrant: Entrant) -> int:
    size = entrant.recipe.batch_size
    return len(entrant.fit) if size == "full" else min(size, len(entrant.fit))


def _ignore(*_told: object) -> None:
    """Nobody waits for the outcome of a trial."""
