"""A rule: from one kind of evidence to a finding, or to none, under a name that stays."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from meden._checks import InputError, check_choice
from meden.diagnosis.finding import Finding, Seen, Severity

Family = Literal["curves", "search", "strength", "layout", "data", "honesty", "memorisation", "calibration"]
FAMILIES: tuple[str, ...] = get_args(Family)


@dataclass(frozen=True)
class Rule:
    """One thing to look for. Calling it with evidence returns a finding, or None.

    Args:
        code: its name, which is also that of what it finds.
        family: what it is about.
        severity: of what it finds.
        summary: what it looks for, in one sentence.
        of: the kind of evidence that it reads.
        look: from such evidence to what is seen, or to None.
    """

    code: str
    family: Family
    severity: Severity
    summary: str
    of: type
    look: Callable[[Any], Seen | None]

    def __call__(self, evidence: Any) -> Finding | None:
        """Return what stands out in evidence."""
        seen = self.look(evidence)
        return None if seen is None else Finding(self.code, self.severity, **vars(seen))


def rule(family: Family, severity: Severity) -> Callable[[Callable[[Any], Seen | None]], Rule]:
    """Make a rule of a function, which gives its name, the first line of its docstring, and the type of its argument.

    Args:
        family: ``"curves"``, ``"search"``, ``"strength"``, ``"layout"``, ``"data"``, ``"honesty"``,
            ``"memorisation"`` or ``"calibration"``.
        severity: ``"info"``, ``"warning"`` or ``"error"``.

    Raises:
        InputError: if the function has no docstring, or does not say of what kind its one argument is.

    Example:
        >>> from meden.diagnosis import Curve, Evidence, diagnose
        >>> @rule("curves", "info")
        ... def short(evidence: Evidence) -> Seen | None:
        ...     '''Fewer than five epochs.'''
        ...     num = min(len(curve.train) for curve in evidence.curves)
        ...     return Seen(f"{num} epochs", "Train for longer", value=num) if num < 5 else None
        >>> print(diagnose(Evidence((Curve(train=[0.5, 0.4]),)), rules=[short]))
        info short: 2 epochs. Train for longer.
    """
    check_choice("family", family, FAMILIES)
    check_choice("severity", severity, get_args(Severity))

    def made(look: Callable[[Any], Seen | None]) -> Rule:
        names = list(inspect.signature(look).parameters)
        kinds = get_type_hints(look)
        text = look.__doc__ or (look.__name__ if sys.flags.optimize > 1 else "")  # -OO takes docstrings away
        if not text or len(names) != 1 or not isinstance(kinds.get(names[0]), type):
            raise InputError(
                "a rule must have a docstring and one argument annotated with its type of evidence, got "
                f"{look.__name__!r}"
            )
        summary = inspect.cleandoc(text).split("\n")[0]
        return Rule(look.__name__, family, severity, summary, kinds[names[0]], look)

    return made
