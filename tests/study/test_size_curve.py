"""A network's curve in rows: what it says of more rows, and when it says nothing."""

import numpy as np
import pytest

from meden import InputError
from meden.study.learning_curve_text import sentences_of
from meden.study.selection import Score
from meden.study.size_curve import SizeCurve

SIZES = np.geomspace(100, 1600, 8)


def curve(of, *, sizes=SIZES, noise=0.002, hard=0.02, seed=0, name="chosen"):
    random = np.random.default_rng(seed)
    shared = hard * np.random.default_rng(99).normal(size=(5, 1))
    return SizeCurve(name, sizes, of(sizes) + shared + noise * random.normal(size=(5, len(sizes))), seed=0)


def falls(n):
    return 0.2 + 3 * n**-0.5


def kinds(chosen, plain=None, gain=None):
    return {s.kind: s.text for s in reversed(sentences_of(chosen, plain, gain, "loss", "steps", 3000))}


def test_twice_the_rows_and_no_farther():
    found = curve(falls)
    told = found.predict(3200)
    assert told.low < falls(3200) < told.high and told.low < told.mean < told.high
    gain = found.gain(3200)
    assert gain.low < falls(1600) - falls(3200) < gain.high
    assert gain.high - gain.low < (told.high - told.low) / 2, "what folds share is no part of a gain"
    for n in (99, 3201):
        with pytest.raises(InputError, match=r"n must be a finite number in \[100"):
            found.predict(n)
    wide = [found.gain(n).high - found.gain(n).low for n in (1600, 2400, 3200)]
    assert wide == sorted(wide)


def test_networks_of_the_same_folds_are_compared_fold_by_fold():
    chosen, plain = curve(falls, seed=1), curve(lambda n: falls(n) + 20 / n, seed=2, name="plain")
    above = plain.above(chosen, 3200)
    assert above.low < 20 / 3200 < above.high
    assert above.high - above.low < chosen.predict(3200).high - chosen.predict(3200).low


def test_a_new_measurement_lies_within_as_often_as_is_said():
    hits = 0
    for seed in range(60):
        whole = curve(falls, sizes=np.append(SIZES, 3200.0), noise=0.01, seed=seed)
        known = SizeCurve("chosen", SIZES, whole.values[:, :-1], seed)
        gain, true = known.gain(3200), whole.mean[-2] - whole.mean[-1]
        hits += gain.low <= true <= gain.high
    assert hits >= 52


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (curve(falls, sizes=SIZES[::3]), "at 3 sizes, and a power law needs 4"),
        (curve(falls, sizes=np.array([100.0, 150, 200, 300])), "a power law needs a range of a factor of 4"),
        (curve(lambda n: falls(n) + 0.2 * (n > 700)), "it rises from 488 to 725 rows"),
        (curve(lambda _: 0.5 - 0.03 * np.arange(8) - 0.03 * (np.arange(8) % 2), noise=1e-4), "no power law fits it"),
        (SizeCurve("chosen", SIZES, np.where(SIZES == SIZES[-1], np.nan, falls(SIZES)) * np.ones((5, 1))), "diverged"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is(made, said):
    assert said in made.reason
    with pytest.raises(InputError, match="no power law to predict other sizes"):
        made.predict(200)
    assert "the effect of more rows is unknown" in kinds(made)["no_law"]


def test_a_size_that_diverged_is_left_out():
    values = curve(falls).values.copy()
    values[2, 0] = np.nan
    found = SizeCurve("chosen", SIZES, values)
    assert found.sound.tolist() == [False] + [True] * 7 and found.reason == ""
    assert found.predict(3200).mean == pytest.approx(falls(3200), abs=0.03)


@pytest.mark.parametrize(
    ("of", "noise", "said"),
    [
        (falls, 0.002, "More rows would help: twice as many would lower the loss by 0.02"),
        (lambda n: 0.3 + 0 * n, 0.0005, "More rows would hardly help"),
        (lambda n: 0.3 + 0 * n, 0.02, "It is unknown whether more rows would help"),
    ],
)
def test_whether_more_rows_would_help(of, noise, said):
    found = kinds(curve(of, noise=noise))
    assert said in found["more_rows"]
    assert ("law" in found) == ("unknown whether" not in said)  # a curve that is called flat is told


def test_a_flat_curve_is_seldom_said_to_rise():
    """Of 400 flat curves 5 % at most, whatever pair of sizes is the farthest apart."""
    random = np.random.default_rng(0)
    made = (SizeCurve("chosen", SIZES, 0.5 + 0.02 * random.normal(size=(10, 8))) for _ in range(400))
    assert sum(one._rise() is not None for one in made) <= 20


def test_regularisation_stands_beside_it():
    chosen, plain = curve(falls, seed=1), curve(lambda n: falls(n) + 20 / n, seed=2, name="plain")
    found = sentences_of(chosen, plain, Score(0.05, 0.03, 0.07, 0.95, 0.05), "loss", "steps", 3000)
    texts = [sentence.text for sentence in found]
    assert any(t.startswith("Regularisation gains 0.05 (0.03 to 0.07) of the loss; with twice the rows") for t in texts)
    assert "Regularisation gains more than twice the rows would." in texts or chosen.gain(3200).high > 0.03
    lost = kinds(chosen, None, Score(-0.05, -0.07, -0.03, 0.9, -0.05))
    assert lost["hurts"].startswith("Regularisation loses 0.05 (0.03 to 0.07)") and "(90 %" in lost["intervals"]
    small = [s.text for s in sentences_of(chosen, None, Score(0.0, -0.001, 0.001, 0.95, 0.0), "loss", "steps", 3000)]
    assert "Regularisation does not clearly gain: 0 (-0.001 to 0.001) of the loss." in small
    assert "Twice the rows would gain more than regularisation does." in small
    apart = sentences_of(chosen, None, Score(0.0, -0.001, 0.001, 0.95, 0.0), "loss", "steps", 3000, 2400.0)
    texts = [s.text for s in apart]
    assert any(t.endswith("of the loss with the study's 2,400 training rows.") for t in texts)
    assert not any("than" in t and "gain" in t for t in texts)
