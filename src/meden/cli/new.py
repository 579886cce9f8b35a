"""``meden new``."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError
from meden.cli.console import JsonFlag, print_json, stdout

NUM_NEW = 100
"""Rows that are kept for prediction."""


def new(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    as_json: JsonFlag = False,
) -> None:
    """Create a small runnable project: a network of your own, a table, and scripts that tune and predict.

    Example:

        meden new mine

        cd mine && make tune
    """  # noqa: D412
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"folder must be new or empty, got {str(folder)!r}, which is not empty")
    written = {name: text for name, text in sorted({**_texts(), **_tables()}.items())}
    (folder / "data").mkdir(parents=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    if as_json:
        print_json({"folder": str(folder), "files": list(written)})
        return
    for name in written:
        stdout.print(f"  {name}")
    stdout.print(f"\nNext: cd {shlex.quote(str(folder))} && make tune")


def _texts() -> dict[str, str]:
    """Return the files that are written as they are, by name."""
    templates = [part for part in files("meden.cli").joinpath("project").iterdir() if part.name.endswith(".in")]
    return {part.name.removesuffix(".in"): part.read_text(encoding="utf-8") for part in templates}


def _tables() -> dict[str, str]:
    """Return the rows to train on, and those to predict, by the names of their files."""
    from sklearn.datasets import load_breast_cancer  # help does without

    bundle = load_breast_cancer(as_frame=True)
    frame = bundle.data.assign(diagnosis=bundle.target_names[bundle.target]).sample(frac=1, random_state=0)
    fitting, rest = frame[NUM_NEW:], frame[:NUM_NEW].drop(columns="diagnosis")
    return {"data/train.csv": fitting.to_csv(index=False), "data/new.csv": rest.to_csv(index=False)}
