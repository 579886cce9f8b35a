"""What a learning curve says, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meden.report.numbers import number, percent
from meden.study.metrics import spoken
from meden.study.selection import Score
from meden.study.size_curve import CONFIDENCE, FARTHEST, Prediction, SizeCurve
from meden.study.verdict import NEGLIGIBLE, Sentence


def sentences_of(
    chosen: SizeCurve,
    plain: SizeCurve | None,
    gain: Score | None,
    metric: str,
    same: str,
    num_rows: int,
    gain_rows: float | None = None,
) -> tuple[Sentence, ...]:
    """Say what more rows would give, what regularisation gains, and what law that goes by.

    Args:
        chosen: the curve of the recipe.
        plain: that of the same network without regularisation; None if it was not trained.
        gain: of regularisation; None if it is not known.
        metric: what the curves are of.
        same: what all sizes were trained for as many of.
        num_rows: all rows that there are.
        gain_rows: those that train where ``gain`` is known; None is the largest size.
    """
    name = spoken(metric)
    return (
        *_more_rows(chosen, name),
        *_regularisation(chosen, plain, gain, name, chosen.rows if gain_rows is None else gain_rows),
        *_law(chosen, name),
        Sentence("intervals", _intervals(chosen, gain, same, num_rows)),
    )


def _more_rows(curve: SizeCurve, name: str) -> Iterator[Sentence]:
    now = f"With {number(round(curve.rows))} training rows the {name} is {_short(curve.mean[-1])}"
    if curve.reason:
        yield Sentence("no_law", f"{now}; the effect of more rows is unknown: {curve.reason}.")
        return
    twice = FARTHEST * curve.rows
    yield Sentence("more_rows", _whether(curve, curve.gain(twice), name))
    yield Sentence("expect", f"{now}; with twice the rows it would be about {_told(curve.predict(twice))}.")


def _whether(curve: SizeCurve, gain: Prediction, name: str) -> str:
    """Say whether more rows would help."""
    negligible = NEGLIGIBLE * abs(curve.mean[-1])
    lower = f"twice as many would lower the {name} by {_told(gain)}"
    if gain.high <= negligible:
        return f"More rows would hardly help: {lower}."
    if not _is_told(curve, gain):
        return (
            f"It is unknown whether more rows would help: {lower}, an interval as wide as the height of the whole "
            "curve."
        )
    if gain.low > 0:
        return f"More rows would help: {lower}."
    return f"It is unclear whether more rows would help: {lower}."


def _is_told(curve: SizeCurve, gain: Prediction) -> bool:
    """Say whether the interval of what more rows would gain is narrower than the whole curve is high."""
    return bool(gain.high - gain.low < np.ptp(curve.mean[curve.sound]))


def _regularisation(
    chosen: SizeCurve, plain: SizeCurve | None, gain: Score | None, name: str, rows: float
) -> Iterator[Sentence]:
    """Say what regularisation gains with so many rows and with twice as many, and which of both gains more.

    Gains are compared only where they are from as many rows.
    """
    if gain is None:
        return
    told = Prediction(gain.estimate, gain.low, gain.high)
    what = "gains" if gain.low > 0 else "loses" if gain.high < 0 else "does not clearly gain"
    shown = told if gain.high >= 0 else Prediction(-told.mean, -told.high, -told.low)
    text = f"Regularisation {what}{'' if what != 'does not clearly gain' else ':'} {_told(shown)} of the {name}"
    apart = abs(rows - chosen.rows) >= 1
    if apart:
        text += f" with the study's {number(round(rows))} training rows"
    if plain is not None and not plain.reason and not chosen.reason:
        then = plain.above(chosen, FARTHEST * chosen.rows)
        text += f"; with twice the rows it would gain {_told(then)}"
    elif plain is not None and plain.reason:
        text += f" (with twice the rows this is unknown: for the curve of the plain network, {plain.reason})"
    yield Sentence("helps" if gain.low > 0 else "hurts" if gain.high < 0 else "unclear", f"{text}.")
    if chosen.reason or apart:
        return
    more = chosen.gain(FARTHEST * chosen.rows)
    if more.low > max(gain.high, 0.0):
        yield Sentence("more_rows", "Twice the rows would gain more than regularisation does.")
    elif gain.low > max(more.high, 0.0):
        yield Sentence("helps", "Regularisation gains more than twice the rows would.")


def _law(curve: SizeCurve, name: str) -> Iterator[Sentence]:
    if curve.reason or curve.fit is None:
        return
    fit = curve.fit
    weight = percent(fit.weights[fit.form])
    if fit.form == "constant":
        gain = curve.gain(FARTHEST * curve.rows)
        if gain.high > NEGLIGIBLE * abs(curve.mean[-1]) and not _is_told(curve, gain):
            return  # the first sentence says that it cannot be told
        text = f"The {name} does not depend on the rows from {number(round(fit.begins))} on"
    else:
        floor = f"{_short(float(fit.law.floor))} + " if fit.form == "power" else ""
        formula = f"{floor}{_short(float(fit.law.scale))} n^-{_short(float(fit.law.exponent))}"
        text = f"From {number(round(fit.begins))} rows on the {name} falls as {formula}"
    yield Sentence("law", f"{text} (this form has {weight} of the weight of evidence).")


def _intervals(curve: SizeCurve, gain: Score | None, same: str, num_rows: int) -> str:
    text = f"Intervals are {CONFIDENCE:.0%}".replace("%", " %")
    if gain is not None and gain.confidence != CONFIDENCE:
        text += f" ({100 * gain.confidence:.0f} % for regularisation)"
    return (
        f"{text}: over {len(curve.values)} folds, the form of the law, the size from which it holds, and the runs "
        f"at each size. Rows are training rows per fold, of {number(num_rows)} rows in all; every size is trained "
        f"for the same number of {same}; the stop split shrinks with the size, the scored rows do not."
    )


def _told(found: Prediction) -> str:
    return f"{_short(found.mean)} ({_short(found.low)} to {_short(found.high)})"


def _short(value: float) -> str:
    """Return a number with three digits: no interval here is known better."""
    return number(float(f"{value:.3g}"))
