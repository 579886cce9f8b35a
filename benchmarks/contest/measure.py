"""One fit of one method to one split, in a process of its own: so is what it takes, and one that hangs is ended."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.lines import Line
from contest import scores
from contest.clock import cpu_seconds
from contest.data import TABLES, split
from contest.methods import METHODS, Task
from threadpoolctl import threadpool_limits

LONGEST_NOTE = 200


def megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Hold all libraries to some threads, and their warnings back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(before)


def measure(data: Path, key: Line, threads: int) -> Line:
    """Return the line of one fit: its key, all metrics, what it took and what it ran on; a failure has a note."""
    name, _, _ = key["method"].partition("@")
    method, numbers = METHODS[name], TABLES[key["table"]].numbers
    rows = split(data, key["table"], key["split"])
    task = Task(numbers=numbers, told=key["told"], limit=key["limit"], seed=key["split"], threads=threads)
    found: dict[str, Any] = {"note": ""}
    started, used, load = time.perf_counter(), cpu_seconds(), os.getloadavg()[0]
    with quiet(threads):
        try:
            model = method.fit(rows.inputs, rows.targets, task)
            fitted = time.perf_counter()
            answers = np.ravel(model.predict(rows.new))
            probabilities = None if numbers else in_order(model, model.predict_proba(rows.new))
            found |= {"fit_seconds": round(fitted - started, 2), "seconds": round(time.perf_counter() - started, 2)}
            if probabilities is None:
                found |= scores.of_numbers(rows.truth, answers)
            else:
                shares = rows.targets.value_counts(normalize=True)
                found |= scores.of_classes(rows.truth, answers.astype(str), probabilities, sorted(shares.index), shares)
        except Exception as error:  # one that fails is told, and the others go on
            found |= failed(f"{type(error).__name__}: {' '.join(str(error).split())}", started)
    found |= {"cpu_seconds": round(cpu_seconds() - used, 2), "megabytes": round(megabytes())}
    return key | found | {"version": method.version, "load": [round(load, 2), round(os.getloadavg()[0], 2)]}


def in_order(model: Any, probabilities: Any) -> np.ndarray:
    """Return probabilities (n, C) with the classes sorted as text: CatBoost puts "10" after "9"."""
    told, classes = np.asarray(probabilities), getattr(model, "classes_", None)
    return told if classes is None else told[:, np.argsort(np.asarray(classes).astype(str))]


def failed(note: str, started: float) -> Line:
    return {"note": note[:LONGEST_NOTE], "seconds": round(time.perf_counter() - started, 2)}


def _send(data: Path, key: Line, threads: int, pipe: Connection) -> None:
    pipe.send(measure(data, key, threads))


def measured(data: Path, key: Line, *, threads: int, patience: float) -> Line:
    """Return the line of one fit; after ``patience`` seconds it is ended, and has failed."""
    processes = multiprocessing.get_context("fork")  # what is imported is shared; this process itself computes nothing
    receive, send = processes.Pipe(duplex=False)
    child = processes.Process(target=_send, args=(data, key, threads, send))
    started = time.perf_counter()
    child.start()
    send.close()
    try:
        if receive.poll(patience):
            return receive.recv()
        note = f"longer than {patience:g} s"
    except EOFError:
        child.join()
        note = f"its process ended with {child.exitcode}"
    finally:
        child.kill()
        child.join()
    return key | failed(note, started) | {"version": METHODS[key["method"].partition("@")[0]].version}
