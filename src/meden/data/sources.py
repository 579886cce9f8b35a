"""Where rows come from: tensors in memory, or the items of a map-style ``Dataset``, read as they are needed.

A source gives rows by number. Which rows make a batch, belong to a fold or are watched is decided elsewhere and in one
way for all sources, so that the same seed means the same batches wherever rows come from.

Legend: ``n`` rows, ``B`` rows of one part, ``...`` the shape of a row.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from meden._checks import InputError, check_count
from meden._randomness import own_randomness, seed_all
from meden._shown import ShownFields

Pair = tuple[Tensor, Tensor]
"""x (n, ...) and y (n, ...)."""
Rows = NDArray[np.int64] | range
"""Numbers of rows; a range is read as one piece."""
Form = tuple[tuple[torch.Size, torch.dtype], ...]
"""Shape and type of one row's x and y."""


@runtime_checkable
class Source(Protocol):
    """What gives rows by number."""

    def __len__(self) -> int:
        """Number of rows n."""

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:
        """Yield x (B, ...) and y (B, ...) of each part, in order.

        Args:
            parts: all that will be read, so that a source may read ahead.
            seed: of whatever is random in a row, zero or more; the same seed and row give the same bits.
        """


@dataclass(frozen=True, eq=False, repr=False)
class TensorSource(ShownFields):
    """Rows of two tensors.

    Example:
        >>> source = TensorSource(torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 0]))
        >>> [y.tolist() for x, y in source.read([np.array([2, 1]), range(0, 2)])]
        [[0, 1], [0, 1]]
    """

    x: Tensor
    """(n, ...)"""
    y: Tensor
    """(n, ...)"""

    def __len__(self) -> int:
        return len(self.y)

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:  # noqa: ARG002 (nothing is random)
        """Yield the rows of each part; those of a range are no copies."""
        for rows in parts:
            if isinstance(rows, range):
                yield self.x[rows.start : rows.stop], self.y[rows.start : rows.stop]
            else:
                chosen = torch.from_numpy(rows).to(self.y.device)
                yield self.x[chosen], self.y[chosen]


@dataclass(frozen=True, eq=False, repr=False)
class Part(ShownFields):
    """Some rows of a source, such as the fitting rows of a fold; no others are ever read."""

    source: Source
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:
        """Yield the rows of each part."""
        return self.source.read([self.rows[np.asarray(part)] for part in parts], seed)


def is_dataset(data: Any) -> bool:
    """Say whether data are a ``Dataset`` of torch or like one, and not an array, a table or a pair (x, y)."""
    held = isinstance(data, (str, bytes, tuple, list, Mapping)) or hasattr(data, "__array__")
    return isinstance(data, Dataset) or (hasattr(data, "__getitem__") and not held)


class DatasetSource:
    """Rows of a map-style ``torch.utils.data.Dataset``, whose items are pairs (x, y), read as they are needed.

    What is random inside an item (``random``, ``numpy.random``, torch on the CPU) is derived from the seed that it is
    read with and its number: neither the order of reading nor the number of workers matters. Warns if a data set draws
    from a generator of its own, which no seed reaches. One reading ends where the next begins.

    Args:
        dataset: has a length, and items (x, y) of one shape by number; x and y are tensors, arrays or numbers.
        num_workers: processes that read ahead; 0 reads in this process.

    Raises:
        InputError: if the data set has no length or no items by number, or when an item that is read is no such pair,
            has another shape than those before, or is not finite.

    Example:
        >>> source = DatasetSource([(torch.zeros(2), 1), (torch.ones(2), 0)])
        >>> [(x.tolist(), y.tolist()) for x, y in source.read([np.array([1, 0])])]
        [([[1.0, 1.0], [0.0, 0.0]], [0, 1])]
    """

    def __init__(self, dataset: Any, *, num_workers: int = 0) -> None:
        check_count("num_workers", num_workers, low=0)
        kind = type(dataset).__name__
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise InputError(f"a Dataset must be map-style, with a length and integer indexing, got {kind}")
        self._len = len(dataset)
        if self._len == 0:
            raise InputError(f"a Dataset must have items, got {kind} of length 0")
        self._dataset, self._num_workers = dataset, num_workers
        self._order = _Order()
        self._loader = self._make_loader()
        self._first: tuple[int, Form] | None = None

    def _make_loader(self) -> DataLoader[Any]:
        return DataLoader(
            _Batches(self._dataset),  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._order,
            collate_fn=_as_it_is,
            num_workers=self._num_workers,
            persistent_workers=self._num_workers > 0,
            generator=torch.Generator(),  # seeds the workers, which do not heed it; the global one is not touched
            pin_memory=torch.cuda.is_available(),
        )

    def __len__(self) -> int:
        return self._len

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:
        """Yield the rows of each part, read ahead by the workers."""
        keys = self._order.keys = [(np.asarray(rows), seed) for rows in parts]
        if self._first is None and keys:
            _warn_of_other_draws(_Batches(self._dataset), int(keys[0][0][0]))
        try:
            for (rows, _), batch in zip(keys, self._loader, strict=True):
                yield self._checked(int(rows[0]), batch)
        except Exception:
            self._loader = self._make_loader()  # ends the workers: those of a forgotten loader end late
            raise

    def _checked(self, row: int, batch: Pair | InputError) -> Pair:
        """Return a batch that begins with a row; errors are raised here, since a worker would wrap them up."""
        if isinstance(batch, InputError):
            raise batch
        first = row, _form([part[0] for part in batch])
        self._first = self._first or first
        _check_alike(self._first, first)
        return batch


class _Order(Sampler[Any]):
    """What the loader reads next; workers stay alive while it changes."""

    def __init__(self) -> None:
        self.keys: list[tuple[NDArray[np.int64], int]] = []

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], int]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class _Batches:
    """A data set whose items are batches."""

    dataset: Any

    def __getitem__(self, key: tuple[NDArray[np.int64], int]) -> Pair | InputError:
        rows, seed = key
        with own_randomness():
            try:
                return _stacked(rows.tolist(), [self._item(row, seed) for row in rows.tolist()])
            except InputError as error:
                return error

    def _item(self, row: int, seed: int) -> Pair:
        seed_all(int(np.random.SeedSequence((seed, row)).generate_state(1, np.uint64)[0]))
        item = self.dataset[row]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            hint = "; meden.integrations.huggingface.as_pairs makes pairs of them" if isinstance(item, Mapping) else ""
            raise InputError(f"item {row} of the Dataset must be a pair (x, y), got {type(item).__name__}{hint}")
        return _as_tensor(f"item {row} x", item[0]), _as_tensor(f"item {row} y", item[1])


def _warn_of_other_draws(batches: _Batches, row: int) -> None:
    """Warn if an item is another one when it is read again with the same seed."""
    first, again = (batches[np.array([row]), 0] for _ in range(2))
    if isinstance(first, InputError) or isinstance(again, InputError):
        return  # is raised where it is read
    if not all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True)):
        warnings.warn(
            f"item {row} of the Dataset must be the same each time it is read with the same seed, got different "
            "values: it draws from a generator of its own, or keeps state",
            stacklevel=2,
        )


def _as_it_is(batch: Any) -> Any:
    return batch


def _as_tensor(name: str, value: Any) -> Tensor:
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except TypeError:
        raise InputError(f"{name} must be a tensor, an array or a number, got {type(value).__name__}") from None
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise InputError(
            f"{name} must be finite, got {int((~tensor.isfinite()).sum())} values that are NaN or infinite"
        )
    return tensor


def _stacked(rows: Sequence[int], items: Sequence[Pair]) -> Pair:
    forms = list(zip(rows, map(_form, items), strict=True))
    for form in forms[1:]:
        _check_alike(forms[0], form)
    x, y = (torch.stack(parts) for parts in zip(*items, strict=True))
    return x, y if y.is_floating_point() else y.long()


def _form(pair: Sequence[Tensor]) -> Form:
    return tuple((part.shape, part.dtype) for part in pair)


def _check_alike(first: tuple[int, Form], other: tuple[int, Form]) -> None:
    """Check that two rows, given with their numbers, are of one form."""
    for name, ours, theirs in zip("xy", first[1], other[1], strict=True):
        if ours != theirs:
            (shape, dtype), (other_shape, other_dtype) = ours, theirs
            raise InputError(
                f"items of the Dataset must have one shape and type, got {name} {tuple(shape)} {dtype} in item "
                f"{first[0]} and {tuple(other_shape)} {other_dtype} in item {other[0]}"
            )
