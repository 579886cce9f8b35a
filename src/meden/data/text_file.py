"""A file of plain text as a source of windows of tokens; neither is ever held in memory whole.

Legend: ``T`` tokens of a window, ``B`` windows of a batch, ``N`` tokens of the text.
"""

from __future__ import annotations

import codecs
import copy
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from meden._checks import InputError, check_count, check_number, one_line
from meden._files import whole
from meden.data.batches import epoch_permutation
from meden.data.characters import Characters, Coding
from meden.data.sources import Pair, Part, Rows
from meden.data.targets import IGNORED

PIECE = 2**20
"""Bytes that are read at once."""


class TextFile:
    """Windows of a text that follow each other, each token after the first the target of one place of one of them.

    Window ``i`` starts at token ``i * context``: x are ``context`` tokens from there, y the next token of each. The
    last one is filled up, with 0 in x and -100 in y, which does not count. Their loss is then that of the whole text.

    One file can hold what is fitted and, after it, what is held out: parts are cut by bytes, between two characters, so
    that ``stop=0.9`` and ``start=0.9`` share none, and the later part, whose characters may be others, is never seen by
    the earlier. Tokens are written to a file once, and mapped into memory.

    Args:
        path: of the text, UTF-8.
        context: tokens T of a window.
        vocabulary: what makes tokens of it: that of the part that is fitted, wherever it is not this one, or a
            :class:`meden.data.Tokenizer`. None is the characters of this part.
        start: where the part starts, a share of the file in [0, 1).
        stop: where it ends, a share of the file in (``start``, 1].
        shifts: whether windows start up to T - 1 tokens later, another number in each pass over them, so that tokens
            are seen at other places; those before the first window are left out of that pass. For fitting.
        cache: a folder for the file of tokens, which is found there again while text and vocabulary are the same; None,
            and one that cannot be written to, of which a warning tells, is a temporary file.

    Raises:
        InputError: if the file is missing or not UTF-8 (with the place), the part holds less than ``context + 1``
            tokens, or characters that ``vocabulary`` does not have (with the first one's place).

    Example:
        >>> path = Path(tempfile.mkdtemp(), "text.txt")
        >>> _ = path.write_text("to be or not to be")
        >>> text = TextFile(path, context=4, stop=0.5)
        >>> [(x.tolist(), y.tolist()) for x, y in text.read([range(1, 2)])]
        [([[2, 0, 3, 4]], [[0, 3, 4, 0]])]
        >>> text.vocabulary.decode([5, 3, 0])
        'to '
    """

    def __init__(
        self,
        path: Path | str,
        context: int,
        *,
        vocabulary: Coding | None = None,
        start: float = 0.0,
        stop: float = 1.0,
        shifts: bool = False,
        cache: Path | str | None = None,
    ) -> None:
        check_count("context", context)
        check_number("start", start, low=0.0, high=1.0, high_open=True)
        check_number("stop", stop, low=start, low_open=True, high=1.0)
        if vocabulary is not None and not isinstance(vocabulary, Coding):
            raise InputError(f"vocabulary must be Characters or a Tokenizer, got {type(vocabulary).__name__}")
        self.path, self.context, self.shifts = Path(path), context, shifts
        self._part = first, last = _part(self.path, start, stop)
        size = 0
        if first < last:
            self.vocabulary: Coding = vocabulary or Characters.of(self._pieces())
            self._tokens = self._encoded(None if cache is None else Path(cache))
            size = self.size
        if size <= context:
            wanted = f"at least context + 1 = {context + 1} tokens"
            part = "" if (start, stop) == (0.0, 1.0) else f" from {start:.2g} to {stop:.2g} of it"
            raise InputError(f"text {str(path)!r} must hold {wanted}, got {size}{part}")

    def __len__(self) -> int:
        return -(-(self.size - 1) // self.context)

    @property
    def size(self) -> int:
        """Tokens of the text, N; one less is predicted."""
        return len(self._tokens)

    def read(self, parts: Sequence[Rows], seed: int = 0) -> Iterator[Pair]:
        """Yield x and y of the windows of each part, int64 (B, T); ``seed`` decides where shifted windows start."""
        first = int(np.random.default_rng(seed).integers(self.context)) if self.shifts else 0
        for rows in parts:
            places = np.asarray(rows)[:, None] * self.context + first + np.arange(self.context + 1)
            absent = places >= self.size
            windows = self._tokens[np.where(absent, 0, places)].astype(np.int64)
            x, y = np.where(absent, 0, windows)[:, :-1], np.where(absent, IGNORED, windows)[:, 1:]
            x = np.where(absent[:, 1:], 0, x)  # nothing follows the last token
            yield torch.from_numpy(x), torch.from_numpy(y)

    def split(self, share: float, *, seed: int = 0) -> tuple[Part, Part]:
        """Return windows to fit, and others from all over the text, taken at random, whose targets are none of theirs.

        The later part of a text may be harder than the earlier: against windows of the same part, a gap is overfitting.
        Those held out are never shifted, and where the others are, those that would reach into them are left out.

        Args:
            share: of the windows that are held out, in (0, 1), one or more.
            seed: decides which.

        Raises:
            InputError: if no window would be held out, or none would be left to fit.

        Example:
            >>> path = Path(tempfile.mkdtemp(), "text.txt")
            >>> _ = path.write_text("to be or not to be")
            >>> fitting, held_out = TextFile(path, context=2, shifts=True).split(0.25)
            >>> fitting.rows.tolist(), held_out.rows.tolist()
            ([1, 2, 3, 4, 5, 6], [0, 8])
        """
        check_number("share", share, low=0.0, high=1.0, low_open=True, high_open=True)
        num = len(self)
        held_out = np.sort(epoch_permutation(num, seed, 0)[: round(share * num)])
        fitting = np.setdiff1d(np.arange(num), np.union1d(held_out, held_out - 1) if self.shifts else held_out)
        if not len(held_out) or not len(fitting):
            raise InputError(f"share must leave windows on both sides, got {share:g} of {num}")
        unshifted = copy.copy(self)
        unshifted.shifts = False
        return Part(self, fitting), Part(unshifted, held_out)

    def _pieces(self) -> Iterator[str]:
        """Yield the text, cut behind the last end of a line of each piece that has one.

        Raises:
            InputError: naming the first byte that is not UTF-8.
        """
        start, stop = self._part
        decoder, left, done = codecs.getincrementaldecoder("utf-8")(), "", start
        with self.path.open("rb") as file:
            for piece in _bytes(file, start, stop):
                pending = len(decoder.getstate()[0])
                try:
                    left += decoder.decode(piece, final=done + len(piece) == stop)
                except UnicodeDecodeError as error:
                    place = done - pending + error.start
                    raise InputError(
                        f"text {str(self.path)!r} must be UTF-8, but byte {place} ({error.object[error.start]:#04x}) "
                        f"cannot be read: {error.reason}"
                    ) from None
                done += len(piece)
                cut = left.rfind("\n") + 1 or len(left)
                yield left[:cut]
                left = left[cut:]
        yield left

    def _encoded(self, cache: Path | None) -> NDArray[np.unsignedinteger]:
        """Return the tokens, mapped into memory."""
        dtype: np.dtype[Any] = np.dtype("uint16" if self.vocabulary.num_tokens <= 2**16 else "uint32")
        if cache is not None:
            path = cache / f"{self.path.stem}-{self._identity()}.{dtype}"
            try:
                return _mapped(path if path.is_file() else self._written(path, dtype), dtype)
            except OSError as error:
                warnings.warn(f"tokens are kept in a temporary file, since {one_line(error)}", stacklevel=3)
        with tempfile.TemporaryFile() as file:  # which is there as long as it is mapped
            self._write(file, dtype)
            return _mapped(file, dtype)

    def _identity(self) -> str:
        """Return a hash of the text and of what makes tokens of it."""
        found = hashlib.sha256(self.vocabulary.identity.encode())
        with self.path.open("rb") as file:
            for piece in _bytes(file, *self._part):
                found.update(piece)
        return found.hexdigest()[:32]

    def _written(self, path: Path, dtype: np.dtype[Any]) -> Path:
        """Write the tokens to a file, whole or not at all; other processes may be doing the same."""
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with whole(own) as part, part.open("wb") as file:
                self._write(file, dtype)
            os.replace(own, path)
        finally:
            with suppress(OSError):
                own.unlink()
        return path

    def _write(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        done = 0
        for piece in self._pieces():
            try:
                file.write(self.vocabulary.encode(piece, done).astype(dtype).tobytes())
            except InputError as error:
                where = f", from byte {self._part[0]}" if self._part[0] else ""
                raise InputError(f"{str(self.path)!r}{where}: {error}") from None
            done += len(piece)
        file.flush()


def _mapped(file: Path | BinaryIO, dtype: np.dtype[Any]) -> NDArray[np.unsignedinteger]:
    """Return the numbers of a file; nothing can be mapped of an empty one."""
    size = file.stat().st_size if isinstance(file, Path) else os.fstat(file.fileno()).st_size
    if size == 0:
        return np.empty(0, dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r")


def _part(path: Path, start: float, stop: float) -> tuple[int, int]:
    """Return the bytes from which and to which a part goes, each the first of a character."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"text {str(path)!r} must be a file, got a folder")
        with path.open("rb") as file:
            first, last = (_next_character(file, min(size, int(share * size))) for share in (start, stop))
    except OSError as error:
        raise InputError(f"text {str(path)!r} cannot be read: {error.strerror}") from None
    return first, last


def _next_character(file: BinaryIO, place: int) -> int:
    """Return where the first character from a byte on starts."""
    file.seek(place)
    following = file.read(4)
    return place + next((i for i, byte in enumerate(following) if byte & 0xC0 != 0x80), len(following))


def _bytes(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of a part, some at a time; an empty one if there are none."""
    file.seek(start)
    for place in range(start, max(stop, start + 1), PIECE):
        yield file.read(min(PIECE, stop - place))
