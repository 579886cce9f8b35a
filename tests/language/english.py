"""Find what is still English in a text that ought to be Chinese."""

from __future__ import annotations

import re

ROW = re.compile(r"[A-Za-z]{2,}(?: [A-Za-z]{2,}){2,}")
"""Three words in a row."""
COMMAND = re.compile(r"(?:python -m )?meden(?: [a-z-]+)? .*")
NAMES = re.compile(r"wine\.csv|--[a-z-]+|[A-Z_]+(?=\.)|CSV, TSV|breast_cancer, diabetes, digits, iris, wine")


def english(text: str) -> list[str]:
    """Return rows of three English words, outside code, commands and names of options."""
    text = re.sub(r"```.*?```|`[^`]*`", " | ", text, flags=re.DOTALL)
    lines = [NAMES.sub("|", COMMAND.sub("", line)) for line in text.splitlines()]
    return [found[0] for line in lines for found in ROW.finditer(line)]
