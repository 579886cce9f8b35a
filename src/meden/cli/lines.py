"""Where lines of Chinese break: between any two signs, but not before a comma. Rich breaks lines at spaces only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rich import _wrap
from rich.text import Text

from meden.language import language

_HAN = "\u3400-\u9fff"
_OPENING = "\uff08\u300a\u201c"
_CLOSING = "\uff0c\u3002\u3001\uff1b\uff1a\uff1f\uff01\uff09\u300b\u201d\u2026"
WORD = re.compile(rf"\s*(?:[{_OPENING}]*(?:[{_HAN}]|[^\s{_HAN}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*|\S)\s*")
"""What stays in one line: a Chinese sign, or a run of others, with the brackets, commas and stops beside it."""


@contextmanager
def breaking() -> Iterator[None]:
    """Have rich break lines as the reader's language does while the body runs; English is left to rich.

    Rich also counts signs where it should count cells, when it drops the space at a line's end.
    """
    if language() == "en":
        yield
        return
    words, dropping = _wrap.re_word, Text.rstrip_end
    try:
        _wrap.re_word, Text.rstrip_end = WORD, _rstrip_end  # type: ignore[method-assign]
        yield
    finally:
        _wrap.re_word, Text.rstrip_end = words, dropping  # type: ignore[method-assign]


def _rstrip_end(self: Text, size: int) -> None:
    if self.cell_len > size:
        self.rstrip()
