"""Every python block of the pages and the README runs, one namespace a page; ```python no-run is only shown."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from meden.strengths import TOOLS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(path: Path) -> None:
    """Run the blocks in order: those with prompts compare what is printed, the others are executed."""
    text = path.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": path.stem}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        if ">>> " in match[1]:
            case = doctest.DocTestParser().get_doctest(match[1], names, path.name, str(path), line)
            report: list[str] = []
            failed = runner.run(case, out=report.append, clear_globs=False).failed
            names |= case.globs
            assert not failed, "".join(report)
        else:
            exec(compile("\n" * line + match[1], str(path), "exec"), names)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_code_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(path)


@pytest.mark.parametrize("block", ["assert 1 == 2", ">>> 1 + 1\n3", ">>> x = 1\n>>> y\n1"])
def test_a_wrong_block_fails(block: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```python\nx = 0\n```\n\n```python\n{block}\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)


def test_a_page_shares_one_namespace_and_leaves_out_what_is_not_to_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\n```\n```python no-run\nx = 5\n```\n```python\n>>> x + 1\n3\n```\n")
    run_page(page)


def test_the_files_that_contributing_names_are_there() -> None:
    named = re.findall(r"`((?:src|tests|tools)/[^`* ]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 5 and [name for name in named if not (ROOT / name).exists()] == []


def test_the_page_of_conventions_has_a_row_for_every_tool() -> None:
    page = (DOCS / "conventions.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    assert [name for name in TOOLS if f"`{name}`" not in rows] == []
