"""Members of a stack do not touch each other: number, chunks, ends and divergence of the others do not matter."""

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.checkpoint import model_tensors
from meden.data import Fold
from meden.member import Member
from meden.models import MLP
from meden.penalties import L1, L2, GroupLasso, MaxNorm, Nuclear
from meden.training.many import population
from tests.training.many.witness import alone, assert_same_run, blobs, curve, folds_of

DATA = blobs()
FOLDS = folds_of(DATA)
BASE = meden.Recipe(epochs=6, batch_size=8, lr=0.01, dropout=0.2, regularizers=[meden.Regularizer(L1(1e-3))])


def make_model(num_inputs, num_outputs):
    return MLP(num_inputs, num_outputs, width=6, activation="tanh").double()


def grid(number):
    """Return members that differ in everything that may differ in a stack."""
    rng = np.random.default_rng(0)
    for i in range(number):
        rate, strength = 10 ** rng.uniform(-3, -1), 10 ** rng.uniform(-4, -1)
        regularizers = [meden.Regularizer(L1(strength))]
        recipe = BASE.replace(lr=rate, dropout=rng.uniform(0, 0.5), epochs=3 + i % 4, regularizers=regularizers)
        yield Member(recipe, FOLDS[i % 3], i // 6)


def train(members, **options):
    return meden.fit_many(make_model, members, DATA, **options)


def same_bits(run, other):
    ours, theirs = model_tensors(run.model), model_tensors(other.model)
    same = all(torch.equal(ours[name], theirs[name]) for name in theirs)
    return same and run.history.column("train.loss") == other.history.column("train.loss")


WITNESSES = [alone(make_model, member, DATA) for member in grid(17)]


@pytest.mark.parametrize("number", [1, 3, 17])
def test_any_number_of_members(number):
    for run, witness in zip(train(list(grid(number))), WITNESSES, strict=False):
        assert_same_run(run, witness, rtol=1e-8)


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_any_chunk(chunk):
    for run, witness in zip(train(list(grid(7)), chunk=chunk), WITNESSES, strict=False):
        assert_same_run(run, witness, rtol=1e-8)


def test_order_of_members_does_not_matter():
    runs = train(list(grid(5))[::-1])
    for run, witness in zip(runs[::-1], WITNESSES, strict=False):
        assert_same_run(run, witness, rtol=1e-8)


def test_two_threads_equal_one():
    members = list(grid(12))
    torch.set_num_threads(2)
    try:
        runs = train(members)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for run, witness in zip(runs, WITNESSES, strict=False):
        assert_same_run(run, witness, rtol=1e-8)


@pytest.mark.parametrize("fields", [{"optimizer": "sgd", "lr": 1e305}, {"optimizer": "adam", "lr": 1e305}], ids=str)
def test_one_that_diverges_leaves_the_others_bits_alone(fields, monkeypatch):
    monkeypatch.setattr(population, "SHRINKING_PAYS", np.inf)  # a smaller stack may round in another way
    rule = meden.EarlyStopping(patience=2)
    healthy = [BASE.replace(optimizer=fields["optimizer"], early_stopping=rule, epochs=12, lr=r) for r in (0.01, 0.1)]
    members = [Member(recipe, fold) for recipe in healthy for fold in FOLDS[:2]]
    ill = Member(healthy[0].replace(lr=fields["lr"]), FOLDS[0])
    well = train([*members[:1], Member(healthy[0].replace(lr=0.02), FOLDS[0]), *members[1:]])
    runs = train([*members[:1], ill, *members[1:]])
    assert runs[1].status == "diverged" and "not finite" in runs[1].reason
    assert np.isnan(runs[1].held_out.losses).all()
    for run, other in zip(runs[:1] + runs[2:], well[:1] + well[2:], strict=True):
        assert same_bits(run, other) and run.status != "diverged"
        assert (run.best_step, run.status, len(run.history)) == (other.best_step, other.status, len(other.history))


@pytest.mark.parametrize("pays", [0.0, np.inf])
def test_those_that_end_leave_the_stack(pays, monkeypatch):
    kept = []
    keep = population.Population._keep
    monkeypatch.setattr(population, "SHRINKING_PAYS", pays)
    monkeypatch.setattr(population.Population, "_keep", lambda self, rows: (kept.append(len(rows)), keep(self, rows)))
    rules = [None, meden.EarlyStopping(patience=1), meden.EarlyStopping(patience=3, min_delta=0.1)]
    recipes = [BASE.replace(early_stopping=rule, lr=0.1, epochs=n) for rule in rules for n in (4, 20)]
    recipes = [r.replace(optimizer="sgd", momentum=0.1 * i) for i, r in enumerate(recipes)]
    recipes[0] = recipes[0].replace(lr=1e305)
    members = [Member(recipe, FOLDS[i % 2]) for i, recipe in enumerate(recipes)]
    runs = train(members)
    assert bool(kept) == (pays == 0.0) and kept == sorted(kept, reverse=True)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(make_model, member, DATA), rtol=1e-8)
    assert {run.status for run in runs} == {"completed", "stopped_early", "diverged"}


@pytest.mark.parametrize("batch_size", [1, 7, 39, 40, 1000, "full"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_batches_of_unequal_folds(batch_size, batch_norm):
    if batch_norm and batch_size == 1:
        pytest.skip("batch norm needs two rows")
    sizes = (40, 40, 39, 36) if batch_size == 7 else (40, 38, 40, 39)
    rolled = [np.roll(np.arange(60), i) for i in range(4)]
    folds = [Fold(rows[:n], rows[n : n + 5], rows[50:]) for rows, n in zip(rolled, sizes, strict=True)]
    recipe = BASE.replace(batch_size=batch_size, epochs=2, optimizer="sgd", eval_rows=30)

    def make(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=6, activation="tanh", batch_norm=batch_norm).double()

    members = [Member(recipe.replace(lr=0.01 * (i + 1)), fold) for i, fold in enumerate(folds)]
    for run, member in zip(meden.fit_many(make, members, DATA), members, strict=True):
        assert_same_run(run, alone(make, member, DATA), rtol=1e-8)


@pytest.mark.parametrize("steps", [1, 4, 5, 13])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_epochs_of_any_number_of_steps(steps, batch_norm):
    # folds of 40 and 38 rows have 5 batches a pass
    rolled = [np.roll(np.arange(60), i) for i in range(3)]
    folds = [Fold(rows[:n], rows[n : n + 5], rows[50:]) for rows, n in zip(rolled, (40, 38, 33), strict=True)]
    fields = {"steps_per_epoch": steps, "epochs": 4, "averaging": "ema", "schedule": {"kind": "cosine"}}

    def make(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=6, activation="tanh", batch_norm=batch_norm).double()

    members = [Member(BASE.replace(lr=0.01 * (i + 1), **fields), fold) for i, fold in enumerate(folds)]
    members.append(Member(BASE.replace(epochs=4, averaging="ema"), folds[0]))
    for run, member in zip(meden.fit_many(make, members, DATA), members, strict=True):
        assert_same_run(run, alone(make, member, DATA), rtol=1e-8)


def test_tables_are_encoded_by_the_rows_that_fit():
    members = [Member(BASE.replace(epochs=3), fold, seed) for fold in folds_of("wine", 4) for seed in (0, 1)]
    for run, member in zip(meden.fit_many(make_model, members, "wine"), members, strict=True):
        assert_same_run(run, alone(make_model, member, "wine"), rtol=1e-8)


def test_regression_is_scored_in_the_users_units():
    x, y = curve()
    data = (x, 1000 * y)
    member = Member(meden.Recipe(epochs=2), folds_of(data)[0])
    run, _ = meden.fit_many(make_model, [member, member], data)
    rows = member.fold.score
    with torch.no_grad():
        errors = run.model(torch.from_numpy(x[rows]).double()).flatten().numpy() - data[1][rows]
    np.testing.assert_allclose(run.held_out.scores, errors**2, rtol=1e-5)
    np.testing.assert_allclose(run.held_out.losses, errors**2 / 2, rtol=1e-5)


def test_members_of_one_fold_and_seed_are_paired():
    tiny = BASE.replace(lr=1e-12, dropout=0.0, regularizers=[])
    members = [Member(tiny, FOLDS[0]), Member(tiny.replace(lr=2e-12), FOLDS[0]), Member(tiny, FOLDS[0], 1)]
    first, paired, other = (run.model[1].weight for run in train(members))
    torch.testing.assert_close(first, paired)
    assert not torch.allclose(first, other)


def test_noise_without_a_level_hides_no_order_of_rows():
    """A mask over (steps, rows) is another one for a filled-up batch, though the first member drops nothing."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.drop(x.T).T)

    members = [
        Member(BASE.replace(dropout=p, batch_size=16, regularizers=[]), FOLDS[i]) for i, p in enumerate((0.0, 0.5))
    ]
    make = lambda: Turned().double()  # noqa: E731
    for run, member in zip(meden.fit_many(make, members, DATA), members, strict=True):
        assert_same_run(run, alone(make, member, DATA), rtol=1e-8)


def test_seeded_twice_it_is_the_same_run():
    first, second = train(list(grid(4))), train(list(grid(4)))
    assert all(same_bits(run, other) for run, other in zip(first, second, strict=True))


def test_penalties_of_frozen_tensors_are_told():
    def make(num_inputs, num_outputs):
        model = nn.Sequential(nn.Linear(num_inputs, 4), nn.Linear(4, num_outputs))
        model[0].requires_grad_(False)
        return model

    recipe = meden.Recipe(epochs=1, regularizers=[meden.Regularizer(L2(1.0), on="all")])
    members = [Member(recipe, fold) for fold in FOLDS]
    for run in meden.fit_many(make, members, DATA):
        expected = sum(p.square().sum().item() / 2 for p in run.model.parameters())
        assert run.history[-1].penalties["L2(all)"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
@pytest.mark.parametrize("penalty", [GroupLasso(0.05), MaxNorm(0.5, dim=1), Nuclear(0.05)], ids=str)
def test_groups_of_a_single_number(penalty, optimizer):
    def make(num_inputs, num_outputs):
        return nn.Sequential(nn.Linear(5, 1), nn.Tanh(), nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 3)).double()

    recipe = BASE.replace(optimizer=optimizer, dropout=None, regularizers=[meden.Regularizer(penalty, on="*.weight")])
    members = [Member(recipe, fold) for fold in FOLDS]
    for run, member in zip(meden.fit_many(make, members, DATA), members, strict=True):
        assert_same_run(run, alone(make, member, DATA), rtol=1e-8)


def test_rows_that_fill_up_are_the_members_own():
    """The first row of all may belong to another fold, and an infinite loss times 0 is not 0."""
    x, y = blobs()
    x[0] = 3e38
    folds = [Fold(np.arange(1, 40), np.arange(40, 50), np.arange(50, 60)), Fold(*np.split(np.arange(10, 60), [35, 40]))]

    class Exponential(nn.Linear):
        def forward(self, x):
            return super().forward(x.exp())

    def make(num_inputs, num_outputs):
        return Exponential(num_inputs, num_outputs).double()

    members = [Member(meden.Recipe(epochs=2, batch_size=10), fold) for fold in folds]
    for run, member in zip(meden.fit_many(make, members, (x, y)), members, strict=True):
        assert_same_run(run, alone(make, member, (x, y)), rtol=1e-8)
