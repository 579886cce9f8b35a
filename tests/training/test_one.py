"""One model: the loop, its ending, its record, and going on after a kill."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import meden
from meden.checkpoint import load, model_tensors, save
from meden.data import batches
from meden.penalties import L1, L2, ElasticNet


def rows(n=60, d=5, *, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    return x, (x @ torch.randn(d, classes, generator=generator)).argmax(1)


def net(*, norm=False, seed=0):
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(8)] if norm else []
    return nn.Sequential(nn.Linear(5, 8), *middle, nn.ReLU(), nn.Linear(8, 3))


RECIPE = meden.Recipe(lr=0.01, epochs=6, batch_size=16)


def same(model, other):
    ours, theirs = model_tensors(model), model_tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize(
    ("fields", "make"),
    [
        (
            {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
            lambda p: torch.optim.SGD(p, 0.01, 0.9, nesterov=True),
        ),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 0.01)),
        ({"optimizer": "adamw"}, lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0)),
        ({"optimizer": "rmsprop", "momentum": 0.5}, lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 16, "full"])
def test_equals_a_hand_written_loop(fields, make, batch_size):
    # In float64, where each of 120 steps rounds a weight by 1.1e-16 of itself; any other formula differs by far more.
    x, y = rows()
    x, ours, theirs = x.double(), net().double(), net().double()
    recipe = RECIPE.replace(**fields, batch_size=batch_size, epochs=2)
    run = meden.fit(ours, (x, y), recipe=recipe, seed=7)
    optimizer = make(theirs.parameters())
    for epoch in range(2):
        for chosen in batches(len(y), batch_size, seed=7, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(theirs(x[chosen]), y[chosen]).backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert run.status == "completed" and run.best_step == 2 * -(-60 // (60 if batch_size == "full" else batch_size))


@pytest.mark.parametrize("kind", ["constant", "step", "exponential", "linear", "cosine", "one_cycle"])
def test_records_the_scheduled_rate(kind):
    from meden.optim.schedules import factors

    recipe = RECIPE.replace(schedule={"kind": kind, "every": 2, "warmup_epochs": 1.0})
    run = meden.fit(net(), rows(), recipe=recipe)
    expected = 0.01 * factors(recipe.schedule, epochs=6, steps_per_epoch=4)[3::4]
    np.testing.assert_allclose(run.history.column("lr"), expected)


def test_schedules_equal_those_of_torch():
    from meden.optim.schedules import Schedule, factors

    def torch_factors(make, num):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = make(optimizer)
        found = []
        for _ in range(num):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    rates = torch.optim.lr_scheduler
    step = factors(Schedule(kind="step", every=2, decay=0.5), epochs=6, steps_per_epoch=1)
    np.testing.assert_allclose(step, torch_factors(lambda o: rates.StepLR(o, 2, 0.5), 6))
    exponential = factors(Schedule(kind="exponential", decay=0.9), epochs=6, steps_per_epoch=1)
    np.testing.assert_allclose(exponential, torch_factors(lambda o: rates.ExponentialLR(o, 0.9), 6))
    linear = factors(Schedule(kind="linear", final=0.2), epochs=6, steps_per_epoch=1)
    np.testing.assert_allclose(linear, torch_factors(lambda o: rates.LinearLR(o, 1.0, 0.2, total_iters=5), 6))
    cosine = factors(Schedule(kind="cosine"), epochs=6, steps_per_epoch=1)
    np.testing.assert_allclose(cosine, torch_factors(lambda o: rates.CosineAnnealingLR(o, 5), 6), atol=1e-12)
    cycle = factors(Schedule(kind="one_cycle"), epochs=11, steps_per_epoch=1)
    theirs = torch_factors(lambda o: rates.OneCycleLR(o, 1.0, total_steps=11, cycle_momentum=False), 11)
    np.testing.assert_allclose(cycle, theirs, atol=1e-4)


def test_plateau_lowers_the_rate_when_the_held_out_loss_stalls():
    recipe = RECIPE.replace(lr=1e-12, schedule={"kind": "plateau", "every": 2, "decay": 0.5})
    run = meden.fit(net(), rows(), rows(seed=1), recipe)
    falls = np.diff(run.history.column("lr")) < 0
    assert falls.any() and run.history[-1].lr <= 0.5e-12


def test_clipping_bounds_the_step():
    model, start = net(), net()
    recipe = RECIPE.replace(optimizer="sgd", lr=1.0, clip_norm=1e-3, epochs=1, batch_size="full")
    meden.fit(model, rows(), recipe=recipe)
    moved = sum((a - b).square().sum() for a, b in zip(model.parameters(), start.parameters(), strict=True)).sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_early_stopping_ends_on_the_best_state_buffers_too():
    train, valid = rows(20, seed=1), rows(40, seed=2)
    recipe = RECIPE.replace(epochs=200, lr=0.05, early_stopping={"patience": 5})
    run = meden.fit(net(norm=True), train, valid, recipe)
    losses = run.history.column("valid.loss")
    assert run.status == "stopped_early" and len(losses) < 200
    assert run.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 5
    assert run.best_step == run.history[run.best_epoch - 1].step
    from meden.objective import evaluate

    assert evaluate(run.model, [valid], "classification")["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_train_and_held_out_losses_are_measured_in_evaluation_mode():
    data = rows()
    recipe = RECIPE.replace(dropout=0.5, regularizers=[meden.Regularizer(L2(0.1))])
    run = meden.fit(net(norm=True), data, data, recipe)
    assert run.history.column("train.loss") == run.history.column("valid.loss")
    assert set(run.history[-1].penalties) == {"L2(weights)"}


def test_proximal_l1_gives_exact_zeros_and_counts_them():
    regularizers = [meden.Regularizer(L1(0.05))]
    run = meden.fit(net(), rows(), recipe=RECIPE.replace(epochs=40, regularizers=regularizers))
    zeros = sum(int((p == 0).sum()) for p in run.model.parameters())
    assert run.history[-1].num_zeros == zeros > 10


def test_loss_coupling_equals_a_penalty_written_by_hand():
    x, y = rows()
    ours, theirs = net(), net()
    regularizers = [meden.Regularizer(ElasticNet(0.01, 0.3), coupling="loss")]
    meden.fit(ours, (x, y), recipe=RECIPE.replace(epochs=3, batch_size="full", regularizers=regularizers))
    optimizer = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0)
    for _ in range(3):
        optimizer.zero_grad()
        weights = [p for p in theirs.parameters() if p.ndim == 2]
        penalty = 0.01 * sum(0.3 * w.abs().sum() + 0.35 * w.square().sum() for w in weights)
        (nn.functional.cross_entropy(theirs(x), y) + penalty).backward()
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_diverged_run_is_an_outcome():
    x, _ = rows()
    recipe = meden.Recipe(optimizer="sgd", lr=1e30, epochs=5, batch_size="full")
    run = meden.fit(nn.Linear(5, 1), (x, x[:, 0] * 1e10), recipe=recipe)
    assert run.status == "diverged" and "not finite" in run.reason and len(run.history) < 5


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 3, 4, 9])
def test_an_epoch_of_any_number_of_steps_is_an_evaluation_point(steps):
    # 60 rows in batches of 16 are 4 steps: 36 steps are 9 passes, however often the model is evaluated
    fields = {"schedule": {"kind": "cosine"}, "clip_norm": 1.0, "regularizers": [meden.Regularizer(L1(1e-3))]}
    plain = meden.fit(net(), rows(), rows(seed=1), RECIPE.replace(epochs=9, **fields), seed=3)
    recipe = RECIPE.replace(epochs=36 // steps, steps_per_epoch=steps, **fields)
    run = meden.fit(net(), rows(), rows(seed=1), recipe, seed=3)
    assert run.history.column("step") == list(range(steps, 37, steps))
    assert same(run.model, plain.model)
    assert run.history[-1].train == plain.history[-1].train


def test_patience_and_averages_count_evaluation_points():
    recipe = RECIPE.replace(lr=0.1, epochs=100, steps_per_epoch=2, early_stopping={"patience": 3}, averaging="swa")
    x, _ = rows()
    noise = torch.randint(0, 3, (2, 60), generator=torch.Generator().manual_seed(0))
    run = meden.fit(net(), (x, noise[0]), (x, noise[1]), recipe)
    assert run.status == "stopped_early" and len(run.history) == run.best_epoch + 3
    assert run.best_step == 2 * run.best_epoch


@pytest.mark.parametrize("steps", [None, 3, 11])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, at, optimizer, steps):
    fields = {
        "optimizer": optimizer,
        "steps_per_epoch": steps,
        "dropout": 0.3,
        "schedule": {"kind": "plateau", "every": 1},
        "epochs": 8,
    }
    recipe = RECIPE.replace(**fields, early_stopping={"patience": 4}, regularizers=[meden.Regularizer(L1(1e-3))])
    train, valid = rows(), rows(seed=1)
    whole = meden.fit(net(norm=True), train, valid, recipe)

    def kill(record):
        if record.epoch == at:
            raise Killed

    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        meden.fit(net(norm=True), train, valid, recipe, checkpoint=path, on_epoch=kill)
    resumed = meden.fit(net(norm=True, seed=9), train, valid, recipe, checkpoint=path)
    assert same(whole.model, resumed.model)
    assert (whole.status, whole.best_step) == (resumed.status, resumed.best_step)
    assert whole.history.column("valid.loss") == resumed.history.column("valid.loss")


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    meden.fit(net(), rows(), recipe=RECIPE, checkpoint=path)
    with pytest.raises(meden.InputError, match="recipe"):
        meden.fit(net(), rows(), recipe=RECIPE.replace(lr=0.02), checkpoint=path)


@pytest.mark.parametrize("form", [lambda *pair: pair, TensorDataset], ids=["tensors", "dataset"])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda train, valid: ((train[0] + 1e-6, train[1]), valid), "train"),
        (lambda train, valid: ((train[0], (train[1] + 1) % 3), valid), "train"),
        (lambda train, valid: ((train[0].flip(0), train[1].flip(0)), valid), "train"),
        (lambda train, _: (train, rows(seed=2)), "valid"),
        (lambda train, _: (train, None), "valid"),
        (lambda *parts: [(x, torch.eye(3)[y]) for x, y in parts], "task and train and valid"),
    ],
)
def test_a_checkpoint_of_other_rows_is_refused(tmp_path, form, change, named):
    path, recipe, given = tmp_path / "run.safetensors", RECIPE.replace(epochs=1), (rows(), rows(seed=1))
    meden.fit(net(), *(form(*pair) for pair in given), recipe, checkpoint=path)
    train, valid = change(*given)
    with pytest.raises(meden.InputError, match=f"from the same .*, got a different {named}; remove it"):
        meden.fit(net(), form(*train), valid and form(*valid), recipe, checkpoint=path)


def test_a_checkpoint_of_rows_that_were_cut_otherwise_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    meden.fit(net(), rows(), recipe=RECIPE, checkpoint=path)
    tensors, values = load(path)
    del values["identity"]["batching"]  # as it was while the last batch of an epoch was as short as it came
    save(path, tensors, values)
    with pytest.raises(meden.InputError, match=r"from the same .*, got a different batching; remove it or name"):
        meden.fit(net(), rows(), recipe=RECIPE, checkpoint=path)


def test_a_checkpoint_of_another_layout_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    meden.fit(net(), rows(), recipe=RECIPE, checkpoint=path)
    tensors, values = load(path)
    for left_out in ("identity", "progress"):
        save(path, tensors, {name: value for name, value in values.items() if name != left_out})
        with pytest.raises(meden.InputError, match=f"must be one of this meden, got one without '{left_out}'"):
            meden.fit(net(), rows(), recipe=RECIPE, checkpoint=path)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    meden.fit(copy.deepcopy(net_once), rows(), recipe=RECIPE.replace(dropout=0.5))
    assert torch.equal(before, torch.get_rng_state())


net_once = net()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": (torch.zeros(3, 5), torch.zeros(4))}, "train must hold the same number of rows"),
        ({"train": torch.zeros(3)}, "train must be a pair"),
        ({"train": ([[0.0, 1.0], [0.0]], [0, 1])}, "train must hold arrays of numbers"),
        ({"train": (torch.full((3, 5), torch.nan), torch.zeros(3, dtype=torch.long))}, "train x must be finite"),
        ({"train": (torch.zeros(3, 5), torch.tensor([0, 1, 3]))}, "classes 0 to 2, got 0 to 3"),
        ({"train": (torch.zeros(3, 5), torch.zeros(3, 2))}, "outputs must fit regression targets"),
        ({"recipe": RECIPE.replace(early_stopping={})}, "valid must be given"),
        ({"recipe": RECIPE.replace(schedule="plateau")}, "valid must be given"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"task": "ranking"}, "task must be one of"),
        ({"model": nn.ReLU()}, "parameter to train"),
    ],
)
def test_bad_input_costs_one_line(change, message):
    arguments = {"model": net(), "train": rows(), "recipe": RECIPE} | change
    with pytest.raises(meden.InputError, match=message) as caught:
        meden.fit(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_a_loss_that_exploded_is_no_result_even_if_it_is_finite(optimizer):
    run = meden.fit(net(), rows(), recipe=meden.Recipe(optimizer=optimizer, lr=1e6, epochs=3))
    assert run.status == "diverged" and ("not finite" in run.reason or "a constant model has" in run.reason)
