"""Every python block of the pages, the README and the notebooks runs, one namespace a page.

Blocks that begin with ```python no-run are only shown. Lines of shell blocks that call meden are read by its own parser;
a Chinese page has the code of its English one.
"""

from __future__ import annotations

import ast
import doctest
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meden.cli.app import COMMANDS, load
from meden.strengths import TOOLS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHINESE = sorted(DOCS.rglob("*.zh.md"))
PAGES = [ROOT / "README.md", *sorted(set(DOCS.rglob("*.md")) - set(CHINESE))]
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = re.compile(r"^```(?:python|bash|yaml)[^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)


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


def write_table(path: Path) -> None:
    """Write a small table with a class ``y``, for pages that read the reader's own."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(80, 3))
    y = np.where(columns[:, 0] - columns[:, 1] + 0.5 * rng.normal(size=80) > 0, "yes", "no")
    pd.DataFrame(columns, columns=["age", "dose", "weight"]).assign(y=y).to_csv(path, index=False)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "data.csv")
    run_page(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the code of their cells: no kernel is needed."""
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] or "print" not in "".join(cell["source"]) for cell in cells), "outputs are not committed"
    for module in json.loads(path.read_text(encoding="utf-8"))["metadata"].get("needs", []):
        pytest.importorskip(module)
    names: dict[str, object] = {"__name__": path.stem}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shell_lines_are_understood(path: Path) -> None:
    for block in SHELL.findall(path.read_text(encoding="utf-8")):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["meden"] and words[1] in COMMANDS and words[1] != "job":
                command = load(words[1])
                command.make_context(words[1], words[2:], resilient_parsing=False)


@pytest.mark.parametrize("line", ["tune data.csv --no-such-option", "compare data.csv --with"])
def test_a_wrong_shell_line_fails(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```bash\nmeden {line}\n```\n")
    with pytest.raises(Exception, match=r"such option|requires an argument"):
        test_shell_lines_are_understood(page)


@pytest.mark.parametrize("path", CHINESE, ids=lambda p: str(p.relative_to(DOCS)))
def test_a_chinese_page_has_the_code_of_its_english_one(path: Path) -> None:
    english = path.with_name(path.name.replace(".zh.md", ".md"))
    assert code_of(path) == code_of(english)


def code_of(path: Path) -> list[str]:
    """Return the blocks of code of a page, without what comments and strings say."""
    return [bare(block) for block in ANY.findall(path.read_text(encoding="utf-8"))]


def bare(block: str) -> str:
    """Return a block without its comments."""
    fence, text = block.removesuffix("```").split("\n", 1)
    if fence.startswith("```python") and ">>>" not in text:
        return fence + ast.dump(ast.parse(text))
    return fence + "\n".join(re.sub(r"\s+#.*|^#.*", "", line) for line in text.splitlines())


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
