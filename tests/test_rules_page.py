"""docs/rules.md lists all rules, by the very words of the catalogue."""

import re
from pathlib import Path

from meden.diagnosis import FAMILIES, all_rules
from meden.diagnosis.catalogue import RULES

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"


def rows(text: str) -> list[tuple[str, ...]]:
    """Return code, severity and summary of each line of the tables."""
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", text, flags=re.MULTILINE)
    return [tuple(row) for row in found]


def test_the_page_has_all_rules_in_the_words_of_the_catalogue_family_by_family() -> None:
    text = PAGE.read_text(encoding="utf-8")
    wanted = [rule for family in FAMILIES for rule in RULES if rule.family == family]
    assert rows(text) == [(rule.code, rule.severity, rule.summary) for rule in wanted]
    headings = re.findall(r"^## `(\w+)`", text, flags=re.MULTILINE)
    assert headings == [family for family in FAMILIES if any(rule.family == family for rule in RULES)]


def test_codes_that_pages_name_are_there() -> None:
    known = {rule.code for rule in all_rules()} | set(FAMILIES)
    for page in [*PAGE.parent.glob("*.md"), *PAGE.parents[1].glob("README*.md")]:
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"meden diagnose [^`\n]*--(?:select|ignore) ([\w,]+)", text)
        assert {name for names in asked for name in names.split(",")} <= known, page
