"""Diagnoses of real trainings: runs, members, ensembles and studies."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import sem
from torch import nn

import meden
from meden import Choice, LogUniform, Recipe, Regularizer
from meden.data import as_dataset, make_folds
from meden.member import Member, constant_loss
from meden.models import MLP
from meden.penalties import L2
from meden.run import Ensemble
from meden.training.fit_many import fit_many

RECIPE = Recipe(epochs=40, lr=0.01, batch_size=16)


def rows(num, seed, noise):
    """Return inputs and classes, which are right with probability 1 - noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, 10)).astype(np.float32)
    y = (x[:, 0] > 0) ^ (rng.random(num) < noise)
    return x, y.astype(np.int64)


def codes(subject):
    return {finding.code for finding in meden.diagnose(subject).findings}


def fit(recipe, train, valid, width=64):
    torch.manual_seed(0)
    return meden.fit(MLP(10, 2, width=width), train, valid, recipe)


def test_a_wide_network_on_random_labels_overfits():
    train, valid = rows(60, 0, 0.5), rows(400, 1, 0.5)
    found = codes(fit(RECIPE, train, valid))
    assert {"overfit", "kept_too_late"} <= found and "underfit" not in found
    stopped = RECIPE.replace(early_stopping=meden.EarlyStopping(patience=39))
    assert "kept_too_late" not in codes(fit(stopped, train, valid))


def test_a_network_under_too_strong_a_penalty_is_told_so():
    strong = RECIPE.replace(lr=1e-4, regularizers=[Regularizer(L2(1.0), on="weights", coupling="gradient")])
    x, y = rows(800, 0, 0.0)
    fold = make_folds(as_dataset((x, y)), 2, seed=0)[0]
    strong_run, free_run = fit_many(MLP, [Member(strong, fold), Member(RECIPE, fold)], (x, y))
    assert "penalties_rule" in codes(strong_run) and "overfit" not in codes(strong_run)
    assert "penalties_rule" not in codes(free_run)


def test_decay_apart_from_an_adaptive_optimizer_is_no_part_of_the_objective():
    x, y = rows(200, 0, 0.3)
    two = [Regularizer(L2(10.0), coupling="decoupled"), Regularizer(L2(0.01), coupling="proximal")]
    for optimizer, counted in (("adamw", 1), ("sgd", 2)):
        recipe = Recipe(optimizer=optimizer, epochs=1, lr=1e-4, regularizers=two)
        run = fit(recipe, (x, y), None)
        penalties = run.history[-1].penalties
        assert list(penalties) == ["L2(weights)", "L2(weights) #2"]
        assert run.evidence().curves[0].penalties == pytest.approx(sum(list(penalties.values())[-counted:]))


def test_a_line_underfits_what_is_not_one():
    x, y = rows(800, 0, 0.0)
    fold = make_folds(as_dataset((x, y)), 2, seed=0)[0]
    curved = (x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64))
    line, wide = (Member(RECIPE, fold, model_args={"depth": depth}) for depth in (0, 2))
    assert codes(fit_many(MLP, [line], curved)[0]) & {"underfit", "nothing_learnt"}
    assert not codes(fit_many(MLP, [wide], curved)[0]) & {"underfit", "nothing_learnt"}


def test_a_rate_too_high_diverges_and_one_too_low_is_told_so():
    train, valid = rows(200, 0, 0.1), rows(200, 1, 0.1)
    assert "diverged" in codes(fit(RECIPE.replace(optimizer="sgd", lr=1e25), train, valid))
    found = codes(fit(RECIPE.replace(lr=1e-4), train, valid))
    assert "rate_too_low" in found and "unfinished" not in found  # one thing is told once


def test_an_easy_table_fitted_well_has_hardly_anything_to_say():
    recipe = RECIPE.replace(lr=3e-3, epochs=60, schedule="cosine")
    assert codes(fit(recipe, rows(2000, 0, 0.0), rows(2000, 1, 0.0), width=8)) <= {"gap_left"}


def test_members_bring_the_error_of_their_scored_rows():
    dataset = as_dataset("wine")
    runs = fit_many(MLP, [Member(Recipe(epochs=5), fold) for fold in make_folds(dataset, 3, seed=0)], dataset)
    for run in runs:
        (curve,) = run.evidence().curves
        assert curve.scored == pytest.approx(run.held_out.losses.mean(dtype=np.float64))
        assert curve.scored_error == pytest.approx(sem(run.held_out.losses.astype(np.float64)))
    gap = Ensemble(runs=tuple(runs)).evidence().gap
    assert len(Ensemble(runs=tuple(runs)).evidence().answers.sure) == dataset.num_rows
    gaps = [run.held_out.losses.mean(dtype=np.float64) - run.history[run.best_epoch - 1].train["loss"] for run in runs]
    assert (gap.mean, gap.error) == pytest.approx((np.mean(gaps), sem(gaps)))


def test_a_study_is_judged_by_the_scored_rows_of_its_choice():
    space = {"l2": LogUniform(1e-4, 1e-2)}
    study = meden.tune(MLP, "wine", space, folds=3, budget=2, strategy="grid", recipe=Recipe(epochs=5))
    evidence = study.evidence()
    assert len(evidence.curves) == 3 and evidence.blank == constant_loss(study.dataset)
    assert np.mean([curve.scored for curve in evidence.curves]) == pytest.approx(study.one_se.loss)
    assert meden.diagnose(study).num_runs == 3


def test_a_study_of_nothing_but_divergence_says_so():
    recipe = Recipe(epochs=2, optimizer="sgd")
    study = meden.tune(MLP, "wine", {"lr": Choice(1e25)}, folds=2, budget=1, strategy="grid", recipe=recipe)
    found = meden.diagnose(study).findings
    assert found[0].code == "diverged" and found[0].value == 1.0 and len(found) == 1


def test_a_study_of_a_bad_layout_names_it():
    def net(num_inputs, num_outputs, width):
        layers = [nn.Linear(num_inputs, width), nn.Dropout(0.5), nn.BatchNorm1d(width), nn.Linear(width, num_outputs)]
        return nn.Sequential(*layers)

    study = meden.tune(net, "wine", {"width": Choice(8)}, folds=2, budget=1, strategy="grid", recipe=Recipe(epochs=2))
    assert "dropout_before_norm" in codes(study)


def test_who_lost_a_race_has_not_diverged():
    dataset = as_dataset("wine")
    members = [Member(Recipe(epochs=9, lr=lr), make_folds(dataset, 3, seed=0)[0]) for lr in (1e-2, 1e-3)]
    runs = fit_many(MLP, members, dataset, rungs=[4], judge=lambda *_: [1])
    assert runs[1].status == "dropped" and "diverged" not in codes(runs[1])


def test_runs_are_diagnosed_alike_after_saving(tmp_path):
    dataset = as_dataset("wine")
    (run,) = fit_many(MLP, [Member(Recipe(epochs=8), make_folds(dataset, 3, seed=0)[0])], dataset)
    run.save(tmp_path)
    again = meden.load_run(tmp_path, MLP)
    assert meden.diagnose(again) == meden.diagnose(run)
    assert np.array_equal(again.held_out.losses, run.held_out.losses)


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_the_loss_of_a_constant_answer_is_that_of_the_best_bias(name):
    dataset = as_dataset(name)
    rows = np.arange(dataset.num_rows)
    y = dataset.targets(dataset.fit_encoder(rows), rows)
    bias = torch.zeros(dataset.num_outputs, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=100)

    def loss():
        optimizer.zero_grad()
        answers = bias.expand(len(y), -1)
        if name == "wine":
            value = nn.functional.cross_entropy(answers, y)
        else:
            value = ((answers - y.reshape(answers.shape)) ** 2).mean() / 2
        value.backward()
        return value

    optimizer.step(loss)
    assert constant_loss(dataset) == pytest.approx(loss().item(), rel=1e-4)


def test_a_constant_answer_is_measured_like_the_losses_of_weighted_rows():
    rng = np.random.default_rng(0)
    weights, y = rng.uniform(0.5, 3.0, 200), rng.integers(0, 3, 200)
    shares = np.bincount(y, weights) / weights.sum()
    by_hand = (weights * -np.log(shares[y])).mean()
    dataset = as_dataset((rng.standard_normal((200, 2)).astype(np.float32), y))
    assert constant_loss(dataclasses.replace(dataset, weights=weights)) == pytest.approx(by_hand)
    assert constant_loss(dataclasses.replace(dataset, weights=10 * weights)) == pytest.approx(10 * by_hand)


def test_an_infinite_penalty_is_a_constraint_and_rules_nothing():
    record = meden.Record(
        epoch=1, step=1, train={"loss": 1.0}, penalties={"UnitNorm": np.inf}, lr=0.1, num_zeros=0, weight_norm=1.0,
        seconds=0.0,
    )  # fmt: skip
    assert codes(meden.History((record,))) == set()


@pytest.mark.parametrize(("steps", "rows_once"), [(10, True), (40, True), (60, False), (100, False)])
def test_dropout_in_a_single_pass_is_told(steps, rows_once, tmp_path):
    """Alone and in a population, and of a run that was saved: 400 rows are 50 steps, those of the fold 43."""
    recipe = Recipe(batch_size=8, epochs=2, steps_per_epoch=steps // 2, dropout=0.2)
    x, y = rows(800, 0, 0.0)
    run = meden.fit(MLP(10, 2), (x[:400], y[:400]), recipe=recipe)
    run.save(tmp_path / "run")
    fold = make_folds(as_dataset((x, y)), 2, seed=0)[0]
    (member,) = fit_many(MLP, [Member(recipe, fold)], (x, y))
    for subject in (run, meden.load_run(tmp_path / "run", lambda: MLP(10, 2)), member):
        assert subject.passes == steps / (-(-len(fold.fit) // 8) if subject is member else 50)
        assert ("dropout_in_one_pass" in codes(subject)) == rows_once
        assert "dropout_in_one_pass" not in codes(dataclasses.replace(subject, num_rows=None))
