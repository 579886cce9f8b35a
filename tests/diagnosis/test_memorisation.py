"""What models know by heart, from arrays: planted and not, by class and by row, and the rules."""

import dataclasses
import json

import numpy as np
import pytest

from meden import InputError
from meden.diagnosis import Curve, Evidence, diagnose
from meden.diagnosis.memory.memorisation import RowLosses, membership_aucs, memorisation_of
from tests.diagnosis.test_shadows import divided


def known(gap, num_rows=200, divisions=2, of=slice(None), seed=0, **more):
    """Return losses of five folds, whose fitted rows are lower by a factor exp(-gap)."""
    members, outsiders, folds = divided(num_rows, 5, divisions, seed=seed, stop=0.1)
    random = np.random.default_rng(seed)
    logs = random.normal(size=num_rows) + 0.5 * random.normal(size=members.shape) - 1
    inside = np.zeros_like(members)
    inside[:, of] = members[:, of]
    parts = np.where(members, 1, np.where(outsiders, 3, 2)).astype(np.uint8)
    losses = np.exp(logs - gap * inside)
    return RowLosses(losses=losses, parts=parts, folds=folds, classified=False, **more)


def test_what_was_planted_is_found_by_both_and_by_ratios_more():
    found = memorisation_of(known(1.5))
    assert found.loss.auc.low > 0.7 and found.lira.auc.low > found.loss.auc.high
    assert (found.num_models, found.num_rows) == (10, 200)
    assert found.stop.low < 0.5 < found.stop.high  # rows that stopped left no trace here
    assert [share.false_positives for share in found.lira.true_positives] == [0.001, 0.01]
    assert memorisation_of(known(1.5, num_rows=1000)).lira.true_positives[1].low > 0.05
    assert membership_aucs(known(1.5)) == (found.loss.auc, found.lira.auc)
    assert json.loads(json.dumps(found.to_dict()))["lira"]["auc"]["value"] == found.lira.auc.value
    assert f"{found.lira.auc.value:.3f}" in str(found) and "\n" not in repr(found)


def test_nothing_is_found_where_nothing_was_planted():
    missed = np.zeros(2)
    for seed in range(60):
        for place, found in enumerate(membership_aucs(known(0.0, seed=seed))):
            missed[place] += not found.low <= 0.5 <= found.high
    assert (missed <= 8).all()  # of 60, at 5 % each: more than 8 are one in 500


def test_the_class_that_is_known_by_heart_is_named():
    labels = np.repeat([0, 1], 100)
    found = memorisation_of(known(1.5, of=labels == 1, labels=labels, classes=("plain", "learnt")))
    plain, learnt = (found.lira.by_class[name] for name in ("plain", "learnt"))
    assert plain.low < 0.5 < plain.high < learnt.low
    assert "learnt" in str(found)
    assert all(row.label == "learnt" for row in found.exposed[:5])


def test_the_row_that_is_known_by_heart_is_named_with_its_losses():
    given = known(5.0, of=slice(17, 18), divisions=3)
    found = memorisation_of(given)
    first = found.exposed[0]
    inside, outside = (given.losses[rows[:, 17], 17] for rows in (given.members, given.outsiders))
    assert first.row == 17 and first.fitted_loss == pytest.approx(inside.mean())
    assert first.unseen_loss == pytest.approx(outside.mean())
    assert first.exposure == pytest.approx((np.log(outside).mean() - np.log(inside).mean()) / 0.5, rel=0.1)
    assert first.error == pytest.approx(np.sqrt(1 / len(inside) + 1 / len(outside)))
    assert found.exposures.shape == (200,) and found.exposures[17] == first.exposure
    assert first.exposure > np.delete(found.exposures, 17).max() + 3 and "most exposed rows: 17 (" in str(found)


def test_no_row_stands_out_where_nothing_was_planted():
    found = [memorisation_of(known(0.0, seed=seed)) for seed in range(60)]
    named = [one for one in found if one.exposed]
    assert len(named) <= 8  # of 60, at 5 % each
    assert all(("no row stands out" in str(one)) != bool(one.exposed) for one in found)


def test_a_single_model_is_told_by_its_loss_alone():
    losses, parts = np.random.default_rng(0).exponential(size=(1, 200)), np.repeat([[1, 3]], 100, axis=1)
    found = memorisation_of(RowLosses(losses=losses, parts=parts.astype(np.uint8)))
    assert found.lira is None and found.strongest is found.loss and found.stop is None and found.exposed == ()
    assert found.loss.auc.low < 0.5 < found.loss.auc.high


def test_losses_that_are_not_known_do_not_count():
    given = known(1.5)
    losses = given.losses.copy()
    losses[0] = np.nan
    apart = RowLosses(losses=losses[1:], parts=given.parts[1:], folds=given.folds[1:], classified=False)
    with_it = RowLosses(losses=losses, parts=given.parts, folds=given.folds, classified=False)
    assert membership_aucs(with_it) == membership_aucs(apart)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"parts": np.ones((2, 3), np.uint8)}, r"losses and parts must both have shape \(models, rows\)"),
        ({"parts": np.ones((2, 4), np.uint8)}, "rows that a model has not seen, got none"),
        ({"losses": np.full((2, 4), np.nan)}, "rows that a model was fitted on, got none"),
        ({"folds": np.zeros((3, 2), np.int64)}, r"folds must have shape \(models, 2\)"),
        ({"parts": np.array([[1, 3, 3, 0]] * 2, np.uint8)}, "at least two rows"),
    ],
)
def test_losses_that_do_not_fit_are_refused(change, match):
    good = {"losses": np.ones((2, 4)), "parts": np.array([[1, 1, 3, 3]] * 2, np.uint8)}
    with pytest.raises(InputError, match=match) as told:
        memorisation_of(RowLosses(**good | change))
    assert "\n" not in str(told.value)


def test_some_of_many_rows_tell_the_same_less_surely():
    given = known(1.0, num_rows=2000, clusters=np.repeat(np.arange(1000), 2), labels=np.arange(2000) % 2)
    few = given.thinned(500)
    assert few.losses.shape == few.parts.shape == (10, 500) and len(few.labels) == len(few.clusters) == 500
    assert given.thinned(2000) is given
    (whole, _), (part, _) = membership_aucs(given), membership_aucs(few)
    assert part.low < whole.value < part.high and part.high - part.low > 1.3 * (whole.high - whole.low)


def codes(gap, **asked):
    evidence = Evidence((Curve(train=[1.0, 0.9]),), memorisation=memorisation_of(known(gap)))
    return [(finding.code, finding.severity) for finding in diagnose(evidence, select=["memorisation"]).findings]


def test_rules_tell_much_from_little_from_nothing():
    assert codes(1.5) == [("memorised", "warning")]
    assert codes(0.12) == [("slightly_memorised", "info")]
    assert codes(0.0) == []
    evidence = Evidence((Curve(train=[1.0, 0.9]),), memorisation=memorisation_of(known(1.5)), source="wine")
    (finding,) = diagnose(evidence, select=["memorised"]).findings
    assert finding.interval[0] < finding.value < finding.interval[1] and "row" in finding.message
    assert finding.command == "meden tune wine --keep-losses"
    (finding,) = diagnose(dataclasses.replace(evidence, losses_kept=True), select=["memorised"]).findings
    assert finding.command == ""  # the search has done so
