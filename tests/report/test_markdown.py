from pathlib import Path

import pytest

from meden._checks import InputError
from meden.report import Code, Column, Report, ReportTable, Section, TableRow, Tile, write
from meden.report.markdown import literal, markdown
from tests.report.drawn import charts
from tests.report.studies import EVIL


def report() -> Report:
    table = ReportTable(
        (Column("a|b", numeric=False), Column("loss", measured=True)),
        (TableRow(("x|y\nz", 0.21)), TableRow(("plain", None), "best")),
    )
    drawn = charts()
    first = Section(title="First", text=("A *b*.",), charts=(drawn["gains"], drawn["gap"]), table=table)
    second = Section(title="Second", codes=(Code("in", "a = '```'\n# b"),), facts={"Made_with": "<b>"})
    return Report(title="# T", lead="The answer.", tiles=(Tile("loss", "0.5", "nats"),), sections=(first, second))


WANTED = r"""# \# T

**The answer.**

- **loss**: 0.5 (nats)

## First

A \*b\*.

*2 charts omitted, which the HTML report shows: Loss of each model; lr.*

| a\|b | loss |
| --- | ---: |
| x\|y z | 0.2100 |
| plain | – |

## Second

in:

````
a = '```'
# b
````

- **Made\_with**: \<b\>
"""  # noqa: RUF001


def test_every_part_has_its_form() -> None:
    assert markdown(report()) == WANTED


@pytest.mark.parametrize("text", [EVIL, "[a](http://b)", "![a](b)", "&lt;", "`x`", "# a", "1. a", "- a", "~~~", "$x$"])
def test_nothing_active_is_left_bare(text: str) -> None:
    shown = literal(text)
    pieces = shown.replace("\\\\", "").split("\\")
    bare = pieces[0] + "".join(piece[1:] for piece in pieces[1:])
    assert not set(bare) & set("`*_[]<>|~&$") and not bare.startswith(("#", "- ", "1. "))
    assert "".join([pieces[0], *pieces[1:]]) == text


def test_the_format_is_chosen_by_name(tmp_path: Path) -> None:
    assert write(report(), tmp_path / "a.md", "md").read_text(encoding="utf-8") == WANTED
    assert write(report(), tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="format must be one of html, md, got 'pdf'"):
        write(report(), tmp_path / "a.pdf", "pdf")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"such as report\.md, got the folder"):
        write(report(), tmp_path, "md")
