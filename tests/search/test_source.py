"""The source of a model is followed to whatever of the user's own it refers to, and no further."""

import importlib
import sys

import pytest
import torch

from meden.search.source import source_hash

HELPERS = """
def squashed(x):
    return x * 1

DEPTH = 3
"""
NET = """
import functools
import torch
import own_helpers
from own_helpers import squashed as press

HELP = 1.0
NAMES = ("a", "b")
SIZES = [1, 2]
TABLE = {"a": 1}
CACHE = {}
WEIGHT = torch.tensor([1.0])
UNUSED = 1

def scaled(x, by=HELP):
    return x * by

def deep(x):
    return again(x) * 1

def again(x):
    return deep(x) if x > 9 else x

def twice(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args) * 1
    return call

halved = functools.partial(scaled, by=0.5)

class Config:
    def __init__(self):
        self.rate = 1.5

CONFIG = Config()

def pressed(x):
    return x * 3

CHOICES = {"pressed": pressed}

class Base:
    factor = HELP

    @property
    def size(self):
        return len(NAMES) + len(SIZES) + len(TABLE)

    @staticmethod
    def fixed(x):
        return press(x)

    @twice
    def wrapped(self, x):
        CACHE[id(x)] = x
        return x

class Net(Base):
    def forward(self, x):
        def inner(y):
            return [deep(z) * HELP for z in y]
        from own_helpers import DEPTH
        return CHOICES[0](self.fixed(inner(x)) + own_helpers.DEPTH + halved(x) * WEIGHT * CONFIG.rate)
"""
CHANGES = {
    "a constant": ("HELP = 1.0", "HELP = 2.0"),
    "a tuple": ('("a", "b")', '("a", "c")'),
    "a list": ("[1, 2]", "[1, 3]"),
    "a dictionary": ('{"a": 1}', '{"a": 2}'),
    "a tensor": ("[1.0]", "[2.0]"),
    "a function": ("again(x) * 1", "again(x) * 2"),
    "a function of a function": ("x > 9", "x > 8"),
    "a decorator": ("*args) * 1", "*args) * 2"),
    "a partial": ("by=0.5", "by=0.25"),
    "a function in a dictionary": ("x * 3", "x * 4"),
    "an object": ("rate = 1.5", "rate = 2.5"),
    "what another module has": ("press(x)", "press(x) + 1"),
}


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def hash_of(net=NET, helpers=HELPERS):
        for name, text in (("own_helpers", helpers), ("own_followed", net)):
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module = importlib.import_module("own_followed")
        return source_hash([module.Net, module.Base]), module

    return hash_of


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_referred_to_counts(hashed, change):
    assert NET.count(CHANGES[change][0]) >= 1
    assert hashed()[0] == hashed()[0] != hashed(NET.replace(*CHANGES[change]))[0]


@pytest.mark.parametrize("old, new", [("x * 1", "x * 2"), ("DEPTH = 3", "DEPTH = 4")])
def test_other_modules_of_the_user_are_followed(hashed, old, new):
    assert hashed()[0] != hashed(helpers=HELPERS.replace(old, new))[0]


@pytest.mark.parametrize(
    "old, new", [("UNUSED = 1", "UNUSED = 2"), ("x * by", "x * by  # by so much"), ("CACHE = {}", "CACHE = {}\n\n")]
)
def test_what_changes_nothing_does_not_count(hashed, old, new):
    assert hashed()[0] == hashed(NET.replace(old, new))[0]


def test_what_a_run_leaves_in_a_cache_does_not_count(hashed):
    before, module = hashed()
    module.CACHE[1] = object()
    assert source_hash([module.Net, module.Base]) == before


CALLS, COUNTS, LAST, NUM = [], {}, [0], 0


def counting():
    global NUM
    NUM += 1
    CALLS.append(NUM)
    COUNTS[NUM] = NUM
    LAST[0] = NUM


def test_what_the_code_counts_by_itself_is_no_change_of_it():
    num = 0

    def around():
        nonlocal num
        num += 1
        counting()

    before = source_hash([around])
    around()
    assert NUM and CALLS and COUNTS and LAST and num and source_hash([around]) == before


class Counted:
    """Counts on the class, and in a container of it."""

    count, log = 0, []

    def make(self):
        Counted.count += 1
        self.log.append(1)
        return LAST

    @classmethod
    def made(cls):
        return cls.count


EMA = torch.zeros(2)


def helped():
    counting()
    return NUM, CALLS, EMA


def test_what_helpers_classes_and_tensors_count_is_no_change():
    parts = [Counted, Counted().make, helped]
    before = source_hash(parts)
    Counted().make()
    helped()
    EMA.add_(1)
    assert source_hash(parts) == before


def test_methods_are_followed_to_their_code():
    def code(of):
        return source_hash([of])

    assert code(Counted().make) != code(Counted.made) != code(Counted)
    assert code(Counted().make) == code(Counted().make)
    held = Counted().make, Counted.made
    around = [(lambda of: lambda: of())(method) for method in held]
    assert code(around[0]) != code(around[1])


def test_tensors_of_any_kind_are_no_obstacle():
    odd = torch.view_as_complex(torch.ones(2, 2)).conj(), torch.ones(2).to_sparse(), torch.ones(2, device="meta")
    assert source_hash([lambda: odd])
