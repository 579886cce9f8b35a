"""All rules, in the order in which what they find is told, and the choice among them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from meden._checks import InputError
from meden.diagnosis import calibration, layout, search_rules, strength
from meden.diagnosis.curves import curves, endings, rates
from meden.diagnosis.finding import Finding
from meden.diagnosis.memory import memorised
from meden.diagnosis.rule import FAMILIES, Rule
from meden.diagnosis.splits import carried, honesty, preparation
from meden.diagnosis.tables import classes, columns, copies, drift, leaks, missingness, sequence, suspects, unusable

PLUGINS = "meden.rules"
"""Entry points of other packages: each names a :class:`Rule`."""

RULES: tuple[Rule, ...] = (
    curves.diverged,
    curves.scores_for_losses,
    curves.nothing_learnt,
    rates.rate_too_high,
    rates.rate_too_low,
    rates.unstable,
    curves.overfit,
    curves.gap_left,
    endings.kept_too_late,
    endings.stopped_too_early,
    endings.unfinished,
    endings.stopped_late,
    endings.noisy_validation,
    curves.underfit,
    curves.peaked_at_once,
    curves.held_out_easier,
    search_rules.edge_of_range,
    search_rules.winner_within_noise,
    search_rules.flat_search,
    search_rules.too_few_configurations,
    strength.penalties_rule,
    strength.penalties_idle,
    layout.dropout_before_norm,
    layout.dropout_on_output,
    layout.dropout_in_one_pass,
    layout.tiny_batches,
    layout.softmax_on_output,
    honesty.rows_across,
    honesty.stop_rows_scored,
    carried.stop_loss_scored,
    carried.weights_carried,
    honesty.groups_torn,
    honesty.later_rows_fit,
    preparation.target_encoded_on_all,
    preparation.scaled_on_all,
    unusable.empty_column,
    unusable.unreadable_column,
    unusable.missing_target,
    unusable.missing_group,
    unusable.unusable_number,
    leaks.target_copy,
    classes.unseen_class,
    leaks.target_determined,
    columns.identifier_column,
    columns.order_column,
    columns.group_column,
    copies.duplicate_rows,
    copies.contradictory_labels,
    copies.near_duplicates,
    sequence.like_neighbours,
    classes.rare_class,
    columns.numbers_as_text,
    suspects.label_suspects,
    drift.split_drift,
    drift.time_drift,
    missingness.telling_missingness,
    leaks.strong_column,
    columns.constant_column,
    copies.tied_rows,
    sequence.sorted_by_target,
    memorised.memorised,
    memorised.slightly_memorised,
    calibration.miscalibrated,
)


def all_rules(more: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """Return meden's own rules, those of installed packages, and some more.

    Raises:
        InputError: if two have the same code, or if an entry point ``meden.rules`` is no rule.
    """
    found = [*RULES, *_installed(), *more]
    codes = [rule.code for rule in found]
    if twice := next((code for code in codes if codes.count(code) > 1), None):
        raise InputError(f"rules must have unique codes, got two of {twice!r}")
    return tuple(found)


def chosen_rules(
    select: Collection[str] = (), ignore: Collection[str] = (), more: Sequence[Rule] = ()
) -> tuple[Rule, ...]:
    """Return the rules of some codes or families.

    Args:
        select: codes or families to look for; none given is all.
        ignore: codes or families to leave out, also of those selected.
        more: rules of one's own.

    Raises:
        InputError: naming what is neither a code nor a family.

    Example:
        >>> [rule.code for rule in chosen_rules(select=["strength"], ignore=["penalties_rule"])]
        ['penalties_idle']
    """
    rules = all_rules(more)
    for name, asked in (("select", select), ("ignore", ignore)):
        _check_known(name, asked, rules)
    wanted = [rule for rule in rules if not select or {rule.code, rule.family} & set(select)]
    return tuple(rule for rule in wanted if not {rule.code, rule.family} & set(ignore))


def applying(rules: Sequence[Rule], evidence: Sequence[Any], what: str) -> tuple[Rule, ...]:
    """Return the rules that apply to some evidence.

    Args:
        rules: those to go by.
        evidence: of any kinds.
        what: what messages call it.

    Raises:
        InputError: if there are none, so that nothing could stand out.
    """
    found = tuple(rule for rule in rules if any(isinstance(part, rule.of) for part in evidence))
    if not found:
        asked = ", ".join(rule.code for rule in rules[:3]) + ", ..." * (len(rules) > 3)
        raise InputError(f"select and ignore must leave at least one rule about {what}, got {asked or 'none'}")
    return found


def examine(evidence: Sequence[Any], rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """Return what rules find, each in the evidence of its kind."""
    found = (rule(part) for rule in rules for part in evidence if isinstance(part, rule.of))
    return tuple(finding for finding in found if finding is not None)


def _check_known(name: str, asked: Collection[str], rules: Sequence[Rule]) -> None:
    if isinstance(asked, str):
        raise InputError(f"{name} must be a list of codes or families, got the string {asked!r}")
    codes = [rule.code for rule in rules]
    for one in asked:
        if one not in codes and one not in FAMILIES:
            near = difflib.get_close_matches(str(one), [*codes, *FAMILIES], n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(
                f"{name} must name codes or families ({', '.join(FAMILIES)}), got {one!r}{hint}; `meden diagnose "
                "--list` shows all"
            )


def _installed() -> Iterator[Rule]:
    for point in entry_points(group=PLUGINS):
        found = point.load()
        if not isinstance(found, Rule):
            raise InputError(f"entry point {point.name!r} of {PLUGINS} must be a rule, got {type(found).__name__}")
        yield found
