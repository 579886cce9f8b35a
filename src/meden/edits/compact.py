"""A smaller model with the same output: what zeros leave without effect is cut out of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from meden._checks import check_choice
from meden.edits.attempts import Attempts, smallest
from meden.edits.cuts import Cuts
from meden.edits.edit import Undo
from meden.edits.followers import Average, check_average, check_optimizer, move_average, move_optimizer
from meden.edits.leaving import Inputs
from meden.edits.names import Names
from meden.edits.plan import Plan, make_plan
from meden.edits.rebuild import save_compact
from meden.optim.wrapped import inner_optimizer
from meden.params import check_module
from meden.structure import Structure, structure_of


@dataclass(frozen=True, eq=False)
class Compacted:
    """A smaller model, what became smaller, and the way back; made by :func:`compact`."""

    model: nn.Module
    """The smaller model, or the unchanged model after a dry run."""
    plan: Plan
    """What is removed; printing it gives a table."""
    cuts: Cuts
    undos: list[Undo] = field(default_factory=list, repr=False)

    def undo(self) -> None:
        """Take all back: ``model`` gets its former size and numbers, what followed steps the model that was given.

        What was trained since is lost. A second call does nothing.
        """
        while self.undos:
            self.undos.pop()()

    def save(self, folder: str | Path) -> None:
        """Write the smaller model to a folder, for :func:`meden.edits.load_compact`: tensors, and what was cut."""
        save_compact(self.model, self.cuts, Path(folder))

    def __str__(self) -> str:
        return str(self.plan)


def compact(
    model: nn.Module,
    example: Any,
    *,
    inputs: Inputs = "gather",
    dry_run: bool = False,
    optimizer: Optimizer | None = None,
    averages: Average | Sequence[Average] = (),
) -> Compacted:
    r"""Return a smaller model with the same output in evaluation mode, by removing what zeros have made useless.

    A unit, filter, attention head or input leaves if all weights that read it are zero, or if it is the same number
    whatever the model is given (its incoming weights or its norm's scale are zero): a bias of what reads it then takes
    that number over, a new one if there is none. What only units that leave would read leaves too. Of a layer that
    would lose all, one unit is left, of zeros. What is not known to be free to go stays, and the plan says why; so do
    channels without which a layer does not run or gives another output, such as one with a literal size in its code.

    The given model is left as it is. The output is proven to be the same on the example and on random inputs of its
    shapes, within 1e-10 of its largest element for float64 and 1e-5 for float32. In training it is the same as long as
    what left would have stayed at zero; dropout draws anew, since there are fewer numbers to drop.

    Args:
        model: any module that ``torch.export`` can trace.
        example: an input: a tensor, a tuple of arguments or a mapping of keyword arguments; two rows are enough.
        inputs: what becomes of inputs that nothing reads. ``"gather"``: the model takes what it took, and the layers
            that read it pick what they need. ``"columns"``: it takes fewer, which ``plan.columns`` names. ``"keep"``:
            they stay.
        dry_run: only try, and return the plan.
        optimizer: any torch optimizer of the model but LBFGS: it steps the smaller model from then on, with the same
            groups and its states cut; schedules and :func:`meden.regularize`'s penalties go on (one that weighs
            groups by their size counts what is left of them). One whose steps depend on the sizes of tensors, as
            ``Adafactor``'s do by their means over rows, columns and whole tensors, goes on with other steps.
        averages: averages of the weights that go on with the smaller model: :class:`meden.Averager`,
            ``torch.optim.swa_utils.AveragedModel``, a copy of the model, or several. What is zero in the model has to
            be zero in them too for their output to stay as it is; nothing of that is checked.

    Returns:
        the smaller ``model``, the ``plan``, ``undo()`` and ``save(folder)``.

    Raises:
        InputError: if the model does not take the example, cannot be traced, gives another output each time in
            evaluation, reads none of its inputs, or does not run or gives another output once it is smaller, whatever
            of it leaves (a layer that knows its own size in a way that meden does not).

    Example:
        >>> import torch, meden
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> with torch.no_grad():
        ...     net[2].weight[:, 1] = 0  # nothing reads the second unit
        ...     net[0].weight[2] = 0  # the third is a constant
        >>> small = meden.compact(net, torch.randn(8, 4))
        >>> small.model[0], small.plan.channels, small.plan.parameters
        (Linear(in_features=4, out_features=1, bias=True), ('0[1]', '0[2]'), (23, 9))

    Reference:
        G. Fang, X. Ma, M. Song, M. Bi Mi and X. Wang, DepGraph: towards any structural pruning, 2023 (which channels
        belong together; there the output changes).
    """
    check_module(model)
    check_choice("inputs", inputs, ("gather", "columns", "keep"))
    inner = None if optimizer is None else inner_optimizer(optimizer)
    structure = structure_of(model, example)
    return compact_as(model, example, structure, inputs=inputs, dry_run=dry_run, optimizer=inner, averages=averages)


def compact_as(
    model: nn.Module,
    example: Any,
    structure: Structure,
    *,
    inputs: Inputs,
    dry_run: bool,
    optimizer: Optimizer | None,
    averages: Average | Sequence[Average],
) -> Compacted:
    """Do what :func:`compact` does, for a structure that is known."""
    names = Names(model)
    averages = averages if isinstance(averages, Sequence) else (averages,)
    for average in averages:
        check_average(average, names)
    made = smallest(Attempts(model, example, structure, inputs))
    leaving, cuts, small = made.leaving, made.cuts, made.model
    if optimizer is not None:
        check_optimizer(optimizer, names, cuts)
    plan = make_plan(leaving, small, structure.products, None if made.columns is None else made.columns.left)
    if dry_run:
        return Compacted(model, plan, cuts)
    undos = [made.undo]
    try:
        for average in averages:
            undos.append(move_average(average, leaving, small, cuts))
        if optimizer is not None:
            undos.append(move_optimizer(optimizer, names, small, cuts))
    except BaseException:
        Compacted(model, plan, cuts, undos).undo()
        raise
    return Compacted(small, plan, cuts, undos)
