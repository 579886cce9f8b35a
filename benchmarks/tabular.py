"""Tables: the estimators of meden beside boosted trees, linear models and other networks, told what counts or not.

    pip install -c constraints.txt -e '.[bench]'
    OMP_NUM_THREADS=1 python benchmarks/tabular.py --limits 60 120              all that is here, for days
    ... --methods CatBoost lasso --tables sonar concrete                        a part
    ... --methods meden "meden usual" --revision NAME --limits 60               under a name of its own
    ... --report                                                                only what the file holds

Every method gets the same rows as a DataFrame and prepares them in its own usual way. Each is run as its makers set it
and, for classes, told that balanced accuracy counts (``--told``, other metrics too) by what its makers offer for that:
weights of classes (scikit-learn, CatBoost), the score of a search (scikit-learn's grids), of stopping (RealMLP-TD,
TabM), AutoGluon's ``eval_metric``, meden's ``metric`` or ``class_weight``. For numbers all measure squared errors
anyway, and are run once. One fit tells all metrics: log loss, balanced accuracy, ROC AUC and accuracy, or R2 and RMSE.
``--limits`` are seconds for methods that take a budget (meden, AutoGluon); the others, and meden's presets, take what
they take. A fit is a process of its own, on ``--threads``, ended after ``--patience`` seconds.

Where other programs use the machine, a minute of the wall's clock may be a few seconds of work: ``--cpu-clock`` lets
limits and seconds go by the processor instead.

Results are lines of a file; what was cut off goes on, and several processes may work at one file. The report has scores
per table, mean ranks and paired differences with intervals over tables, what the search buys beside the usual
configuration alone, and critical-difference diagrams, beside the file. A failed fit ranks last.

AutoGluon 1.6 runs beside torch 2.13, but wants pandas < 2.4: pip install -e '.[autogluon]' torch==2.13.0 in an
environment of its own, from which the same command adds to the same file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common.lines import Line, Lines
from contest.clock import go_by_the_processor
from contest.data import FILES, TABLES
from contest.measure import measured
from contest.methods import METHODS, METRICS
from contest.report import write_report

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def keys_of(given: argparse.Namespace) -> list[Line]:
    """Return what names each fit: first splits before later ones, small tables before large ones."""
    return [
        {"table": table, "split": split, "method": named(method, given.revision), "told": told, "limit": limit}
        for split in given.splits or range(max(TABLES[table].splits for table in given.tables))
        for table in given.tables
        if given.splits or split < TABLES[table].splits
        for told in ([""] if TABLES[table].numbers else [*([] if given.only_told else [""]), *given.told])
        for method in given.methods
        if not TABLES[table].large or METHODS[method].large
        if not told or told in METHODS[method].tellable
        for limit in (given.limits if METHODS[method].budget else [0.0])
    ]


def named(method: str, revision: str) -> str:
    """Return the name of a method in the file: meden changes, and what was measured of it before stays."""
    return f"{method}@{revision}" if revision and METHODS[method].package == "meden" else method


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with a folder for each table")
    parser.add_argument("--out", type=Path, default=Path("runs/tabular.jsonl"), help="a line for each fit")
    parser.add_argument("--tables", nargs="+", default=FILES, choices=list(TABLES), metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--told", nargs="*", default=["balanced_accuracy"], choices=METRICS, metavar="METRIC")
    parser.add_argument("--only-told", action="store_true", help="no fits as their makers set them, but of numbers")
    parser.add_argument("--limits", nargs="+", type=float, default=[60.0], metavar="SECONDS", help="0 is none")
    parser.add_argument("--splits", nargs="+", type=int, metavar="SEED", help="3, or 10 of few rows, unless told")
    parser.add_argument("--revision", default="", metavar="NAME", help="of meden, behind the names of its methods")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patience", type=float, default=3600.0, metavar="SECONDS", help="for one fit")
    parser.add_argument("--cpu-clock", action="store_true", help="limits are the processor's seconds, of one thread")
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an interrupt does, it ends the fit, too
    if given.cpu_clock:
        if given.threads != 1:
            parser.error(f"--threads must be 1 with --cpu-clock, got {given.threads}")
        go_by_the_processor()
    lines, compared = Lines(given.out), [named(method, given.revision) for method in given.methods]
    absent = [method for method in given.methods if not METHODS[method].present]
    if not given.report:
        files = [name for name in given.tables if TABLES[name].make is None]
        if missing := [name for name in files if not (given.data / name).is_dir()]:
            parser.error(f"--data must be a folder with a folder for each table, got {given.data} without {missing[0]}")
        if absent:
            print(f"not here: {', '.join(absent)}", flush=True)
        given.methods = [method for method in given.methods if method not in absent]
        for key in keys_of(given):
            with lines.claim(key) as free:
                if free is not None:
                    line = measured(given.data, key, threads=given.threads, patience=given.patience)
                    lines.add(line | {"clock": "processor" if given.cpu_clock else "wall"})
                    print(json.dumps(line), flush=True)
    told = write_report(lines.all(), given.out, compared)
    print(told)
    return told


if __name__ == "__main__":
    main()
