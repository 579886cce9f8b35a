"""A model that a file names is made again without being told what made it."""

import functools
import inspect
import json

import pytest
import torch

import meden
from meden import InputError
from meden.models import MLP, TabularNet
from meden.models.named import check_size, fixed_arguments, model_name
from tests.forgery import rewrite

MAKERS = {
    "MLP": MLP,
    "MLP, its depth fixed": functools.partial(MLP, depth=0),
    "TabularNet, fixed twice": functools.partial(functools.partial(TabularNet, num_numbers=1, width=9), num_numbers=2),
}


def trained(make_model, **model_args):
    member = meden.Member(meden.Recipe(epochs=1), model_args=model_args)
    return meden.fit_many(make_model, [member], "iris")[0]


@pytest.mark.parametrize("made", MAKERS)
def test_saved_and_loaded_by_name(made, tmp_path):
    run = trained(MAKERS[made], **({"width": 5} if made == "MLP" else {}))
    run.save(tmp_path)
    loaded = meden.load_run(tmp_path)
    x = torch.randn(7, 4)
    assert type(loaded.model) is type(run.model) and torch.equal(loaded.model(x), run.model(x))
    assert json.loads((tmp_path / "run.json").read_text())["model_name"] == made.split(",")[0] == loaded.model_name


def test_another_model_needs_its_maker(tmp_path):
    def make(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=3)

    run = trained(make)
    run.save(tmp_path)
    assert run.model_name is None
    with pytest.raises(InputError, match=r"make_model must be given for .* not one of meden\.models"):
        meden.load_run(tmp_path)
    x = torch.randn(7, 4)
    assert torch.equal(meden.load_run(tmp_path, make).model(x), run.model(x))


def test_what_cannot_be_told_has_no_name():
    assert model_name(functools.partial(MLP, 4)) is None
    assert fixed_arguments(MAKERS["TabularNet, fixed twice"]) == {"num_numbers": 2, "width": 9}


@pytest.mark.parametrize("made", MAKERS)
@pytest.mark.parametrize(
    ("name", "size"), [("depth", 10**7), ("depth", 10**30), ("width", 10**7), ("num_outputs", 10**9)]
)
def test_sizes_beyond_the_weights_beside_them_are_refused_before_memory_is_taken(made, name, size, tmp_path):
    trained(MAKERS[made]).save(tmp_path)
    file = tmp_path / "run.json"
    summary = json.loads(file.read_text())
    summary["model_args"] |= {name: size} if name != "width" else {name: size, "depth": 2}
    rewrite(file, summary)
    with pytest.raises(InputError, match="must hold a whole run, but is damaged") as said:
        meden.load_run(tmp_path)
    assert "\n" not in str(said.value)


SIZES = {
    "MLP": {"num_inputs": 4, "num_outputs": 3, "batch_norm": True},
    "ConvNet": {"num_outputs": 3},
    "Linear": {"num_inputs": 4, "num_outputs": 3},
    "TabularNet": {"num_inputs": 4, "num_outputs": 3, "num_numbers": 2},
    "Transformer": {"num_inputs": 6, "num_outputs": 3, "num_tokens": 9},
    "CausalTransformer": {"num_inputs": 6, "num_tokens": 9},
    "Decoder": {"num_inputs": 6, "num_tokens": 9},
}


@pytest.mark.parametrize("name", meden.models.__all__)
def test_a_model_has_the_size_of_its_own_weights(name):
    make, arguments = getattr(meden.models, name), SIZES[name]
    state = make(**arguments).state_dict()
    check_size(make, arguments, state)
    if "depth" in inspect.signature(make).parameters:
        deeper = arguments | {"depth": 30}
        with pytest.raises(InputError, match=r"model must have at most the .* numbers that were saved, got"):
            check_size(make, deeper, state)
