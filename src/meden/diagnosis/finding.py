"""What a diagnosis says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from meden._shown import Pair, Shown, ShownFields

Code = Literal[
    "diverged",
    "nothing_learnt",
    "unstable",
    "overfit",
    "gap_left",
    "kept_too_late",
    "unfinished",
    "underfit",
    "peaked_at_once",
    "held_out_easier",
    "penalties_rule",
    "dropout_before_norm",
    "dropout_in_one_pass",
]


@dataclass(frozen=True, repr=False)
class Finding(ShownFields):
    """One thing that stands out.

    Args:
        code: its short name.
        message: what was seen, with numbers.
        advice: what to do about it.
        value: the number that it rests on, if it rests on one.
        error: standard error of that number; None where the evidence has none.
    """

    code: Code
    message: str
    advice: str
    value: float | None = None
    error: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}. {self.advice}."


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """The result of :func:`meden.diagnose`; printing it gives a line for each finding."""

    findings: tuple[Finding, ...]
    num_runs: int
    """Runs that were looked at."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing stands out"

    def _pairs(self) -> Iterable[Pair]:
        yield "runs", self.num_runs
        yield "findings", [finding.code for finding in self.findings]
        yield from ((finding.code, f"{finding.message}. {finding.advice}.") for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"num_runs": self.num_runs, "findings": [asdict(finding) for finding in self.findings]}
