"""The end of an epoch, against a loop in plain Python for each member by itself."""

import math

import numpy as np
import pytest

import meden
from meden import progress
from meden.history import Record
from meden.progress import Ending

NUM, EPOCHS, STEPS = 40, 25, 3


def record(epoch, train, valid):
    scores = {"train": {"loss": train}, "valid": None if valid is None else {"loss": valid}}
    return Record(epoch=epoch, step=STEPS * epoch, **scores, lr=0.1, num_zeros=0, weight_norm=1.0, seconds=0.0)


def recipes(rng):
    """Return recipes of every kind of ending: with and without early stopping and plateau, some cut short."""
    stops = [None, {"patience": 1}, {"patience": 3, "min_delta": 0.1}, {"patience": 30}]
    plateaus = ["constant", {"kind": "plateau", "every": 2, "decay": 0.5}]
    return [
        meden.Recipe(
            epochs=EPOCHS,
            stop_after=[None, int(rng.integers(1, EPOCHS))][k % 2],
            early_stopping=stops[k % 4],
            schedule=plateaus[k % 3 % 2],
        )
        for k in range(NUM)
    ]


def losses(rng):
    """Return held-out losses (K, T) that fall and rise in steps that tie, a few of them not finite."""
    found = np.round(rng.normal(size=(NUM, EPOCHS)).cumsum(1), 1)
    found[rng.random(found.shape) < 0.01] = np.nan
    return found


def by_hand(recipe, train, valid):
    """Return (kept epoch, status, epochs done, factor of the rate), one epoch after the other."""
    best, stall, waited, stalled, factor, kept = math.inf, math.inf, 0, 0, 1.0, 0
    rule, schedule = recipe.early_stopping, recipe.schedule
    for epoch, (own, loss) in enumerate(zip(train, valid, strict=True), start=1):
        if schedule.kind == "plateau":
            stalled = 0 if loss < stall else stalled + 1
            stall = loss if loss < stall else stall
            if stalled == schedule.every:
                factor, stalled = factor * schedule.decay, 0
        if rule is None or loss < best - rule.min_delta:
            kept = epoch
        if rule is not None:
            waited = 0 if loss < best - rule.min_delta else waited + 1
            best = loss if loss < best - rule.min_delta else best
        if not math.isfinite(own + loss):
            return kept or epoch, "diverged", epoch, factor
        if rule is not None and waited == rule.patience:
            return kept or epoch, "stopped_early", epoch, factor
        if epoch == recipe.last_epoch:
            return kept or epoch, "completed", epoch, factor
    raise AssertionError("no end")


def test_many_equal_each_by_hand():
    rng = np.random.default_rng(0)
    given, valid = recipes(rng), losses(rng)
    train = np.abs(valid)
    state, rules = progress.start(NUM), progress.rules_of(given)
    found = {}
    for epoch in range(1, EPOCHS + 1):
        records = [record(epoch, *pair) for pair in zip(train[:, epoch - 1], valid[:, epoch - 1], strict=True)]
        before = state.live
        state, verdict = progress.advance(state, records, rules)
        assert not (verdict.keep & ~before).any()
        for row, ending in enumerate(verdict.endings):
            if ending is not None:
                assert before[row] and not state.live[row]
                told = progress.outcome(state, row, ending, records[row], null=math.inf)
                assert told.best_step == STEPS * told.best_epoch
                found[row] = told.best_epoch, told.status, epoch, state.plateau.factor[row]
    assert not state.live.any()
    assert found == {k: by_hand(given[k], train[k], valid[k]) for k in range(NUM)}
    assert {status for _, status, _, _ in found.values()} == {"completed", "stopped_early", "diverged"}


def test_what_is_kept_is_what_the_masks_said():
    rng = np.random.default_rng(1)
    given, valid = recipes(rng), np.abs(losses(rng))
    state, rules, kept = progress.start(NUM), progress.rules_of(given), np.zeros(NUM, dtype=int)
    for epoch in range(1, EPOCHS + 1):
        state, verdict = progress.advance(state, [record(epoch, v, v) for v in valid[:, epoch - 1]], rules)
        kept[verdict.keep] = epoch
        assert (kept == state.best_epoch).all() and (state.best_step == STEPS * kept).all()


def test_some_members_alone_go_on_as_all_do():
    rng = np.random.default_rng(2)
    given, valid = recipes(rng), losses(rng)
    rows = [3, 17, 20, 31]
    state, few, rules = progress.start(NUM), None, progress.rules_of(given)
    for epoch in range(1, EPOCHS + 1):
        records = [record(epoch, 1.0, v) for v in valid[:, epoch - 1]]
        state, verdict = progress.advance(state, records, rules)
        if epoch == 5:
            few = progress.take(state, rows)
        elif epoch > 5:
            taken = progress.from_lists(progress.to_lists(few))  # a checkpoint between any two epochs changes nothing
            few, own = progress.advance(taken, [records[k] for k in rows], progress.rules_of([given[k] for k in rows]))
            assert [verdict.endings[k] for k in rows] == list(own.endings)
            np.testing.assert_equal(progress.take(state, rows), few)
    apart = progress.take(state, range(20)), progress.take(state, range(20, NUM))
    np.testing.assert_equal(progress.join(*apart), state)


def test_dropped_members_are_kept_where_they_were():
    state, rules = progress.start(2), progress.rules_of([meden.Recipe()] * 2)
    state, _ = progress.advance(state, [record(1, 0.5, None)] * 2, rules)
    state = progress.drop(state, [1])
    state, verdict = progress.advance(state, [record(2, 0.4, None)] * 2, rules)
    assert verdict.keep.tolist() == [True, False] and state.best_epoch.tolist() == [2, 1]


@pytest.mark.parametrize("kept_epoch", [0, 1])
def test_a_finite_loss_beyond_all_reason_is_no_result(kept_epoch):
    state = progress.start(1)
    if kept_epoch:
        state, _ = progress.advance(state, [record(1, 5e3, 1.0)], progress.rules_of([meden.Recipe()]))
    ending = Ending("completed", "all 1 epochs")
    assert progress.outcome(state, 0, ending, record(1, 5e3, 1.0), null=2.0).status == "diverged"
    assert progress.outcome(state, 0, ending, record(1, 5e3, 1.0), null=6.0).status == "completed"
    assert progress.outcome(state, 0, progress.dropped(1), record(1, 5e3, 1.0), null=2.0).status == "dropped"
