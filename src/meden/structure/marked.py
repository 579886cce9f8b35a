"""What is known of a tensor in a model's run: whose channels its numbers are, and which do not depend on the input.

Legend: an *atom* is a number that stands for one channel, as far as it is known where it comes from; -1 is none.
Atoms that turn out to be one channel are joined, and the joined ones are a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Use = Literal["as it is", "scaled", "changed"]
"""What a tensor holds of a parameter's numbers; of scaled ones the zeros are the same."""


class Source(NamedTuple):
    """A parameter or buffer whose numbers a tensor holds, moved or scaled."""

    name: str
    origin: Tensor
    """Flat positions in it, of the tensor's shape."""
    shape: torch.Size
    """Its own."""
    use: Use


@dataclass(frozen=True, eq=False)
class Marked:
    """A tensor of the run, with marks of its shape."""

    value: Tensor
    atoms: Tensor
    """The channel of each number, int64; -1 for none."""
    known: Tensor
    """Which numbers are the same whatever the model is given, bool."""
    sources: tuple[Source, ...] = ()
    readings: tuple[int, ...] = ()
    """Which of the notes' attached weights it is the product with, as long as nothing else has come of it."""

    @property
    def is_labelled(self) -> bool:
        """Whether any number is of a channel."""
        return bool((self.atoms >= 0).any())

    def moved(self, move: Callable[[Tensor], Tensor]) -> Marked:
        """Return it after an operation that only moves numbers."""
        sources = tuple(source._replace(origin=move(source.origin)) for source in self.sources)
        return Marked(move(self.value), move(self.atoms), move(self.known), sources)


def once(x: Tensor) -> Tensor:
    """Return a tensor with size 1 along the dimensions along which it is the same memory."""
    for dim, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if size > 1 and stride == 0:
            x = x.narrow(dim, 0, 1)
    return x


def unlabelled(value: Tensor, *, known: bool) -> Marked:
    """Return a tensor that holds no channels."""
    none = torch.full((), -1).expand(value.shape)
    return Marked(value, none, torch.full((), known).expand(value.shape))


class Attached(NamedTuple):
    """A weight whose slices compute, scale or read channels."""

    source: Source
    atoms: Tensor
    """Broadcasts with the weight, as it is used."""
    read: Product | None = None


class Product(NamedTuple):
    """What a weight that reads channels makes of them."""

    outputs: int
    """The dimension of the weight, as it is used, that counts what is computed."""
    bias: str | None
    known: Tensor
    """Where the channel is a constant, of the shape of the atoms."""
    constant: Tensor
    """And which."""

    def of_zeros(self) -> Product:
        """Return the same where no other constant than 0 counts."""
        return self._replace(known=self.known & (self.constant == 0))


class Foreign(NamedTuple):
    """Where channels meet numbers that cannot be cut with them."""

    atoms: Tensor
    met: Tensor
    """At which of them."""
    dims: tuple[int, ...]
    """Along which the others have a size of their own."""
    why: str


@dataclass
class Notes:
    """What a run shows of its channels."""

    num_atoms: int = 0
    joined: list[NDArray[np.int64]] = field(default_factory=list)
    """Pairs of atoms of one channel, (2, n) each."""
    attached: list[Attached] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    fixed: list[tuple[NDArray[np.int64], str]] = field(default_factory=list)
    kinds: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    """Atoms that were made by a filter, an input, part of attention."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Why nothing of a parameter may leave, by its name."""
    products: dict[str, int] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    """Weights of which the model's input picks rows."""

    def new(self, num: int, kind: str = "unit") -> Tensor:
        """Return new atoms, (num,)."""
        atoms = torch.arange(self.num_atoms, self.num_atoms + num)
        self.num_atoms += num
        self.kinds.setdefault(kind, []).append(atoms.numpy())
        return atoms

    def join(self, a: Tensor, b: Tensor) -> None:
        """Take atoms that stand at the same place as one channel; the two broadcast."""
        a, b = torch.broadcast_tensors(once(a), once(b))  # type: ignore[no-untyped-call]
        differ = (a != b) & (a >= 0) & (b >= 0)
        if differ.any():
            pairs = torch.unique(a[differ] * self.num_atoms + b[differ]).numpy()
            self.joined.append(np.stack(np.divmod(pairs, self.num_atoms)))

    def fix(self, atoms: Tensor, why: str) -> None:
        """Say that channels have to stay."""
        found = torch.unique(atoms[atoms >= 0])
        if len(found):
            self.fixed.append((found.numpy(), why))

    def mark(self, atoms: Tensor, kind: str) -> None:
        """Say that channels are of a kind."""
        self.kinds.setdefault(kind, []).append(torch.unique(atoms[atoms >= 0]).numpy())

    def count(self, weight: Marked, products: int) -> None:
        """Count the products of a weight, by its module."""
        for module in {source.name.rpartition(".")[0] for source in weight.sources}:
            self.products[module] = self.products.get(module, 0) + products

    def use_up(self, marked: Marked, why: str) -> None:
        """Say that something is made of weights, of which they can no longer be told."""
        for source in marked.sources:
            self.elsewhere.setdefault(source.name, why)

    def attach(self, atoms: Tensor, weight: Marked, read: Product | None = None) -> None:
        """Say that the slices of a weight belong to channels, with which it broadcasts."""
        self.attached += [Attached(source, atoms, read) for source in weight.sources]

    def readings_since(self, before: int) -> tuple[int, ...]:
        """Return the numbers of the weights attached since that read channels."""
        return tuple(n for n in range(before, len(self.attached)) if self.attached[n].read is not None)

    def add_bias(self, product: Marked, bias: Marked) -> None:
        """Say what is added to a product of channels with a weight."""
        names = {source.name for source in bias.sources}
        as_it_is = len(names) == 1 and bias.sources[0].use == "as it is"
        for number in product.readings:
            record = self.attached[number]
            assert record.read is not None
            read = record.read._replace(bias=min(names, default=None))
            self.attached[number] = record._replace(read=read if as_it_is else read.of_zeros())

    def meet(self, atoms: Tensor, other: Marked) -> None:
        """Say that channels meet, number by number, something that is not theirs."""
        if other.sources or other.value.numel() == 1:
            return
        shape = torch.broadcast_shapes(atoms.shape, other.value.shape)  # type: ignore[no-untyped-call]
        padding = len(shape) - other.value.ndim
        dims = tuple(n + padding for n, size in enumerate(other.value.shape) if size > 1)
        met = ((once(other.atoms) < 0) & (once(atoms) >= 0)).expand(shape)
        if dims and met.any():
            self.foreign.append(Foreign(atoms.expand(shape), met, dims, "it meets numbers that the model makes itself"))

    def mix(self, atoms: Tensor, dims: tuple[int, ...], why: str) -> Tensor:
        """Join what is mixed along dimensions; they are kept with size 1.

        What is mixed with numbers of no channel has to stay.
        """
        if not dims:
            return atoms
        seen = once(atoms)
        top = seen.amax(dims, keepdim=True) if atoms.numel() else seen.sum(dims, keepdim=True) - 1
        self.join(seen, top)
        self.fix(top.expand(seen.shape)[seen < 0], why)
        return top.expand(
            [1 if d % atoms.ndim in {n % atoms.ndim for n in dims} else s for d, s in enumerate(atoms.shape)]
        )

    def classes(self) -> NDArray[np.int64]:
        """Return the class of each atom, (num_atoms + 1,); the last, which -1 picks, is -1."""
        from scipy.sparse import coo_array  # slow, and whoever attaches penalties does not need it
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate([np.empty((2, 0), np.int64), *self.joined], axis=1)
        graph = coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), shape=(self.num_atoms,) * 2)
        _, labels = connected_components(graph, directed=False) if self.num_atoms else (0, np.empty(0, np.int64))
        return np.append(labels.astype(np.int64), -1)
