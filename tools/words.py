"""List what commands and pages say, as templates, and what of it the catalogue of a language lacks.

    python tools/words.py            list what has no translation, by file
    python tools/words.py --stale    list what is translated and said nowhere

A template is a text with `{}` for whatever an f-string puts there. Of an expression that says one thing or another,
each is a template; a local name that holds a text stands for it.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "meden"
CATALOGUE = SOURCES / "language" / "zh.json"
HOLE = "{}"
MOST = 48
"""Alternatives of one expression; with more, its varying part is a hole."""
FOREIGN = ("typer", "click", "rich")
"""Packages whose own sentences commands show."""
COMPILED = "should be "
"""What sentences of pydantic about a wrong value have; they are in no source."""
PYTHON_ONLY = {"integrations", "edits", "structure", "augment", "noise", "penalties"}
"""Rooms that commands hardly reach."""
Texts = Mapping[str, list[str]]


def templates(node: ast.AST | None, names: Texts) -> list[str]:
    """Return what an expression may say; nothing if it is no text."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.Name):
        return names.get(node.id, [])
    if isinstance(node, ast.FormattedValue):
        plain = node.conversion == -1 and node.format_spec is None
        return (templates(node.value, names) if plain else []) or [HOLE]
    if isinstance(node, ast.JoinedStr):
        return _joined([templates(part, names) for part in node.values])
    if isinstance(node, ast.IfExp):
        found = [templates(part, names) for part in (node.body, node.orelse)]
        return list(dict.fromkeys(itertools.chain(*(each or [HOLE] for each in found)))) if any(found) else []
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return [text for part in node.values for text in templates(part, names)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = templates(node.left, names), templates(node.right, names)
        return _joined([left or [HOLE], right or [HOLE]]) if left or right else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [each for text in templates(node.left, names) for each in ("", text)]
    return []


def _joined(parts: Iterable[list[str]]) -> list[str]:
    parts = [each or [""] for each in parts]
    while len(list(itertools.islice(itertools.product(*parts), MOST + 1))) > MOST:
        longest = max(range(len(parts)), key=lambda i: len(parts[i]))
        parts[longest] = [HOLE]
    return ["".join(each) for each in itertools.product(*parts)]


def _plurals(call: ast.Call) -> list[str]:
    """Return what `plural(count, noun)` says of one and of several."""
    if isinstance(call.func, ast.Name) and call.func.id == "plural" and len(call.args) == 2:
        return [text for noun in templates(call.args[1], {}) for text in (f"1 {noun}", f"{HOLE} {noun}s")]
    return []


def _texts_of(function: ast.AST) -> dict[str, list[str]]:
    """Return the names of a function that hold texts, with all that they may say."""
    names: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            pairs = (
                zip(target.elts, value.elts, strict=False)
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                else [(target, value)]
            )
            for name, each in pairs:
                if isinstance(name, ast.Name):
                    names[name.id] = [*names.get(name.id, []), *templates(each, names)]
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            before = names.get(node.target.id, [])
            more = templates(node.value, names)
            if before and more:
                names[node.target.id] = [*before, *_joined([before, more])]
    return names


def _paragraphs(docstring: str) -> Iterator[str]:
    for part in inspect.cleandoc(docstring).split("\n\n"):
        if not part.startswith("    "):
            yield " ".join(part.split())


def said(path: Path) -> tuple[list[str], list[str]]:
    """Return what a file may say: its templates, and parts of them, too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    whole: list[str] = []
    parts: list[str] = []

    def visit(node: ast.AST, names: Texts, inside: bool) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = {**names, **_texts_of(node)}
            if path.parent.name == "cli":
                parts.extend(_paragraphs(ast.get_docstring(node) or ""))
        found = [] if id(node) in docstrings or isinstance(node, ast.Name) else templates(node, names)
        found += _plurals(node) if isinstance(node, ast.Call) else []
        (parts if inside else whole).extend(found)
        for child in ast.iter_child_nodes(node):
            inner = inside or (bool(found) and not isinstance(node, ast.Call))
            visit(child, names, inner and not isinstance(child, ast.Call) and not isinstance(node, ast.Call))

    visit(tree, {}, False)
    return list(dict.fromkeys(whole)), list(dict.fromkeys([*whole, *parts]))


def commands_say() -> list[str]:
    """Return the help of all commands and options, as it is shown."""
    from meden.cli import app

    found: list[str] = []

    def add(command: object) -> None:
        found.extend(_paragraphs((getattr(command, "help", "") or "").replace("\f", "")))
        for param in getattr(command, "params", []):
            found.append(" ".join((getattr(param, "help", "") or "").split()))
        for inner in getattr(command, "commands", {}).values():
            add(inner)

    for name in app.COMMANDS:
        add(app.load(name))
        found.append(app.COMMANDS[name][1])
    found.extend(_paragraphs(app.commands.__doc__ or ""))
    return [text for text in dict.fromkeys(found) if text and text.rstrip(":") not in ("Example", "Examples")]


def rules_say() -> list[str]:
    """Return what each rule of a diagnosis looks for."""
    from meden.diagnosis.catalogue import chosen_rules

    return [rule.summary for rule in chosen_rules((), ())]


def page_says() -> list[str]:
    """Return what the page's template says itself."""
    text = (SOURCES / "report" / "report.html.j2").read_text(encoding="utf-8")
    return re.findall(r"""["'](?P<text>[^"']+)["'] \| translated""", text)


def foreign() -> str:
    """Return the sources of the packages whose sentences are shown, too."""
    import importlib.util

    found = []
    for name in FOREIGN:
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found += [path.read_text(encoding="utf-8") for path in Path(folder).rglob("*.py")]
    return "\n".join(found)


def catalogue() -> dict[str, str]:
    """Return the catalogue as it is written."""
    found: dict[str, str] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return found


def _is_sentence(text: str) -> bool:
    return (
        len(re.findall(r"[A-Za-z]{2,}", text.replace(HOLE, " "))) > 1
        and " " in text.strip()
        and not text.startswith(("http", "    "))
    )


def missing(known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield file and template of what has no translation."""
    whole = [*commands_say(), *rules_say(), *page_says()]
    for text in whole:
        if text not in known:
            yield "help", text
    seen = set(whole) | set(known)
    for path in sorted(SOURCES.rglob("*.py")):
        where = path.relative_to(SOURCES)
        if where.parts[0] in PYTHON_ONLY or "project" in where.parts:
            continue
        for text in said(path)[0]:
            if text not in seen and _is_sentence(text):
                seen.add(text)
                yield str(where), text


def stale(known: Iterable[str]) -> list[str]:
    """Return what is translated and said nowhere.

    Sentences are put together from parts, so that no source need have a whole one: all words must be in some text, and
    half of the pairs of neighbours, where there are more than two.
    """
    said_here = "\n".join(text for path in SOURCES.rglob("*.py") for text in said(path)[1])
    theirs = "\n".join([*commands_say(), *page_says(), *rules_say(), *map(os.strerror, range(200)), foreign()])
    words = re.findall(r"[\w'-]+", _plain(f"{said_here}\n{theirs}"))
    singles, pairs = set(words), set(itertools.pairwise(words))
    return [text for text in known if COMPILED not in text and not _is_said(text, singles, pairs)]


def _is_said(text: str, singles: set[str], pairs: set[tuple[str, str]]) -> bool:
    rows = [re.findall(r"[\w'-]+", row) for row in _plain(text).split(HOLE)]
    asked = [pair for row in rows for pair in itertools.pairwise(row)]
    found = [pair for pair in asked if pair in pairs]
    return all(word in singles for row in rows for word in row) and (len(asked) < 3 or 2 * len(found) > len(asked))


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def main() -> int:
    """List what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stale", action="store_true", help="list what is translated and said nowhere")
    given = parser.parse_args()
    known = catalogue()
    lines = stale(known) if given.stale else [f"{where}: {text!r}" for where, text in missing(known)]
    print("\n".join(lines))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
