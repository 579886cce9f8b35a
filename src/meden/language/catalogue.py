"""What is shown in Chinese: a text of meden's own by its English, whatever names and numbers stand in it.

The catalogue maps templates. A hole of the English, ``{}``, is what the program puts there; the Chinese says what
becomes of it:

- ``{0}`` is shown as it is: names of columns and files, values, code;
- ``{0:t}`` holds words of meden's own, which are translated in turn;
- ``{0:n}`` can only be a number, or several.

A text that is not in the catalogue is translated line by line, sentence by sentence; what is not known stays English.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from meden.language.chosen import language
from meden.language.own import Own

LONGEST = 20_000
"""Characters of a text of meden's own: a longer one is made of somebody's data."""
_HOLE = re.compile(r"\{(\d*)(?::([tn]))?\}")
_ONE = r"(?:[-+]?[\d.,]*\d(?:e[-+]?\d+)?|[-+]?inf|nan|–)"
_NUMBER = rf"{_ONE}(?:, {_ONE})*(?: ± {_ONE})?(?: [%s])?"
_WORDS = r"(?:(?![.!?] [A-Z]).)*?"
"""What a hole may hold: no end of a sentence, or of a line."""
_HAN = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef、。“”（）《》…—"
_BARE = re.compile(
    r"(?<=[\u4e00-\u9fff])(?=\0[\w'\"+`-])(?!\0[\u4e00-\u9fff])|(?<=[\w%'\")`]\0)(?<![\u4e00-\u9fff]\0)(?=[\u4e00-\u9fff])"
)
"""Where a space is wanted: between Chinese and a hole that has not become Chinese."""
_MARKED_SPACE = re.compile(rf"(?<=[{_HAN}]) (?=\0[{_HAN}])|(?<=[{_HAN}]\0) (?=\0?[{_HAN}])")
"""Between what is Chinese and a hole that has become Chinese."""
_STOPS = ("。", "！", "？", "：", "；")
"""Full-width marks behind which no space stands."""
_ANNOUNCED = re.compile(r"(?i:error|warning|info) \w+: ")
"""How a finding begins, which is no part of what it says."""
_ENDS = r"(?<=[.!?]) (?=[A-Z0-9`'\"])"
_QUOTED = re.compile(r"(?<!\w)(['\"])(?:(?!\1)[^\n])*[.!?;] (?:(?!\1)[^\n])*\1(?!\w)")
"""A name in which a sentence or a part of it seems to end; it is put aside."""
_HIDDEN = re.compile("'\1(\\d+)\1'")
_INNER = ("; ", ": ", ", ", " or ", " and ", " x ")
"""What separates the words of a hole, from the loosest to the closest."""
_OUTER = ("; ",)
_CELL = re.compile(r"(\S+(?: \S+)*)( {2,}|$)")
_JOINED = {"; ": "；", ": ": "：", ", ": "，", " or ": " 或 ", " and ": " 和 ", " x ": " x "}


def translated(text: str) -> str:
    """Return a text in the reader's language; as it is, where that is English or the text is a name of the user's.

    Args:
        text: in English, of any number of lines.
    """
    return text if isinstance(text, Own) or language() == "en" else _chinese().of(text)


@dataclass(frozen=True)
class _Template:
    """One entry with holes."""

    pieces: tuple[str, ...]
    """Of the English, around the holes."""
    chinese: str

    @functools.cached_property
    def longest(self) -> str:
        return max(self.pieces, key=len)

    @functools.cached_property
    def kinds(self) -> Mapping[int, str]:
        """What each hole may hold."""
        holes = enumerate(_HOLE.findall(self.chinese))
        return {int(number or i): kind for i, (number, kind) in holes}

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        kinds = [f"({_NUMBER if self.kinds.get(i) == 'n' else _WORDS})" for i in range(len(self.pieces) - 1)]
        parts = [re.escape(piece) + kind for piece, kind in zip(self.pieces, [*kinds, ""], strict=True)]
        return re.compile("".join(parts))

    def held(self, text: str) -> tuple[str, ...] | None:
        """Return what the holes hold, if a text is of this template."""
        first, last = self.pieces[0], self.pieces[-1]
        if self.longest not in text or not text.startswith(first) or not text.endswith(last):
            return None
        found = self.pattern.fullmatch(text)
        if not found or not all(map(_is_balanced, found.groups())):
            return None
        announced = not first and _ANNOUNCED.match(text)
        return None if announced else found.groups()


def _is_balanced(text: str) -> bool:
    """Say whether a text closes what brackets it opens, in this order."""
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0


class Catalogue:
    """Translates by templates.

    Args:
        entries: Chinese by English.

    Example:
        >>> found = Catalogue({"{} rows": "{:n} 行", "kept {} of {}": "{1} 中的 {0:t}", "all": "全部"})
        >>> found.of("kept all of 5 rows"), found.of("kept 3 rows of all"), found.of("rows")
        ('5 rows 中的全部', 'all 中的 3 行', 'rows')
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._exact = {english: chinese for english, chinese in entries.items() if "{}" not in english}
        with_holes = ((english, chinese) for english, chinese in entries.items() if "{}" in english)
        templates = [_Template(tuple(english.split("{}")), chinese) for english, chinese in with_holes]
        self._templates = sorted(templates, key=lambda one: (-sum(map(len, one.pieces)), -len(one.pieces)))
        self._find = functools.lru_cache(4096)(self._found)

    def of(self, text: str) -> str:
        """Return a text in Chinese, as far as it is known."""
        if len(text) > LONGEST:
            return text
        quoted: list[str] = []

        def hide(name: re.Match[str]) -> str:
            quoted.append(name[0])
            return f"'\1{len(quoted) - 1}\1'"

        said = self._of(_QUOTED.sub(hide, text), _OUTER)
        return _HIDDEN.sub(lambda place: quoted[int(place[1])], said)

    def _of(self, text: str, separators: tuple[str, ...]) -> str:
        known = self._find(text)
        if known is not None:
            return known
        if "\n" in text:
            return "\n".join(self._of(line, separators) for line in text.split("\n"))
        if (head := self._head(text)) is not None:
            return head
        stripped = text.strip()
        if stripped != text:
            indent = text[: len(text) - len(text.lstrip())]
            return indent + self._of(stripped, separators) + text[len(text.rstrip()) :] if stripped else text
        sentences = re.split(_ENDS, text)
        if len(sentences) > 1:
            return _spaced(self._runs(sentences, " ", separators))
        for i, separator in enumerate(separators):
            if separator in text:
                return _joined(self._runs(text.split(separator), separator, separators[i + 1 :]), separator)
        return text

    def _head(self, text: str) -> str | None:
        """Return the head of a table set with spaces, if each word in it is known; all stay in place."""
        cells = _CELL.findall(text)
        known = [self._exact.get(word) for word, _ in cells]
        if len(cells) < 2 or None in known:
            return None
        return "".join(
            f"{said}{' ' * (len(word + gap) - width(said or ''))}"
            for said, (word, gap) in zip(known, cells, strict=True)
        ).rstrip()

    def _runs(self, parts: list[str], separator: str, deeper: tuple[str, ...]) -> list[tuple[str, bool]]:
        """Return the parts in Chinese, neighbours together where they are known together, and whether each is new."""
        done, at = [], 0
        while at < len(parts):
            for end in range(min(len(parts), at + 6), at + 1, -1):
                known = self._find(separator.join(parts[at:end]))
                if known is not None:
                    done.append((known, True))
                    at = end
                    break
            else:
                said = self._of(parts[at], deeper)
                done.append((said, said != parts[at]))
                at += 1
        return done

    def _found(self, text: str) -> str | None:
        """Return what is known as a whole: also where a sentence is made of it, with a capital and a full stop."""
        small = text[:1].lower() + text[1:]
        whole = text.endswith(".") and not text.endswith("...")
        forms = [*([(text[:-1], "。"), (small[:-1], "。")] if whole else []), (text, ""), (small, "")]
        for form, end in forms:
            if form in self._exact:
                return self._exact[form] + end
        for template in self._templates:
            for form, end in forms:
                if (held := template.held(form)) is not None:
                    return self._filled(template, held) + end
        return None

    def _filled(self, template: _Template, held: tuple[str, ...]) -> str:
        """Return the Chinese of a template; a translated hole stands between marks, beside which no space is needed."""
        holes = iter(range(len(held)))

        def fill(hole: re.Match[str]) -> str:
            text = held[int(hole[1] or next(holes))]
            return f"\0{self._of(text, _INNER)}\0" if hole[2] == "t" else text

        filled = _HOLE.sub(fill, template.chinese)
        return _BARE.sub(" ", _MARKED_SPACE.sub("", filled)).replace("\0", "")


def width(text: str) -> int:
    """Return how many cells of a terminal a text takes.

    Example:
        >>> width("loss"), width("损失")
        (4, 4)
    """
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def _spaced(sentences: list[tuple[str, bool]]) -> str:
    """Return sentences in a row: behind a full stop of Chinese stands no space."""
    text = sentences[0][0]
    for said, _ in sentences[1:]:
        text += ("" if text.endswith(_STOPS) else " ") + said
    return text


def _joined(parts: list[tuple[str, bool]], separator: str) -> str:
    """Return parts with what separates them, in Chinese beside Chinese."""
    text = parts[0][0]
    for (_, new), (said, also) in pairwise(parts):
        text += (_JOINED[separator] if new or also else separator) + said
    return text


@functools.cache
def _chinese() -> Catalogue:
    text = resources.files("meden.language").joinpath("zh.json").read_text(encoding="utf-8")
    return Catalogue(json.loads(text))
