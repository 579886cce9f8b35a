"""How one training is spread over processes: what of it changes no result, but for the precision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meden._settings import Settings


class Sharding(Settings):
    """How training is distributed over processes, and how memory is traded for time.

    The same recipe gives the same model on any number of processes, up to rounding, whatever is set here, but for
    ``precision``; and but for a model of your own that draws random numbers past torch's functions, which draws others.

    Args:
        strategy: ``fsdp``: parameters, gradients and the optimizer's state are divided among the processes (FSDP2), and
            a block is whole while it computes. ``ddp``: each process holds all of them, and gradients are averaged.
        micro_batch_size: rows that a process passes at once, 1 or more: a step is made of as many passes as its share
            of the batch needs, and gradients are exchanged after the last. None passes the whole share.
        precision: what layers compute in; weights, their updates and sums of gradients stay in the model's own
            precision.
        activation_checkpointing: compute the inside of each block again in the backward pass instead of keeping it.
        compile: compile each block by ``torch.compile``; the first steps are slow.
        blocks: which modules are divided, checkpointed and compiled each by itself, see :data:`meden.params.Selector`.
            None are the repeated ones: those that a transformers model names, or modules of one class in an
            ``nn.ModuleList``.
        save_every: optimizer steps between two checkpoints, 1 or more, apart from those after each epoch; None is none.
        keep: newest checkpoints that are kept, 1 or more.

    Example:
        >>> Sharding(micro_batch_size=8, activation_checkpointing=True)
        Sharding(strategy='fsdp', micro_batch_size=8, precision='float32', activation_checkpointing=True, compile=False,
        blocks=None, save_every=None, keep=2)

    Reference:
        Y. Zhao and others, PyTorch FSDP: experiences on scaling fully sharded data parallel, 2023.
        T. Chen, B. Xu, C. Zhang and C. Guestrin, Training deep nets with sublinear memory cost, 2016.
    """

    strategy: Literal["fsdp", "ddp"] = "fsdp"
    micro_batch_size: int | None = Field(default=None, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    activation_checkpointing: bool = False
    compile: bool = False
    blocks: str | None = None
    save_every: int | None = Field(default=None, ge=1)
    keep: int = Field(default=2, ge=1)
