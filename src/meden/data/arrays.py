"""Arrays and tensors of features, used as they are: no scaling, no encoding.

Legend: ``n`` rows, ``...`` the shape of one row.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from meden._checks import InputError
from meden._fields import checked_fields
from meden._shown import ShownFields
from meden.data.columns import Values
from meden.data.fitted import FAR
from meden.data.new_rows import NewRows, far_remark

_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Arrays(ShownFields):
    """A tensor (n, ...): float32, or int64 tokens."""

    x: Tensor
    as_floats: bool = False
    """Whether a model gets whole numbers as float32."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """``x0``, ``x1``, ... for rows that are vectors; empty for rows of another shape."""
        return tuple(f"x{i}" for i in range(self.x.shape[1])) if self.x.ndim == 2 else ()

    def take(self, rows: Values) -> Arrays:
        """Return some rows, in the order given."""
        return dataclasses.replace(self, x=self.x[torch.as_tensor(np.asarray(rows), device=self.x.device)])

    def fit(self) -> ArrayEncoder:
        """Return the encoder that passes rows of this shape and type through."""
        dtype = "float32" if self.as_floats or self.x.is_floating_point() else "int64"
        ends = (float(self.x.min()), float(self.x.max())) if self.x.numel() else ()
        return ArrayEncoder(tuple(self.x.shape[1:]), dtype, *ends)

    def update(self, digest: hashlib._Hash) -> None:
        """Feed the contents to a hash."""
        digest.update(f"{self.x.dtype}{tuple(self.x.shape)}".encode())
        digest.update(np.ascontiguousarray(self.x.detach().cpu().numpy()).data)


@dataclasses.dataclass(frozen=True)
class ArrayEncoder:
    """Passes rows through; ``shape`` is the shape of one row. Two that do so alike are equal."""

    shape: tuple[int, ...]
    dtype: str
    low: float = dataclasses.field(default=-np.inf, compare=False)
    high: float = dataclasses.field(default=np.inf, compare=False)
    """The fitting rows' smallest and largest number."""

    @property
    def num_inputs(self) -> int:
        """Length of a row that is a vector; the product of the sizes for another shape."""
        return int(np.prod(self.shape))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs of a row, flattened."""
        return tuple(f"x{i}" for i in range(self.num_inputs))

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The same names: each input is a column of its own."""
        return self.input_names

    def encode(self, arrays: Arrays) -> Tensor:
        """Return the rows, as float32 if that is what was fitted."""
        return self.typed(arrays.x)

    def typed(self, x: Tensor) -> Tensor:
        """Return a tensor of the type that was fitted."""
        return x.float() if self.dtype == "float32" else x

    def transform(self, rows: Any) -> NewRows:
        """Return new rows: an array or tensor, or a table with columns ``x0``, ``x1``, ...

        Raises:
            InputError: if they are of another shape, there are none, or naming missing columns.
        """
        check_some(rows)
        found = array_rows(self._columns(rows) if isinstance(rows, pd.DataFrame) else rows, self.shape, self.dtype)
        return dataclasses.replace(found, remarks=self._remarks(found)) if self.dtype == "float32" else found

    def _columns(self, frame: pd.DataFrame) -> Values:
        """Return columns of a table as an array, NaN for cells that are no numbers."""
        if len(self.shape) != 1:
            raise InputError(f"rows of shape {self.shape} cannot be read from a table; pass the model a tensor")
        absent = [name for name in self.input_names if name not in frame.columns]
        if absent:
            raise InputError(f"the table must have columns x0 to x{self.num_inputs - 1}, but lacks {absent[0]!r}")
        columns = [pd.to_numeric(frame[name], errors="coerce") for name in self.input_names]
        return np.column_stack([column.to_numpy(np.float64, na_value=np.nan) for column in columns])

    def _remarks(self, found: NewRows) -> dict[str, str]:
        margin = FAR * (self.high - self.low)
        rows = found.x.flatten(1)
        far = ((rows < self.low - margin) | (rows > self.high + margin)).any(1).cpu().numpy()
        far[list(found.refused)] = False
        if not far.any():
            return {}
        furthest = rows.gather(1, (rows - (self.low + self.high) / 2).abs().argmax(1, keepdim=True))[:, 0]
        numbers = furthest.double().cpu().numpy()
        said = far_remark(numbers, far, self.low, self.high, "{:.4g}".format, "taken as they are")
        return {"far": f"inputs: {said}"}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ArrayEncoder:
        """Return the encoder that :meth:`to_dict` described."""
        return cls(**checked_fields(cls, fields))


def check_some(rows: Any) -> None:
    """Check that there are rows.

    Raises:
        InputError: if not.
    """
    if np.ndim(rows) < 2:
        raise InputError(f"rows must be a table, or an array (n, ...), got {rows!r:.80}")
    if len(rows) == 0:
        raise InputError("the table must have rows, got none")


def array_rows(rows: Any, shape: tuple[int, ...], dtype: str) -> NewRows:
    """Return new rows of an array or tensor (n, ...); refused are those with a number that is not finite, or not whole.

    Args:
        rows: the array or tensor.
        shape: of one row; only that of a vector must be the same.
        dtype: ``"float32"`` or ``"int64"``.

    Raises:
        InputError: if it holds no numbers, or has another shape.
    """
    x = rows.detach() if isinstance(rows, Tensor) else _from_numpy("rows", np.asarray(rows))
    if x.is_complex() or x.ndim != len(shape) + 1 or (len(shape) == 1 and dtype == "float32" and x.shape[1:] != shape):
        wanted = ", ".join(map(str, shape))
        raise InputError(f"rows must have shape (n, {wanted}) of real numbers, got {tuple(x.shape)} of {x.dtype}")
    wrong = ~torch.isfinite(x.float())
    if dtype == "int64":
        wrong |= x != x.round() if x.is_floating_point() else False
    places = torch.nonzero(wrong.flatten(1)).tolist()
    what = "a finite" if dtype == "float32" else "a whole"
    refused: dict[int, str] = {}
    for row, number in places:
        refused.setdefault(row, f"input x{number} must be {what} number, got {x[row].flatten()[number].item():g}")
    if refused:
        x = x.clone()
        x[list(refused)] = 0
    return NewRows(x.to(torch.float32 if dtype == "float32" else torch.int64), refused, {})


def read_array(x: Any) -> Arrays:
    """Read features: an array or tensor (n, ...) of two dimensions or more.

    Floating types, booleans and uint8 (images) become float32, values unchanged; other whole numbers are taken as
    tokens and become int64. Cast counts and the like to float32 yourself.

    Raises:
        InputError: if it is no array of numbers, has no rows or one dimension, or holds NaN or infinities.

    Example:
        >>> read_array(np.ones((3, 2))).x.dtype, read_array(np.ones((3, 2), dtype=int)).x.dtype
        (torch.float32, torch.int64)
    """
    tensor = to_tensor("X", x)
    if tensor.ndim < 2:
        raise InputError(f"X must have shape (n, ...) with two or more dimensions, got {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        raise InputError(f"X must have at least one row and one input, got shape {tuple(tensor.shape)}")
    return Arrays(tensor.to(torch.int64 if tensor.dtype in _INTEGERS else torch.float32))


def all_finite(tensor: Tensor) -> bool:
    """Say whether all numbers are finite; a sum tells nearly always, and takes no memory."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def to_tensor(name: str, array: Any) -> Tensor:
    """Return an array of finite numbers as a tensor that needs no gradient.

    Raises:
        InputError: naming the argument, if it is no array of numbers or holds NaN or infinities.
    """
    tensor = array.detach() if isinstance(array, Tensor) else _from_numpy(name, np.asarray(array))
    if tensor.is_complex():
        raise InputError(f"{name} must hold real numbers, got {tensor.dtype}")
    if tensor.is_floating_point() and not all_finite(tensor):
        num_nan, num_infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
        raise InputError(f"{name} must hold finite numbers, got {num_nan} NaN and {num_infinite} infinite")
    return tensor


def _from_numpy(name: str, array: Values) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold numbers (pass a DataFrame for other columns), got {array.dtype}")
    # a copy, where the memory is read-only, runs backwards or in an order torch has no type for
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
