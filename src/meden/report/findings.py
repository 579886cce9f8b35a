"""What a diagnosis says, as a section of a report."""

from __future__ import annotations

from meden.diagnosis import Diagnosis
from meden.report.document import Section
from meden.report.numbers import plural


def findings_section(diagnosis: Diagnosis) -> Section:
    """Return the findings, a paragraph each."""
    looked_at = f"Based on the curves of {plural(diagnosis.num_runs, 'run')}; the number after ± is one standard error."
    sentences = [f"{found.severity.capitalize()} {found.code}: {found.sentences}" for found in diagnosis.findings]
    return Section(title="What stands out", text=(*(sentences or ["Nothing."]), looked_at))
