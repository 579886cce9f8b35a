"""Rules on a search: whether it looked far enough, in enough places, at what matters."""

from __future__ import annotations

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.searching import SearchEvidence

SURE = 0.95
"""How sure it is that the best of the configurations is among so large a share of the best that the space holds."""
COARSE = 0.25
"""That share, from which on a few more configurations are likely to be better: 10 of them leave 0.26, 32 leave 0.09."""


@rule("search", "warning")
def edge_of_range(search: SearchEvidence) -> Seen | None:
    """The choice lies at an end of a range that was searched, so that what is best may lie beyond."""
    if not search.edges or search.flat:
        return None
    told = "; ".join(f"{one.name} {one.value} at the {one.end} end of {one.low} to {one.high}" for one in search.edges)
    further = {one.name: one.wider for one in search.edges if one.wider}
    return Seen(
        f"the choice lies at the end of what was searched ({told}): what is best may lie beyond",
        "Search further on that side" if further else "No further value is possible: search something beside it",
        command=search.command(**further) if further else "",
        value=float(len(search.edges)),
    )


@rule("search", "info")
def flat_search(search: SearchEvidence) -> Seen | None:
    """Most configurations are as good as the best: what was searched does not matter within its ranges."""
    if not search.flat:
        return None
    assert search.num_alike is not None
    return Seen(
        search.alike,
        "Take the simplest, and search something else, or nothing more",
        value=search.num_alike / search.num_finished,
    )


@rule("search", "info")
def too_few_configurations(search: SearchEvidence) -> Seen | None:
    """So few configurations of several names that the best of them is likely to be far from the best there is.

    Of m drawn at random, the best is among the share q of the best of the space with probability 1 - (1 - q)^m.

    Reference:
        J. Bergstra and Y. Bengio, Random search for hyper-parameter optimization, 2012.
    """
    if search.num_names < 2 or search.flat or search.num_finished == 0:
        return None
    share = 1 - (1 - SURE) ** (1 / search.num_finished)
    if share <= COARSE:
        return None
    enough = 4 * search.num_tried
    return Seen(
        f"of {search.num_finished} configurations of {search.num_names} names, the best is among the best "
        f"{100 * share:.0f} % "
        "of what the space holds, and no more than that is sure",
        "Try more of them, or fix what matters least",
        command=search.command(f"--budget {enough}"),
        value=share,
    )


@rule("search", "info")
def winner_within_noise(search: SearchEvidence) -> Seen | None:
    """The choice is not clearly better than the second best, or than the same network without regularisation."""
    close = [lead for lead in search.leads if lead.interval[0] <= 0]
    if not close:
        return None
    told = "; ".join(f"{lead.text} over {lead.over}" for lead in close)
    return Seen(
        f"the choice leads by no more than noise ({told})",
        "Read it as one of several that are as good; more folds, seeds or rows tell them apart",
        command=search.command("--folds 10", "--seeds 3"),
        value=close[-1].estimate,
        interval=close[-1].interval,
    )
