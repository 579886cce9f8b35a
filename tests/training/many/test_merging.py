"""Stacks of a race merge as members drop out; those that go on do as they would have by themselves."""

import pytest

import meden
from meden.member import Member
from meden.models import MLP
from meden.penalties import L1, L2, GroupLasso, MaxNorm, PullTo
from meden.training import stacks
from meden.training.fit_many import fit_stacks, plan_stacks
from meden.training.many import chunks, population
from meden.training.many.population import Population
from tests.training.many.witness import alone, assert_same_run, blobs, folds_of

DATA = blobs()
FOLDS = folds_of(DATA)
BASE = meden.Recipe(epochs=8, batch_size=8, lr=0.01, dropout=0.2, regularizers=[meden.Regularizer(L1(1e-3))])
RAMP = meden.StrengthSchedule(end=20)
RECIPES = {
    "adam, averaged": BASE.replace(optimizer="adam", averaging="ema"),
    "momentum, plateau": BASE.replace(optimizer="sgd", momentum=0.9, schedule={"kind": "plateau", "every": 1}),
    "early stopping": BASE.replace(early_stopping=meden.EarlyStopping(patience=2), lr=0.1),
    "groups and starts": BASE.replace(
        regularizers=[meden.Regularizer(GroupLasso(1e-2)), meden.Regularizer(PullTo(L2(0.1)))]
    ),
    "clipped, without penalties": BASE.replace(clip_norm=0.5, regularizers=[]),
    "a schedule, in the loss": BASE.replace(regularizers=[meden.Regularizer(L2(0.1), coupling="loss", schedule=RAMP)]),
}


def net(num_inputs, num_outputs, width=6, batch_norm=True):
    return MLP(num_inputs, num_outputs, width=width, activation="tanh", batch_norm=batch_norm).double()


def members(recipe, num=14, **model_args):
    """Return members that differ in their rates, folds and numbers of epochs."""
    recipes = [recipe.replace(lr=recipe.lr * (1 + i / 8), epochs=8 - i % 2) for i in range(num)]
    return [Member(own, FOLDS[i % 3], i, model_args) for i, own in enumerate(recipes)]


@pytest.fixture
def small_stacks(monkeypatch):
    """Stacks of four that merge and shrink at any time; returns the numbers of members that still train at merges."""
    merges = []
    take_over = Population.take_over
    monkeypatch.setitem(chunks.STEADY_CHUNKS, "cpu", (4, 4))
    monkeypatch.setattr(stacks, "MERGING_PAYS", 0)
    monkeypatch.setattr(population, "SHRINKING_PAYS", 0)

    def spied(self, other):
        merges.append((self.num_live, other.num_live))
        take_over(self, other)

    monkeypatch.setattr(Population, "take_over", spied)
    return merges


def race(everyone, losers, *, planned=None, **options):
    """Train members that lose at rungs; returns the runs by number."""
    runs, asked = {}, []

    def judge(epoch, histories):
        asked.append((epoch, {len(history) for history in histories.values()}))
        return losers.get(epoch, ())

    planned = plan_stacks(net, everyone, DATA, racing=True) if planned is None else planned
    fit_stacks(net, everyone, DATA, planned, rungs=list(losers), judge=judge, on_run=runs.__setitem__, **options)
    assert [epoch for epoch, _ in asked] == list(losers)
    return runs


@pytest.mark.parametrize("name", RECIPES)
def test_those_that_go_on_end_as_alone(name, small_stacks):
    everyone = members(RECIPES[name], batch_norm=not RECIPES[name].averaging)  # which would be re-estimated, alone
    losers = {2: range(4, 10), 4: (1, 2, 11)}
    runs = race(everyone, losers)
    assert small_stacks and all(sum(pair) <= 4 for pair in small_stacks)
    assert sorted(runs) == list(range(14))
    for number, run in runs.items():
        lost = next((epoch for epoch, numbers in losers.items() if number in numbers), None)
        if lost is not None:
            assert run.status in ("dropped", "stopped_early") and len(run.history) <= lost
        else:
            assert_same_run(run, alone(net, everyone[number], DATA), rtol=1e-8)


def test_epochs_are_told_once_by_the_members_own_numbers(small_stacks):
    told = []
    losers = {2: (1, 2, 3, 5, 6, 8, 9, 10, 12)}
    runs = race(members(BASE), losers, on_epoch=lambda number, record: told.append((number, record.epoch)))
    assert small_stacks
    assert sorted(told) == sorted((number, record.epoch) for number, run in runs.items() for record in run.history)


def test_only_what_is_planned_together_merges(small_stacks):
    everyone = members(BASE, 8)
    race(everyone, {2: (1, 2, 3, 5, 6, 7)}, planned=[[0, 1, 2, 3], [4, 5, 6, 7]])
    assert not small_stacks
    race(everyone, {2: (1, 2, 3, 5, 6, 7)}, planned=[list(range(8))])
    assert small_stacks == [(1, 1)]


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"memory": 40_000.0}], ids=str)
def test_stacks_of_the_size_that_was_asked_for_do_not_merge(options, small_stacks):
    meden.fit_many(net, members(BASE, 8), DATA, rungs=[2], judge=lambda *_: (1, 2, 3, 5, 6, 7), **options)
    assert not small_stacks


def test_values_of_bounds_are_those_of_a_member_alone(small_stacks):
    """TorchScript takes 1 for 1 + 2e-15, and a weight at its bound for one beyond it."""
    bounded = [meden.Regularizer(GroupLasso(1e-3), on="biases"), meden.Regularizer(MaxNorm(0.7))]
    everyone = members(BASE.replace(optimizer="sgd", lr=0.1, regularizers=bounded), 6)
    runs = race(everyone, {2: ()})
    for number, run in runs.items():
        assert_same_run(run, alone(net, everyone[number], DATA), rtol=1e-8)
        assert all(list(record.penalties.values())[1] == 0 for record in run.history)


def test_structures_do_not_merge(small_stacks):
    everyone = members(BASE, 4) + members(BASE, 4, width=5)
    race(everyone, {2: (1, 2, 3, 5, 6, 7)}, planned=[list(range(8))])
    assert not small_stacks


def test_few_steps_do_not_pay_for_a_trace(small_stacks, monkeypatch):
    monkeypatch.setattr(stacks, "MERGING_PAYS", 31)  # of five in an epoch
    race(members(BASE, 8), {2: (1, 2, 3, 5, 6, 7)}, planned=[list(range(8))])
    assert not small_stacks


def test_a_race_has_fewer_larger_parts(monkeypatch):
    monkeypatch.setitem(chunks.STEADY_CHUNKS, "cpu", (4, 4))
    everyone = members(BASE, 40) + members(BASE, 4, width=5)
    sizes = [[len(part) for part in plan_stacks(net, everyone, DATA, racing=racing)] for racing in (False, True)]
    assert sizes == [[*[3] * 8, *[2] * 8, 4], [10, 10, 10, 10, 4]]


@pytest.mark.parametrize(("steps", "sizes"), [(0, [4, 3, 1]), (25, [4, 1])])
def test_a_stack_keeps_a_usual_size_where_that_costs_less_than_a_trace(steps, sizes, small_stacks, monkeypatch):
    kept = []
    keep = Population._keep
    num_weights = sum(param.numel() for param in net(5, 3).parameters())
    pays = steps * num_weights * (6 * 8 + population.PASSES)  # what a member costs in so many steps of eight rows
    monkeypatch.setattr(population, "SHRINKING_PAYS", pays)
    monkeypatch.setattr(Population, "_keep", lambda self, rows: (kept.append(len(rows)), keep(self, rows)))
    monkeypatch.setitem(chunks.STEADY_CHUNKS, "cpu", (8, 8))
    everyone = [Member(BASE, FOLDS[i % 3], i) for i in range(8)]
    runs = race(everyone, {2: range(4), 4: [4], 6: [5, 6]}, planned=[list(range(8))])
    assert kept == sizes and not small_stacks
    assert_same_run(runs[7], alone(net, everyone[7], DATA), rtol=1e-8)
