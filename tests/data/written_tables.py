"""Tables as people write them, with what a person would read in them.

Every table has a column ``a``, labels ``b`` and a target ``y``. Numbers and days are told to a person by their looks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

N = 40
RNG = np.random.default_rng(0)
NUMBERS = [round(float(v), 2) for v in RNG.normal(50.0, 20.0, N)]
SIGNED = [round(float(v), 2) for v in RNG.normal(0.0, 2.0, N)]
LARGE = [round(float(v), 1) for v in RNG.uniform(800, 2_000_000, N)]
WHOLE = [int(v) for v in RNG.integers(200, 90_000, N)]
SHARES = [int(v) for v in RNG.integers(0, 100, N)]
DAYS = [pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(d)) for d in RNG.integers(0, 700, N)]
EARLY = [pd.Timestamp(2024, 1 + i % 12, 1 + i % 11) for i in range(N)]
LABELS = ["u", "v", "w", "u", "v"] * (N // 5)
ANSWERS = ["yes", "no"] * (N // 2)
SCORES = [round(2 * v + 3, 3) for v in NUMBERS]


@dataclasses.dataclass(frozen=True)
class Written:
    """A file, and what is right: ``a`` as numbers, days since 1970 or texts (None for missing), and ``y``."""

    name: str
    text: str
    a: Sequence[Any]
    y: Sequence[Any] = tuple(ANSWERS)
    encoding: str = "utf-8"


def written(
    name: str,
    cells: Sequence[str],
    right: Sequence[Any],
    *,
    y: Sequence[Any] = tuple(ANSWERS),
    y_right: Sequence[Any] | None = None,
    sep: str = ",",
    header: str = "a{0}b{0}y",
    change: Callable[[list[str]], list[str]] = lambda lines: lines,
    end: str = "\n",
    encoding: str = "utf-8",
) -> Written:
    rows = [[str(one), label, str(answer)] for one, label, answer in zip(cells, LABELS, y, strict=True)]
    quoted = [[f'"{cell}"' if sep in cell or "\n" in cell else cell for cell in row] for row in rows]
    lines = change([header.format(sep), *(sep.join(row) for row in quoted)])
    return Written(name, end.join(lines) + end, right, tuple(y if y_right is None else y_right), encoding)


def us(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}"


def eu(value: float, digits: int = 2) -> str:
    return us(value, digits).translate(str.maketrans(",.", ".,"))


def comma(value: float) -> str:
    return str(value).replace(".", ",")


def with_cell(
    cells: Sequence[Any], right: Sequence[Any], text: str, rows: Sequence[int] = (7,)
) -> tuple[list[Any], list[Any]]:
    cells, right = list(cells), list(right)
    for row in rows:
        cells[row], right[row] = text, None
    return cells, right


def days(moments: Sequence[pd.Timestamp]) -> list[float]:
    return [(moment - pd.Timestamp(0)) / pd.Timedelta(days=1) for moment in moments]


def numbers() -> Iterator[Written]:
    plain = [str(v) for v in NUMBERS]
    yield written("plain", plain, NUMBERS)
    for sep, what in ((",", "quoted"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe")):
        yield written(f"decimal comma, {what}", [comma(v) for v in NUMBERS], NUMBERS, sep=sep)
        yield written(f"decimal point, {what}", plain, NUMBERS, sep=sep)
    yield written("decimal comma, signed", [comma(v) for v in SIGNED], SIGNED, sep=";")
    ways: list[tuple[str, Callable[[float], str]]] = [
        ("us thousands", lambda v: us(v, 1)),
        ("eu thousands", lambda v: eu(v, 1)),
        ("space thousands", lambda v: us(v, 1).replace(",", " ")),
        ("narrow space thousands, comma", lambda v: us(v, 1).replace(",", "\u202f").replace(".", ",")),
        ("no-break space thousands", lambda v: us(v, 1).replace(",", "\xa0")),
        ("apostrophe thousands", lambda v: us(v, 1).replace(",", "'")),
        ("swiss thousands", lambda v: us(v, 1).replace(",", "\u2019")),
        ("dollar thousands", lambda v: "$" + us(v, 1)),
        ("euro behind", lambda v: eu(v, 1) + " €"),
        ("euro before", lambda v: "€ " + eu(v, 1)),
        ("code before", lambda v: "USD " + us(v, 1)),
        ("code behind", lambda v: us(v, 1) + " EUR"),
        ("exponent", lambda v: f"{v:.9e}"),
        ("exponent with comma", lambda v: f"{v:.9E}".replace(".", ",")),
    ]
    for name, way in ways:
        yield written(name, [way(v) for v in LARGE], LARGE)
        yield written(f"{name}, semicolon", [way(v) for v in LARGE], LARGE, sep=";")
    yield written("whole us thousands", [us(v, 0) for v in WHOLE], WHOLE)
    yield written(
        "whole eu thousands", [eu(v, 0) for v in WHOLE], WHOLE, sep=";", y=[comma(v) for v in SCORES], y_right=SCORES
    )
    yield written("whole eu thousands alone", [eu(v, 0) for v in WHOLE], WHOLE, sep=";")
    small = [("dollar", "${}"), ("pound", "£{}"), ("euro", "{}€"), ("percent", "{}%"), ("percent apart", "{} %")]
    units = [
        ("mg", "{} mg"),
        ("glued mg", "{}mg"),
        ("km/h", "{} km/h"),
        ("degrees", "{} °C"),
        ("square", "{} m²"),
        ("years", "{} years"),
    ]
    for name, form in small + units:
        yield written(f"unit {name}", [form.format(v) for v in NUMBERS], NUMBERS)
        yield written(f"unit {name} with comma", [form.format(comma(v)) for v in NUMBERS], NUMBERS, sep=";")
    yield written("whole percent", [f"{v}%" for v in SHARES], SHARES)
    yield written(
        "bare zeros among percent",
        [f"{v}%" if i % 9 else "0" for i, v in enumerate(SHARES)],
        [v if i % 9 else 0 for i, v in enumerate(SHARES)],
    )
    for name, minus in (("minus sign", "\u2212"), ("en dash", "\u2013"), ("full width minus", "\uff0d")):
        yield written(name, [str(v).replace("-", minus) for v in SIGNED], SIGNED)
    yield written("parentheses", [f"({-v})" if v < 0 else str(v) for v in SIGNED], SIGNED)
    yield written("minus behind", [f"{-v}-" if v < 0 else str(v) for v in SIGNED], SIGNED)
    yield written("dollar and sign", [f"-${-v}" if v < 0 else f"${v}" for v in SIGNED], SIGNED)
    yield written("plus", [f"{v:+}" for v in SIGNED], SIGNED)
    yield written("padded", [f"  {v} " for v in NUMBERS], NUMBERS)
    yield written(
        "leading point", [str(v).replace("0.", ".") for v in [x / 100 for x in SHARES]], [x / 100 for x in SHARES]
    )
    for mark in (
        "?",
        "-",
        "n/a",
        "N/A",
        "NA",
        "missing",
        "Unknown",
        ".",
        "--",
        "#DIV/0!",
        "\u2014",
        "*",
        "null",
        "None",
        "nan",
        "N.A.",
        "not available",
        "(blank)",
        "",
    ):
        cells, right = with_cell(plain, NUMBERS, mark, rows=(3, 4, 20))
        yield written(f"marks {mark!r}", cells, right)
    cells, right = with_cell(plain, NUMBERS, "?", rows=range(0, N, 2))
    yield written("half are marks", cells, right)
    cells, right = with_cell([comma(v) for v in NUMBERS], NUMBERS, "-", rows=(3, 4))
    yield written("marks among decimal commas", cells, right, sep=";")
    for typo in (
        "1.2.3",
        "O.5",
        "<0.3",
        ">100",
        "~5",
        "abc",
        "12abc",
        "1,5",
        "5 mg",
        "1 .5",
        "3+",
        "10-20",
        "see note",
        "12:30",
        "=A1+1",
    ):
        cells, right = with_cell(plain, NUMBERS, typo)
        yield written(f"one cell {typo!r}", cells, right)


def dates() -> Iterator[Written]:
    forms = [
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d.%m.%y",
        "%m/%d/%y",
    ]
    forms += [
        "%d %b %Y",
        "%b %d, %Y",
        "%d-%b-%Y",
        "%d %B %Y",
        "%Y-%m-%d %H:%M:%S",
        "%d.%m.%Y %H:%M",
        "%m/%d/%Y %I:%M %p",
    ]
    for form in forms:
        yield written(f"dates {form}", [day.strftime(form) for day in DAYS], days(DAYS))
        yield written(f"dates {form}, semicolon", [day.strftime(form) for day in DAYS], days(DAYS), sep=";")
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"):
        for mark in ("unknown", "?", "31/31/2024", "2024-02-30", "30.02.2024", "soon"):
            cells, right = with_cell([day.strftime(form) for day in DAYS], days(DAYS), mark)
            yield written(f"dates {form}, one {mark!r}", cells, right)
    yield written("early days with points", [day.strftime("%d.%m.%Y") for day in EARLY], days(EARLY))
    yield written("early days, month first", [day.strftime("%m/%d/%Y") for day in EARLY], days(EARLY))
    yield written("early days, day first", [day.strftime("%d/%m/%Y") for day in EARLY], days(EARLY))


def layouts() -> Iterator[Written]:
    plain = [str(v) for v in NUMBERS]

    def laid(name: str, change: Callable[[list[str]], list[str]], **more: Any) -> Written:
        return written(name, plain, NUMBERS, change=change, **more)

    for sep in (",", ";"):
        what = {",": "", ";": ", semicolon"}[sep]
        yield laid(f"sep line{what}", lambda lines, sep=sep: [f"sep={sep}", *lines], sep=sep)
        yield laid(f"comments{what}", lambda lines: ["# made by x", "# in 2024", *lines], sep=sep)
        yield laid(f"comments inside{what}", lambda lines: [*lines[:9], "# from here on by night", *lines[9:]], sep=sep)
        yield laid(f"commented header{what}", lambda lines: ["# " + lines[0], *lines[1:]], sep=sep)
        yield laid(f"title{what}", lambda lines: ["Report of 2024", *lines], sep=sep)
        yield laid(f"titles{what}", lambda lines: ["Report", "of 2024", "by x", *lines], sep=sep)
        yield laid(f"title and empty line{what}", lambda lines: ["Report of 2024", "", *lines], sep=sep)
        yield laid(
            f"title with empty fields{what}", lambda lines, sep=sep: [f"Report of 2024{sep}{sep}", *lines], sep=sep
        )
        yield laid(f"header again{what}", lambda lines: [*lines[:20], lines[0], *lines[20:]], sep=sep)
        yield laid(
            f"units under header{what}", lambda lines, sep=sep: [lines[0], f"mg{sep}{sep}-", *lines[1:]], sep=sep
        )
        yield laid(
            f"units in parentheses{what}", lambda lines, sep=sep: [lines[0], f"(mg){sep}-{sep}-", *lines[1:]], sep=sep
        )
        yield laid(f"total at the end{what}", lambda lines, sep=sep: [*lines, f"Total{sep}{sep}{N}"], sep=sep)
        yield laid(f"source at the end{what}", lambda lines, sep=sep: [*lines, f"Source: x{sep}{sep}"], sep=sep)
        yield laid(f"empty lines at the end{what}", lambda lines, sep=sep: [*lines, sep * 2, sep * 2], sep=sep)
        yield laid(f"empty fields at all ends{what}", lambda lines, sep=sep: [line + sep for line in lines], sep=sep)
        yield laid(
            f"spaces after separators{what}",
            lambda lines, sep=sep: [line.replace(sep, sep + " ") for line in lines],
            sep=sep,
        )
        yield laid(f"spaces in the header{what}", lambda lines, sep=sep: [f" a {sep} b {sep} y ", *lines[1:]], sep=sep)
        yield laid(f"windows ends{what}", lambda lines: lines, sep=sep, end="\r\n")
        yield laid(f"byte order mark{what}", lambda lines: lines, sep=sep, encoding="utf-8-sig")
    european = written("", [comma(v) for v in NUMBERS], NUMBERS, sep=";").text
    yield Written("title, semicolon, decimal comma", "Bericht 2024\n" + european, NUMBERS)
    yield Written("titles with commas, semicolon", "Bericht, 2024\nvon x, y und z\n" + european, NUMBERS)
    totals = written("", plain, NUMBERS, y=SCORES).text
    yield Written("total of numbers", totals + "Total,,6000\n", NUMBERS, SCORES)
    yield Written("header again among numbers", totals + totals, NUMBERS * 2, SCORES * 2)


def targets() -> Iterator[Written]:
    plain = [str(v) for v in NUMBERS]

    def aimed(name: str, y: Sequence[Any], right: Sequence[Any], sep: str = ",") -> Written:
        return written(name, plain, NUMBERS, y=y, y_right=right, sep=sep)

    yield aimed("numbers", SCORES, SCORES)
    yield aimed("target decimal comma", [comma(v) for v in SCORES], SCORES)
    yield aimed("target decimal comma, semicolon", [comma(v) for v in SCORES], SCORES, ";")
    yield aimed("target dollars", [f"${v}" for v in SCORES], SCORES)
    yield aimed("target percent", [f"{v} %" for v in SCORES], SCORES)
    yield aimed("target euro", [f"{eu(v, 3)} €" for v in SCORES], SCORES, ";")
    yield aimed("target padded", [f"{v} " if i % 3 else v for i, v in enumerate(ANSWERS)], ANSWERS)
    yield aimed("target padded in front", [f" {v}" if i % 3 else v for i, v in enumerate(ANSWERS)], ANSWERS)
    for word in ("NA", "None", "null", "nan", "N/A"):
        labels = [word, "EU", "AS", "EU"] * (N // 4)
        yield aimed(f"label {word!r}", labels, labels)
    for wrong in ("?", "<0.3", "n/a", "-", "missing", "abc"):
        yield aimed(f"target with {wrong!r}", [wrong, *SCORES[1:]], ["a line that names the cell"])
    yield aimed("target censored", [v if v > 90 else "<90" for v in SCORES], ["a line that names the cell"])


def labels() -> Iterator[Written]:
    columns = {
        "codes": ["A1", "B2", "C3"],
        "ranges": ["10-20", "20-30", "30-40"],
        "open levels": ["1", "2", "3+", "0"],
        "houses": ["1Fam", "2fmCon", "Duplex"],
        "versions": ["1.2.3", "1.2.4"],
        "times": ["12:30", "13:45", "09:00"],
        "ordinals": ["1st", "2nd", "3rd"],
        "half numbers": ["1", "one", "2", "two"],
        "answers": ["yes", "no"],
        "sizes": ["S", "M", "L"],
        "words with marks": ["-", "red", "green"],
        "addresses": ["10.0.0.1", "10.0.0.2"],
        "mixed units": ["5 mg", "2 g", "7 mg", "3 kg"],
        "months": ["Jan", "Feb", "Mar"],
    }
    for name, levels in columns.items():
        cells = [levels[i % len(levels)] for i in range(N)]
        yield written(f"labels: {name}", cells, cells)
    padded = [f"{v} " if i % 3 else v for i, v in enumerate(LABELS)]
    yield written("labels: padded", padded, LABELS)
    large = [2**53 + 1 + i for i in range(N)]
    yield written("large identifiers", [str(v) for v in large], [str(v) for v in large])
    cells, right = with_cell([str(v) for v in large], [str(v) for v in large], "")
    yield written("large identifiers, one missing", cells, right)
    huge = [10**24 + i for i in range(N)]
    yield written("huge identifiers", [str(v) for v in huge], [str(v) for v in huge])


WRITTEN = [*numbers(), *dates(), *layouts(), *targets(), *labels()]
