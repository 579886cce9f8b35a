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
    """The choice lies at an end of a search range, so better values may lie beyond it."""
    if not search.edges or search.flat:
        return None
    told = "; ".join(f"{one.name} {one.value} at the {one.end} end of {one.low} to {one.high}" for one in search.edges)
    further = {one.name: one.wider for one in search.edges if one.wider}
    return Seen(
        f"the choice lies at the end of a search range ({told}): better values may lie beyond",
        "Extend the range on that side" if further else "No further value is possible: search other settings as well",
        command=search.command(**further) if further else "",
        value=float(len(search.edges)),
    )


@rule("search", "info")
def flat_search(search: SearchEvidence) -> Seen | None:
    """Most configurations are as good as the best: the settings hardly matter within their search ranges."""
    if not search.flat:
        return None
    assert search.num_alike is not None
    return Seen(
        search.alike,
        "Take the simplest of them; search something else, or stop here",
        value=search.num_alike / search.num_finished,
    )


@rule("search", "info")
def too_few_configurations(search: SearchEvidence) -> Seen | None:
    """Too few configurations for the number of searched names: the best one is probably far from the optimum.

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
        f"with {search.num_finished} random configurations of {search.num_names} names, the best one is only known "
        f"to be among the best {100 * share:.0f} % of the space",
        "Try more configurations, or fix the names that matter least",
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
        f"the lead of the choice is within the noise ({told})",
        "Treat it as one of several equally good configurations; more folds, seeds or rows can tell them apart",
        command=search.command("--folds 10", "--seeds 3"),
        value=close[-1].estimate,
        interval=close[-1].interval,
    )
