"""Tables and matrices of other libraries, as pandas tables and dense arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from meden._checks import InputError

DENSE_LIMIT = 2 * 2**30
"""Bytes that a sparse matrix may take once it is dense, as float32."""


def as_pandas(data: Any) -> Any:
    """Return tables and columns of Polars and Arrow, and sparse columns of pandas, as plain pandas; all else as it is.

    Raises:
        InputError: if a Polars frame is lazy, or a library that the conversion needs is not there.

    Example:
        >>> import pyarrow
        >>> as_pandas(pyarrow.table({"a": [1, None]}))["a"].tolist()
        [1.0, nan]
    """
    library = type(data).__module__.partition(".")[0]
    if library in ("polars", "pyarrow"):
        if type(data).__name__ == "LazyFrame":
            raise InputError("data must be a table, got a polars LazyFrame; pass data.collect()")
        if not hasattr(data, "to_pandas"):
            raise InputError(f"data must be a table or a column, got a {library} {type(data).__name__}")
        try:
            return as_pandas(data.to_pandas())
        except ImportError as error:
            raise InputError(f"a {library} {type(data).__name__} needs {error.name} to be read; pass pandas") from error
    if isinstance(data, pd.DataFrame):
        sparse = [name for name, kind in data.dtypes.items() if isinstance(kind, pd.SparseDtype)]
        if sparse:
            _check_size(len(data), len(sparse), 8)
            return data.astype({name: data[name].to_numpy().dtype for name in sparse})
    return data


def as_dense(x: Any) -> Any:
    """Return a sparse matrix or tensor as a dense one of the same numbers; all else as it is.

    Raises:
        InputError: if it would take more than ``DENSE_LIMIT`` bytes.

    Example:
        >>> from scipy.sparse import eye_array
        >>> as_dense(eye_array(2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if type(x).__module__.startswith("scipy.sparse"):
        _check_size(*x.shape, 4)
        return x.astype(np.float32).toarray()
    if type(x).__module__.startswith("torch") and str(x.layout) != "torch.strided":
        _check_size(*x.shape, 4)
        return x.to_dense()
    return x


def _check_size(*sizes: int) -> None:
    num_bytes = int(np.prod([int(size) for size in sizes], dtype=np.float64))
    if num_bytes > DENSE_LIMIT:
        raise InputError(
            f"X must take at most {DENSE_LIMIT / 2**30:g} GiB when dense, got a sparse one that takes "
            f"{num_bytes / 2**30:.3g} GiB; leave out columns, or reduce it (sklearn.decomposition.TruncatedSVD)"
        )
