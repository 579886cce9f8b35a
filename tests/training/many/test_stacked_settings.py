"""Penalties taken apart into numbers and put together again, for every penalty there is."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch.func import vmap

from meden import Recipe, Regularizer
from meden.penalties import L1, MCP, GroupLasso, Number, PullTo, Scaled, Sum
from meden.training.many import stacked_settings
from meden.training.many.penalties import Slot, times
from meden.training.many.stacking import recipe_key
from tests.contracts import PENALTIES, OneSided

every = pytest.mark.parametrize("case", PENALTIES, ids=str)
STRENGTHS = (0.3, 0.7, 1.5)


def tensors(case, number=3):
    return torch.randn(number, *case.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every
def test_put_together_again_it_is_the_same(case):
    penalty = case.make(0.5)
    assert stacked_settings.rebuild(penalty, iter(stacked_settings.numbers(penalty))) == penalty


@every
def test_strength_is_a_number_and_nothing_else_differs(case):
    one, two = case.make(0.5), case.make(2.0)
    assert stacked_settings.fixed(one) == stacked_settings.fixed(two)
    assert hash(stacked_settings.fixed(one)) == hash(stacked_settings.fixed(two))
    assert stacked_settings.rebuild(one, iter(stacked_settings.numbers(two))) == two
    assert (stacked_settings.numbers(one) == stacked_settings.numbers(two)) == (one == two)


@every
@pytest.mark.parametrize("operation", ["value", "grad", "prox"])
def test_stacked_equals_a_loop(case, operation):
    penalties = [case.make(s) for s in STRENGTHS]
    if operation == "prox" and not penalties[0].has_prox:
        pytest.skip("has no prox")
    extra = (torch.tensor(0.2, dtype=torch.float64),) if operation == "prox" else ()
    w = tensors(case)
    numbers = stacked_settings.stacked(penalties, w)
    assert [len(own) for own in numbers] == [3] * len(stacked_settings.numbers(penalties[0]))

    def one(own, part):
        return getattr(stacked_settings.rebuild(penalties[0], iter(own)), operation)(part, *extra)

    together = vmap(one)(numbers, w)
    for row, penalty in enumerate(penalties):
        torch.testing.assert_close(together[row], getattr(penalty, operation)(w[row], *extra), rtol=1e-9, atol=1e-12)


@every
def test_a_multiple_is_one(case):
    penalty = case.make(0.5)
    if penalty.is_constraint or any(p.is_constraint for p in getattr(penalty, "parts", ())):
        pytest.skip("there is no multiple of a constraint")
    w = tensors(case, 1)[0]
    torch.testing.assert_close(times(penalty, 3.0).grad(w), 3 * penalty.grad(w))
    torch.testing.assert_close(times(penalty, torch.tensor(3.0)).value(w), 3 * penalty.value(w))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (L1(1.0), MCP(1.0)),
        (GroupLasso(1.0), GroupLasso(1.0, dim=1)),
        (GroupLasso(1.0), GroupLasso(1.0, block=2)),
        (Sum((L1(1.0),)), Sum((L1(1.0), L1(1.0)))),
        (Scaled(L1(1.0), 1.0), L1(1.0)),
        (PullTo(L1(1.0), 0.0), PullTo(L1(1.0), torch.zeros(3))),
    ],
    ids=str,
)
def test_what_is_no_number_keeps_penalties_apart(one, two):
    assert stacked_settings.fixed(one) != stacked_settings.fixed(two)
    assert stacked_settings.fixed(one) == stacked_settings.fixed(copy.deepcopy(one))


def test_targets_are_stacked_whole():
    penalties = [PullTo(L1(s)).bind(torch.full((2, 3), s)) for s in STRENGTHS]
    strengths, targets = stacked_settings.stacked(penalties, torch.zeros(1))
    assert strengths.tolist() == pytest.approx(STRENGTHS) and targets.shape == (3, 2, 3)


@dataclass(frozen=True)
class Settled(OneSided):
    """A user's penalty with settings of every kind; their types are classes here, and names in the table of cases."""

    slope: Number = 2.0
    bound: float | None = None
    dim: int = 1
    flag: bool = False
    sizes: tuple[float, ...] = (1.0,)
    groups: list[int] | None = None


def test_numbers_are_the_fields_of_type_float_or_number_and_all_else_is_structure():
    penalty = Settled(0.5, slope=3, bound=0.1)
    assert stacked_settings.numbers(penalty) == [0.5, 3, 0.1]
    assert stacked_settings.numbers(OneSided(0.5)) == [0.5]
    assert stacked_settings.fixed(penalty) == stacked_settings.fixed(Settled(0.7, slope=4.0, bound=0.2))
    for other in (
        {"bound": None},
        {"bound": 0.1, "dim": 2},
        {"bound": 0.1, "flag": True},
        {"bound": 1, "sizes": (2.0,)},
    ):
        assert stacked_settings.fixed(Settled(0.5, **other)) != stacked_settings.fixed(penalty)


def test_members_whose_structure_cannot_be_compared_are_not_stacked():
    listed = Settled(0.5, groups=[1])
    keys = [recipe_key(Recipe(regularizers=[Regularizer(p)])) for p in (listed, listed, Settled(0.5, groups=[1]))]
    assert len({*keys}) == 2 and keys[0] == keys[1]


@dataclass(frozen=True)
class Checked(OneSided):
    """A user's penalty that reads its strength when it is made, as no tensor of many strengths can be read."""

    keep: bool = False

    def __post_init__(self):
        if not 0 <= self.strength < 10:
            raise ValueError(f"strength must be in [0, 10), got {self.strength}")
        if self.keep:
            object.__setattr__(self, "double", 2 * self.strength)


def test_what_a_penalty_checks_when_it_is_made_is_not_asked_of_all_members_at_once():
    penalties, w = [Checked(s) for s in STRENGTHS], torch.ones(3, 2)
    slot, numbers = Slot(0, "w", penalties[0], None), stacked_settings.stacked(penalties, w)
    values = vmap(lambda own, part: slot.penalty(own, 1.0).value(part))(numbers, w)
    assert values.tolist() == pytest.approx([2 * s for s in STRENGTHS])


def test_what_is_derived_from_a_number_keeps_penalties_apart():
    assert stacked_settings.fixed(Checked(1.0)) == stacked_settings.fixed(Checked(2.0))
    one, two = Checked(1.0, keep=True), Checked(2.0, keep=True)
    assert stacked_settings.fixed(one) != stacked_settings.fixed(two)
    assert stacked_settings.fixed(one) == stacked_settings.fixed(Checked(1.0, keep=True))
