"""Curves of folds that begin where others ended, and scores that are losses of the stop rows."""

import math

import numpy as np
import pytest
from scipy.stats import t

from meden.diagnosis import Curve, Evidence, diagnose

EPOCHS = np.arange(1, 13)


def folds(starts, noise=0.01, end=0.3, **known):
    rng = np.random.default_rng(0)
    curves = []
    for start in starts:
        train = end + (start - end) * np.exp(-(EPOCHS - 1) / 3) + noise * rng.standard_normal(len(EPOCHS))
        curves.append(Curve(train=train.tolist(), held_out=(train + 0.01).tolist(), **known))
    return Evidence(tuple(curves))


def found(evidence):
    return {finding.code: finding for finding in diagnose(evidence, select=["honesty"]).findings}


def test_folds_that_go_on_with_the_first_ones_weights_are_found():
    evidence = folds([2.0, 0.5, 0.45, 0.42, 0.4])
    finding = found(evidence)["weights_carried"]
    first = evidence.curves[0].train
    done = [(first[0] - curve.train[0]) / (first[0] - min(first)) for curve in evidence.curves[1:]]
    reach = t.ppf(0.975, 3) * np.std(done, ddof=1) / math.sqrt(4)
    assert finding.value == pytest.approx(np.mean(done))
    assert finding.interval == pytest.approx((np.mean(done) - reach, np.mean(done) + reach))


@pytest.mark.parametrize(
    "starts",
    [
        [2.0, 1.9, 2.1, 2.0, 1.95],
        [2.6, 1.9, 2.1, 2.0, 1.95],  # the first is the highest, by little of what is learnt
        [2.0, 0.5],  # of two folds no chance can be told
        [0.5, 2.0, 2.0, 2.0],
        [2.0, 0.5, 2.0, 0.5, 2.0],
        [0.31, 0.305, 0.305, 0.305],  # there is nothing to carry
        [5.0, 2.3, 2.2, 2.3, 2.2],  # lower at once, for more steps an epoch, and much left to learn
    ],
)
def test_folds_of_new_weights_are_left_alone(starts):
    assert found(folds(starts)) == {}


def test_seeds_of_one_fold_are_one():
    evidence = folds([2.0, 0.5, 0.45, 0.42], fold=1)
    assert found(evidence) == {}


def test_a_score_that_is_a_stop_loss_is_found_and_one_of_other_rows_is_not():
    held_out = [0.912345678, 0.712345678, 0.812345678]
    for scored, expected in ((held_out[1], True), (held_out[2], True), (0.72, False), (None, False)):
        curve = Curve(train=[1.0, 0.7, 0.6], held_out=held_out, scored=scored)
        assert ("stop_loss_scored" in found(Evidence((curve,)))) == expected


def test_equal_roundings_of_one_run_are_a_coincidence():
    curve = Curve(train=[1.0, 0.7], held_out=[0.9, 0.71], scored=0.71)
    assert found(Evidence((curve,))) == {} and "stop_loss_scored" in found(Evidence((curve, curve)))
    mixed = found(Evidence((curve, curve, Curve(train=[1.0], held_out=[0.8], scored=0.83))))
    assert mixed["stop_loss_scored"].value == pytest.approx(2 / 3)
