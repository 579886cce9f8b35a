"""How fast training is beside what the machine can do: its products in a step, its rate, its memory.

Legend: ``B`` rows of a batch.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

SIZES = {"cpu": 1024}
"""Rows of the matrices whose product is measured, by kind of device."""
OTHER_SIZE = 8192
MEASURED = 0.1
"""Seconds that products are repeated for; the fastest counts."""


@dataclass(frozen=True)
class Work:
    """What training asks of a machine, and what the machine can do.

    Example:
        >>> Work(row_flops=2e6, rate=1e9).share(rows_per_second=100.0)
        0.2
    """

    row_flops: float
    """Floating point operations of a forward and a backward pass, for each row."""
    rate: float
    """Those that the machine does in a second in a product of large matrices."""

    def share(self, rows_per_second: float) -> float:
        """Return the share of the machine's rate that training at some speed makes use of."""
        return self.row_flops * rows_per_second / self.rate


def work_of(model: nn.Module, x: Tensor, dtype: torch.dtype | None = None) -> Work | None:
    """Return the work of training a model on rows like ``x``; None if it cannot be counted.

    Args:
        model: is not run, and left as it is.
        x: some rows, (B, ...), on the device that is measured.
        dtype: what its products are computed in; None is the type of its parameters.
    """
    flops = row_flops(model, x)
    dtype = dtype or next(model.parameters()).dtype
    return None if flops is None else Work(flops, matmul_rate(x.device, dtype))


def row_flops(model: nn.Module, x: Tensor) -> float | None:
    """Return the floating point operations of a row, there and back, without computing anything.

    A product and its sum count as two. Only products of matrices, convolutions and attention are counted, as is usual;
    None if the model cannot be run without numbers, such as one that looks at them.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> row_flops(model, torch.zeros(2, 8))  # 2 x (128 + 64), the same for weights, 2 x 64 for hidden units
        896.0
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    made = {name: tensor.detach().to("meta").requires_grad_(tensor.requires_grad) for name, tensor in tensors.items()}
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            outputs: Tensor = functional_call(model, made, (x.detach().to("meta"),))
            torch.autograd.backward(outputs, torch.empty_like(outputs))
    except Exception:  # whatever a model does that needs numbers
        return None
    return counter.get_total_flops() / len(x)


def matmul_rate(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Return how many floating point operations a product of large square matrices does in a second, as measured.

    Example:
        >>> matmul_rate() > 1e8
        True
    """
    device = torch.device(device)
    size = SIZES.get(device.type, OTHER_SIZE)
    a, b = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    fastest, started = float("inf"), time.perf_counter()
    while fastest == float("inf") or time.perf_counter() - started < MEASURED:
        wait_for(device)
        begun = time.perf_counter()
        torch.mm(a, b)
        wait_for(device)
        fastest = min(fastest, time.perf_counter() - begun)
    return 2 * size**3 / fastest


def peak_memory(device: torch.device | str = "cpu") -> int | None:
    """Return the most bytes in use so far: of torch's allocator on a GPU, else of the process; None if nobody knows.

    Example:
        >>> peak_memory() is None or peak_memory() > 2**20
        True
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def wait_for(device: torch.device) -> None:
    """Wait until all that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
