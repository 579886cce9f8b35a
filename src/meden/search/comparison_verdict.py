"""What a comparison says, in sentences with numbers: which alternatives help, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meden.report.numbers import plural
from meden.study.metrics import spoken
from meden.study.verdict import Gain, Sentence, Verdict, gain_text


def comparison_verdict(gains: Mapping[str, Gain], lost: Mapping[str, str], first: str, intervals: str) -> Verdict:
    """Say which alternatives are better than the first.

    The metric that people read decides; where it leaves the answer open, the loss may still be clear.

    Args:
        gains: of each alternative with a result over the first, by name; none where the first has no result.
        lost: what became of those without a result, by name.
        first: name of what the others are held against.
        intervals: what those of the gains are, in a sentence.

    Example:
        >>> from meden.study.selection import Score
        >>> gain = Gain("none", Score(0.02, 0.01, 0.03, 0.95, 0.02, "accuracy"), Score(0.1, 0.05, 0.2, 0.95, 0.1))
        >>> print(comparison_verdict({"dropout": gain}, {}, "none", "Intervals are of 95 %.").sentences[0].text)
        dropout helps: accuracy +2.0 points (+1.0 to +3.0), loss -0.1 (-0.2 to -0.05), against none.
    """
    ranked = sorted(gains.items(), key=lambda named: -named[1].told.estimate)
    sentences = [
        *_helping(ranked, first),
        *(_sentence("hurts", f"{name} hurts", gain, first) for name, gain in ranked if gain.sign < 0),
        *(Sentence("lost", f"{name} has no result: it {outcome}.") for name, outcome in lost.items()),
    ]
    return Verdict((*sentences, Sentence("intervals", intervals)) if gains else tuple(sentences))


def _helping(ranked: list[tuple[str, Gain]], first: str) -> Iterator[Sentence]:
    """Say what helps, or that nothing does and what comes nearest to it."""
    clear = [(name, gain) for name, gain in ranked if gain.sign > 0]
    yield from (_sentence("helps", f"{name} helps", gain, first) for name, gain in clear)
    in_loss = [(name, gain) for name, gain in ranked if gain.sign == 0 and gain.loss.low > 0]
    for name, gain in in_loss:
        what = "makes the probabilities better" if gain.told.metric == "accuracy" else "improves the probabilities"
        yield _sentence(
            "probabilities", f"{name} {what}, but does not clearly improve the {spoken(gain.told.metric)}", gain, first
        )
    if clear or in_loss:
        return
    if not ranked:
        yield Sentence("none_helps", f"No alternative has a result to compare with {first}.")
    elif all(gain.sign < 0 for _, gain in ranked):
        yield Sentence("none_helps", "None of these helps.")
    else:
        name, gain = ranked[0]
        several = f"None of these clearly helps; {name} has the largest gain"
        yield _sentence("none_helps", several if len(ranked) > 1 else f"{name} does not clearly help", gain, first)


def _sentence(kind: str, beginning: str, gain: Gain, first: str) -> Sentence:
    numbers = ", ".join(dict.fromkeys((gain_text(gain.told), gain_text(gain.loss))))
    return Sentence(kind, f"{beginning}: {numbers}, against {first}.")  # type: ignore[arg-type]


def intervals_text(confidence: float, num: int) -> str:
    """Return what the intervals of several differences are.

    Example:
        >>> intervals_text(0.95, 1)
        'Intervals are 95 %.'
    """
    percent = f"{100 * confidence:.3g} %"
    if num == 1:
        return f"Intervals are {percent}."
    return (
        f"The {percent} intervals hold for all {plural(num, 'difference')} of a quantity together, "
        f"{100 * single_confidence(confidence, num):.3g} % each (Bonferroni); even so, the largest of several "
        "gains looks larger than it is."
    )


def single_confidence(confidence: float, num: int) -> float:
    """Return the coverage that each of several intervals needs for all of them to hold together: Bonferroni's.

    Example:
        >>> round(single_confidence(0.95, 5), 3)
        0.99
    """
    return 1 - (1 - confidence) / max(1, num)
