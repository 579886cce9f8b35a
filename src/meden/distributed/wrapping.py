"""A model that is spread over processes: a module beside it, of the same parameters, that computes on all of them."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import nn

from meden._checks import InputError
from meden.distributed.sharding import Sharding
from meden.distributed.world import World
from meden.params import select_modules
from meden.penalties.sharding import local
from meden.penalties.sharding import whole as gathered


def blocks_of(model: nn.Module, selector: str | None = None) -> list[nn.Module]:
    """Return the modules that are divided, checkpointed and compiled each by itself, outermost first.

    Args:
        model: any module.
        selector: which they are; None are the classes that a transformers model names, or else modules of one class,
            two or more, in an ``nn.ModuleList``.

    Raises:
        InputError: if the selector chooses none.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]))
        >>> len(blocks_of(model))
        2
    """
    if selector is not None:
        try:
            return _outermost(list(select_modules(model, selector).values()))
        except InputError as error:
            raise InputError(f"blocks: {error}") from None
    named = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    if own := [module for module in model.modules() if type(module).__name__ in named]:
        return _outermost(own)
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    counts = [Counter(map(type, children)) for children in lists]
    repeated = [m for children, num in zip(lists, counts, strict=True) for m in children if num[type(m)] > 1]
    return _outermost([module for module in repeated if any(True for _ in module.parameters())])


def _outermost(modules: list[nn.Module]) -> list[nn.Module]:
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    return list({id(module): module for module in modules if id(module) not in inner}.values())


class Spread:
    """A model on all processes.

    Args:
        model: whole on each process. Rank 0's numbers are taken by all.
        world: the processes.
        sharding: how.
        has_idle_tensors: whether some of its tensors have no gradient.
    """

    def __init__(self, model: nn.Module, world: World, sharding: Sharding, *, has_idle_tensors: bool = False) -> None:
        self.whole, self.world, self.sharding = model, world, sharding
        _take_numbers_of_first(model, world)
        self.model = beside(model)
        """Has the names of the whole model; its parameters are shards, or are shared with it."""
        self.forward: nn.Module = self.model
        """What a batch is passed through."""
        blocks = blocks_of(self.model, sharding.blocks)
        if sharding.activation_checkpointing:
            for block in blocks:
                _checkpoint(block)
        if sharding.compile:
            for block in blocks or [self.model]:
                block.compile()
        # a process alone has nothing to divide, and saves a fifth of a small step
        self._divides = sharding.strategy == "fsdp" and (world.size > 1 or sharding.precision != "float32")
        if self._divides:
            self._shard(blocks)
        elif world.size > 1:
            on = [world.device] if world.device.type == "cuda" else None
            self.forward = nn.parallel.DistributedDataParallel(
                self.model, device_ids=on, broadcast_buffers=False, find_unused_parameters=has_idle_tensors
            )

    def _shard(self, blocks: list[nn.Module]) -> None:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        half = self.sharding.precision == "bfloat16"
        inner = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
        outer = MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.float32) if half else inner
        for module, policy in (*((block, inner) for block in blocks), (self.model, outer)):
            # the outermost too: averages and penalties must find shards after an evaluation
            fully_shard(module, mesh=self.world.mesh, mp_policy=policy, reshard_after_forward=True)
        for param in self.whole.parameters():  # a device that holds a shard has no room for the whole
            param.data = param.data.cpu()

    @contextmanager
    def passing(self, *, is_last: bool) -> Iterator[None]:
        """Pass a part of a step's rows forward and backward; gradients are exchanged with the last part only."""
        casts = self.sharding.precision == "bfloat16" and not self._divides
        with self._exchanged(is_last), torch.autocast(self.world.device.type, torch.bfloat16, enabled=casts):
            yield

    @contextmanager
    def _exchanged(self, is_last: bool) -> Iterator[None]:
        if self._divides:
            self.model.set_requires_gradient_sync(is_last)  # type: ignore[operator]
            yield
            return
        waits = isinstance(self.forward, nn.parallel.DistributedDataParallel) and not is_last
        with self.forward.no_sync() if waits else nullcontext():  # type: ignore[operator]
            yield

    @torch.no_grad()
    def gather(self) -> None:
        """Write the numbers into the whole model, on each process."""
        for (_, own), (_, whole) in zip(self.model.named_parameters(), self.whole.named_parameters(), strict=True):
            if own is whole:
                continue
            numbers = local(gathered(own))
            if whole.device == numbers.device:
                whole.copy_(numbers)
            else:
                whole.data = numbers


def beside(model: nn.Module) -> nn.Module:
    """Return a module of the same structure with the very same parameters and buffers."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _take_numbers_of_first(model: nn.Module, world: World) -> None:
    if world.size > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, src=0)


def _checkpoint(block: nn.Module) -> None:
    from torch.utils.checkpoint import checkpoint

    # an attribute, not a wrapper: a wrapper would change the names of what is inside
    block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
