"""All rules, in the order in which what they find is told, and the choice among them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from meden._checks import InputError
from meden.diagnosis import layout, rules
from meden.diagnosis.finding import Finding
from meden.diagnosis.rule import FAMILIES, Rule

PLUGINS = "meden.rules"
"""Entry points of other packages: each names a :class:`Rule`."""

RULES: tuple[Rule, ...] = (
    rules.diverged,
    rules.nothing_learnt,
    rules.unstable,
    rules.overfit,
    rules.gap_left,
    rules.kept_too_late,
    rules.unfinished,
    rules.underfit,
    rules.peaked_at_once,
    rules.held_out_easier,
    rules.penalties_rule,
    layout.dropout_before_norm,
    layout.dropout_in_one_pass,
)


def all_rules(more: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """Return meden's own rules, those of installed packages, and some more.

    Raises:
        InputError: if two have the same code, or if an entry point ``meden.rules`` is no rule.
    """
    found = [*RULES, *_installed(), *more]
    codes = [rule.code for rule in found]
    if twice := next((code for code in codes if codes.count(code) > 1), None):
        raise InputError(f"rules must have codes of their own, got two of {twice!r}")
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
        >>> [rule.code for rule in chosen_rules(select=["layout"], ignore=["dropout_in_one_pass"])]
        ['dropout_before_norm']
    """
    rules = all_rules(more)
    for name, asked in (("select", select), ("ignore", ignore)):
        _check_known(name, asked, rules)
    wanted = [rule for rule in rules if not select or {rule.code, rule.family} & set(select)]
    return tuple(rule for rule in wanted if not {rule.code, rule.family} & set(ignore))


def examine(evidence: Sequence[Any], rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """Return what rules find, each in the evidence of its kind."""
    found = (rule(part) for rule in rules for part in evidence if isinstance(part, rule.of))
    return tuple(finding for finding in found if finding is not None)


def _check_known(name: str, asked: Collection[str], rules: Sequence[Rule]) -> None:
    if isinstance(asked, str):
        raise InputError(f"{name} must be a list of codes or families, got the text {asked!r}")
    codes = [rule.code for rule in rules]
    for one in asked:
        if one not in codes and one not in FAMILIES:
            near = difflib.get_close_matches(str(one), [*codes, *FAMILIES], n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(
                f"{name} must name codes or families ({', '.join(FAMILIES)}); `meden diagnose --list` shows all; "
                f"got {one!r}{hint}"
            )


def _installed() -> Iterator[Rule]:
    for point in entry_points(group=PLUGINS):
        found = point.load()
        if not isinstance(found, Rule):
            raise InputError(f"entry point {point.name!r} of {PLUGINS} must be a rule, got {type(found).__name__}")
        yield found
