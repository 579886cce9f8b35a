"""What the results of a search say, in sentences with numbers: is it worth it, by how much, because of what, what next.

The terminal, the page, ``--json`` and notebooks show the same sentences.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meden._shown import Pair, Shown
from meden.report.numbers import number, percent, plural
from meden.space.names import OFF, REGULARISING
from meden.study.edges import edges_of
from meden.study.flat_region import flat_region
from meden.study.importance import importance_of
from meden.study.metrics import HIGHER_IS_BETTER, SHARES, MetricName, spoken
from meden.study.results import Results
from meden.study.selection import Score

Kind = Literal[
    "unfinished",
    "shortened",
    "expect",
    "helps",
    "probabilities",
    "hardly_matters",
    "unclear",
    "hurts",
    "not_searched",
    "early_stopping",
    "flat",
    "peaked",
    "mattered",
    "network",
    "as_good",
    "baseline",
    "constant",
    "edge",
    "none_helps",
    "lost",
    "intervals",
    "more_rows",
    "no_law",
    "law",
]
"""What a sentence says, for programs to go by."""
SIMPLE = ("linear", "trees")
"""Baselines that may be the better tool."""
SHORT = {"constant": "a constant model", "linear": "the linear model", "trees": "boosted trees"}
STOPPING = "early_stopping"
NEGLIGIBLE = 0.01
"""A difference below so much of the baseline's own number, or of 1 for shares, is none that people act on."""
MOST = 0.8
"""Share of a gain that is most of it."""


@dataclass(frozen=True)
class Gain:
    """How much better the choice is than a baseline on new rows; above 0 is better, in any metric."""

    over: str
    """Name of the baseline, one of :data:`meden.study.results.BASELINES`."""
    told: Score
    """The gain in the reported metric."""
    loss: Score
    """The gain in loss."""

    @property
    def sign(self) -> int:
        """1 if the choice is clearly better, -1 if clearly worse, by the metric; 0 if it cannot be told."""
        return _sign(self.told)


@dataclass(frozen=True)
class Sentence:
    """One thing that the results say."""

    kind: Kind
    text: str


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """What a search found, to be acted on; printing it gives its sentences."""

    sentences: tuple[Sentence, ...]
    """The results in sentences, the answer first."""
    told: Score | None = None
    """Expected score of the choice in the reported metric; None without a choice."""
    loss: Score | None = None
    """Expected loss of the choice."""
    gains: tuple[Gain, ...] = ()
    """Gain of the choice over each baseline."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the sentences say."""
        return tuple(sentence.kind for sentence in self.sentences)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self) | {"gains": {gain.over: dataclasses.asdict(gain) for gain in self.gains}}

    def _pairs(self) -> Iterable[Pair]:
        yield from ((sentence.kind, sentence.text) for sentence in self.sentences)

    def __str__(self) -> str:
        return "\n".join(sentence.text for sentence in self.sentences)


def verdict_of(results: Results) -> Verdict:
    """Return the verdict on the results of a search."""
    unfinished = [Sentence("unfinished", f"The search is unfinished: {results.reason}.")] * bool(results.num_missing)
    if not results.usable:
        nothing = Sentence("unfinished", f"There is nothing to choose from: {results.reason}.")
        return Verdict((nothing,))
    loss, told = results.score, results.score_of()
    gains = tuple(
        Gain(name, results.gain_over(name), results.gain_over(name, "loss"))
        for name in (trial.baseline for trial in results.baselines if trial.status == "ok")
    )
    found = {gain.over: gain for gain in gains}
    shortened = [Sentence("shortened", f"{results.shortened[:1].upper()}{results.shortened[1:]}.")]
    sentences = [
        *unfinished,
        *shortened * bool(results.shortened),
        *_regularisation(results, found),
        *_strengths(results),
        *_tool(found),
        *_edges(results),
        *_failed(results),
        expectation(results),
    ]
    return Verdict(tuple(sentences), told, loss, gains)


def _regularisation(results: Results, gains: Mapping[str, Gain]) -> Iterator[Sentence]:
    """Say whether regularisation is worth it, and whether stopping early alone would do."""
    if (gain := gains.get("plain")) is None:
        lost = [trial for trial in results.baselines if trial.baseline == "plain" and trial.status != "ok"]
        yield from (Sentence("helps", f"Without regularisation the same network {trial.outcome}.") for trial in lost)
        return
    if not _regularises(results):
        yield Sentence("not_searched", "No regularisation was searched: give a space that says what to try.")
        return
    numbers = f"{gain_text(gain.told)}, {gain_text(gain.loss)}"
    against = "against the same network without it"
    if all(_is_negligible(results, end, "plain") for end in (gain.told.low, gain.told.high)) and not _sign(gain.loss):
        yield Sentence("hardly_matters", f"Regularisation hardly matters here: {numbers}, {against}.")
    elif gain.sign > 0:
        yield Sentence("helps", f"Regularisation helps here: {numbers}, {against}.")
    elif gain.sign < 0:
        yield Sentence("hurts", f"Regularisation hurts here: {numbers}, {against}; try weaker strengths.")
    elif _sign(gain.loss):
        better = _sign(gain.loss) > 0
        words = ("better", "worse") if results.data.task == "classification" else ("lower", "higher")
        what = "probabilities" if results.data.task == "classification" else "loss"
        clearly = "not" if gain.told.estimate <= 0 else "not clearly"
        text = f"Regularisation makes the {what} {words[not better]} here, but {clearly} the {spoken(results.told)}"
        yield Sentence("probabilities" if better else "hurts", f"{text}: {numbers}, {against}.")
    else:
        yield Sentence("unclear", f"It is unclear whether regularisation helps here: {numbers}, {against}.")
    yield from _early_stopping(gain, gains.get("plain_stopped"))


def _regularises(results: Results) -> bool:
    """Return whether anything regularises, besides early stopping, that is searched or that all configurations have."""
    if any(name in REGULARISING for name in results.space):
        return True
    return any(getattr(results.recipe, name) not in (off, None) for name, off in OFF.items() if name != STOPPING)


def _early_stopping(gain: Gain, stopped: Gain | None) -> Iterator[Sentence]:
    """Say if the plain network, stopped early, has most of what the choice gains."""
    if stopped is None or stopped.loss.estimate == gain.loss.estimate:  # it was best at its end
        return
    pairs = ((gain.told, stopped.told), (gain.loss, stopped.loss))
    clear = [(whole, rest) for whole, rest in pairs if _sign(whole) > 0]
    signs = {_sign(rest) for _, rest in pairs}
    numbers = ", ".join(gain_text(rest) for _, rest in dict.fromkeys(pairs))
    if signs <= {0, -1} and -1 in signs:
        yield Sentence(
            "early_stopping", f"Early stopping alone does better: compared with it, the choice has {numbers}."
        )
    elif clear and signs == {0} and all(rest.estimate <= (1 - MOST) * whole.estimate for whole, rest in clear):
        yield Sentence(
            "early_stopping", f"Early stopping alone does most of the work: compared with it, the choice has {numbers}."
        )


def _strengths(results: Results) -> Iterator[Sentence]:
    """Say how many configurations do as well as the best, and what of them mattered."""
    region = flat_region(results)
    if region.status == "ok":
        yield Sentence("flat" if region.flat else "peaked", region.sentence)
    explained = importance_of(results)
    if explained.shares:
        yield Sentence("mattered", explained.sentence)


def _tool(gains: Mapping[str, Gain]) -> Iterator[Sentence]:
    """Say whether a network is the right tool."""
    if (gain := gains.get("constant")) is not None and gain.sign <= 0 and _sign(gain.loss) <= 0:
        text = f"The network is no better than a constant model: {gain_text(gain.told)} over it."
        yield Sentence("constant", f"{text} Check features, target and splits before tuning strengths.")
    simple = [gains[name] for name in SIMPLE if name in gains]
    if not simple:
        return
    best = min(simple, key=lambda gain: gain.told.estimate)
    name, numbers = SHORT[best.over], gain_text(best.told)
    if best.sign > 0:
        yield Sentence("network", f"A network is the right tool: {numbers} over {name}, the best simple model.")
    elif best.sign < 0:
        does = "do" if best.over == "trees" else "does"
        text = (
            f"{name[0].upper()}{name[1:]} {does} better here: the network has {numbers} over {'them' * (does == 'do')}"
        )
        yield Sentence(
            "baseline", f"{text}{'it' * (does != 'do')}. Use {'them' if does == 'do' else 'it'}, or widen the search."
        )
    else:
        text = (
            f"The network is not clearly better than {name}: {numbers} over {'them' if best.over == 'trees' else 'it'}"
        )
        yield Sentence("as_good", f"{text}.")


def _edges(results: Results) -> Iterator[Sentence]:
    """Say where the choice lies at the end of a range, so that what is best may lie beyond."""
    for one in edges_of(results, results.choice):
        text = f"The choice lies at the {one.end} end of {one.name}'s range ({one.value} of {one.low} to {one.high})"
        yield Sentence("edge", f"{text}: better values may lie beyond it.")


def _failed(results: Results) -> Iterator[Sentence]:
    """Say which configurations a training function gave no result for."""
    if failed := [trial for trial in results.trials if trial.status == "failed"]:
        text = f"{len(failed)} of {plural(len(results.trials), 'configuration')} failed and cannot be chosen"
        yield Sentence("lost", f"{text}; configuration {failed[0].number}: {failed[0].reason}.")


def expectation(results: Results) -> Sentence:
    """Say what new rows may be expected to give."""
    told, loss = results.score_of(), results.score
    shown = [told] if told.metric == loss.metric else [told, loss]
    parts = [
        f"{spoken(score.metric)} {value_text(score.metric, score.estimate)} ({interval_text(score)})" for score in shown
    ]
    tried = len(results.trials)
    text = f"Expected on new rows: {', '.join(parts)}"
    if tried == 1:
        return Sentence("expect", f"{text}; all intervals are 90 %.")
    among = f"selection among {plural(tried, 'configuration')}"
    text += f"; the mean over the folds was {value_text(told.metric, told.naive)}, before the correction for {among}"
    better = told.estimate > told.naive if told.metric in HIGHER_IS_BETTER else told.estimate < told.naive
    if better:
        text += ", which shows no optimism here"
    return Sentence("expect", f"{text}; all intervals are 90 %.")


def _sign(score: Score) -> int:
    return 1 if score.low > 0 else -1 if score.high < 0 else 0


def _is_negligible(results: Results, difference: float, baseline: str) -> bool:
    whole = 1.0 if results.told in SHARES else abs(results.mean_of(results.told, results.baseline(baseline)))
    return abs(difference) <= NEGLIGIBLE * whole


def value_text(metric: MetricName | str, value: float) -> str:
    """Return a number of a metric as people read it: shares in percent."""
    return percent(value) if metric in SHARES else number(value)


def interval_text(score: Score) -> str:
    """Return the ends of an interval as people read them."""
    return f"{value_text(score.metric, score.low)} to {value_text(score.metric, score.high)}"


def gain_text(gain: Score, *, named: bool = True) -> str:
    """Return ``accuracy +2.1 points (+0.8 to +3.4)``, or ``loss -0.12 (-0.2 to -0.05)``: as the metric itself moves."""
    name, scale, unit = spoken(gain.metric), 1.0, ""
    if gain.metric in SHARES:
        scale, unit = 100.0, " points"
    sign = 1 if gain.metric in HIGHER_IS_BETTER else -1
    ends = sorted(sign * scale * end for end in (gain.low, gain.high))
    low, high = (signed(end, points=unit != "") for end in ends)
    text = f"{signed(sign * scale * gain.estimate, points=unit != '')}{unit} ({low} to {high})"
    return f"{name} {text}" if named else text


def signed(value: float, *, points: bool = False) -> str:
    """Return a difference with its sign, points with one decimal.

    Example:
        >>> signed(0.123456), signed(-2.14, points=True)
        ('+0.1235', '-2.1')
    """
    if points and math.isfinite(value):
        return f"{round(value, 1) + 0.0:+.1f}"
    return f"{'+' * (value >= 0)}{number(value + 0.0)}"
