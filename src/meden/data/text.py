"""Texts as whole numbers: words, characters or Chinese characters, by a vocabulary learnt from the fitting rows.

Legend: ``n`` texts, ``T`` tokens of a row, ``V`` tokens known. 0 is padding, 1 any token that is not known.
"""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from meden._checks import InputError, check_choice, check_count, parse_json
from meden._files import write_whole

Unit = Literal["word", "character", "chinese"]
OnEmpty = Literal["raise", "keep"]
PADDING, UNKNOWN = 0, 1
NUM_SPECIAL = 2
"""Padding and unknown come before the tokens."""

_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_PATTERNS: dict[str, re.Pattern[str]] = {
    "word": re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]"),  # noqa: RUF001
    "character": re.compile(r"[\s\S]"),
    "chinese": re.compile(rf"[{_HAN}]|[^\W{_HAN}]+|[^\w\s]"),
}


def split_text(text: str, unit: Unit) -> list[str]:
    """Return the tokens of a text, in lower case, forms that mean the same made one (Unicode's NFKC).

    Args:
        text: any string.
        unit: ``"word"``, a word or a mark; ``"character"``, spaces too; ``"chinese"``, a Chinese character, a run of
            other letters and digits, or a mark.

    Example:
        >>> split_text("It isn't 2D!", "word")
        ['it', "isn't", '2d', '!']
        >>> split_text("体验2D巅峰!", "chinese")
        ['体', '验', '2d', '巅', '峰', '!']
    """
    return _PATTERNS[unit].findall(unicodedata.normalize("NFKC", text).lower())


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Turns texts into rows of whole numbers, as the fitting rows showed them; saved as JSON.

    Attributes:
        unit: what a token is, see :func:`split_text`.
        length: tokens T of every row; shorter ones are filled up with 0, longer ones lose their end.
        tokens: known tokens, the most frequent first; the first has the number 2.

    Example:
        >>> vocabulary = Vocabulary.fit(["a b a", "b c a d"], unit="word", min_count=2)
        >>> vocabulary.tokens, vocabulary.num_tokens
        (('a', 'b'), 4)
        >>> vocabulary.encode(["B a", "a new a b and more"])
        tensor([[3, 2, 0, 0],
                [2, 1, 2, 3]])
        >>> Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
        True
    """

    unit: Unit
    length: int
    tokens: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        *,
        unit: Unit = "word",
        length: int | None = None,
        min_count: int = 1,
        max_tokens: int | None = None,
        on_empty: OnEmpty = "raise",
    ) -> Self:
        """Learn the tokens of the fitting rows.

        Args:
            texts: strings (n,).
            unit: ``"word"``, ``"character"`` or ``"chinese"``.
            length: tokens of a row; None is that of the longest text.
            min_count: times a token must occur to be known.
            max_tokens: tokens known at most, the most frequent; None is all.
            on_empty: what a text without a token does: ``"raise"`` or ``"keep"``.

        Raises:
            InputError: if there are no texts, or naming the row that is no string or has no token.
        """
        check_choice("unit", unit, _PATTERNS)
        for name, value in (("length", length), ("min_count", min_count), ("max_tokens", max_tokens)):
            if value is not None:
                check_count(name, value)
        rows = _split(texts, unit, on_empty)
        counts = Counter(token for row in rows for token in row)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        kept = [token for token in ranked[:max_tokens] if counts[token] >= min_count]
        return cls(unit, length or max(1, *map(len, rows)), tuple(kept))

    @property
    def num_tokens(self) -> int:
        """Numbers that may occur, V: padding, unknown and the known tokens."""
        return NUM_SPECIAL + len(self.tokens)

    def encode(self, texts: Sequence[str], *, on_empty: OnEmpty = "raise") -> Tensor:
        """Return the numbers of texts, int64 (n, T).

        Raises:
            InputError: if there are no texts, or naming the row that is no string or, unless ``on_empty`` is
                ``"keep"``, has no token.
        """
        numbers = {token: number for number, token in enumerate(self.tokens, start=NUM_SPECIAL)}
        rows = _split(texts, self.unit, on_empty)
        encoded = torch.full((len(rows), self.length), PADDING)
        for row, tokens in zip(encoded, rows, strict=True):
            known = [numbers.get(token, UNKNOWN) for token in tokens[: self.length]]
            row[: len(known)] = torch.tensor(known, dtype=torch.int64)
        return encoded

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"unit": self.unit, "length": self.length, "tokens": list(self.tokens)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the vocabulary that :meth:`to_dict` described.

        Raises:
            InputError: if the form is not one that :meth:`to_dict` gives.
        """
        try:
            check_choice("unit", fields["unit"], _PATTERNS)
            check_count("length", fields["length"])
            return cls(fields["unit"], fields["length"], tuple(map(str, fields["tokens"])))
        except (KeyError, TypeError) as error:
            raise InputError(f"vocabulary must be a dictionary from to_dict(), got {fields!r:.80}") from error

    def save(self, path: Path | str) -> None:
        """Write JSON."""
        write_whole(Path(path), json.dumps(self.to_dict(), ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read JSON.

        Raises:
            InputError: if the file is missing or not what :meth:`save` wrote.
        """
        try:
            fields = parse_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"vocabulary {str(path)!r} cannot be read: {error}") from None
        return cls.from_dict(fields)


def _split(texts: Sequence[str], unit: Unit, on_empty: OnEmpty) -> list[list[str]]:
    """Return the tokens of each text."""
    check_choice("on_empty", on_empty, ("raise", "keep"))
    if isinstance(texts, str) or len(texts) == 0:
        raise InputError(f"texts must be a list of at least one string, got {texts!r:.80}")
    rows = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts must be strings, got {text!r} in row {number}")
        rows.append(split_text(text, unit))
        if not rows[-1] and on_empty == "raise":
            raise InputError(f"texts must have at least one {unit}, got {text!r} in row {number} (on_empty='keep'?)")
    return rows
