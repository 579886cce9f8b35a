"""Dates as people write them, and which of day and month comes first: told by a column as a whole."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from typing import Literal

from meden.data.numerals import LONGEST

Order = Literal["ymd", "dmy", "mdy"]

_TIME = (
    r"(?:[T ,]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<fraction>\.\d+)?)?\s*"
    r"(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_ISO = re.compile(rf"(?P<a>\d{{4}})(?P<s>[-/.])(?P<b>\d{{1,2}})(?P=s)(?P<c>\d{{1,2}}){_TIME}")
_NUMERIC = re.compile(rf"(?P<a>\d{{1,2}})(?P<s>[-/.])(?P<b>\d{{1,2}})(?P=s)(?P<c>\d{{4}}|\d{{2}}){_TIME}")
_NAMED = re.compile(
    r"(?:[^\W\d]{2,9},?\s+)?(?:(?P<d>\d{1,2})(?:st|nd|rd|th)?[ .-]+(?P<m>[^\W\d_]{3,9})"
    r"|(?P<m2>[^\W\d_]{3,9})[ .]+(?P<d2>\d{1,2})"
    rf"(?:st|nd|rd|th)?)[ .,-]+(?P<y>\d{{4}}|\d{{2}}){_TIME}"
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan january januar,feb february februar,mar march märz maerz mär mrz,apr april,may mai,jun june juni,"
        "jul july juli,aug august,sep sept september,oct october oktober okt,nov november,"
        "dec december dezember dez".split(","),
        start=1,
    )
    for name in names.split()
}


@dataclasses.dataclass(frozen=True)
class ToldDates:
    """What the cells of a column say about its dates."""

    order: Order
    share: float
    """Of the cells: those that are dates, so read."""
    sure: bool
    """Whether the other order of day and month would read fewer cells, or the same days."""


def read_date(text: str, order: Order) -> datetime.datetime | None:
    """Return the moment, in UTC and without a zone, that a cell holds, or None.

    Years of two digits are 1969 to 2068.

    Example:
        >>> read_date("31.12.2024", "dmy"), read_date("12/31/24 5:30 PM", "mdy"), read_date("30.02.2024", "dmy")
        (datetime.datetime(2024, 12, 31, 0, 0), datetime.datetime(2024, 12, 31, 17, 30), None)
    """
    if len(text) > LONGEST or not text[-1:].isalnum():
        return None
    if found := _ISO.fullmatch(text):
        return _moment(found, found["a"], found["b"], found["c"])
    if found := _NUMERIC.fullmatch(text):
        day, month = (found["a"], found["b"]) if order != "mdy" else (found["b"], found["a"])
        return _moment(found, found["c"], month, day)
    if found := _NAMED.fullmatch(text):
        number = _MONTHS.get((found["m"] or found["m2"]).lower())
        return None if number is None else _moment(found, found["y"], str(number), found["d"] or found["d2"])
    return None


def tell_dates(cells: Mapping[str, int]) -> ToldDates:
    """Return which order of day and month reads most cells; with points, and where nothing tells, see below.

    Dates with points are day first, as wherever they are written so. With other marks, where both orders read as
    many cells to different days, month first is taken, and is not sure.

    Example:
        >>> tell_dates({"01/02/2024": 1, "25/02/2024": 1}).order, tell_dates({"01/02/2024": 1}).sure
        ('dmy', False)
    """
    total = sum(cells.values())
    orders: tuple[Order, Order] = ("dmy", "mdy")
    read = {order: {text: read_date(text, order) for text in cells} for order in orders}
    counts = {order: sum(cells[t] for t, moment in read[order].items() if moment is not None) for order in orders}
    if max(counts.values()) == 0:
        return ToldDates("ymd", 0.0, True)
    if read["dmy"] == read["mdy"]:
        return ToldDates("ymd" if not any(_NUMERIC.fullmatch(t) for t in cells) else "dmy", counts["dmy"] / total, True)
    best: Order = "dmy" if counts["dmy"] > counts["mdy"] else "mdy"
    tied = counts["dmy"] == counts["mdy"]
    if tied and all("." in text for text in cells if _NUMERIC.fullmatch(text)):
        return ToldDates("dmy", counts["dmy"] / total, True)
    return ToldDates(best, counts[best] / total, not tied)


def _moment(found: re.Match[str], year: str, month: str, day: str) -> datetime.datetime | None:
    full = int(year) if len(year) == 4 else 1900 + int(year) if int(year) > 68 else 2000 + int(year)
    hour, half = int(found["hour"] or 0), (found["half"] or "").lower()[:1]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    micro = round(float(found["fraction"] or 0) * 1_000_000)
    try:
        local = datetime.datetime(
            full, int(month), int(day), hour, int(found["minute"] or 0), int(found["second"] or 0)
        )
    except ValueError:
        return None
    return local + datetime.timedelta(microseconds=micro) - _offset(found["zone"])


def _offset(zone: str | None) -> datetime.timedelta:
    if zone in (None, "Z", "UTC"):
        return datetime.timedelta(0)
    assert zone is not None
    size = datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size
