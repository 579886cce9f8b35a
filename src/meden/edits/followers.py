"""What goes along when a model's tensors are cut: the states of its optimizer, penalties at work in it, averages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.swa_utils import AveragedModel

from meden._checks import InputError
from meden.edits.cuts import Cuts
from meden.edits.edit import Undo, apply_edits
from meden.edits.leaving import Leaving
from meden.edits.names import Names
from meden.edits.surgery import surgery
from meden.optim import Averager, Regularizer
from meden.optim.handle import handles_of
from meden.structure import GroupSet, ModelGroups, Piece


def check_optimizer(optimizer: Optimizer, names: Names, cuts: Cuts) -> None:
    """Check that an optimizer steps parameters of the model, and that what it keeps of them can be cut alike.

    Raises:
        InputError: naming what it keeps and of which parameter.
    """
    if isinstance(optimizer, LBFGS):
        raise InputError("optimizer must keep its state by parameter to be updated along, got LBFGS: create a new one")
    known = {id(tensor): name for name, tensor in names.tensors.items()}
    held = [param for group in optimizer.param_groups for param in group["params"]]
    if strange := [tuple(param.shape) for param in held if id(param) not in known]:
        raise InputError(f"optimizer must only step parameters of the model, got others, of shapes {strange[:3]}")
    for param in held:
        for key, value in optimizer.state.get(param, {}).items():
            try:
                _cut_state(cuts, known[id(param)], value)
            except InputError as error:
                raise InputError(
                    f"optimizer must keep {key!r} in its parameter's shape to be updated along: {error}"
                ) from None


def move_optimizer(optimizer: Optimizer, names: Names, small: nn.Module, cuts: Cuts) -> Undo:
    """Let an optimizer step the smaller model: the same groups, the states cut; biases that are new join their weights.

    Returns:
        what lets it step the model as it was, with the state that it had.
    """
    new, known = dict(small.named_parameters()), {id(tensor): name for name, tensor in names.tensors.items()}
    groups, state = [list(group["params"]) for group in optimizer.param_groups], dict(optimizer.state)
    handles = handles_of(optimizer)
    starts = [handle.state_dict()["starts"] for handle in handles]
    regularizers = [[b.regularizer for b in handle.bound] for handle in handles]
    added = {f"{bias.rpartition('.')[0]}.weight".lstrip("."): new[bias] for bias in cuts.biases}
    optimizer.state = defaultdict(dict)
    for group, params in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = [new[known[id(param)]] for param in params]
        group["params"] += [added[known[id(param)]] for param in params if known[id(param)] in added]
        for param in params:
            name = known[id(param)]
            if param in state:
                optimizer.state[new[name]] = {k: _cut_state(cuts, name, v) for k, v in state[param].items()}

    def undo() -> None:
        optimizer.state = defaultdict(dict, state)
        for group, params in zip(optimizer.param_groups, groups, strict=True):
            group["params"] = params
        for handle, before, pulled in zip(handles, regularizers, starts, strict=True):
            handle.rebind(names.model, regularizers=before, starts=pulled)

    try:
        for handle, before, pulled in zip(handles, regularizers, starts, strict=True):
            left = {label: {n: cuts.cut(n, w) for n, w in by_name.items()} for label, by_name in pulled.items()}
            handle.rebind(small, regularizers=[_regrouped(r, names, cuts) for r in before], starts=left)
    except BaseException:
        undo()
        raise
    return undo


def _cut_state(cuts: Cuts, name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return cuts.cut(name, value).clone() if value.ndim else value.clone()
    if isinstance(value, (list, tuple, Mapping)) and value:
        raise InputError(f"got a {type(value).__name__}")
    return value


def _regrouped(regularizer: Regularizer, names: Names, cuts: Cuts) -> Regularizer:
    """Return a regularizer with what is left of its groups, where they span tensors."""
    groups = regularizer.groups
    if not isinstance(groups, ModelGroups):
        return regularizer
    sets = tuple(left for of in groups.sets for left in _left(of, names, cuts))
    return replace(regularizer, groups=replace(groups, sets=sets))


def _left(groups: GroupSet, names: Names, cuts: Cuts) -> Iterator[GroupSet]:
    """Yield the groups that are left, with their new positions; those that became smaller in a set of their own."""
    new = [_renumbered(piece, names, cuts) for piece in groups.pieces]  # of each piece, of each group
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, of_group in enumerate(zip(*new, strict=True)):
        if all(of_group):
            by_size[tuple(map(len, of_group))].append(number)
    for numbers in by_size.values():
        pieces = [
            replace(piece, positions=tuple(positions[number] for number in numbers))
            for piece, positions in zip(groups.pieces, new, strict=True)
        ]
        yield GroupSet(groups.label, tuple(groups.names[number] for number in numbers), tuple(pieces))


def _renumbered(piece: Piece, names: Names, cuts: Cuts) -> list[tuple[int, ...]]:
    """Return the positions of each group that are left, as they are counted then."""
    name = names.first[piece.name]
    gone = set(cuts.lost(name, piece.axis))
    left = [at for at in range(names.tensors[name].shape[piece.axis]) if at not in gone]
    now = {at: number for number, at in enumerate(left)}
    return [tuple(now[at] for at in positions if at in now) for positions in piece.positions]


Average = Averager | AveragedModel | nn.Module
"""An average of a model's weights: meden's, torch's, or a copy of the model that somebody keeps."""


def check_average(average: object, names: Names) -> None:
    """Check that an average is one of a model.

    Raises:
        InputError: if it is of another, or something else.
    """
    if isinstance(average, Averager):
        if average.model is not names.model:
            raise InputError("averages must be of the model that is compacted, got those of another model")
        return
    if not isinstance(average, nn.Module):
        kinds = "a meden.Averager, a torch.optim.swa_utils.AveragedModel or a copy of the model"
        raise InputError(f"averages must be {kinds}, got {type(average).__name__}")
    own = Names(_holder(average)).tensors
    for name, tensor in names.tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            kind = type(_holder(average)).__name__
            raise InputError(f"averages must hold the tensors of the model, got a {kind} without {name}")


def move_average(average: Average, leaving: Leaving, small: nn.Module, cuts: Cuts) -> Undo:
    """Cut an average alike, and let it follow the smaller model; the constants that its biases take over go by it.

    Returns:
        what takes that back.
    """
    if not isinstance(average, Averager):
        model = _holder(average)
        return apply_edits(model, surgery(model, cuts, leaving.values(Names(model).tensors, cuts.biases))).undo
    before = average.state_dict()["average"]
    whole = {**before, **leaving.values({**leaving.names.tensors, **before}, cuts.biases)}
    average.rebind(small, {name: cuts.cut(name, whole[name]) for name, _ in small.named_parameters()})
    return partial(average.rebind, leaving.names.model, before)


def _holder(average: nn.Module) -> nn.Module:
    """Return the module that has the average as its own tensors."""
    return average.module if isinstance(average, AveragedModel) else average
