"""A study as a report, the answer first: what was found, then its evidence, then how to have it again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from meden.diagnosis import Evidence, diagnose
from meden.report import Format, Report, Section, Tile, findings_section, write
from meden.report.numbers import number, plural
from meden.study.evidence import evidence_of
from meden.study.importance_section import importance_section
from meden.study.metrics import spoken
from meden.study.page_curves import curves_section
from meden.study.page_memorisation import memorisation_section, tradeoff_section
from meden.study.page_models import gains_section, table_section
from meden.study.page_recipe import recipe_section
from meden.study.page_reproduce import reproduce_section
from meden.study.page_rows import rows_section
from meden.study.page_strengths import gap_section, scores_section
from meden.study.page_text import folds_text, params_text, unit_of
from meden.study.results import Results
from meden.study.selection import Score
from meden.study.verdict import SHORT, SIMPLE, Gain, Verdict, gain_text, interval_text, value_text, verdict_of


def study_report(
    results: Results,
    path: Path | str,
    *,
    evidence: Evidence | None = None,
    title: str | None = None,
    extra: Sequence[Section] = (),
    format: Format = "html",
) -> Path:
    """Write the report of a study and return where it is.

    Args:
        results: of a search that is finished or not.
        path: of the file.
        evidence: what is judged; None are the curves of the choice.
        title: above the report; None names the target.
        extra: more sections, shown after the headline.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    verdict = verdict_of(results)
    lead, *others = (sentence.text for sentence in verdict.sentences)
    report = Report(
        title=title or f"How much to regularise: {results.data.target}",
        lead=lead,
        tiles=_tiles(results, verdict),
        text=(*others, *_paragraphs(results)),
        sections=(*extra, *_sections(results, evidence, Path(path))),
    )
    return write(report, path, format)


def _sections(results: Results, evidence: Evidence | None, path: Path) -> Iterator[Section]:
    """Yield what there is to show, in the order in which it is read; what there is not is left out."""
    if not results.usable:
        if results.status == "diverged" and results.trials:
            yield findings_section(diagnose(evidence or evidence_of(results)))
        yield table_section(results)
        yield reproduce_section(results, path)
        return
    evidence = evidence or evidence_of(results)
    shown = (
        gains_section(results),
        importance_section(results),
        scores_section(results),
        curves_section(results),
        gap_section(results),
        tradeoff_section(results),
        rows_section(results),
        None if evidence.memorisation is None else memorisation_section(evidence.memorisation),
        table_section(results),
        findings_section(diagnose(evidence)),
        recipe_section(results, path),
        reproduce_section(results, path),
    )
    yield from (section for section in shown if section is not None)


def _tiles(results: Results, verdict: Verdict) -> tuple[Tile, ...]:
    """Return what the choice is worth, what it gains, and its gap."""
    if not results.usable:
        return ()
    gains, chosen = {gain.over: gain for gain in verdict.gains}, results.choice
    worth = {score.metric: score for score in (results.score_of(), results.score)}
    tiles = [_score_tile(results, score) for score in worth.values()]
    if (plain := gains.get("plain")) is not None:
        tiles.append(_gain_tile("Against the plain network", plain))
    if simple := [gains[each] for each in SIMPLE if each in gains]:
        best = min(simple, key=lambda gain: gain.told.estimate)
        tiles.append(_gain_tile(f"Against {SHORT[best.over]}, the best simple model", best))
    if math.isfinite(gap := chosen.loss - chosen.train_loss):
        parts = f"held-out loss {number(chosen.loss)}, training loss {number(chosen.train_loss)}, {unit_of(results)}"
        tiles.append(Tile("Gap between held-out and training loss", number(gap), parts))
    return tuple(tiles)


def _score_tile(results: Results, score: Score) -> Tile:
    """Return what the choice is worth on new rows, and its mean over the folds beside it."""
    naive = value_text(score.metric, score.naive)
    notes = [
        f"{score.confidence:.0%} interval {interval_text(score)}",
        f"mean over {folds_text(results)} {naive}, uncorrected",
    ]
    if score.metric == "loss":
        notes.append(unit_of(results))
    value = value_text(score.metric, score.estimate)
    return Tile(f"Expected {spoken(score.metric)} of the choice", value, "; ".join(notes))


def _gain_tile(label: str, gain: Gain) -> Tile:
    value, _, interval = gain_text(gain.told, named=False).partition(" (")
    note = f"{spoken(gain.told.metric)}, 90 % interval {interval.rstrip(')')}"
    return Tile(label, value, note if gain.told.metric == "loss" else f"{note}; {gain_text(gain.loss)}")


def _paragraphs(results: Results) -> Iterator[str]:
    if results.mixed:
        yield f"Versions are mixed: {results.mixed}."
    if results.shortened:
        yield f"{results.shortened[0].upper()}{results.shortened[1:]}."
    if results.usable:
        yield _choice(results)
    yield _counts(results)


def _choice(results: Results) -> str:
    """Say what to use, and why."""
    chosen, best = results.choice, results.best
    use, tried = f"Use {params_text(chosen.params)}", plural(len(results.trials), "configuration")
    if len(results.trials) == 1:
        return f"{use}: the only configuration that was tried."
    if chosen is best:
        simpler = ", and no simpler one does as well" * (results.one_se is best)
        return f"{use} (configuration {chosen.number}): the best of {tried}{simpler}."
    return (
        f"{use} (configuration {chosen.number}): the simplest of {tried} that does as well as the best. "
        f"Configuration {best.number} ({params_text(best.params)}) has the best mean held-out "
        f"{spoken(results.chosen_by)}; compared fold by fold, the two differ by at most one standard error."
    )


def _counts(results: Results) -> str:
    num_seeds = len({row.seed for trial in results.trials for row in trial.rows})
    num_rows = sum(row.num_epochs > 0 for trial in results.trials for row in trial.rows)
    standardised = "s of the standardised target" if results.data.standardised else ""
    tried = len(results.trials)
    dropped, diverged, failed = (
        sum(trial.status == status for trial in results.trials) for status in ("dropped", "diverged", "failed")
    )
    lost = f", {failed} failed" if failed else ""
    lost += f", {dropped} lost a race and {'was' if dropped == 1 else 'were'} stopped early" if dropped else ""
    return (
        f"{plural(tried, 'configuration')}, {folds_text(results)}, {plural(num_seeds, 'seed')}: "
        f"{plural(num_rows, 'fit')}; {plural(diverged, 'configuration') if diverged else 'none'} diverged{lost}. "
        f"In the table, SE is one standard error over the folds. "
        f"Losses are without penalties, in {unit_of(results)}{standardised}."
    )
