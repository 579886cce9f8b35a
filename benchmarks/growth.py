"""How memory and work grow: with shapes, with rows, and with a row that is missing after a kill.

    python benchmarks/growth.py                 everything (a quarter of an hour on two cores)
    python benchmarks/growth.py shapes          1,000 configurations of 60 widths against few of the widest
    python benchmarks/growth.py rows --rows 1e6 peak memory of reading, training, searching and predicting
    python benchmarks/growth.py resume          what a search trains again for one missing row

Each number comes from a process of its own. Memory of rows is the peak above that after the imports (and above the
arrays that are the caller's), divided by the table of 20 float64 columns. Needs Linux (/proc), and for 1e6 rows about
2 GB of memory and 200 MB of disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import meden
from meden.cli import main as command
from meden.models import MLP

COLUMNS = 20
WIDTHS = np.linspace(16, 128, 60).astype(int).tolist()
SPACE = {"lr": meden.LogUniform(1e-4, 1e-2)}
QUICK = meden.Recipe(epochs=1, batch_size=8192)


def resident() -> float:
    """Return the memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak() -> float:
    """Return the most that it was."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def classes(x: np.ndarray) -> np.ndarray:
    return (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def shapes(num_widths: str, budget: str) -> str:
    """Search so many configurations of so many widths, the widest ones."""
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    widths = WIDTHS[-int(num_widths) :]
    space = SPACE | {"width": meden.Choice(*widths) if len(widths) > 1 else meden.Choice(widths[0], widths[0] + 1)}
    started, before = time.perf_counter(), resident()
    study = meden.tune(
        MLP, (x, classes(x)), space, folds=2, budget=int(budget), strategy="random", recipe=meden.Recipe(epochs=2)
    )
    seconds = time.perf_counter() - started
    return f"{before:7.0f} {resident():7.0f} {peak():7.0f} {seconds:8.0f} s {len(study.trials):7}"


def table(path: Path, num: int) -> None:
    """Write a table of numbers and a class."""
    x = np.random.default_rng(0).normal(size=(num, COLUMNS))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(COLUMNS)])
    frame.assign(y=np.where(classes(x) == 1, "b", "a")).to_csv(path, index=False, float_format="%.7g")


def rows(what: str, num: str, folder: str) -> str:
    """Do one thing with so many rows."""
    file, study = Path(folder) / "table.csv", Path(folder) / "study"
    x = (
        np.random.default_rng(0).normal(size=(int(num), COLUMNS))
        if what in ("fit", "tune arrays")
        else np.empty((0, 2))
    )
    y, cut = classes(x), len(x) // 10
    QUICK.save(Path(folder) / "quick.yaml")
    search = ["tune", file, "-t", "y", "--budget", 1, "--folds", 2, "--model", "mlp", "--out", study, "--jobs", 1]
    arguments = {
        "tune file": [*search, "--recipe", Path(folder) / "quick.yaml"],
        "predict": ["predict", study, file, "-o", Path(folder) / "out.csv"],
    }
    work: dict[str, Callable[[], object]] = {
        "read": lambda: meden.as_dataset(str(file), target="y"),
        "fit": lambda: meden.fit(
            MLP(COLUMNS, 2, width=16), train=(x[cut:], y[cut:]), valid=(x[:cut], y[:cut]), recipe=QUICK, seed=0
        ),
        "tune arrays": lambda: meden.tune(MLP, (x, y), SPACE, folds=2, budget=1, recipe=QUICK),
    }
    meden.tune(MLP, "iris", SPACE, folds=2, budget=1, recipe=QUICK).refit()  # imports what is imported when needed
    started, before = time.perf_counter(), peak()
    if what in work:
        work[what]()
    elif status := command([str(argument) for argument in arguments[what]]):
        return f"ended with {status}"
    used = peak() - before
    size = int(num) * COLUMNS * 8 / 1e6
    return f"{used:7.0f} MB {used / size:6.2f} x {time.perf_counter() - started:8.0f} s"


def resume(num_members: str, folder: str) -> str:
    """Search one batch, take the last row off the ledger, and go on."""
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    epochs: list[int] = []

    def search() -> float:
        started = time.perf_counter()
        settings = {"folds": 2, "budget": int(num_members) // 2, "strategy": "random", "study_dir": folder}
        meden.tune(MLP, (x, classes(x)), SPACE, recipe=meden.Recipe(epochs=20), **settings)
        return time.perf_counter() - started

    whole = search()
    ledger = Path(folder) / "ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))
    (Path(folder) / "study.json").unlink(missing_ok=True)
    count_stacks(epochs)
    again = search()
    return f"{num_members:>8} {sum(epochs):8} {whole:8.1f} s {again:8.1f} s"


def count_stacks(sizes: list[int]) -> None:
    """Note the size of every stack that is made from here on."""
    from meden.training import stacks

    make = stacks.StackTrainer.__init__

    def noted(self: stacks.StackTrainer, entrants: object, *given: object, **more: object) -> None:
        sizes.append(len(entrants))  # type: ignore[arg-type]
        make(self, entrants, *given, **more)  # type: ignore[arg-type]

    stacks.StackTrainer.__init__ = noted  # type: ignore[method-assign,assignment]


PARTS: dict[str, Callable[..., str]] = {"shapes": shapes, "rows": rows, "resume": resume}


def apart(*arguments: object) -> str:
    """Run one part in a process of its own, and return its line."""
    given = [sys.executable, __file__, "--one", *map(str, arguments)]
    ended = subprocess.run(given, capture_output=True, text=True)
    return ended.stdout.splitlines()[-1] if ended.returncode == 0 and ended.stdout else ended.stderr[-300:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="shapes, rows, resume; all unless given")
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--one", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(PARTS[arguments.one[0]](*arguments.one[1:]))
        return
    parts = arguments.parts or list(PARTS)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        if "shapes" in parts:
            print(f"\n{'widths, configurations':26}{'before':>8}{'after':>8}{'peak':>8} MB")
            for num_widths, budget in ((1, 6), (1, 60), (60, 1000)):
                print(f"{num_widths:>6}, {budget:<18}{apart('shapes', num_widths, budget)}", flush=True)
        if "rows" in parts:
            num = int(arguments.rows)
            table(Path(folder) / "table.csv", num)
            print(f"\n{num} rows x {COLUMNS}, peak above the start, of the table")
            for what in ("read", "fit", "tune arrays", "tune file", "predict"):
                print(f"{what:14}{apart('rows', what, num, folder)}", flush=True)
        if "resume" in parts:
            print(f"\n{'members':>8} {'again':>8} {'whole':>10} {'resumed':>10}   one row missing")
            for num in (32, 256):
                print(apart("resume", num, Path(folder) / f"study_{num}"), flush=True)


if __name__ == "__main__":
    main()
