"""Text as tokens for models of language, exactly and back: each character, or the pieces of a tokenizer's file.

Legend: ``n`` tokens, ``V`` tokens known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, one_line
from meden._fields import check_all

Tokens = NDArray[np.uint32]
SHOWN = 10
"""Unknown characters that a message shows."""


@runtime_checkable
class Coding(Protocol):
    """What turns text into tokens and back."""

    @property
    def num_tokens(self) -> int:
        """Tokens known, V; they are 0 to V - 1."""

    @property
    def identity(self) -> str:
        """What two of them that give the same tokens share."""

    def encode(self, text: str, start: int = 0) -> Tokens:
        """Return the tokens of a text, (n,); errors count its characters from ``start``."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for :func:`coding_from_dict`."""


@dataclass(frozen=True)
class Characters:
    """A token for each character, in the order of their code points.

    Attributes:
        characters: all that are known, sorted; no others can be encoded.

    Example:
        >>> known = Characters.of(["to be", " or not"])
        >>> known.characters, known.encode("rot").tolist(), known.decode([2, 1])
        (' benort', [5, 4, 6], 'eb')
        >>> known.encode("note: to")
        Traceback (most recent call last):
            ...
        meden._checks.InputError: text must contain only the 7 characters seen in training, got 1 other: ':';
        the first is at 4
    """

    characters: str

    def __post_init__(self) -> None:
        if not self.characters or list(self.characters) != sorted(set(self.characters)):
            raise InputError(f"characters must be one or more, sorted and unique, got {self.characters!r:.80}")

    @classmethod
    def of(cls, pieces: Iterable[str]) -> Self:
        """Return all characters of a text that comes in pieces, such as a list of one."""
        found: set[str] = set()
        for piece in pieces:
            found.update(piece)
        return cls("".join(sorted(found)))

    @property
    def num_tokens(self) -> int:
        """Characters known, V."""
        return len(self.characters)

    @property
    def identity(self) -> str:
        """What two of them that give the same tokens share."""
        return f"characters {self.characters}"

    def encode(self, text: str, start: int = 0) -> Tokens:
        """Return the place of each character, uint32 (n,).

        Raises:
            InputError: naming characters that are not known, and where the first is, counted from ``start``.
        """
        points, known = _points(text), _points(self.characters)
        tokens = np.searchsorted(known, points).clip(max=len(known) - 1)
        strange = np.flatnonzero(known[tokens] != points)
        if strange.size:
            others = dict.fromkeys(text[place] for place in strange.tolist())
            shown = ", ".join(map(repr, list(others)[:SHOWN])) + (", ..." if len(others) > SHOWN else "")
            raise InputError(
                f"text must contain only the {len(known)} characters seen in training, got {len(others)} "
                f"other{'s' if len(others) > 1 else ''}: {shown}; the first is at {start + strange[0]}"
            )
        return tokens.astype(np.uint32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        return "".join(self.characters[token] for token in tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"characters": self.characters}


class Tokenizer:
    """The pieces of a ``tokenizer.json``, as the ``tokenizers`` library and Hugging Face's models have it.

    No mark of beginning or end is added. Nothing is downloaded.

    Args:
        path: of the file.

    Raises:
        InputError: if the library is not installed, or the file is missing or is none of its.
    """

    def __init__(self, path: Path | str) -> None:
        if not Path(path).is_file():
            raise InputError(f"tokenizer {str(path)!r} must be an existing file such as tokenizer.json")
        self._take(Path(path).read_bytes(), f"tokenizer {str(path)!r}")

    def _take(self, text: bytes, name: str) -> None:
        try:
            import tokenizers
        except ImportError:
            raise InputError("tokenizers must be installed to read a tokenizer: pip install 'meden[hf]'") from None
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(text)
        except Exception as error:  # which is the class that it raises
            raise InputError(f"{name} cannot be read: {one_line(error)}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"tokenizer": self._tokenizer.to_str()}

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return the tokenizer of a ``tokenizer.json`` that was read.

        Raises:
            InputError: as for a file.
        """
        made = cls.__new__(cls)
        made._take(text.encode(), "tokenizer")
        return made

    @property
    def num_tokens(self) -> int:
        """Tokens known, V, those that were added included."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def identity(self) -> str:
        """What two of them that give the same tokens share."""
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()

    def encode(self, text: str, start: int = 0) -> Tokens:
        """Return the tokens of a text, uint32 (n,).

        Raises:
            InputError: naming a character that no token stands for, and where it is, counted from ``start``; spaces
                may be left out.
        """
        found = self._tokenizer.encode(text, add_special_tokens=False)
        said = np.zeros(len(text) + 1, dtype=np.int64)
        for first, end in found.offsets:
            said[first] += 1
            said[end] -= 1
        for place in np.flatnonzero(said[:-1].cumsum() == 0).tolist():
            if not text[place].isspace():
                raise InputError(
                    f"text must contain only characters that the tokenizer knows, got {text[place]!r} at "
                    f"{start + place}"
                )
        return np.array(found.ids, dtype=np.uint32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text


def coding_from_dict(fields: Mapping[str, Any]) -> Coding:
    """Rebuild what turns text into tokens from its ``to_dict``.

    Example:
        >>> coding_from_dict(Characters.of(["to be"]).to_dict()).num_tokens
        5
    """
    name, text = next(iter(fields.items()), ("", None)) if isinstance(fields, Mapping) else ("", None)
    known = isinstance(text, str) and name in ("characters", "tokenizer")
    check_all("vocabulary must hold characters or a tokenizer", known, fields)
    return Characters(text) if name == "characters" else Tokenizer.of_text(text)  # type: ignore[arg-type]


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
