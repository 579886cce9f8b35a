"""Each rule on evidence that it speaks of, and on a twin that it does not."""

import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng
from torch import nn

from meden.cli.app import load
from meden.cli.settings import parse_settings, parse_space
from meden.diagnosis import (
    Answers,
    Curve,
    EdgeOfRange,
    Evidence,
    Finding,
    Lead,
    Plan,
    SearchEvidence,
    chosen_rules,
    diagnose,
    examine,
)
from meden.diagnosis.catalogue import RULES
from meden.models import TabularNet

EPOCHS = np.arange(1, 41)
FALL = np.exp(-EPOCHS / 6)
"""A loss that falls to nothing and is flat at its end."""


def codes(*curves, blank=None):
    return [finding.code for finding in diagnose(Evidence(curves, blank)).findings]


def curve(train, held_out=(), **known):
    return Curve(train=list(train), held_out=list(held_out), **known)


def folds(apart, scatter, num=5, train=0.5):
    """Return flat trainings whose scored losses are ``apart`` above the training loss, with a standard deviation."""
    z = default_rng(0).standard_normal(num)
    gaps = apart + scatter * (z - z.mean()) / z.std(ddof=1)
    return [curve(np.full(40, train), scored=train + gap) for gap in gaps]


BLANK = 2.0
"""Loss of a constant model."""
RISING = 0.02 * np.maximum(EPOCHS - 20, 0)
SLOW = 0.5 + np.exp(-EPOCHS / 15)
"""A loss that still falls at its end, by much less than in its first half."""
NOISE = default_rng(5).normal(0, 0.15, 40)
LUCKY = 1 + FALL + NOISE * (EPOCHS > 8)
LINEAR = nn.Linear(4, 4)
SEARCH = SearchEvidence(num_tried=32, num_finished=32, num_names=3, num_alike=4, alike="4 of 32 lie within 0.01 nats")
UPPER = EdgeOfRange(name="l2", value="0.97", end="upper", low="1e-4", high="1", wider="1e-4:10:log")
STOPPED = Plan(epochs=200, patience=1)


def lead(low: float) -> Lead:
    return Lead(over="the second best", estimate=0.1, interval=(low, 0.2 - low), text="0.1 nats")


def answers(off: float, num: int = 600) -> Answers:
    draws = default_rng(6)
    sure = draws.uniform(0.5, 1.0, num)
    return Answers(sure, draws.random(num) < sure - off, "wine")


def model(*layers: nn.Module, **known):
    return Evidence((), model=nn.Sequential(*layers), **known)


TWINS = {
    "diverged": (curve([], lost="loss was not finite"), curve(FALL)),
    "scores_for_losses": (curve(1 - FALL, 0.9 - FALL), curve(FALL, 1 - FALL)),
    "nothing_learnt": (curve(np.full(40, 1.99)), curve(np.full(40, 1.9))),
    "rate_too_high": (curve([7.0, *(1 + FALL)]), curve([2.3, *(1 + FALL)])),
    "rate_too_low": (curve(2 - EPOCHS / 40, 2.02 - EPOCHS / 40), curve(SLOW, 0.02 + SLOW)),
    "unstable": (curve(1 + FALL + 0.5 * (EPOCHS % 2), 1 + FALL), curve(1 + FALL + 0.05 * (EPOCHS % 2), 1 + FALL)),
    "overfit": (curve(0.1 + FALL, 0.5 + FALL + RISING), curve(0.1 + FALL, 0.5 + FALL + RISING, kept=20)),
    "gap_left": (curve(0.1 + FALL, 0.5 + FALL), curve(0.1 + FALL, 0.105 + FALL)),
    "kept_too_late": (curve(0.1 + FALL, 0.2 + FALL + RISING), curve(0.1 + FALL, 0.2 + FALL + RISING, kept=20)),
    "stopped_too_early": (
        Evidence((curve(SLOW, [*SLOW[:39], SLOW[38] + 1e-3], kept=39),), BLANK, plan=STOPPED),
        Evidence((curve(0.5 + FALL, [*(0.5 + FALL[:39]), 0.51], kept=39),), BLANK, plan=STOPPED),
    ),
    "unfinished": (curve(SLOW, 0.02 + SLOW), curve(0.5 + FALL, 0.52 + FALL)),
    "stopped_late": (curve(0.5 + FALL, 0.5 + FALL, kept=15), curve(0.5 + FALL, 0.5 + FALL, kept=30)),
    "noisy_validation": (
        curve(1 + FALL, LUCKY, kept=int(np.argmin(LUCKY)) + 1),
        curve(1 + FALL, 1 + FALL + 0.1 * NOISE, kept=int(np.argmin(1 + FALL + 0.1 * NOISE)) + 1),
    ),
    "underfit": (curve(1 + FALL, 1.01 + FALL), curve(0.1 + FALL, 0.11 + FALL)),
    "peaked_at_once": (curve(FALL, 1 + EPOCHS / 10, kept=1), curve(FALL, 1 + abs(EPOCHS - 9) / 10, kept=9)),
    "held_out_easier": (curve(1 + FALL, 0.5 + FALL), curve(1 + FALL, 0.95 + FALL)),
    "edge_of_range": (replace(SEARCH, edges=(UPPER,)), replace(SEARCH, edges=(UPPER,), flat=True)),
    "winner_within_noise": (replace(SEARCH, leads=(lead(-0.05),)), replace(SEARCH, leads=(lead(0.05),))),
    "flat_search": (replace(SEARCH, flat=True), SEARCH),
    "too_few_configurations": (replace(SEARCH, num_finished=8), replace(SEARCH, num_finished=8, num_names=1)),
    "penalties_rule": (curve(1 + FALL, penalties=5.0), curve(1 + FALL, penalties=0.5)),
    "penalties_idle": (curve(1 + FALL, penalties=1e-5), curve(np.full(40, BLANK), penalties=1e-5)),
    "dropout_before_norm": (
        model(LINEAR, nn.Dropout(0.5), nn.BatchNorm1d(4)),
        model(LINEAR, nn.BatchNorm1d(4), nn.Dropout(0.5)),
    ),
    "dropout_on_output": (
        model(LINEAR, nn.ReLU(), nn.Linear(4, 2), nn.Dropout(0.5)),
        model(LINEAR, nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)),
    ),
    "dropout_in_one_pass": (
        Evidence((curve(FALL),), model=nn.Sequential(nn.Dropout(0.2), LINEAR), passes=1.0),
        Evidence((curve(FALL),), model=nn.Sequential(nn.Dropout(0.2), LINEAR), passes=2.0),
    ),
    "tiny_batches": (
        model(LINEAR, nn.BatchNorm1d(4), plan=Plan(batch_size=4, num_rows=100)),
        model(LINEAR, nn.LayerNorm(4), plan=Plan(batch_size=4, num_rows=100)),
    ),
    "softmax_on_output": (
        model(LINEAR, nn.Softmax(dim=1), of_classes=True),
        model(LINEAR, nn.LogSoftmax(dim=1), of_classes=True),  # which a softmax of its own leaves as it is
    ),
    "miscalibrated": (answers(off=0.15), answers(off=0.0)),
}
"""Of each rule evidence that it speaks of, and evidence much like it that it does not."""
OURS = ("curves", "search", "strength", "layout", "calibration")


def found(evidence) -> dict[str, Finding]:
    if isinstance(evidence, Curve):
        evidence = Evidence((evidence,), BLANK)
    parts = evidence.parts if isinstance(evidence, Evidence) else (evidence,)
    return {finding.code: finding for finding in examine(parts, chosen_rules())}


@pytest.mark.parametrize("code", TWINS)
def test_a_rule_speaks_of_what_it_is_about_and_not_of_its_twin(code):
    planted, healthy = TWINS[code]
    told = found(planted)[code]
    assert code not in found(healthy)
    assert told.message and told.advice and (told.value is None or math.isfinite(told.value))
    if told.interval is not None:
        assert told.interval[0] <= told.value <= told.interval[1]


def test_each_of_these_rules_has_its_twins():
    assert set(TWINS) == {rule.code for rule in RULES if rule.family in OURS}


@pytest.mark.parametrize("code", TWINS)
def test_a_command_is_one_that_there_is(code):
    """Its options are known, and its settings and ranges can be read."""
    if not (line := found(TWINS[code][0])[code].command):
        return
    program, name, *words = shlex.split(line)
    given = load(name).make_context(name, words).params
    assert program == "meden" and given["data"] in ("data.csv", "wine")
    parse_space(given.get("space") or [])
    parse_settings(given.get("changes") or [], "--set", TabularNet)


def test_high_and_low_losses_are_relative_to_a_constant_answer():
    for code in ("underfit", "nothing_learnt", "rate_too_high"):
        assert code not in codes(TWINS[code][0])


def test_a_training_that_learns_nothing_and_jumps_has_too_high_a_rate():
    jumping = curve(BLANK * (1.01 + 0.02 * default_rng(7).standard_normal(40)))
    assert {"rate_too_high", "nothing_learnt"} <= set(found(jumping))
    assert "rate_too_high" not in found(curve(np.full(40, 1.01 * BLANK)))


def test_a_held_out_loss_above_a_constant_answers_is_overfit_without_a_rise():
    assert "overfit" in found(curve(np.full(40, 0.1), scored=2.5, scored_error=0.1))
    unsure = found(curve(np.full(40, 0.1), scored=2.5, scored_error=0.4))
    assert "overfit" not in unsure and "gap_left" in unsure


def test_overfitting_names_the_epoch_since_which_it_is():
    told = found(TWINS["overfit"][0])["overfit"]
    assert "since epoch 20 the held-out loss has risen by 0.3" in told.message  # what falls in training takes a part
    assert told.value == pytest.approx(0.4, rel=0.1)
    falls_with_it = curve(0.5 + FALL + RISING, 0.9 + FALL + RISING)  # a run that gets worse on its own rows
    assert "overfit" not in found(falls_with_it) and "kept_too_late" in found(falls_with_it)


def test_batches_of_few_rows_are_tiny():
    def tiny(size):
        return "tiny_batches" in found(model(nn.BatchNorm1d(4), plan=Plan(batch_size=size, num_rows=64)))

    assert tiny(2) and tiny(7) and not tiny(8)


def test_the_share_that_few_configurations_leave_is_right():
    """Of draws from a space whose values are their ranks, the best is within the share in 95 of 100 searches."""
    told = found(TWINS["too_few_configurations"][0])["too_few_configurations"]
    best = default_rng(8).random((20_000, 8)).min(axis=1)
    assert np.mean(best <= told.value) == pytest.approx(0.95, abs=0.005)
    assert "too_few_configurations" not in found(replace(SEARCH, num_finished=16))


def test_patience_that_ran_out_at_the_end_of_the_plan_is_none():
    planted = TWINS["stopped_too_early"][0]
    assert "stopped_too_early" not in found(replace(planted, plan=Plan(epochs=40, patience=1)))
    assert "stopped_too_early" not in found(replace(planted, plan=Plan(epochs=200)))


@pytest.mark.parametrize(
    ("healthy", "blank"),
    [
        (curve(0.01 + FALL, 0.0105 + FALL), None),  # fitted, and as good on new rows
        (curve(0.01 + FALL, 0.0105 + FALL), 1.1),
        (curve(0.2 + FALL), None),  # no rows held out: nothing to compare with
        (curve(2 - EPOCHS / 40), None),  # that the training loss still falls is no reason to go on
        (curve(1e-3 + FALL, 3e-3 + FALL), None),  # three times nothing
        (curve([0.02], [0.0203]), None),
        (curve(np.full(40, 0.02), np.full(40, 0.0203)), 1.0986),  # all was learnt in the first epoch
        (curve(np.zeros(40), np.zeros(40)), 0.0),
        (curve(1e-4 * (1 + 0.3 * (-1.0) ** EPOCHS), 1e-4 * (1 + 0.3 * (-1.0) ** EPOCHS)), 2.3),  # scatter of nothing
        (curve(2 - EPOCHS / 40, scored=1.02, scored_error=0.01), 2.3),  # alike, and both still falling
        (curve(1 + FALL, scored=1.01, scored_error=0.3), 2.3),  # alike for all that one knows
        (curve(0.2 + FALL, 0.215 + FALL, kept=40), None),
    ],
)
def test_nothing_stands_out_where_nothing_is_wrong(healthy, blank):
    assert codes(healthy, blank=blank) == []
    assert str(diagnose(Evidence((healthy,), blank))) == "nothing stands out"


def test_a_gap_counts_when_it_is_beyond_two_standard_errors_over_the_folds():
    error = 0.15 / math.sqrt(5)  # 0.067
    told = {f.code: f for f in diagnose(Evidence(tuple(folds(0.2, 0.15)))).findings}["gap_left"]
    assert (told.value, *told.interval) == pytest.approx((0.2, 0.2 - 2 * error, 0.2 + 2 * error))
    assert "0.2 ± 0.07" in told.message and told.severity == "info"
    assert "gap_left" not in codes(*folds(0.12, 0.15)) and "gap_left" in codes(*folds(0.12, 0.1))
    assert "held_out_easier" in codes(*folds(-0.2, 0.15)) and "held_out_easier" not in codes(*folds(-0.12, 0.15))


def test_a_gap_that_the_best_amount_leaves_is_not_called_overfitting():
    """Where a search could have had more of what it regularises by."""
    told = {more: diagnose(Evidence(tuple(folds(0.2, 0.1)), searched=True, more_in_reach=more)) for more in (0, 1)}
    assert [f.code for f in told[0].findings] == ["gap_left"] and "a wider search can tell" in str(told[0])
    assert [f.code for f in told[1].findings] == ["gap_left"] and "this amount is best" in str(told[1])
    assert "meden tune" not in str(told[0]) + str(told[1])
    assert diagnose(Evidence(tuple(folds(0.12, 0.15)), searched=True, more_in_reach=True)).findings == ()


def test_a_held_out_loss_below_a_training_loss_in_training_mode_is_no_finding():
    told = codes(curve(1 + FALL, 0.5 + FALL, as_logged=True))
    assert "held_out_easier" not in told
    assert "gap_left" in codes(curve(FALL, 1 + FALL, as_logged=True))  # which such losses understate


def test_a_single_training_has_the_error_of_its_rows_or_says_that_it_has_none():
    flat = [0.5] * 10
    told = diagnose(Evidence((curve(flat, [0.9] * 10, scored=0.9, scored_error=0.1),))).findings
    assert [f.interval for f in told if f.code == "gap_left"] == [pytest.approx((0.2, 0.6))]
    assert "gap_left" not in codes(curve(flat, [0.9] * 10, scored=0.9, scored_error=0.3))
    (alone,) = [f for f in diagnose(Evidence((curve(flat, [0.9] * 10),))).findings if f.code == "gap_left"]
    assert alone.interval is None and "the uncertainty is unknown" in alone.message


def test_the_state_that_was_kept_counts_and_not_the_end():
    after = np.maximum(EPOCHS - 20, 0)
    stopped = curve(1.2 - 0.02 * EPOCHS, 1.2 - 0.02 * (EPOCHS - after) + 0.05 * after, kept=20)
    assert codes(stopped) == []  # neither the gap nor the rise that came later
    assert set(codes(curve(stopped.train, stopped.held_out))) == {"overfit", "kept_too_late"}


def test_some_that_diverged_do_not_hide_the_others():
    told = diagnose(Evidence((TWINS["diverged"][0], TWINS["overfit"][0])))
    assert [f.code for f in told.findings] == ["diverged", "overfit", "kept_too_late"] and told.num_runs == 2
    assert told.findings[0].value == 0.5
    assert told.to_dict()["findings"][1]["code"] == "overfit"


def test_what_was_learnt_and_lost_again_is_told():
    lost = curve([2.0, 0.5, *[2.3] * 10])
    assert "nothing_learnt" in codes(lost, blank=2.3)
    above = diagnose(Evidence((curve([9.0] * 10),), 0.7)).findings[0].message
    assert "is above the 0.7 of a constant model" in above


def test_seeds_of_one_fold_count_as_one():
    gaps = {0: 0.0, 1: 0.3, 2: 0.05}
    once = [curve([0.5] * 10, scored=0.5 + gap, fold=fold) for fold, gap in gaps.items()]
    assert Evidence(tuple(once * 5)).gap == Evidence(tuple(once)).gap
    assert "gap_left" not in codes(*once * 5)


def test_losses_below_zero_are_measured_by_the_range_that_they_fell_by():
    """Moving all losses by a constant, which leaves the training as it is, takes nothing away that stands out."""
    draws = default_rng(3).standard_normal(40)
    for noise in (0.0, 0.01):
        calm = 1 + FALL + noise * draws
        assert codes(curve(calm - 3, calm - 2.99)) == codes(curve(calm, calm + 0.01), blank=None) == []
    wild = 1 + FALL + 0.5 * draws
    assert "unstable" in codes(curve(wild, 1 + FALL)) and "unstable" in codes(curve(wild - 3, FALL - 2))
    rising = curve(FALL - 3, FALL - 2.9 + RISING, penalties=0.1)
    assert set(codes(rising)) == {"overfit", "kept_too_late"}
    assert codes(curve(FALL - 3, FALL - 2.99), blank=-1.0) == []


def test_a_training_loss_that_never_moves_is_told_without_that_of_a_constant_answer():
    assert codes(curve(np.full(20, 0.693), np.full(20, 0.693))) == ["nothing_learnt"]
    assert "nothing_learnt" not in codes(curve(np.linspace(0.693, 0.692, 20), np.full(20, 0.693)))
