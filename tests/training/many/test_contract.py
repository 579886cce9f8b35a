"""Alone or together, the same model: every optimizer, penalty, coupling, schedule, noise and kind of layer."""

import contextlib

import pytest
import torch

import meden
from meden.models import MLP
from tests.contracts import POPULATIONS
from tests.training.many.architectures import ARCHITECTURES
from tests.training.many.witness import alone, assert_same_run, blobs, crossed

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs an accelerator")
    return request.param


def assert_contract(make_model, members, data, device):
    rtol = 1e-4 if device == "cpu" else 1e-3  # torch's own Adam has its rate in single precision on a GPU
    runs = meden.fit_many(make_model, members, data)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(make_model, member, data), rtol=rtol)
        assert run.history[-1].step >= 50 or run.status == "stopped_early"


@pytest.mark.parametrize("case", POPULATIONS, ids=str)
def test_recipes(case, device):
    def make_model(num_inputs, num_outputs):
        model = MLP(num_inputs, num_outputs, width=6, batch_norm=case.batch_norm, activation="tanh")
        return model.to(device, torch.float64 if case.double or device != "cpu" else torch.float32)

    data = blobs()
    assert_contract(make_model, crossed(case.recipes(), data), data, device)


@pytest.mark.parametrize("case", ARCHITECTURES, ids=str)
def test_architectures(case, device):
    data = case.data()
    expected = contextlib.nullcontext() if case.stacked else pytest.warns(UserWarning, match="one by one")
    with expected:
        assert_contract(lambda: case.make().to(device, case.dtype), crossed(case.recipes(), data), data, device)
