"""What ``meden fit`` shows while it trains, and of the run in the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import typer
from rich.cells import set_cell_size

from meden.cli.console import print_json, progress, stdout
from meden.cli.folders import REPORT, filling
from meden.diagnosis import diagnose
from meden.history import Record
from meden.language import Own, translated
from meden.recipe import Recipe
from meden.report import run_report
from meden.report.numbers import number, percent
from meden.run import Run
from meden.search.progress import Progress
from meden.speed import Work
from meden.training.scoring import score_scale


@contextmanager
def showing(recipe: Recipe, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Give a function that shows each epoch's record, and a note beside it."""
    if not shown:
        yield lambda *_: None
        return
    with progress() as show:
        started = time.perf_counter()
        before: list[Record] = []

        def report(record: Record, note: str = "") -> None:
            assert record.valid is not None
            seconds = time.perf_counter() - started
            done = record.epoch - (before[0].epoch - 1 if before else record.epoch - 1)
            before.append(record)
            left = seconds / done * (recipe.last_epoch - record.epoch)
            show(
                Progress(record.epoch, recipe.last_epoch, seconds=seconds, seconds_left=left),
                ", ".join(filter(None, (f"stop loss {number(record.valid['loss'])}", note))),
            )

        yield report


def speed_note(rows_per_second: float, num_tokens: int, work: Work | None, memory: int | None) -> str:
    """Return how fast a training is: tokens (or rows) in a second, beside what the machine can do, and its memory.

    Example:
        >>> speed_note(100.0, 64, Work(row_flops=1e6, rate=1e9), 2**30)
        '6,400 tokens/s, 10.0 % of matrix products, 1.1 GB'
    """
    what, each = ("rows", 1) if num_tokens == 1 else ("tokens", num_tokens)
    notes = [f"{rows_per_second * each:,.0f} {what}/s"]
    if work is not None:
        notes.append(f"{percent(work.share(rows_per_second))} of matrix products")
    if memory is not None:
        notes.append(f"{memory / 1e9:.1f} GB")
    return ", ".join(notes)


def write(run: Run, out: Path) -> None:
    """Write a run and its report into a folder."""
    with filling(out):
        run.save(out)
        run_report(run, out / REPORT)


def _scores(run: Run) -> dict[str, dict[str, float]]:
    """Return losses and scores of the three parts; squared errors are in the target's own units."""
    assert run.held_out is not None
    last, scale = run.history[run.best_epoch - 1], 1.0 if run.encoder is None else score_scale(run.encoder)
    parts = {"train": dict(last.train), "stop": dict(last.valid or {})}
    found = {part: {n: v * scale if n == "mse" else v for n, v in values.items()} for part, values in parts.items()}
    loss, metric = found["train"]
    held_out = {loss: run.held_out.losses.astype(np.float64), metric: run.held_out.scores}
    found["held_out"] = {name: float(rows.mean()) for name, rows in held_out.items()}
    if len(run.held_out.losses) > 1:
        found["held_out_error"] = {n: float(rows.std(ddof=1)) / math.sqrt(len(rows)) for n, rows in held_out.items()}
    return found


def show(run: Run, out: Path, as_json: bool) -> None:
    """Show what came of a run that was written.

    Raises:
        typer.Exit: with status 1, if it cannot predict.
    """
    scores = _scores(run)
    found = diagnose(run)
    ending = {"status": run.status, "reason": run.reason, "best_epoch": run.best_epoch, "folder": str(out)}
    if run.temperature != 1:
        ending["temperature"] = run.temperature  # which train and stop are before, held_out behind
    if as_json:
        print_json(ending | scores | {"findings": found.to_dict()["findings"]})
    else:
        stdout.print(f"{run.status}: {run.reason}; kept epoch {run.best_epoch}")
        errors = scores.pop("held_out_error", {})
        for name, values in scores.items():
            texts = [f"{translated(key)} {_text(key, value)}" for key, value in values.items()]
            if name == "held_out" and errors:
                texts = [f"{text} ± {_text(key, errors[key])}" for text, key in zip(texts, values, strict=True)]
            if name != "held_out" and run.temperature != 1:
                texts.append(translated("(before the temperature)"))
            head = set_cell_size(translated(name.replace("_", "-")), 9)
            stdout.print(Own(f"  {head}" + "  ".join(texts)))
        for finding in found.findings:
            stdout.print(str(finding))
        stdout.print(f"Report:  {out}/report.html")
        if not run.failure and run.encoder is not None:
            stdout.print(f"Predict: meden predict {out} rows.csv -o predictions.csv")
        elif not run.failure and run.model_name is not None:
            stdout.print(f"Evaluate: meden evaluate {out} other.txt")
    if run.failure:
        raise typer.Exit(1)


def _text(name: str, value: float) -> str:
    return percent(value) if name == "accuracy" else number(value)
