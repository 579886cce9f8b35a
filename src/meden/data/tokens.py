"""A file of tokens as a source of windows, which is mapped into memory and never read whole.

Legend: ``T`` tokens of a window, ``B`` windows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from meden._checks import InputError, check_choice, check_count
from meden.data.sources import Pair, Rows

TokenType = Literal["uint16", "uint32"]
TYPES = ("uint16", "uint32")


class TokenFile:
    """Windows of a file of tokens that follow each other, as ``numpy.ndarray.tofile`` writes them.

    Window ``i`` starts at token ``i * context``: x are ``context`` tokens from there, y the next token of each. Windows
    share no token of x, and what is too short for one at the end of the file is left out.

    Args:
        path: of the file, nothing but tokens.
        context: tokens T of a window.
        dtype: of the tokens, ``"uint16"`` or ``"uint32"``, in the machine's byte order.

    Raises:
        InputError: if the file is missing, is no whole number of tokens long, or is shorter than one window.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "tokens.bin")
        >>> np.arange(10, 17, dtype="uint16").tofile(path)
        >>> source = TokenFile(path, context=3)
        >>> [(x.tolist(), y.tolist()) for x, y in source.read([np.array([1, 0])])]
        [([[13, 14, 15], [10, 11, 12]], [[14, 15, 16], [11, 12, 13]])]
    """

    def __init__(self, path: Path | str, context: int, *, dtype: TokenType = "uint16") -> None:
        check_count("context", context)
        check_choice("dtype", dtype, TYPES)
        self.path, self.context = Path(path), context
        self._tokens = np.memmap(path, dtype=dtype, mode="r", shape=(_num_tokens(self.path, np.dtype(dtype)),))
        if len(self) == 0:
            wanted = f"at least context + 1 = {context + 1} tokens"
            raise InputError(f"file {str(path)!r} must hold {wanted}, got {len(self._tokens)}")

    def __len__(self) -> int:
        return max(0, len(self._tokens) - 1) // self.context

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:  # noqa: ARG002 (nothing is random)
        """Yield x and y of the windows of each part, int64 (B, T)."""
        for rows in parts:
            starts = np.asarray(rows)[:, None] * self.context
            windows = torch.from_numpy(self._tokens[starts + np.arange(self.context + 1)].astype(np.int64))
            yield windows[:, :-1], windows[:, 1:]


def _num_tokens(path: Path, dtype: np.dtype[np.unsignedinteger]) -> int:
    """Return the length of a file in tokens."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    if not path.is_file():
        raise InputError(f"file {str(path)!r} must be a file of tokens, got a folder")
    if size == 0 or size % dtype.itemsize:
        raise InputError(f"file {str(path)!r} must hold whole {dtype} tokens, got {size} bytes")
    return size // dtype.itemsize
