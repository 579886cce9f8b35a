"""Rules by name: what is selected, what is left out, what other packages add."""

import importlib.metadata
import json

import pandas as pd
import pytest
from torch import nn

import meden
from meden._checks import InputError
from meden.diagnosis import FAMILIES, Curve, Evidence, Seen, all_rules, chosen_rules, diagnose, examine, rule

DROPS = Evidence(
    (Curve(train=[1.0, 0.8, 0.7, 0.6, 0.5, 0.4], held_out=[1.0, 0.8, 0.9, 1.0, 1.1, 1.2]),),
    model=nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)),
)


@rule("strength", "info")
def even_epochs(evidence: Evidence) -> Seen | None:
    """An even number of epochs.

    No matter which.
    """
    num = len(evidence.curves[0].train)
    return None if num % 2 else Seen("the epochs are even", "Take one away", "meden fit --epochs 3", num, (3.0, 5.0))


def codes(**asked):
    return [finding.code for finding in diagnose(DROPS, **asked).findings]


def test_codes_and_families_select_and_leave_out():
    assert codes() == ["overfit", "kept_too_late", "dropout_before_norm"]
    assert codes(select=["layout"]) == ["dropout_before_norm"]
    assert codes(select=["layout", "overfit"]) == ["overfit", "dropout_before_norm"]
    assert codes(ignore=["curves"]) == ["dropout_before_norm"]
    assert codes(select=["curves"], ignore=["overfit"]) == ["kept_too_late"]
    assert codes(select=["layout"], ignore=["dropout_before_norm"]) == []


def test_a_choice_that_leaves_no_rule_for_what_is_looked_at_is_refused():
    table = pd.DataFrame({"x": range(30), "y": ["a", "b"] * 15})
    for asked in ({"select": ["data", "search"]}, {"ignore": FAMILIES}):
        with pytest.raises(
            InputError, match="select and ignore must leave at least one rule about what is known about the"
        ):
            diagnose(DROPS, **asked)
    for asked in ({"select": ["curves", "honesty"]}, {"select": ["constant_column"], "ignore": ["data"]}):
        with pytest.raises(InputError, match="select and ignore must leave at least one rule about a table, got"):
            meden.check(table, target="y", **asked)


@pytest.mark.parametrize("asked", [{"select": ["overfitt"]}, {"ignore": ["E501"]}, {"select": "layout"}])
def test_an_unknown_name_is_told_before_anything_is_looked_at(asked):
    class Untouchable:
        def evidence(self):
            raise AssertionError("it was looked at")

    with pytest.raises(InputError, match=f"{next(iter(asked))} must") as told:
        diagnose(Untouchable(), **asked)
    assert "\n" not in str(told.value)


def test_each_rule_says_what_it_is():
    rules = all_rules()
    assert len({one.code for one in rules}) == len(rules) and {one.family for one in rules} <= set(FAMILIES)
    assert all(one.summary.endswith(".") and isinstance(one.of, type) for one in rules)
    assert not {one.code for one in rules} & set(FAMILIES)  # or a name would mean two things


def test_a_rule_of_ones_own_is_told_with_the_others_and_by_its_own_severity():
    found = diagnose(DROPS, select=["strength", "layout"], rules=[even_epochs]).findings
    assert [(one.code, one.severity) for one in found] == [("dropout_before_norm", "warning"), ("even_epochs", "info")]
    assert str(found[-1]) == "info even_epochs: The epochs are even. Take one away: `meden fit --epochs 3`."
    assert (found[-1].value, found[-1].interval) == (6, (3.0, 5.0))
    assert even_epochs.summary == "An even number of epochs." and even_epochs.of is Evidence
    with pytest.raises(InputError, match="'even_epochs'"):
        chosen_rules(more=[even_epochs, even_epochs])


def test_a_rule_must_say_what_it_reads():
    for look in (lambda _: None, test_each_rule_says_what_it_is):
        with pytest.raises(InputError, match="one argument"):
            rule("curves", "info")(look)
    with pytest.raises(InputError, match="family must"):
        rule("curve", "info")
    with pytest.raises(InputError, match="severity must"):
        rule("curves", "bad")


def test_a_rule_looks_at_evidence_of_its_kind_only():
    assert examine([3, "text", DROPS], [even_epochs]) == (even_epochs(DROPS),)


def test_other_packages_add_rules(monkeypatch):
    point = importlib.metadata.EntryPoint("even", f"{__name__}:even_epochs", "meden.rules")
    monkeypatch.setattr("meden.diagnosis.catalogue.entry_points", lambda **_: [point])
    assert codes(select=["even_epochs"]) == ["even_epochs"]
    point = importlib.metadata.EntryPoint("even", "math:pi", "meden.rules")
    monkeypatch.setattr("meden.diagnosis.catalogue.entry_points", lambda **_: [point])
    with pytest.raises(InputError, match=r"'even' of meden\.rules must be a rule, got float"):
        codes()


def test_a_model_alone_shows_its_layers():
    assert [finding.code for finding in meden.diagnose(DROPS.model).findings] == ["dropout_before_norm"]


def test_all_runs_lost_leave_only_that_they_are():
    lost = Evidence((Curve(train=[], lost="loss was not finite"),), blank=1.0)
    assert [finding.code for finding in diagnose(lost).findings] == ["diverged"]


def test_findings_are_plain_values():
    found = json.loads(json.dumps(diagnose(DROPS).to_dict()))["findings"]
    assert {"code", "severity", "message", "advice", "command", "value", "interval"} == set(found[0])
