"""What a diagnosis says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from meden._shown import Pair, Shown, ShownFields, printable

Severity = Literal["info", "warning", "error"]
"""``"error"``: what is reported, or what came of a training, is not to be trusted; ``"warning"``: it may pay to change
something; ``"info"``: worth knowing, and seen in sound training, too."""

Interval = tuple[float, float]
"""Where a number lies in 95 % of the cases."""


@dataclass(frozen=True)
class Seen:
    """What a rule saw: a finding that has neither its code nor its severity yet.

    Args:
        message: what was seen, with numbers.
        advice: what to do about it.
        command: the line that does it; empty where there is none.
        value: the number that it rests on, if it rests on one.
        interval: of that number; None where the evidence has none.
    """

    message: str
    advice: str
    command: str = ""
    value: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True, repr=False)
class Finding(ShownFields):
    """One thing that stands out.

    Args:
        code: name of the rule that found it.
        severity: ``"error"``, ``"warning"`` or ``"info"``.
        message: what was seen, with numbers.
        advice: what to do about it.
        command: the line that does it; empty where there is none.
        value: the number that it rests on, if it rests on one.
        interval: where that number lies in 95 % of the cases; None where the evidence does not say.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    command: str = ""
    value: float | None = None
    interval: Interval | None = None

    @property
    def sentences(self) -> str:
        """What was seen, and what to do about it."""
        command = f": `{self.command}`" if self.command else ""
        return printable(f"{self.message[0].upper()}{self.message[1:]}. {self.advice}{command}.")

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.sentences}"


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """The result of :func:`meden.diagnose`; prints one line per finding.

    Attributes:
        findings: what stands out.
        num_runs: runs that were looked at.
    """

    findings: tuple[Finding, ...]
    num_runs: int

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing stands out"

    def _pairs(self) -> Iterable[Pair]:
        yield "runs", self.num_runs
        yield "findings", [finding.code for finding in self.findings]
        yield from ((f"{finding.severity} {finding.code}", finding.sentences) for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"num_runs": self.num_runs, "findings": [asdict(finding) for finding in self.findings]}
