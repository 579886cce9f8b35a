"""Smaller models of one, each made on a copy and proven: the smallest that gives the same output."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from meden.edits.columns import Columns, left_columns
from meden.edits.cuts import Cuts
from meden.edits.edit import Undo, apply_edits
from meden.edits.folding import bias_name
from meden.edits.layers import is_known
from meden.edits.leaving import Inputs, Leaving, parts_of, what_leaves
from meden.edits.names import Names
from meden.edits.proof import NotSameError, Proof
from meden.edits.surgery import surgery
from meden.structure import Structure


class Made(NamedTuple):
    """A smaller model that is proven to give the same output."""

    leaving: Leaving
    cuts: Cuts
    columns: Columns | None
    model: nn.Module
    undo: Undo


class Attempts:
    """Makes smaller models of one, each on a copy, and proves them."""

    def __init__(self, model: nn.Module, example: Any, structure: Structure, inputs: Inputs) -> None:
        self.model, self.example, self.structure, self.inputs = model, example, structure, inputs
        self.proof = Proof(model, example)

    def leaving(self, stay: Mapping[str, str]) -> Leaving:
        """Return what leaves while some channels stay, by label, with the reasons."""
        return what_leaves(self.model, self.structure, inputs=self.inputs, stay=stay)

    def __call__(self, stay: Mapping[str, str]) -> Made:
        """Return the smaller model that keeps some channels (by label, with the reasons).

        Raises:
            NotSameError: if it does not run or gives another output.
        """
        leaving = self.leaving(stay)
        values = leaving.values(leaving.names.tensors)
        cuts = make_cuts(leaving, self.structure, values)
        columns = left_columns(self.structure, leaving, self.example) if self.inputs == "columns" else None
        small = copy.deepcopy(self.model)
        edits = apply_edits(small, surgery(small, cuts, values))
        narrowed = columns.of if columns is not None else lambda given: given
        self.proof.check(small, narrowed, lambda: _blame(leaving.names, cuts))
        return Made(leaving, cuts, columns, small, edits.undo)


def smallest(attempt: Attempts) -> Made:
    """Return the smallest model that is proven; where not all can leave, channels of the same tensors stay together.

    Raises:
        NotSameError: of the first attempt, if nothing can leave.
    """
    try:
        return attempt({})
    except NotSameError as error:
        refusal = error
    by_tensors: dict[frozenset[str], list[str]] = defaultdict(list)
    leaving = attempt.leaving({})
    for channel in (*leaving.channels, *leaving.idle):
        by_tensors[frozenset(part.name for part in parts_of(channel))].append(channel.label)
    stay = {label: refusal.why for labels in by_tensors.values() for label in labels}

    def add(sets: list[list[str]]) -> None:
        added = {label for labels in sets for label in labels}
        try:
            attempt({label: why for label, why in stay.items() if label not in added})
        except NotSameError as error:
            if len(sets) > 1:
                add_halves(sets)
            else:
                stay.update(dict.fromkeys(added, f"without it {error.why}"))
        else:
            for label in added:
                del stay[label]

    def add_halves(sets: list[list[str]]) -> None:
        half = len(sets) // 2
        add(sets[half:])  # later layers first: what they alone read can leave after them
        add(sets[:half])

    if len(by_tensors) > 1:
        add_halves(list(by_tensors.values()))
    made = attempt(stay)
    if not made.leaving.channels:
        raise refusal
    return made


def make_cuts(leaving: Leaving, structure: Structure, values: dict[str, Tensor]) -> Cuts:
    """Return what is to be cut out as plain values."""
    names = leaving.names
    gone = {place: at for place, at in leaving.positions.items() if at}
    shapes = {name: tuple(names.tensors[name].shape) for name in sorted({name for name, _ in gone})}
    biases = tuple(name for name in values if name not in names.tensors)
    reads = [read for channel in (*leaving.channels, *leaving.idle) for read in channel.reads]
    rows = {bias_name(read, names): (names.first[read.weight.name], read.outputs) for read in reads}
    for bias in biases:  # loses what the weight does that it stands beside
        shapes[bias] = tuple(values[bias].shape)
        if rows[bias] in gone:
            gone[bias, 0] = gone[rows[bias]]
    return Cuts(gone, shapes, leaving.heads(structure.channels), leaving.picked(), biases)


def _blame(names: Names, cuts: Cuts) -> str:
    """Return which layers that were cut are of types whose attributes are not known."""
    owners = names.modules_of([(name, 0) for name in cuts.shapes])
    unknown = [
        f"{name or 'the model'} ({type(layer).__name__})" for name, layer in owners.items() if not is_known(layer)
    ]
    return f"; of {', '.join(unknown)} only the tensors could be cut" if unknown else ""
