"""Run the command line on inputs that people, editors and disks have spoiled; list what is not a clear answer.

    python tools/fuzz_commands.py --number 500 --seed 0

A case is a command, a table or folder with one to three things wrong, and options with wild values, all drawn by its
number. It passes if it ends within ``--limit`` seconds with status 0, 1 or 2, prints no traceback and no
``failed: SomeError``, and says something where it ends with 1 or 2.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd

BAD = re.compile(r"Traceback \(most recent|failed: \w*(Error|Exception)|Internal|MarkupError")
NAMES = ["size", "colour", "day", "rooms", "price", "kind"]


class TimeIsUp(BaseException):
    """A case took too long."""


def table(draw: random.Random, rows: int = 40) -> pd.DataFrame:
    """Return a table of numbers, words, dates and two targets."""
    noise = np.random.default_rng(draw.randrange(2**32))
    frame = pd.DataFrame({"size": noise.normal(size=rows).round(3), "colour": noise.choice(["red", "blue"], rows)})
    frame["day"] = pd.date_range("2020-01-01", periods=rows, freq="D").strftime("%Y-%m-%d")
    frame["rooms"] = noise.integers(1, 9, rows)
    frame["price"] = (10 * frame["size"] + noise.normal(size=rows)).round(3)
    frame["kind"] = np.where(frame["size"] > 0, "yes", "no")
    return frame.astype(object)


CELLS = [
    *("", " ", "?", "NA", "None", "nan", "inf", "-inf", "1e39", "1e308", "1e400", "-1e-320", "1,5", "1.234,5", "12 %"),
    *(
        "$5",
        "\u22123",
        "0x1F",
        "=1+1",
        "[red]",
        "[/]",
        "é",
        "日本",
        "\u200b",
        "\x00",
        "a" * 5000,
        '"',
        "'",
        "\n",
        "\t",
        ";",
    ),
    *("2020-13-45", "31.02.2021", "12:61", "true", "True", "9007199254740993", "1_000", "1e", "--", "<0.3", "1/0"),
]


def spoil_frame(draw: random.Random, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with something wrong in its cells, columns or rows."""
    column = draw.choice(list(frame.columns))
    match draw.randrange(13):
        case 0 | 1 | 2:
            for _ in range(draw.choice([1, 1, 3, 30])):
                frame.iloc[draw.randrange(len(frame)), frame.columns.get_loc(column)] = draw.choice(CELLS)
        case 3:
            frame[column] = draw.choice(CELLS)
        case 4:
            frame = frame.rename(
                columns={column: draw.choice(["", " ", "size", "p [/eur]", "a/b", "prediction", "\n", "0"])}
            )
        case 5:
            frame = frame.iloc[: draw.randrange(6)]
        case 6:
            frame = frame.drop(columns=[column])
        case 7:
            frame = frame[[column]]
        case 8:
            frame = pd.concat([frame, frame[[column]]], axis=1)
        case 9:
            frame[column] = [f"word {i}" for i in range(len(frame))]
        case 10:
            frame[column] = [10.0 ** draw.randrange(-330, 309) for _ in range(len(frame))]
        case 11:
            wide = pd.DataFrame(np.ones((len(frame), 300)), columns=[f"x{i}" for i in range(300)])
            frame = pd.concat([frame.reset_index(drop=True), wide], axis=1)
        case 12:
            frame = pd.concat([frame, frame.iloc[:1].rename(index=str), frame], ignore_index=True)
    return frame.astype(object)


def spoil_bytes(draw: random.Random, text: bytes) -> bytes:
    """Return a file's bytes with something wrong."""
    place = draw.randrange(len(text)) if text else 0
    match draw.randrange(11):
        case 0:
            return b""
        case 1:
            return text[:place]
        case 2:
            return text[:place] + bytes([draw.randrange(256)]) + text[place + 1 :]
        case 3:
            return text.decode("utf-8", "replace").encode("utf-16")
        case 4:
            return text.replace(b"\n", draw.choice([b"\r", b"\r\n", b"\n\n", b",\n"]))
        case 5:
            return text.replace(b",", draw.choice([b";", b"\t", b"|", b" ", b",,"]))
        case 6:
            return b"# a comment\nsep=;\n\n" + text
        case 7:
            return text + b'"never closed,\n1,2'
        case 8:
            return text + b"1,2,3,4,5,6,7,8,9\n"
        case 9:
            return os.urandom(200)
        case _:
            return text.replace(b"2020", b"\xff\xfe")


WILD = ["", "0", "1", "-1", "2", "3", "1e9", "nan", "inf", "abc", "0.5", "99999999999999999999", "[x]", "é", "=", "a=b"]
FOLDERS = ["new", "new", "deep/er/new", "table.csv", "", ".", "/proc/none", "table.csv/new", "x" * 300, "run"]
WORDS = ["size", "colour", "day", "price", "kind", "nothing", "[red]", "", "*"]
SETTINGS = [
    *("lr=0.01", "l2=1e-3", "dropout=0.3", "width=8", "depth=0", "epochs=2", "lr=-1", "lr=nan", "dropout=1", "width=0"),
    *(
        "batch_size=1",
        "batch_size=0",
        "batch_size=full",
        "optimizer=adam",
        "optimizer=none",
        "nothing=1",
        "lr",
        "=",
        "",
    ),
    *("width=1e9", "depth=-1", "early_stopping=3", "averaging=ema", "lr=1e30", "l1=1e30", "epochs=0", "loss=huber"),
]
SEARCHES = [
    *(
        "l2=1e-3:1:log",
        "l1=1e-5:1e-2:log",
        "lr=1:0",
        "dropout=0:2",
        "width=8|16",
        "nothing=1:2",
        "l2",
        "l2=",
        "l2=a:b:c",
    ),
    *("l2=0:1:log", "cocktail", "l2=1e-3:1:log,dropout=0:0.5", "lr=nan:1", "batch_size=1|8", "epochs=1|2", "x=1|1"),
]
OPTIONS: dict[str, list[str]] = {
    "--folds": WILD,
    "--budget": WILD,
    "--seeds": WILD[:8],
    "--seed": WILD,
    "--gap": WILD,
    "--held-out": WILD,
    "--time-limit": ["0", "-1", "nan", "5", "abc", "0.001"],
    "--jobs": ["0", "-3", "x", "1"],
    "--groups": WORDS,
    "--order": WORDS,
    "--drop": WORDS,
    "--target": WORDS,
    "--read": [f"{word}={how}" for word in WORDS for how in ("number", "date", "category", "drop", "x", "")],
    "--sep": [";", "tab", ",", "", "ab", "\x01", "|"],
    "--decimal": [",", ".", "", "x"],
    "--na": ["", "-999", "red", "?", "0"],
    "--metric": ["loss", "accuracy", "r2", "mse", "x", ""],
    "--strategy": ["random", "grid", "tpe", "x", ""],
    "--task": ["classification", "regression", "x", ""],
    "--model": ["mlp", "linear", "tabular", "x", ""],
    "--refit": ["all", "folds", "x"],
    "--set": SETTINGS,
    "--search": SEARCHES,
    "--with": [f"{name}: {setting}" for name in ("a", "", "[b]", "none") for setting in SETTINGS],
    "--backend": ["local", "x"],
    "--address": ["auto", ""],
    "--epochs-budget": WILD,
}
RECIPES = [
    "epochs: 2\nlr: 1e-2\n",
    "epochs: 2\nlr: 1e-2\nbatch_size: 1\n",
    "epochs: [1, 2]\n",
    "epochs: 2\nepochs: 3\n",
    "lr: .nan\nepochs: 2\n",
    "a: &a [1]\nb: [*a, *a]\n",
    "!!python/object:os.system x\n",
    "just words",
    "- 1\n- 2\n",
    "",
    "\x00",
    "epochs: 2\nregularizers:\n- penalty: {L1: {strength: -1}}\n",
    "epochs: 2\ndropout: 0.2\nearly_stopping: {patience: 1}\n",
    "epochs: 1e999\n",
    "format: '9.0'\nepochs: 2\n",
]
TAKES = {
    "tune": {"--held-out", "--set", "--with"},
    "fit": {"--folds", "--budget", "--seeds", "--gap", "--time-limit", "--jobs", "--order", "--metric", "--strategy"}
    | {"--refit", "--search", "--with", "--backend", "--address", "--epochs-budget"},
    "compare": {"--held-out", "--set", "--time-limit", "--metric", "--strategy", "--refit", "--search", "--budget"}
    | {"--epochs-budget"},
    "check": {"--held-out", "--set", "--time-limit", "--metric", "--strategy", "--refit", "--search", "--budget"}
    | {"--epochs-budget", "--seeds", "--gap", "--jobs", "--with", "--backend", "--address", "--model"},
    "select": {"--held-out", "--set", "--time-limit", "--metric", "--strategy", "--refit", "--search", "--budget"}
    | {"--epochs-budget", "--with"},
    "learning-curve": {"--held-out", "--time-limit", "--metric", "--strategy", "--refit", "--search", "--budget"}
    | {"--epochs-budget", "--with"},
}
"""Options that a command does not have, of which few are tried."""
OWN: dict[str, dict[str, list[str]]] = {
    "check": {
        "--split": [*WORDS, "part"],
        "--select": ["data", "honesty", "nothing", "", ",", "target_copy,data", "[red]"],
        "--ignore": ["data", "honesty", "nothing", "near_duplicates"],
        "--report": ["new.html", "new.md", "table.csv", ".", "none/new.html", ""],
    },
    "select": {
        "--strengths": ["2", "3", *WILD],
        "--rate": WILD,
        "--penalty": ["group_lasso", "group_mcp", "x", ""],
    },
    "learning-curve": {
        "--sizes": ["8,12,16,20", "8,8,8", "0,1,2", "20", "a,b", "", ",", "1e9,2", "20,12,8", "-1,5,9"],
        "--same": ["steps", "epochs", "x", ""],
        "--which": ["best", "one_se", "x"],
        "--rows": ["table.csv", "none.csv", ""],
        "--report": ["new.html", "new.md", ".", "none/new.html"],
    },
}
"""Options that a command has alone."""


def of_table(draw: random.Random, command: str) -> list[str]:
    """Write a spoiled table and recipe; return a command line about them."""
    frame = table(draw)
    for _ in range(draw.choice([0, 1, 1, 2, 3])):
        if len(frame) and len(frame.columns):
            frame = spoil_frame(draw, frame)
    kind = draw.choice(["csv"] * 14 + ["tsv", "tsv", "parquet", "feather", "txt", "xlsx"])
    path = Path(f"table.{kind}")
    if kind in ("parquet", "feather"):
        try:
            (frame.astype(str).to_parquet if kind == "parquet" else frame.astype(str).to_feather)(path)
        except ValueError:
            path.write_bytes(b"PAR1")
    else:
        path.write_bytes(frame.to_csv(index=False, sep="\t" if kind == "tsv" else ",").encode("utf-8", "replace"))
    if draw.random() < 0.3:
        path.write_bytes(spoil_bytes(draw, path.read_bytes()))
    recipe = RECIPES[0] if draw.random() < 0.9 else draw.choice(RECIPES)
    Path("recipe.yaml").write_text(recipe)
    line = [command, draw.choice([str(path)] * 40 + ["iris", "none.csv", ".", "/dev/null"])]
    line += ["--target", draw.choice(["price", "kind"])]
    if command != "check":
        line += ["--recipe", "recipe.yaml", "--model", draw.choice(["mlp", "tabular", "linear"])]
        line += ["--out", draw.choice(FOLDERS) if draw.random() < 0.1 else "new"]
    usual = {"tune": ["--folds", "2", "--budget", "2", "--search", "l2=1e-3:1:log"], "compare": ["--folds", "2"]}
    usual["select"] = ["--folds", "2", "--strengths", "3", "--no-noise"]
    usual["learning-curve"] = ["--folds", "2", "--sizes", "8,12,16,20"]
    line += usual.get(command, [])
    for name, values in OWN.get(command, {}).items():
        if draw.random() < 0.15:
            if name in line:
                place = line.index(name)
                del line[place : place + 2]
            line += [name, draw.choice(values)]
    names = [name for name in OPTIONS if name not in TAKES[command] or draw.random() < 0.02]
    for name in draw.sample(names, draw.choice([0, 0, 0, 1, 1, 2])):
        if name in line and name not in ("--set", "--with"):
            place = line.index(name)
            del line[place : place + 2]
        line += [name, draw.choice(OPTIONS[name])]
    rare = ["--racing"] if command == "tune" else ["--nonsense"]
    return line + draw.choice([[], [], [], [], [], ["--json"], ["--json"], rare])


def of_folder(draw: random.Random, command: str, made: Path) -> list[str]:
    """Copy a run or study, spoil a file of it; return a command line about it."""
    kind = draw.choice(["run", "study"]) if command != "resume" else "study"
    shutil.copytree(made / kind, "folder")
    for _ in range(draw.choice([0, 1, 1, 2])):
        path = draw.choice([path for path in sorted(Path("folder").rglob("*")) if path.is_file()])
        if draw.random() < 0.25:
            path.unlink()
        elif path.suffix == ".json" and draw.random() < 0.6:
            path.write_text(spoil_json(draw, path.read_text(errors="replace")))
        else:
            path.write_bytes(spoil_bytes(draw, path.read_bytes()))
    frame = table(draw, 8)
    for _ in range(draw.choice([0, 1, 2])):
        if len(frame) and len(frame.columns):
            frame = spoil_frame(draw, frame)
    Path("rows.csv").write_bytes(frame.to_csv(index=False).encode("utf-8", "replace"))
    if draw.random() < 0.15:
        Path("rows.csv").write_bytes(spoil_bytes(draw, Path("rows.csv").read_bytes()))
    where = draw.choice(["folder"] * 20 + ["none", "rows.csv", ""])
    line = [command, where]
    if command == "predict":
        line += [
            draw.choice(["rows.csv"] * 20 + ["none.csv", "."]),
            "-o",
            draw.choice(["new.csv"] * 20 + ["/none/x", ".", ""]),
        ]
    if command == "report":
        line += ["-o", draw.choice(["new.html"] * 10 + ["/none/x", ".", "folder"])]
    return line + draw.choice([[]] * 8 + [["--json"]] * 3 + [["--nonsense"]])


def spoil_json(draw: random.Random, text: str) -> str:
    """Return JSON with one value replaced by one of another kind."""
    try:
        values = json.loads(text)
    except ValueError:
        return "{}"
    places: list[tuple[dict[str, object] | list[object], object]] = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))  # type: ignore[arg-type]
            walk(value)

    walk(values)
    if places:
        owner, key = draw.choice(places)
        owner[key] = draw.choice([None, -1, 1e308, "words", [], {}, True, [[1]], 10**12])  # type: ignore[index,call-overload]
    return json.dumps(values)


def of_convert(draw: random.Random, _command: str) -> list[str]:
    """Return a command line of ``convert``."""
    tools = ["torch.SGD", "sklearn.Ridge", "torch.AdamW", "xgboost", "x", "", "canonical", "keras.L2"]
    line = ["convert", draw.choice(WILD), "--from", draw.choice(tools), "--to", draw.choice(tools)]
    for name in draw.sample(["--n", "--lr", "--batch-size", "--l1-ratio", "--loss", "--lr-max"], draw.randrange(4)):
        line += [name, draw.choice(WILD)]
    return line


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise after so many seconds."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def answer(line: list[str], limit: int) -> tuple[int | str, str]:
    """Run a command in this process; return its status, or what is wrong with it, and what it printed."""
    from meden.cli import console
    from meden.cli.app import main

    out = io.StringIO()
    console.stderr.file = console.stdout.file = out
    warnings.resetwarnings()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            with limited(limit):
                status: int | str = main(line)
        except TimeIsUp:
            status = "hangs"
        except BaseException as error:
            status = f"raises {type(error).__name__}: {error}"
    printed = out.getvalue()
    if isinstance(status, int):
        if status not in (0, 1, 2):
            status = f"status {status}"
        elif (found := BAD.search(printed)) is not None:
            status = f"{found[0]} (status {status})"
        elif status and not printed.strip():
            status = f"silent (status {status})"
    return status, printed


def prepare(folder: Path) -> None:
    """Make a run and a study to be spoiled."""
    table(random.Random(0)).to_csv("table.csv", index=False)
    Path("recipe.yaml").write_text(RECIPES[0])
    usual = ["table.csv", "--target", "kind", "--recipe", "recipe.yaml", "--model", "mlp"]
    for line in (
        ["fit", *usual, "--out", str(folder / "run")],
        ["tune", *usual, "--out", str(folder / "study"), "--folds", "2", "--budget", "2", "--search", "l2=1e-3:1:log"],
    ):
        status, printed = answer(line, 120)
        assert status == 0, printed


SPOILED_TABLES = ("tune", "fit", "compare", "check", "select", "learning-curve")
MAKERS: dict[str, Callable[[random.Random, str, Path], list[str]]] = {
    **{name: lambda draw, command, _: of_table(draw, command) for name in SPOILED_TABLES},
    **{name: of_folder for name in ("predict", "report", "diagnose", "resume")},
    "convert": lambda draw, command, _: of_convert(draw, command),
}
SHARES = {
    "tune": 5,
    "fit": 6,
    "compare": 2,
    "check": 6,
    "select": 2,
    "learning-curve": 2,
    "predict": 6,
    "report": 2,
    "diagnose": 2,
    "resume": 2,
    "convert": 2,
}


def main() -> int:
    """Run the cases; the exit status is 1 if one is not answered clearly."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=120, help="seconds of one case")
    parser.add_argument("--commands", nargs="*", default=list(SHARES), choices=list(SHARES), help="those to run")
    parser.add_argument("--only", type=int, help="one case, with all that it prints")
    parser.add_argument("--answers", type=Path, help="file for all command lines and answers")
    options = parser.parse_args()
    numbers = range(options.number) if options.only is None else [options.only]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as top:
        os.chdir(top)
        if any(MAKERS[name] is of_folder for name in options.commands):
            prepare(Path(top))
        for number in numbers:
            draw = random.Random(f"{options.seed} {number}")
            command = draw.choices(options.commands, [SHARES[name] for name in options.commands])[0]
            Path(f"{top}/{number}").mkdir()
            os.chdir(f"{top}/{number}")
            line = MAKERS[command](draw, command, Path(top))
            status, printed = answer(line, options.limit)
            os.chdir(top)
            shutil.rmtree(f"{top}/{number}", ignore_errors=True)
            counts[f"status {status}" if isinstance(status, int) else "not clear"] += 1
            if not isinstance(status, int) or options.only is not None:
                print(
                    f"case {number}: {status}\n  meden {line}\n  {printed.strip()[-600:]}", flush=True, file=sys.stderr
                )
            if options.answers:
                with options.answers.open("a") as file:
                    file.write(f"{number}\t{status}\t{line}\t{' '.join(printed.split())[-400:]}\n")
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return int(counts["not clear"] > 0)


if __name__ == "__main__":
    sys.exit(main())
