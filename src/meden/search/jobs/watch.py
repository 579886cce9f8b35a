"""Data that know their rows: a row that is scored must not be read before it is scored.

What is handed out are plain rows; what would read all rows at once, such as a mean, a fit of a scaler or an iteration,
is refused until then. A change of each row by itself (a cast, a sum with a number) is watched on.

Legend: ``n`` rows of the study.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset

from meden._checks import InputError

Rows = NDArray[np.int64]


class Leak(InputError):
    """Raised when a scored row is read before scoring."""


class Watch:
    """Which rows may be read, of one job.

    Args:
        num_rows: n.
        score: rows (positions) that must not be read before they are scored.
    """

    def __init__(self, num_rows: int, score: Rows) -> None:
        self._scored = np.zeros(num_rows, dtype=bool)
        self._scored[score] = True
        self.is_open = False
        """Whether they are being scored."""

    @property
    def num_rows(self) -> int:
        """Rows of the study."""
        return len(self._scored)

    def check(self, rows: Rows, what: str = "read") -> None:
        """Check that some rows may be read.

        Raises:
            Leak: naming the first that must not be.
        """
        if not self.is_open and (hits := rows[self._scored[rows]]).size:
            raise Leak(
                f"train must not {what} row {hits[0]} before job.scoring(), since this fold scores it: only the "
                "rows job.fit and job.stop may be used for training"
            )

    def check_all(self, how: str) -> None:
        """Check that all rows may be read, for which ``how`` does."""
        self.check(np.arange(self.num_rows), f"read all rows, as {how} does, among them")

    def positions(self, key: Any) -> Rows:
        """Return the rows that an index selects: a number, a slice, a mask, or numbers."""
        if isinstance(key, torch.Tensor):
            key = key.detach().cpu().numpy()
        elif isinstance(key, (range, list, tuple)):
            key = np.asarray(key)
        elif isinstance(key, (pd.Series, pd.Index)):
            key = key.to_numpy()
        if isinstance(key, np.ndarray) and key.size == 0:
            key = key.astype(np.int64)
        return np.atleast_1d(np.arange(self.num_rows)[key]).ravel()


def watched(data: Any, watch: Watch) -> Any:
    """Return data whose rows are watched.

    Args:
        data: a map-style ``torch.utils.data.Dataset``, a dataset of Hugging Face, an array, a tensor, a DataFrame or
            Series of pandas, or a list; or a tuple or mapping of such.
        watch: which rows may be read.

    Raises:
        InputError: for anything else, or if it does not have the study's rows.
    """
    if isinstance(data, tuple):
        return tuple(watched(part, watch) for part in data)
    if isinstance(data, Mapping):
        return {name: watched(part, watch) for name, part in data.items()}
    if isinstance(data, IterableDataset) or (num := _num_rows(data)) is None or not hasattr(data, "__getitem__"):
        raise InputError(
            "job.watch must be given data with indexable rows (a map-style Dataset, an array, a DataFrame or a "
            f"list), got {type(data).__name__}"
        )
    if num != watch.num_rows:
        raise InputError(f"job.watch must be given the {watch.num_rows} rows of the study, got {num}")
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return WatchedArray(data, watch)
    if isinstance(data, (pd.DataFrame, pd.Series)):
        return WatchedFrame(data, watch)
    if type(data).__module__.partition(".")[0] == "polars":
        raise InputError("job.watch must be given a pandas table or an array, got a polars one: use .to_pandas()")
    return WatchedTexts(data, watch) if hasattr(data, "column_names") else WatchedDataset(data, watch)


def _again(value: Any, watch: Watch) -> Any:
    """Return a part of watched data, watched if it has a row of its own for each of theirs."""
    parts = value if isinstance(value, tuple) and value else (value,)
    kinds = (np.ndarray, torch.Tensor, pd.DataFrame, pd.Series, list)
    if all(isinstance(part, kinds) and _num_rows(part) == watch.num_rows for part in parts):
        return watched(tuple(parts) if isinstance(value, tuple) else value, watch)
    return value


def _num_rows(part: Any) -> int | None:
    """Return how many rows there are; None of what has none."""
    if (shape := getattr(part, "shape", None)) is not None and isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    return len(part) if hasattr(part, "__len__") else None


OPERATORS = "add sub mul truediv floordiv mod pow eq ne lt le gt ge and or xor".split()
BY_AXIS = frozenset("sum mean std var max min argmax argmin norm any all prod amax amin softmax log_softmax".split())
"""Methods that make one number of several: of each row by itself where an axis says so."""
ELEMENTWISE = frozenset(
    "log log1p log2 log10 exp expm1 sqrt abs clamp relu sigmoid tanh one_hot nan_to_num round".split()
)
"""Functions of torch that change each number by itself."""


def _leaves_rows(data: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Say whether an axis is given, and is not that of the rows."""
    named = [kwargs[name] for name in ("axis", "dim") if kwargs.get(name) is not None]
    given = named[0] if named else args[0] if args else None
    axes = given if isinstance(given, tuple) else (given,)
    if isinstance(data, pd.DataFrame):
        return given in (1, "columns")
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes)
    return whole and getattr(data, "ndim", 0) > 1 and all(axis % data.ndim != 0 for axis in axes)


class _Watched:
    """What all have in common: reading everything is refused, unless it is of a kind that is known to be harmless."""

    _plain: frozenset[str] = frozenset()
    """Attributes that say nothing of any row."""
    _each: frozenset[str] = frozenset()
    """Methods that change each row by itself, whose result is watched on."""
    _has_parts = False
    """Whether attributes hold rows of their own, such as the tensors of a dataset; what else they say is of no row."""

    def __init__(self, data: Any, watch: Watch) -> None:
        self._data, self._watch = data, watch

    def __len__(self) -> int:
        return self._watch.num_rows

    def __setitem__(self, key: Any, value: Any) -> None:
        raise InputError(
            "watched data must not be modified: modify a copy of the rows that job.fit or job.stop selects"
        )

    def __bool__(self) -> bool:
        return bool(self._read(self._data, "asking whether it is true"))

    def __repr__(self) -> str:
        return f"watched {type(self._data).__name__} of {len(self._data)} rows"

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        self._watch.check(self._watch.positions(key))
        return self._data[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_data", "_watch"):  # asked for while it is copied or pickled
            raise AttributeError(name)
        value = getattr(self._data, name)
        if name in self._plain:
            return value
        if not callable(value):
            return _again(value, self._watch) if self._has_parts else self._read(value, f".{name}")

        @functools.wraps(value)
        def method(*args: Any, **kwargs: Any) -> Any:
            alone = not any(isinstance(part, _Watched) for part in (*args, *kwargs.values()))
            if alone and (name in self._each or (name in BY_AXIS and _leaves_rows(self._data, args, kwargs))):
                return self._of_rows(value(*args, **kwargs), f".{name}()")
            self._watch.check_all(f".{name}()")
            return value(*args, **kwargs)

        return method

    def _read(self, value: Any, how: str) -> Any:
        """Return what was made of all rows, if it may be read."""
        self._watch.check_all(how)
        return value

    def _of_rows(self, value: Any, how: str) -> Any:
        """Return what was made of each row by itself, watched; anything else if it may be read."""
        again = _again(value, self._watch)
        return self._read(value, how) if again is value else again

    def _operated(self, operation: Callable[..., Any], other: Any) -> Any:
        """Return what an operator makes of each row: not what it makes of rows with each other, by broadcasting."""
        inner = other._data if isinstance(other, _Watched) else other
        made = operation(self._data, inner)
        alike = all(
            getattr(part, "shape", None) == made.shape for part in (self._data, *([inner] * (inner is not other)))
        )
        return self._of_rows(made, "an operation on all") if alike else self._read(made, "an operation on all")


def _with_operators(kind: type[Any]) -> type[Any]:
    """Give a class the operators that act on each row by itself."""
    for name in OPERATORS:
        acting = getattr(operator, f"__{name}__")

        def forward(self: Any, other: Any, acting: Callable[..., Any] = acting) -> Any:
            return self._operated(acting, other)

        def backward(self: Any, other: Any, acting: Callable[..., Any] = acting) -> Any:
            return self._operated(lambda data, given: acting(given, data), other)

        setattr(kind, f"__{name}__", forward)
        setattr(kind, f"__r{name}__", backward)
    for name in ("neg", "invert", "abs"):
        alone = getattr(operator, f"__{name}__")
        setattr(kind, f"__{name}__", lambda self, alone=alone: self._of_rows(alone(self._data), "an operation on all"))
    return kind


@_with_operators
class WatchedArray(_Watched):
    """An array or tensor."""

    _plain = frozenset("shape ndim dtype size device itemsize nbytes requires_grad dim numel".split())
    _each = frozenset(
        "astype copy to type float double half int long bool cpu cuda clone detach contiguous numpy abs reshape view "
        "unsqueeze flatten log log1p exp sqrt clamp clip div mul add sub squeeze round pow neg sigmoid tanh relu "
        "nan_to_num sign".split()
    )
    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        """Return rows, or some of what they hold; ``[:, 0]`` is all rows, watched on."""
        first = key[0] if isinstance(key, tuple) else key
        if first is Ellipsis or (isinstance(first, slice) and first == slice(None)):
            return self._of_rows(self._data[key], "[:]")
        self._watch.check(self._watch.positions(first))
        return self._data[key]

    def permute(self, *axes: Any) -> Any:
        """Return it with its axes in another order, watched if rows stay the first."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        made = self._data.permute(*order)
        return self._of_rows(made, ".permute()") if order[0] == 0 else self._read(made, ".permute()")

    def index_select(self, dim: int, index: Any) -> Any:
        """Return rows, or other parts of all rows, watched."""
        return self[index] if dim == 0 else self._of_rows(self._data.index_select(dim, index), ".index_select()")

    def take(self, rows: Any, axis: int | None = None, **options: Any) -> Any:
        """Return rows by their numbers."""
        return (
            self[rows] if axis == 0 and not options else self._read(self._data, ".take()").take(rows, axis, **options)
        )

    def __matmul__(self, other: Any) -> Any:
        """Return each row times a matrix."""
        if isinstance(other, _Watched) or self._data.ndim < 2:
            self._watch.check_all("a product")
        return self._of_rows(self._data @ (other._data if isinstance(other, _Watched) else other), "a product")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        self._watch.check_all("making one array of them")
        return np.array(self._data, dtype=dtype, copy=copy)

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        self._watch.check_all(f"numpy.{function.__name__}")
        return function(*_inner(args), **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        inner = _inner(inputs)
        shapes = [np.shape(own) for own, given in zip(inner, inputs, strict=True) if own is not given]
        alike = np.broadcast_shapes(*map(np.shape, inner)) == shapes[0] and len(set(shapes)) == 1
        if method != "__call__" or "out" in kwargs or not alike:
            self._watch.check_all(f"numpy.{ufunc.__name__}.{method}")
        return self._of_rows(getattr(ufunc, method)(*inner, **kwargs), f"numpy.{ufunc.__name__}")

    @classmethod
    def __torch_function__(cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (
            function.__name__ in ELEMENTWISE
            and isinstance(args[0], cls)
            and not any(isinstance(part, cls) for part in [*args[1:], *(kwargs or {}).values()])
        ):
            return args[0]._of_rows(function(args[0]._data, *args[1:], **(kwargs or {})), f"torch.{function.__name__}")
        for part in [*args, *(kwargs or {}).values()]:
            for each in part if isinstance(part, (list, tuple)) else (part,):
                if isinstance(each, cls):
                    each._watch.check_all(f"torch.{getattr(function, '__name__', function)}")
        return function(*_inner(args), **dict(zip(kwargs or {}, _inner((kwargs or {}).values()), strict=True)))


def _inner(values: Any) -> list[Any]:
    """Return arguments with the data in place of what watches them."""
    return [
        value._data
        if isinstance(value, WatchedArray)
        else type(value)(_inner(value))
        if type(value) in (list, tuple)
        else value
        for value in values
    ]


@_with_operators
class WatchedFrame(_Watched):
    """A DataFrame or Series of pandas."""

    _plain = frozenset("columns index dtypes dtype shape ndim size name keys axes".split())
    _each = frozenset("astype copy drop rename to_numpy to_frame abs isna notna select_dtypes".split())
    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        """Return columns, watched, or rows."""
        key = key._data if isinstance(key, _Watched) else key
        if isinstance(key, slice) or (not isinstance(key, (str, tuple)) and _is_mask(key, len(self))):
            self._watch.check(self._watch.positions(key))
            return self._data[key]
        if isinstance(self._data, pd.Series):
            return self.loc[key]
        return self._of_rows(self._data[key], f"[{key!r}]")

    def __iter__(self) -> Iterator[Any]:
        """Go over the values of a Series, or the names of columns."""
        return (
            iter(self._data) if isinstance(self._data, pd.DataFrame) else (self.iloc[row] for row in range(len(self)))
        )

    @property
    def iloc(self) -> _Places:
        """Rows by their places."""
        return _Places(self._data.iloc, self._watch, np.arange(self._watch.num_rows), by_place=True)

    @property
    def loc(self) -> _Places:
        """Rows by their labels."""
        places = pd.Series(np.arange(self._watch.num_rows), index=self._data.index)
        return _Places(self._data.loc, self._watch, places, by_place=False)

    def __getattr__(self, name: str) -> Any:
        if name[:1] != "_" and isinstance(self._data, pd.DataFrame) and name in self._data.columns:
            return self[name]
        return super().__getattr__(name)

    def fillna(self, value: Any) -> Any:
        """Return it with a value, or one for each column, in place of what is missing, watched."""
        return self._of_rows(self._data.fillna(value), ".fillna()")

    def map(self, mapping: Any, **options: Any) -> Any:
        """Return what a mapping has for each value, watched; a function might remember what it sees."""
        plain = isinstance(mapping, (dict, pd.Series))
        if not plain:
            self._watch.check_all(".map() with a function")
        return self._of_rows(self._data.map(mapping, **options), ".map()")

    @property
    def values(self) -> Any:
        """As an array, watched."""
        return self._of_rows(self._data.to_numpy(), ".values")

    def take(self, rows: Sequence[int], axis: int = 0) -> Any:
        """Return rows by their places."""
        return self.iloc[rows] if axis == 0 else self._of_rows(self._data.take(rows, axis=axis), ".take()")

    def head(self, n: int = 5) -> Any:
        """Return the first rows."""
        return self.iloc[:n]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        self._watch.check_all("making one array of them")
        return np.array(self._data, dtype=dtype, copy=copy)


class _Places:
    """The ``iloc`` or ``loc`` of a table."""

    def __init__(self, indexer: Any, watch: Watch, places: Any, *, by_place: bool) -> None:
        self._indexer, self._watch, self._places, self._by_place = indexer, watch, places, by_place

    def __getitem__(self, key: Any) -> Any:
        rows = key[0] if isinstance(key, tuple) else key
        if isinstance(rows, slice) and rows == slice(None):
            if (again := _again(found := self._indexer[key], self._watch)) is found:
                self._watch.check_all("[:]")
            return again
        found = self._places[rows] if self._by_place else self._places.loc[rows]
        self._watch.check(np.atleast_1d(np.asarray(found, dtype=np.int64)))
        return self._indexer[key]


def _is_mask(key: Any, num_rows: int) -> bool:
    if isinstance(key, (list, np.ndarray, pd.Series)) and len(key) == num_rows:
        return bool(np.asarray(key).dtype == bool)
    return False


class WatchedDataset(_Watched, Dataset[Any]):
    """A map-style dataset, or a list."""

    _has_parts = True

    def __getitem__(self, key: Any) -> Any:
        self._watch.check(self._watch.positions(key))
        return self._data[key]

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """Return several rows, as DataLoader asks for them."""
        self._watch.check(self._watch.positions(list(rows)))
        inner = getattr(self._data, "__getitems__", None)
        return [self._data[row] for row in rows] if inner is None else inner(rows)


class WatchedTexts(WatchedDataset):
    """A dataset of Hugging Face: rows by number, columns by name."""

    _plain = frozenset("column_names features num_rows num_columns shape info split format".split())

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return WatchedDataset(self._data[key], self._watch)
        return super().__getitem__(key)

    def select(self, indices: Any, **options: Any) -> Any:
        """Return the dataset of some rows."""
        self._watch.check(self._watch.positions(list(indices)))
        return self._data.select(indices, **options)

    def _changed(self, name: str, *args: Any, **kwargs: Any) -> WatchedTexts:
        return WatchedTexts(getattr(self._data, name)(*args, **kwargs), self._watch)

    def with_format(self, *args: Any, **kwargs: Any) -> WatchedTexts:
        """Return it in another format, watched."""
        return self._changed("with_format", *args, **kwargs)

    def with_transform(self, *args: Any, **kwargs: Any) -> WatchedTexts:
        """Return it with a transform of the rows that are read, watched."""
        return self._changed("with_transform", *args, **kwargs)

    def remove_columns(self, *args: Any, **kwargs: Any) -> WatchedTexts:
        """Return it without some columns, watched."""
        return self._changed("remove_columns", *args, **kwargs)

    def rename_column(self, *args: Any, **kwargs: Any) -> WatchedTexts:
        """Return it with a column renamed, watched."""
        return self._changed("rename_column", *args, **kwargs)
