"""What a study found, on the terminal and as JSON; and how a search that is cut off goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.table import Table

from meden._files import NO_ROOM
from meden.cli.console import no_room, print_json, say, stdout
from meden.report.numbers import number
from meden.study import Study, Trial
from meden.study.metrics import spoken
from meden.study.results import BASELINES, CHOICE, RULES
from meden.study.verdict import gain_text, value_text


@contextmanager
def cut_off(begun: Path, go_on: str) -> Iterator[None]:
    """Say how a work goes on that is interrupted in the body, or for which there is no room on the disk.

    Args:
        begun: file that is there as soon as there is something to go on with.
        go_on: command that goes on with it.
    """
    try:
        yield
    except KeyboardInterrupt:
        if begun.exists():
            say(f"interrupted; continue with: {go_on}")
            raise typer.Exit(1) from None
        raise
    except OSError as error:
        if error.errno not in NO_ROOM or not begun.exists():
            raise
        say(f"failed: {no_room(error, f'continue with: {go_on}')}")
        raise typer.Exit(1) from None


def summary(study: Study) -> dict[str, Any]:
    """Return what a study found, as plain values."""
    lost = {why: sum(trial.status == why for trial in study.trials) for why in ("diverged", "dropped")}
    counts: dict[str, Any] = {"status": study.status, "configurations": len(study.trials), **lost}
    if study.mixed:
        counts["mixed_versions"] = study.mixed
    if study.shortened:
        counts["shortened"] = study.shortened
    if study.status != "ok":
        return counts
    return counts | {
        "one_se": _plain_trial(study, study.one_se),
        "best": _plain_trial(study, study.best),
        "choice": CHOICE,
        "chosen_by": study.chosen_by,
        "scores": [dataclasses.asdict(score) for score in (study.score, study.score_of())],
        "verdict": study.verdict.to_dict(),
        "baselines": [_plain_trial(study, trial) | {"name": trial.baseline} for trial in study.baselines],
        "seconds": study.seconds,
    }


def _plain_trial(study: Study, trial: Trial) -> dict[str, Any]:
    losses = {"loss": trial.loss, "loss_error": trial.loss_error, study.metric: trial.score}
    losses |= {study.chosen_by: study.decided_by(trial)}
    return {"configuration": trial.number, "params": trial.params, **losses, "epochs": trial.median_epoch}


def show_study(study: Study, out: Path, as_json: bool) -> None:
    """Print what a study found, for people or as JSON.

    Raises:
        Exit: if no configuration can be chosen.
    """
    if as_json:
        print_json(summary(study) | {"folder": str(out)})
    elif study.status == "ok":
        _show_choices(study, out)
    if study.shortened:
        say(f"{study.shortened}; for more time: meden resume {out} --time-limit SECONDS")
    if study.status != "ok":
        hint = "" if study.model.trains else "; lower lr, or set clip_norm"
        say(f"failed: {study.reason}{hint}; see {out}/report.html")
        raise typer.Exit(1)


def _show_choices(study: Study, out: Path) -> None:
    for sentence in study.verdict.sentences:
        stdout.print(sentence.text)
    told = spoken(study.told)
    table = Table(f"{study.data.target}, held out", told, "loss", f"chosen minus this, {told}", box=box.SIMPLE_HEAD)
    gains = {gain.over: gain_text(gain.told, named=False) for gain in study.verdict.gains}
    for trial in study.baselines:
        table.add_row(BASELINES[trial.baseline], *_numbers(study, trial), gains.get(trial.baseline, trial.outcome))
    table.add_row("chosen", *_numbers(study, study.choice), "")
    if study.best is not study.choice:
        table.add_row("best", *_numbers(study, study.best), "")
    stdout.print(table)
    by = spoken(study.chosen_by)
    stdout.print(
        f"chosen: {RULES[CHOICE]}; best: lowest mean held-out {by}; the last column is corrected for the selection"
    )
    stdout.print(f"Choice:  {_params_text(study.choice)}, epochs {study.choice.median_epoch}")
    stdout.print(f"Report:  {out}/report.html")
    if not study.model.trains:
        stdout.print(f"Predict: meden predict {out} rows.csv -o predictions.csv")


def _numbers(study: Study, trial: Trial) -> tuple[str, str]:
    return value_text(study.told, study.mean_of(study.told, trial)), number(trial.loss, keep_zeros=True)


def _params_text(trial: Trial) -> str:
    return ", ".join(f"{name} {number(v) if isinstance(v, float) else v}" for name, v in trial.params.items())
