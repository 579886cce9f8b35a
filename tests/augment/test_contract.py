"""What every augmentation promises, for each line of the table."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from meden import augment
from meden._checks import InputError
from meden.augment import Augmentation, augmented
from meden.noise import Draws, stream
from tests.augment.cases import CASES, UNVARIED, Case

ALL = CASES + UNVARIED
if importlib.util.find_spec("kornia") is None:
    ALL = [case for case in ALL if not case.name.startswith("Color")]
VARIED = [case for case in ALL if case in CASES]
every = pytest.mark.parametrize("case", ALL, ids=str)
each_varied = pytest.mark.parametrize("case", VARIED, ids=str)


def called(augmentation: Augmentation, x: Tensor, y: Tensor, key: int = 0, step: int = 0) -> tuple[Tensor, Tensor]:
    return augmentation(x, y, Draws(stream(key), torch.tensor(step)))


def varied_field(case: Case) -> str:
    low, high = (case.make(s) for s in case.strengths)
    (name,) = (f.name for f in dataclasses.fields(low) if getattr(low, f.name) != getattr(high, f.name))  # type: ignore[arg-type]
    return name


def same(got: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], tolerance: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_every_augmentation_is_in_the_table() -> None:
    leaves = {name for name in augment.__all__ if isinstance(getattr(augment, name), type)} - {"Augmentation"}
    assert leaves == {case.name.split(",")[0] for case in CASES + UNVARIED}
    assert augment.__all__ == sorted(augment.__all__)


@every
def test_shapes_and_types_stay_and_the_arguments_too(case: Case) -> None:
    x, y = case.rows(), case.targets()
    before = x.clone(), y.clone()
    new_x, new_y = called(case.make(case.strengths[1]), x, y)
    assert (new_x.shape, new_x.dtype, new_y.shape, new_y.dtype) == (x.shape, x.dtype, y.shape, y.dtype)
    same((x, y), before, 0.0)


@every
def test_key_and_step_decide_all(case: Case) -> None:
    x, y = case.rows(), case.targets()
    augmentation = case.make(case.strengths[1])
    same(called(augmentation, x, y), called(augmentation, x, y), 0.0)
    if case.name != "LabelSmoothing":
        for other in (called(augmentation, x, y, key=1), called(augmentation, x, y, step=1)):
            assert not torch.equal(called(augmentation, x, y)[0], other[0])


@every
def test_at_strength_zero_nothing_changes(case: Case) -> None:
    if case.off is not None:
        x, y = case.rows(), case.targets()
        for strength in (case.off, torch.tensor(case.off)) if case in CASES else (case.off,):
            same(called(case.make(strength), x, y), (x, y), case.rounding)


@every
def test_only_what_says_so_mixes_rows(case: Case) -> None:
    augmentation, x, y = case.make(case.strengths[1]), case.rows(), case.targets()
    other = x.clone()
    other[1:] = other[1:].flip(0)
    first = [torch.stack([called(augmentation, rows, y, step=s)[0][0] for s in range(20)]) for rows in (x, other)]
    assert torch.equal(*first) != augmentation.mixes_rows


@every
def test_rows_draw_the_same_in_a_batch_that_is_filled_up(case: Case) -> None:
    augmentation, x, y = case.make(case.strengths[1]), case.rows(), case.targets()
    if not augmentation.mixes_rows:
        filled = [torch.cat([part, part[:1], part[:1]]) for part in (x, y)]
        got = [part[: len(x)] for part in called(augmentation, *filled)]
        same(got, called(augmentation, x, y), max(case.tolerance, 1e-6))


@every
def test_only_what_says_so_changes_classes(case: Case) -> None:
    augmentation = case.make(case.strengths[1])
    y = case.targets()
    assert torch.equal(called(augmentation, case.rows(), y)[1], y) != augmentation.softens


@each_varied
def test_a_tensor_is_as_good_as_a_number(case: Case) -> None:
    x, y = case.rows(), case.targets()
    number, tensor = (case.make(s) for s in (case.strengths[0], torch.tensor(case.strengths[0])))
    same(called(number, x, y), called(tensor, x, y), 1e-5)


@each_varied
def test_a_population_equals_its_members_alone(case: Case) -> None:
    """Each member has its own strength, key and rows; alone it is called without any transform."""
    low, high = case.strengths
    strengths = torch.tensor([low, (low + high) / 2, high])
    keys = torch.stack([stream(k) for k in range(3)])
    xs, y = torch.stack([case.rows().roll(k, 0) for k in range(3)]), case.targets()
    name, base = varied_field(case), case.make(low)

    def one(strength: Tensor, key: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return augmented([dataclasses.replace(base, **{name: strength})], x, y, key, torch.tensor(5))  # type: ignore[type-var]

    together = vmap(one)(strengths, keys, xs)
    traced = make_fx(vmap(one))(strengths, keys, xs)
    again = traced(strengths, keys, xs)
    for k in range(3):
        alone = one(strengths[k], keys[k], xs[k])
        for parts in (together, again):
            wanted = alone[0], alone[1].expand(parts[1][k].shape)
            same((parts[0][k], parts[1][k]), wanted, max(case.tolerance, 1e-6))


@every
def test_a_trace_draws_anew(case: Case) -> None:
    """Nothing random is kept in a trace: with another key it gives what the function gives."""
    augmentation, x, y = case.make(case.strengths[1]), case.rows(), case.targets()

    def one(key: Tensor, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        return augmented([augmentation], x, y, key, step)

    traced = make_fx(one)(stream(0), x, torch.tensor(0))
    other = stream(9), x.flip(0), torch.tensor(4)
    same(traced(*other), one(*other), max(case.tolerance, 1e-6))


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(case: Case, dtype: torch.dtype) -> None:
    augmentation, x, y = case.make(case.strengths[0]), case.rows(), case.targets()
    if not x.is_floating_point() or (case.name.startswith("Color") and dtype == torch.bfloat16):
        pytest.skip("tokens; and kornia has colours in float32 and float64")
    wide = y.to(dtype) if y.is_floating_point() else y
    got = called(augmentation, x.to(dtype), wide)
    assert got[0].dtype == dtype and got[1].dtype == wide.dtype
    if dtype == torch.float64:
        wanted = called(augmentation, x, y)
        torch.testing.assert_close(got[0].float(), wanted[0], rtol=1e-4, atol=1e-4)


@every
def test_one_row_alone(case: Case) -> None:
    x, y = case.rows()[:1], case.targets()[:1]
    got = called(case.make(case.strengths[1]), x, y)
    assert got[0].shape == x.shape and (not x.is_floating_point() or got[0].isfinite().all())


@each_varied
def test_bad_strengths_are_refused(case: Case) -> None:
    for wrong in (case.too_much, -1.0, float("nan"), "much"):
        with pytest.raises(InputError, match=rf"{case.name.split(',')[0]} \w+ must be a (finite )?number"):
            case.make(wrong)


@every
def test_its_own_rows_are_welcome_and_missing_values_are_not(case: Case) -> None:
    augmentation, x = case.make(case.strengths[0]), case.rows()
    augmentation.check(x, "classification")
    if x.is_floating_point() and case.name != "LabelSmoothing":
        x[0, 0] = torch.nan
        with pytest.raises(InputError, match=r"x must be finite before \w+, got \d+ missing or infinite values"):
            augmentation.check(x, "classification")
        with pytest.raises(InputError, match="must hold floating-point numbers"):
            augmentation.check(torch.zeros(x.shape, dtype=torch.int64), "classification")


def test_each_place_in_a_sequence_draws_for_itself() -> None:
    x, y = torch.zeros(50, 4), torch.zeros(50)
    jitter = augment.Jitter(1.0)
    once, _ = augmented([jitter], x, y, stream(0), torch.tensor(0))
    twice, _ = augmented([jitter, jitter], x, y, stream(0), torch.tensor(0))
    assert abs(torch.corrcoef(torch.stack([once.ravel(), (twice - once).ravel()]))[0, 1]) < 0.3
    assert 1.2 < twice.std() < 1.6
    same(augmented([], x, y, stream(0), torch.tensor(0)), (x, y), 0.0)
