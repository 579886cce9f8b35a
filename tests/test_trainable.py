"""What cannot be trained is refused before the first step, on every road; what can be made trainable is."""

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden._checks import InputError
from meden.trainable import check_trains, unwrapped

X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
Y = np.arange(30) % 2
RECIPE = meden.Recipe(epochs=2)


def plain(num_outputs=2):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, num_outputs))


def batch_norm(num_outputs=2):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_outputs))


class NeedsTwoRows(nn.Module):
    """A user's own layer that compares rows of a batch, and says so in its own words."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        if self.training and len(x) < 2:
            raise RuntimeError("needs two rows")
        return self.last(x)


class Unruly(nn.Module):
    """Fails while training, whatever the batch."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(x).view(3, 5) if self.training else self.last(x)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4, 2, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(torch.complex64) @ self.w).abs()


ROADS = {
    "fit": lambda make, recipe: meden.fit(make(), (X, Y), recipe=recipe),
    "fit_many": lambda make, recipe: meden.fit_many(make, [meden.Member(recipe)] * 2, (X, Y)),
    "tune": lambda make, recipe: meden.tune(make, (X, Y), {"lr": meden.Choice(0.1)}, folds=2, budget=1, recipe=recipe),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("make", [batch_norm, NeedsTwoRows])
def test_batches_of_one_row_that_a_model_cannot_train_on_are_refused(road, make):
    with pytest.raises(InputError, match=r"batch_size must be .* batch_size=1 and \d+ rows it gets batches of 1 row"):
        ROADS[road](make, RECIPE.replace(batch_size=1))
    ROADS[road](make, RECIPE.replace(batch_size=2))


def test_a_batch_size_that_the_space_only_reaches_is_refused_before_compute():
    seen = []
    space = {"batch_size": meden.Choice(8, 1)}
    with pytest.raises(InputError, match="batches of 1 row"):
        meden.tune(batch_norm, (X, Y), space, folds=2, budget=2, recipe=RECIPE, on_progress=seen.append)
    assert not seen


@pytest.mark.parametrize("road", ROADS)
def test_an_error_of_the_training_pass_comes_first_and_in_one_line(road):
    with pytest.raises(InputError, match=r"batches of 2 rows, and failed: RuntimeError: shape"):
        ROADS[road](Unruly, RECIPE)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.script(plain()), "in Python code, got a scripted or traced"),
        (lambda: torch.jit.trace(plain().eval(), torch.ones(2, 4)), "in Python code, got a scripted or traced"),
        (Complex, r"real parameters, got 'w' of torch\.complex64"),
    ],
    ids=["scripted", "traced", "complex"],
)
def test_models_whose_passes_or_numbers_are_none_of_ours_are_refused(road, make, message):
    with pytest.raises(InputError, match=message):
        ROADS[road](make, RECIPE)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager"),
        lambda model: nn.Sequential(torch.compile(model, backend="eager")),
    ],
    ids=["whole", "a layer"],
)
def test_compiled_models_are_searched_as_what_they_were_compiled_from(wrap):
    compiled = ROADS["tune"](lambda: wrap(plain()), RECIPE)
    assert compiled.best.loss == ROADS["tune"](plain, RECIPE).best.loss


def test_unwrapped_leaves_other_models_alone():
    model = plain()
    assert unwrapped(model) is model and list(model.state_dict()) == list(plain().state_dict())


@pytest.mark.parametrize("road", ["fit_many", "tune"])
def test_lazy_layers_get_the_weights_that_the_seed_decides(road):
    def lazy(num_outputs=2):
        return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(num_outputs))

    def final(seed):
        torch.manual_seed(seed)
        result = ROADS[road](lazy, RECIPE)
        return [run.history[-1].train["loss"] for run in result] if road == "fit_many" else result.best.loss

    assert final(0) == final(1)


def test_the_trial_pass_leaves_no_trace():
    model = batch_norm().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    check_trains(model, torch.ones(4, 4), 4, num_rows=4)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and not model.training


@pytest.mark.parametrize("factor", [1e20, 1e155, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_whose_squares_are_none_are_refused_by_fit(factor, dtype):
    with pytest.raises(InputError, match=r"train y must hold numbers up to 1.8e\+19 for a model of torch"):
        meden.fit(nn.Linear(4, 1).to(dtype), (X, X[:, 0].astype("float64") * factor), recipe=RECIPE)


class Remembers(nn.Module):
    """Draws from a generator that nobody seeds."""

    def __init__(self):
        super().__init__()
        self.last, self.generator = nn.Linear(4, 2), torch.Generator()

    def forward(self, x):
        return self.last(x) + torch.randn(2, generator=self.generator) * self.training


def test_what_the_seed_cannot_decide_is_said():
    with pytest.warns(UserWarning, match="two training passes of a Remembers over the same rows differ"):
        meden.fit(Remembers(), (X, Y), recipe=RECIPE)


def test_a_generator_that_is_seeded_in_each_pass_is_no_cause_for_worry(recwarn):
    class Fixed(Remembers):
        def forward(self, x):
            self.generator.manual_seed(0)
            return super().forward(x)

    meden.fit(Fixed(), (X, Y), recipe=RECIPE)
    assert not recwarn.list


WRAPPINGS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "a compiled layer": lambda model: nn.Sequential(torch.compile(model[0], backend="eager"), *model[1:]),
    "DataParallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    "none": lambda model: model,
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("other", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_run_is_saved_by_the_names_within_its_wrappers(wrap, other, tmp_path):
    run = meden.fit(wrap(plain()), (X, Y), recipe=RECIPE)
    run.save(tmp_path)
    loaded = meden.load_run(tmp_path, lambda: other(plain()))
    x = torch.as_tensor(X)
    assert torch.equal(loaded.model(x), run.model(x))


class Counts(nn.Module):
    """Anneals by a count of its own."""

    def __init__(self):
        super().__init__()
        self.last, self.num_passes = nn.Linear(4, 2), 0

    def forward(self, x):
        self.num_passes += self.training
        return self.last(x) / (1 + self.num_passes)


@pytest.mark.filterwarnings("ignore:two training passes")
def test_the_trial_pass_is_not_counted():
    model = Counts()
    meden.fit(model, (X, Y), recipe=RECIPE.replace(batch_size="full"))
    assert model.num_passes == RECIPE.epochs
