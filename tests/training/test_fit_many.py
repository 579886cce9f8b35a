"""A list of members in, a run each out: groups, what cannot be stacked, bad input, and what is left as it was."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.data import Fold, as_dataset
from meden.deadline import UNHURRIED
from meden.member import Member
from meden.models import MLP
from meden.noise import derive
from meden.penalties import L1, L2
from meden.training.idle import idle_numbers
from meden.training.many.population import Population
from tests.training.many.witness import alone, assert_same_run, blobs, folds_of

DATA = blobs()
FOLDS = folds_of(DATA)
RECIPE = meden.Recipe(epochs=3, batch_size=16, lr=0.01)
MEMBERS = [Member(RECIPE.replace(lr=lr), fold) for lr in (0.01, 0.02) for fold in FOLDS[:2]]


def assert_as_alone(make_model, members, data=DATA, **options):
    runs = meden.fit_many(make_model, members, data, **options)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(make_model, member, data))
    return runs


class Branching(nn.Module):
    """Does other things with other data: in training, in evaluation, or in a layer torch cannot batch."""

    def __init__(self, where):
        super().__init__()
        self.where, self.layer = where, nn.Linear(5, 3).double()

    def forward(self, x):
        if self.training == (self.where == "training") and bool(x.mean() > 1e3):
            x = -x
        return self.layer(x)


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_control_flow_on_data_falls_back_and_says_so_once(where):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = meden.fit_many(lambda: Branching(where), MEMBERS, DATA)
    assert len(told) == 1
    assert "one by one" in str(told[0].message) and "data-dependent" in str(told[0].message)
    for run, member in zip(runs, MEMBERS, strict=True):
        assert_same_run(run, alone(lambda: Branching(where), member, DATA))


class Idle(nn.Module):
    """A layer that is not used."""

    def __init__(self):
        super().__init__()
        self.layer, self.idle = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("penalised", [False, True])
def test_what_gets_no_gradient_is_left_alone(penalised):
    """Penalties leave such a tensor alone in a model by itself, as torch's optimizers do."""
    on = {} if penalised else {"on": "layer.weight"}
    recipe = RECIPE.replace(regularizers=[meden.Regularizer(L2(0.1), coupling="decoupled", **on)])
    members = [dataclasses.replace(member, recipe=recipe) for member in MEMBERS]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = meden.fit_many(lambda: Idle().double(), members, DATA)
    assert [("'idle.weight' gets no gradient" in str(one.message)) for one in told] == [True] * penalised
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(lambda: Idle().double(), member, DATA))


def test_other_shapes_form_other_groups():
    members = [
        Member(RECIPE.replace(batch_size=size, optimizer=rule), fold, 0, {"width": width, "depth": depth})
        for size, rule, width, depth in ((16, "sgd", 4, 1), (8, "adam", 4, 1), (16, "sgd", 6, 1), (16, "sgd", 4, 2))
        for fold in FOLDS[:2]
    ]
    members.append(Member(RECIPE.replace(betas=(0.5, 0.9)), FOLDS[0], 0, {"width": 4}))
    members.append(Member(RECIPE.replace(clip_norm=0.1), FOLDS[0], 0, {"width": 4}))
    runs = assert_as_alone(_double, members[::-1])
    assert [run.model_args["width"] for run in runs[::-1]] == [4, 4, 4, 4, 6, 6, 4, 4, 4, 4]
    assert runs[0].model_args["num_inputs"] == 5 and runs[0].model_args["num_outputs"] == 3


def _double(num_inputs, num_outputs, width=4, depth=1):
    return MLP(num_inputs, num_outputs, width=width, depth=depth, activation="tanh").double()


def test_models_that_a_maker_varies_by_chance_are_told_apart():
    def make_model(num_inputs, num_outputs):
        return _double(num_inputs, num_outputs, width=int(torch.randint(2, 5, ())))

    members = [Member(RECIPE, FOLDS[0], seed) for seed in range(6)]
    runs = assert_as_alone(make_model, members)
    assert len({run.model[1].out_features for run in runs}) > 1


def test_regularizers_on_other_places_form_other_groups():
    regularizers = [[], [meden.Regularizer(L1(0.01))], [meden.Regularizer(L1(0.01), on="biases")]]
    regularizers += [[meden.Regularizer(L2(0.01))], [meden.Regularizer(L2(0.1), coupling="loss")]]
    assert_as_alone(_double, [Member(RECIPE.replace(regularizers=r), fold) for r in regularizers for fold in FOLDS[:2]])


def test_no_folds_fits_all_rows():
    (run,) = meden.fit_many(_double, [Member(RECIPE)], DATA)
    runs = assert_as_alone(_double, [Member(RECIPE, None, seed) for seed in range(3)])
    assert run.held_out is None and runs[0].history[-1].valid is None
    assert_same_run(runs[0], run)


def test_a_fold_without_rows_of_a_class():
    _, y = DATA
    folds = [Fold(np.flatnonzero(y != c)[:-5], np.flatnonzero(y != c)[-5:], np.flatnonzero(y == c)) for c in range(3)]
    runs = assert_as_alone(_double, [Member(RECIPE, fold) for fold in folds])
    assert all(np.isfinite(run.held_out.losses).all() and len(run.held_out.losses) == 20 for run in runs)


def test_held_out_rows_are_scored_by_the_state_that_is_returned():
    x, y = DATA
    recipe = RECIPE.replace(
        lr=0.3, epochs=15, early_stopping=meden.EarlyStopping(patience=1, min_delta=0.01), dropout=0.3
    )
    members = [Member(recipe, fold) for fold in FOLDS]
    for run, member in zip(meden.fit_many(_double, members, DATA), members, strict=True):
        with torch.no_grad():
            logits = run.model(torch.from_numpy(x[member.fold.score]).double())
        losses = nn.functional.cross_entropy(logits, torch.from_numpy(y[member.fold.score]), reduction="none")
        np.testing.assert_allclose(run.held_out.losses, losses.numpy(), rtol=1e-4)
        assert run.best_epoch < len(run.history) and run.status == "stopped_early"


def test_a_run_is_told_as_it_ends_and_is_then_finished():
    told = {}

    def on_run(number, run):
        told[number] = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        assert not run.model.training

    members = [Member(RECIPE.replace(epochs=n), FOLDS[0]) for n in (4, 2, 3)]
    runs = meden.fit_many(_double, members, DATA, on_run=on_run)
    assert list(told) == [1, 2, 0]
    for number, run in enumerate(runs):
        assert all(torch.equal(tensor, told[number][name]) for name, tensor in run.model.state_dict().items())


def test_what_does_not_fit_into_memory_is_cut_smaller(monkeypatch):
    trace = Population.trace

    def limited(self):
        if len(self.entrants) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 TB")
        trace(self)

    monkeypatch.setattr(Population, "trace", limited)
    with pytest.warns(UserWarning, match="out of memory: at most 2 models"):
        runs = meden.fit_many(_double, MEMBERS, DATA)
    for run, member in zip(runs, MEMBERS, strict=True):
        assert_same_run(run, alone(_double, member, DATA))


def test_what_runs_out_of_memory_half_way_is_trained_anew(monkeypatch):
    run_until = Population.run_until

    def limited(self, epoch, pace=UNHURRIED):
        if len(self.entrants) > 2:
            self._train_epoch(pace)
            raise RuntimeError("CUDA out of memory")
        run_until(self, epoch, pace)

    monkeypatch.setattr(Population, "run_until", limited)
    with pytest.warns(UserWarning, match="out of memory: at most 2 models"):
        runs = meden.fit_many(_double, MEMBERS, DATA)
    for run_, member in zip(runs, MEMBERS, strict=True):
        assert_same_run(run_, alone(_double, member, DATA))


@pytest.mark.filterwarnings("ignore:out of memory")
def test_what_does_not_fit_alone_either_is_an_error(monkeypatch):
    def too_large(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Population, "trace", too_large)
    monkeypatch.setattr("meden.training.fit_many.prepare", too_large)
    with pytest.raises(RuntimeError, match="out of memory"):
        meden.fit_many(_double, MEMBERS, DATA)


def test_a_small_memory_trains_fewer_at_once():
    assert_as_alone(_double, MEMBERS, memory=1.0)


def test_what_the_caller_had_is_left_as_it_was():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1], torch.get_default_dtype(), torch.get_num_threads()
    meden.fit_many(_double, [Member(RECIPE.replace(dropout=0.5), fold) for fold in FOLDS], DATA)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2:] == (torch.get_default_dtype(), torch.get_num_threads())
    assert torch.is_grad_enabled()


def test_another_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        runs = meden.fit_many(MLP, MEMBERS, DATA)
        witnesses = [alone(MLP, member, DATA) for member in MEMBERS]
    finally:
        torch.set_default_dtype(torch.float32)
    for run, witness in zip(runs, witnesses, strict=True):
        assert_same_run(run, witness, rtol=1e-8)


def test_an_error_in_a_callback_comes_through():
    def on_run(number, run):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        meden.fit_many(_double, MEMBERS, DATA, on_run=on_run)


STOPPING = RECIPE.replace(early_stopping=meden.EarlyStopping())
NO_STOP = Fold(FOLDS[0].fit, FOLDS[0].stop[:0], FOLDS[0].score)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "members must be a list of at least one"),
        ({"members": MEMBERS[0]}, "members must be a list"),
        ({"members": [RECIPE]}, "members must be a list"),
        ({"chunk": 0}, "chunk must be a whole number"),
        ({"memory": -1}, "memory must be a finite number"),
        ({"data": "no such name"}, "file must end in"),
        ({"make_model": nn.Linear(5, 3).weight}, "make_model must be a function"),
        ({"make_model": lambda: 3}, "make_model must return a torch.nn.Module, got int"),
        ({"make_model": lambda: None}, "make_model must return a torch.nn.Module, got NoneType"),
        ({"make_model": lambda: nn.Linear(5, 2)}, "y must be classes 0 to 1"),
        ({"make_model": lambda: nn.Sequential(nn.Linear(5, 3), nn.Flatten(0))}, "outputs must fit"),
        ({"make_model": nn.Identity}, "parameter to train"),
        (
            {"last": Member(RECIPE, FOLDS[0], 0, {"wdith": 3})},
            r"accept the arguments in model_args .*'wdith'; did you mean 'width'",
        ),
        ({"last": Member(STOPPING, NO_STOP)}, "stop split for a recipe with early_stopping"),
        ({"last": Member(STOPPING)}, "stop split for a recipe with early_stopping"),
        ({"last": Member(RECIPE.replace(schedule="plateau"), NO_STOP)}, "stop split for a recipe with plateau"),
        ({"last": Member(RECIPE, Fold(np.arange(61), np.arange(2), np.arange(2)))}, "rows 0 to 59"),
        (
            {"last": Member(RECIPE, Fold(np.arange(0), np.arange(2), np.arange(2)))},
            "rows 0 to 59, including some to fit",
        ),
        (
            {"last": Member(RECIPE.replace(regularizers=[meden.Regularizer(L1(1.0), on="encoder.*")]), FOLDS[0])},
            "on must select at least one parameter",
        ),
    ],
)
def test_bad_input_costs_one_line_and_no_training(change, message):
    ended = []
    arguments = {"make_model": _double, "members": MEMBERS, "data": DATA} | change
    if last := arguments.pop("last", None):
        arguments["members"] = [*MEMBERS, last]
    with pytest.raises(meden.InputError, match=message) as caught:
        meden.fit_many(**arguments, on_run=lambda *told: ended.append(told))
    assert "\n" not in str(caught.value) and not ended


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": {"lr": 0.1}}, "member recipe must be a meden.Recipe"),
        ({"fold": 3}, "member fold must be"),
        ({"seed": -1}, "member seed must be"),
        ({"seed": 0.5}, "member seed must be"),
        ({"model_args": ["width"]}, "member model_args must be"),
        ({"start": "weights.pt"}, "member start must be a state dict of tensors or None, got 'weights.pt'"),
        ({"start": {"weight": 3.0}}, "member start must be a state dict of tensors or None"),
    ],
)
def test_a_member_checks_its_fields(fields, message):
    with pytest.raises(meden.InputError, match=message):
        Member(**({"recipe": RECIPE} | fields))


def _linear():
    return nn.Linear(5, 3).double()


def weights(seed):
    torch.manual_seed(seed)
    return {name: tensor.clone() for name, tensor in _linear().state_dict().items()}


@pytest.mark.parametrize("chunk", [None, 1])
def test_members_start_from_weights_of_their_own(chunk):
    starts = [weights(1), None, weights(2)]
    members = [Member(RECIPE, FOLDS[0], start=start) for start in starts]
    before = {name: tensor.clone() for name, tensor in starts[0].items()}
    runs = assert_as_alone(_linear, members, chunk=chunk)
    data = as_dataset(DATA)
    encoder, fold = data.fit_encoder(FOLDS[0].fit), FOLDS[0]
    pairs = [(data.features(encoder, rows), data.targets(encoder, rows)) for rows in (fold.fit, fold.stop)]
    for run, start in zip(runs, starts, strict=True):
        model = _linear()
        model.load_state_dict(start or fresh(members[1]))
        assert_same_run(run, meden.fit(model, *pairs, RECIPE, seed=run.seed))
    assert all(torch.equal(tensor, before[name]) for name, tensor in starts[0].items()), "a start is not trained"


def fresh(member):
    torch.manual_seed(derive(member.run_seed, "weights"))
    return _linear().state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(2, 5)}, r"member start 'weight' must be of shape \(3, 5\), got \(2, 5\)"),
        ({"wieght": torch.zeros(3, 5)}, "only the model's tensors, got 'wieght'; did you mean 'weight'"),
        ({"weight": None}, r"must have the model's tensors \(weight, bias\), but lacks 'weight'"),
    ],
)
def test_a_start_that_does_not_fit_the_model_is_refused_before_any_training(change, message):
    start = {name: tensor for name, tensor in (weights(1) | change).items() if tensor is not None}
    ended = []
    with pytest.raises(meden.InputError, match=message) as caught:
        members = [*MEMBERS, Member(RECIPE, FOLDS[0], start=start)]
        meden.fit_many(_linear, members, DATA, on_run=lambda *told: ended.append(told))
    assert "\n" not in str(caught.value) and not ended


def test_unknown_fields_are_named():
    with pytest.raises(meden.InputError, match=r"dropuot.*dropout"):
        meden.Recipe(dropuot=0.1)
    with pytest.raises(TypeError, match="sed"):
        Member(RECIPE, sed=3)


@pytest.mark.parametrize("chunk", [None, 1])
def test_each_epoch_is_told_together_and_alone(chunk):
    told = []
    meden.fit_many(
        _double, MEMBERS, DATA, chunk=chunk, on_epoch=lambda number, record: told.append((number, record.epoch))
    )
    assert sorted(told) == [(n, e + 1) for n, m in enumerate(MEMBERS) for e in range(m.recipe.epochs)]


@pytest.mark.parametrize("chunk", [None, 3, 1])
def test_a_race_drops_the_losers_and_leaves_the_others_as_they_are(chunk):
    members = [Member(RECIPE.replace(lr=lr, epochs=6), fold) for lr in (1e-4, 1e-2, 1e-1) for fold in FOLDS]
    asked = []

    def judge(epoch, histories):
        asked.append((epoch, {number: len(history) for number, history in histories.items()}))
        return [0, 1] if epoch == 2 else [max(histories)]

    raced = meden.fit_many(_double, members, DATA, chunk=chunk, rungs=(2, 4), judge=judge)
    last = len(members) - 1
    assert asked == [
        (2, dict.fromkeys(range(len(members)), 2)),
        (4, {number: 4 for number in range(2, len(members))}),
    ]
    assert [run.status for run in raced] == ["dropped"] * 2 + ["completed"] * (last - 2) + ["dropped"]
    assert [len(run.history) for run in raced] == [2, 2] + [6] * (last - 2) + [4]
    assert np.isnan(raced[0].held_out.losses).all() and "epoch 2" in raced[0].reason
    for run, witness in zip(raced[2:-1], meden.fit_many(_double, members, DATA)[2:-1], strict=True):
        assert_same_run(run, witness)


def test_a_race_of_different_shapes_is_judged_together():
    members = [Member(RECIPE.replace(epochs=4), FOLDS[0], model_args={"width": width}) for width in (4, 4, 6, 6)]
    asked = []
    meden.fit_many(MLP, members, DATA, rungs=(2,), judge=lambda _, histories: asked.append(list(histories)) or ())
    assert asked == [[0, 1, 2, 3]]


@pytest.mark.parametrize("rungs", [(0,), (3, 3), (2,)])
def test_rungs_rise_and_come_with_a_judge(rungs):
    judge = None if rungs == (2,) else (lambda *_: ())
    with pytest.raises(meden.InputError, match="rungs"):
        meden.fit_many(_double, MEMBERS, DATA, rungs=rungs, judge=judge)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself, when it is first imported
def test_penalties_reach_the_tensors_of_wrapped_models():
    """By the names of the model inside, which a stack would not find."""

    def make(wrap=torch.nn.DataParallel):
        return wrap(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)))

    recipe = meden.Recipe(lr=0.02, epochs=3, regularizers=[meden.Regularizer(L1(0.1), on="0.weight")])
    members = [meden.Member(recipe), meden.Member(recipe.replace(lr=0.01))]
    with pytest.warns(UserWarning, match="one by one, since the wrapper of the model"):
        wrapped = meden.fit_many(make, members, blobs())
    plain = meden.fit_many(lambda: make(lambda model: model), members, blobs(), chunk=1)
    for ours, wanted in zip(wrapped, plain, strict=True):
        assert ours.history[-1].penalties == pytest.approx(wanted.history[-1].penalties, rel=1e-4)
        assert ours.history[-1].num_zeros == wanted.history[-1].num_zeros > 0


def _normed():
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def test_what_is_idle_is_found_once_for_a_structure(monkeypatch):
    found = []

    def counted(model, x):
        found.append(len(x))
        return idle_numbers(model, x)

    monkeypatch.setattr("meden.training.fit_many.idle_numbers", counted)
    with monkeypatch.context() as patched:
        patched.delattr("meden.training.one.idle_numbers")  # which a member by itself is searched with
        runs = meden.fit_many(_normed, MEMBERS, DATA, chunk=1)
    assert found == [16]
    for run, member in zip(runs, MEMBERS, strict=True):
        assert_same_run(run, alone(_normed, member, DATA))
