"""Numbers as people write them: decimal commas, thousands, units, currencies, signs that are no hyphen.

A column is read in one way (:class:`Numerals`), told from all its cells together; plain numbers need none of this.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

Decimal = Literal[".", ","]
DECIMALS: tuple[Decimal, ...] = (".", ",")

MARKS = frozenset(
    "na n/a n.a. n.a <na> nan -nan null none nil nat missing unknown n.d. nd n/d #n/a #na #value! #div/0! #ref! #null! "
    "#num! #name? ? ?? - -- --- . .. ... \u2013 \u2014 \u2212 \u2026 * empty blank unavailable (null) "
    "(blank) (empty)".split()
) | {"", "not available", "not applicable", "no data", "#n/a n/a"}
"""Words for a missing cell in a column of numbers or dates, in lower case."""

GLUED = frozenset(
    "mg g kg t µg ug ng lb lbs oz mm cm m km nm um µm in ft yd mi l L ml mL dl cl s sec ms us µs ns min h hr hrs d Hz "
    "kHz MHz GHz W kW MW GW Wh kWh MWh V mV kV A mA K C F Pa hPa kPa MPa bar mbar psi N kN J kJ MJ cal kcal m2 m3 cm2 "
    "km2 km/h kmh kph mph m/s rpm px pt KB MB GB TB kB B bp bps x k M mol mmol mg/dL mmHg mmol/L g/L "
    "mg/L dB".split()
)
"""Units that may stand at a number without a space; with one any word may."""

_SAME = str.maketrans(
    dict.fromkeys("\u2212\u2012\u2013\ufe63\uff0d", "-")
    | dict.fromkeys("\u00a0\u2009\u202f\u2007\u3000", " ")
    | dict.fromkeys("\u2019\u2018\u00b4`", "'")
    | {chr(code): chr(code - 0xFEE0) for code in (*range(0xFF10, 0xFF1A), 0xFF0E, 0xFF0C, 0xFF05, 0xFF0B)}
)
"""Minus signs, spaces, apostrophes and full-width digits that mean the same as those of ASCII."""
LONGEST = 40
"""Characters of the longest number or date."""
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|RUB|TRY|SGD|HKD"
_CURRENCY = rf"(?:[A-Z]{{0,3}}[$€£¥₹₽₩₺₴₫฿]|{_CODES}|Rs\.?|kr\.?|zł)"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+])?\s*(?P<money>{_CURRENCY})?\s*(?P<inner>[-+])?\s*"
    r"(?P<body>\d(?:[\d.,' ]*[\d.,])?|[.,]\d+)(?P<power>[eE][-+]?\d+)?(?P<after>-)?"
    r"(?P<gap>\s*)(?P<unit>[^\W\d_][^\d,;]{0,14}\d?|[%‰°µ$€£¥₹₽₩₺₴₫฿][^\d,;]{0,12}\d?)?(?(open)\)|)"
)
_WHOLE = {
    ".": r"(?:[1-9]\d{0,2}(?:(?P<t>[,' ])\d{3})(?:(?P=t)\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3}|\d+)",
    ",": r"(?:[1-9]\d{0,2}(?:(?P<t>[.' ])\d{3})(?:(?P=t)\d{3})*|\d+)",
}
_BODY = {mark: re.compile(rf"(?:{_WHOLE[mark]}(?:{re.escape(mark)}\d*)?|{re.escape(mark)}\d+)") for mark in DECIMALS}
_DIGIT = re.compile(r"\d")
_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Numerals:
    """How the numbers of a column are written.

    Example:
        >>> european = Numerals(decimal=",", unit="€")
        >>> european.read("1.234,5 €"), european.read("−3 €"), european.read("3 $")
        (1234.5, -3.0, None)
    """

    decimal: Decimal = "."
    unit: str = ""
    """Currency or unit that stands at each number, but for zeros."""

    def read(self, text: str) -> float | None:
        """Return the number that a cell holds, or None."""
        parts = _parts(text)
        if parts is None or not _BODY[self.decimal].fullmatch(parts.body):
            return None
        separators = {".": ",' ", ",": ".' "}[self.decimal]
        digits = parts.body.translate(str.maketrans("", "", separators)).replace(",", ".")
        number = float(digits + parts.power) * parts.sign
        return number if parts.unit == self.unit or number == 0 else None


class Hint(NamedTuple):
    """What the rest of a table suggests of the decimal mark."""

    decimal: Decimal
    sure: bool
    """Whether cells of other columns show it; else only what separates the fields does."""


@dataclasses.dataclass(frozen=True)
class Told:
    """What the cells of a column say about how its numbers are written."""

    numerals: Numerals
    share: float
    """Of the cells: those that are numbers, so read."""
    sure: bool
    """Whether no other decimal mark would read as many cells, to other numbers."""


@dataclasses.dataclass(frozen=True)
class _Parts:
    sign: float
    body: str
    power: str
    unit: str


def is_mark(text: str, own: Iterable[str] = ()) -> bool:
    """Say whether a cell's text is a word for a missing value, a usual one or one of the user's ``own``."""
    return text.strip().lower() in MARKS or text.strip() in own


def tell_numerals(cells: Mapping[str, int], decimal: Decimal | None = None, hint: Hint | None = None) -> Told:
    """Return how the numbers of a column are written.

    Args:
        cells: distinct texts, marks left out, with how often each occurs.
        decimal: the decimal mark, if it is known.
        hint: of the other columns, which decides where this column does not.

    Example:
        >>> tell_numerals({"0,5": 3, "1.234,0": 1}).numerals
        Numerals(decimal=',', unit='')
        >>> tell_numerals({"1,234": 3, "5,678": 1}).sure
        False
    """
    parts = {text: found for text in cells if (found := _parts(text)) is not None}
    if not parts:
        return Told(Numerals(decimal or "."), 0.0, True)
    units: Counter[str] = Counter()
    for text, found in parts.items():
        units[found.unit] += cells[text]
    unit = units.most_common(1)[0][0]
    ways = {mark: Numerals(mark, unit) for mark in ([decimal] if decimal else DECIMALS)}
    counts = {m: sum(cells[t] for t in parts if way.read(t) is not None) for m, way in ways.items()}
    most = max(counts.values())
    best = [mark for mark, count in counts.items() if count == most]
    chosen: Decimal = hint.decimal if hint is not None and hint.decimal in best else best[0]
    sure = len(best) == 1 or hint == (",", True) or not _differ(parts, ways) or _clearly_plain(parts, chosen)
    return Told(ways[chosen], most / sum(cells.values()), sure)


def decisive(cells: Iterable[str]) -> set[Decimal]:
    """Return the decimal marks that some cell shows beyond doubt, such as ``,`` in ``0,5``."""
    found: set[Decimal] = set()
    for text in cells:
        parts = _parts(text)
        fits = [] if parts is None else [mark for mark in DECIMALS if _BODY[mark].fullmatch(parts.body)]
        if len(fits) == 1 and parts is not None and fits[0] in parts.body:
            found.add(fits[0])
    return found


def is_plain(text: str) -> bool:
    """Say whether every tool would read a text as the same number."""
    return bool(_PLAIN.fullmatch(text))


def _differ(parts: Mapping[str, _Parts], ways: Mapping[Decimal, Numerals]) -> bool:
    return any(len({way.read(text) for way in ways.values()}) > 1 for text in parts)


def _clearly_plain(parts: Mapping[str, _Parts], chosen: Decimal) -> bool:
    """Say whether points stand in all cells, as in numbers written with three decimals: nothing points to thousands."""
    return chosen == "." and all("." in found.body and "," not in found.body for found in parts.values())


def _parts(text: str) -> _Parts | None:
    if len(text) > LONGEST or not _DIGIT.search(text):
        return None
    match = _CELL.fullmatch(text.translate(_SAME).strip())
    if match is None or (match["money"] and match["unit"]):
        return None
    signs = [match["sign"], match["inner"], match["after"], "-" if match["open"] else None]
    given = [sign for sign in signs if sign]
    if len(given) > 1:
        return None
    sign = -1.0 if given == ["-"] else 1.0
    unit = (match["money"] or match["unit"] or "").strip()
    glued = bool(match["unit"]) and match["unit"][0].isalpha() and not match["gap"]
    if glued and unit.replace("²", "2").replace("³", "3") not in GLUED:
        return None
    return _Parts(sign, match["body"].strip(), match["power"] or "", unit)
