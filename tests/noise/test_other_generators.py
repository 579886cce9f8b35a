"""Which code is taken for code that draws from Python's or numpy's global generators."""

import functools
import random

import numpy as np
import numpy.random as draws
import pytest
import torch
from torch import nn

from meden.noise.other_generators import names_other_generators

TABLE, WEIGHT, NOTHING = np.ones((3, 3)), torch.ones(3, 3), None
uniform = random.uniform
SEEDED = np.random.RandomState(0)


class Holder(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def helper(x):
    return x * random.random()


def loops(x):
    return loops(x - 1) if x.sum() > 0 else x


def imports(x):
    from random import gauss

    return x * gauss(0, 1)


class Proxy:
    """Knows nothing outside of a context, and says so loudly."""

    def __getattr__(self, name):
        raise RuntimeError(f"working outside of context: {name}")


class FixedProjection(nn.Module):
    """Draws when it is made, and has an attribute of a telling name."""

    def __init__(self):
        super().__init__()
        self.random = np.random.RandomState(0).randn(3)

    def forward(self, x):
        return x * self.random * float(torch.random.initial_seed() > 0)


DRAW = {
    "numpy": lambda x: x * np.random.rand() if len(x) > 99 else x,
    "a module of numpy": lambda x: x * draws.rand(),
    "python": lambda x: x * random.random(),
    "a method of python's": lambda x: x * uniform(0, 1),
    "a helper": lambda x: helper(x),
    "inside": lambda x: [part * random.random() for part in x],
    "an import inside": imports,
}
DO_NOT = {
    "numpy's arithmetic": lambda x: x * float(np.sqrt(2.0)) + TABLE.sum() + WEIGHT.sum(),
    "torch": lambda x: x + torch.randn(3),
    "nothing": lambda x: x if NOTHING is None else NOTHING,
    "itself": loops,
    "a function of C": len,
    "a partial": functools.partial(torch.add, 1),
}


@pytest.mark.parametrize("function", DRAW.values(), ids=DRAW)
def test_code_that_draws(function):
    assert names_other_generators(nn.Sequential(nn.Linear(3, 3), Holder(function)))


@pytest.mark.parametrize("function", DO_NOT.values(), ids=DO_NOT)
def test_code_that_does_not(function):
    assert not names_other_generators(nn.Sequential(nn.Linear(3, 3), Holder(function)))


def test_what_is_drawn_to_make_a_layer_is_no_draw_of_a_pass():
    assert not names_other_generators(FixedProjection())


def test_objects_whose_attributes_raise_are_no_code():
    proxy = Proxy()
    assert not names_other_generators(Holder(proxy)) and not names_other_generators(Holder(lambda x: (proxy, x)))


def test_hooks_are_code_too():
    model = nn.Linear(3, 3)
    assert not names_other_generators(model)
    model.weight.register_hook(lambda g: g * random.random())
    assert names_other_generators(model)


def test_methods_properties_and_bases_are_code_too():
    class Base(nn.Module):
        @property
        def factor(self):
            return np.random.rand()

    class Derived(Base):
        def forward(self, x):
            return x * self.factor

    assert names_other_generators(Derived()) and not names_other_generators(nn.TransformerEncoderLayer(4, 2))
