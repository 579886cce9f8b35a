"""Each finding on curves that show it, and none on curves that do not."""

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import linregress

from meden._checks import InputError
from meden.diagnosis import Curve, Evidence, diagnose, of_history
from meden.diagnosis.rules import NOISY, _line, _scatter, _still_to_fall
from meden.history import History, Record

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
"""Loss of a constant answer."""
SHOWN = {
    "overfit": curve(0.1 + FALL, 0.5 + FALL),
    "kept_too_late": curve(0.1 + FALL, 0.2 + FALL + 0.02 * np.maximum(EPOCHS - 20, 0)),
    "unfinished": curve(2 - EPOCHS / 40, 2.02 - EPOCHS / 40),
    "underfit": curve(1 + FALL, 1.01 + FALL),
    "peaked_at_once": curve(FALL, 1 + EPOCHS / 10, kept=1),
    "held_out_easier": curve(1 + FALL, 0.5 + FALL),
    "unstable": curve(1 + FALL + 0.5 * (EPOCHS % 2), 1 + FALL),
    "nothing_learnt": curve(np.full(40, 1.99)),
    "penalties_rule": curve(1 + FALL, penalties=5.0),
    "diverged": curve([], lost="loss was not finite"),
}


@pytest.mark.parametrize("code", SHOWN)
def test_a_finding_is_found(code):
    assert code in codes(SHOWN[code], blank=BLANK)
    needs_blank = code in ("underfit", "nothing_learnt")  # high and low are relative to something
    assert (code in codes(SHOWN[code])) != needs_blank


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
    found = {f.code: f for f in diagnose(Evidence(tuple(folds(0.2, 0.15)))).findings}["overfit"]
    assert (found.value, *found.interval) == pytest.approx(
        (0.2, 0.2 - 2 * error, 0.2 + 2 * error)
    ) and "0.2 ± 0.07" in found.message
    assert "overfit" not in codes(*folds(0.12, 0.15)) and "overfit" in codes(*folds(0.12, 0.1))
    assert "held_out_easier" in codes(*folds(-0.2, 0.15)) and "held_out_easier" not in codes(*folds(-0.12, 0.15))


def test_a_gap_that_the_best_amount_leaves_is_not_called_overfitting():
    """Where a search could have had more of what it regularises by."""
    told = {more: diagnose(Evidence(tuple(folds(0.2, 0.1)), searched=True, more_in_reach=more)) for more in (0, 1)}
    assert [f.code for f in told[0].findings] == ["overfit"] and "a search that reaches further tells" in str(told[0])
    assert [f.code for f in told[1].findings] == ["gap_left"] and "this much does best" in str(told[1])
    assert "meden tune" not in str(told[0]) + str(told[1])
    assert diagnose(Evidence(tuple(folds(0.12, 0.15)), searched=True, more_in_reach=True)).findings == ()


def test_a_held_out_loss_below_a_training_loss_in_training_mode_is_no_finding():
    told = codes(curve(1 + FALL, 0.5 + FALL, as_logged=True))
    assert "held_out_easier" not in told
    assert "overfit" in codes(curve(FALL, 1 + FALL, as_logged=True))  # which such losses understate


def test_a_single_training_has_the_error_of_its_rows_or_says_that_it_has_none():
    flat = [0.5] * 10
    told = diagnose(Evidence((curve(flat, [0.9] * 10, scored=0.9, scored_error=0.1),))).findings
    assert [f.interval for f in told if f.code == "overfit"] == [pytest.approx((0.2, 0.6))]
    assert "overfit" not in codes(curve(flat, [0.9] * 10, scored=0.9, scored_error=0.3))
    (alone,) = [f for f in diagnose(Evidence((curve(flat, [0.9] * 10),))).findings if f.code == "overfit"]
    assert alone.interval is None and "how sure this is remains unknown" in alone.message


def test_the_state_that_was_kept_counts_and_not_the_end():
    after = np.maximum(EPOCHS - 20, 0)
    stopped = curve(1.2 - 0.02 * EPOCHS, 1.2 - 0.02 * (EPOCHS - after) + 0.05 * after, kept=20)
    assert codes(stopped) == []  # neither the gap nor the rise that came later
    assert set(codes(curve(stopped.train, stopped.held_out))) == {"overfit", "kept_too_late"}


def test_some_that_diverged_do_not_hide_the_others():
    found = diagnose(Evidence((SHOWN["diverged"], SHOWN["overfit"])))
    assert [f.code for f in found.findings] == ["diverged", "overfit"] and found.num_runs == 2
    assert found.findings[0].value == 0.5
    assert found.to_dict()["findings"][1]["code"] == "overfit"


def test_what_was_learnt_and_lost_again_is_told():
    lost = curve([2.0, 0.5, *[2.3] * 10])
    assert "nothing_learnt" in codes(lost, blank=2.3)
    above = diagnose(Evidence((curve([9.0] * 10),), 0.7)).findings[0].message
    assert "is above the 0.7 of a constant answer" in above


def test_seeds_of_one_fold_count_as_one():
    gaps = {0: 0.0, 1: 0.3, 2: 0.05}
    once = [curve([0.5] * 10, scored=0.5 + gap, fold=fold) for fold, gap in gaps.items()]
    assert Evidence(tuple(once * 5)).gap == Evidence(tuple(once)).gap
    assert "overfit" not in codes(*once * 5)


def test_scatter_of_white_noise_is_measured_and_a_smooth_fall_has_none():
    noise = default_rng(1).normal(0, 0.2, 4000)
    assert _scatter(2 + noise) == pytest.approx(0.2, rel=0.05)
    assert _scatter(list(3 - EPOCHS / 20)) < 1e-12 and _scatter(list(FALL)) < NOISY / 100


@pytest.mark.parametrize("num", [8, 40])
def test_a_line_goes_on_as_it_fell_and_a_decay_fades(num):
    epochs = np.arange(1, num + 1)
    assert _still_to_fall(list(3 - 0.1 * epochs)) == pytest.approx(0.1 * num / 4)
    left = math.exp(-num / 6)
    assert 0 < _still_to_fall(list(np.exp(-epochs / 6))) < 2 * left


def test_slopes_agree_with_scipy():
    y = default_rng(2).normal(0, 1, 40) - 0.1 * EPOCHS
    line = linregress(np.arange(10), y[-10:])
    assert _line(list(y)) == pytest.approx((line.slope, line.stderr))


def record(epoch, train, valid, penalty=0.0):
    return Record(
        epoch=epoch,
        step=epoch,
        train={"loss": train},
        valid=None if valid is None else {"loss": valid},
        penalties={"L2": penalty},
        lr=0.1,
        num_zeros=0,
        weight_norm=1.0,
        seconds=0.0,
    )


def test_histories_become_curves():
    made = of_history(History((record(1, 1.0, 1.1, 0.3), record(2, 0.5, 0.9, 0.2))), kept=1)
    assert (made.train, made.held_out, made.penalties) == ([1.0, 0.5], [1.1, 0.9], 0.3) and made.train_loss == 1.0
    assert of_history(History((record(1, 1.0, None),))).held_out == ()
    assert diagnose(History((record(1, 1.0, None), record(2, math.nan, None)))).findings[0].code == "diverged"


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"train": []}, "train must hold the loss of one epoch or more, got none"),
        ({"train": [1.0], "held_out": [1.0, 2.0]}, r"held_out must hold as many epochs as train \(1\), got 2"),
        ({"train": [1.0], "kept": 2}, "kept must be an epoch from 1 to 1, got 2"),
    ],
)
def test_curves_that_do_not_fit_are_refused(known, told):
    with pytest.raises(InputError, match=told):
        Curve(**known)
