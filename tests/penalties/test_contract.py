"""What every penalty promises, over the table of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from meden._checks import InputError
from meden.penalties import Groups, Penalty, SparsePenalty
from tests.contracts import PENALTIES, PenaltyCase

STRENGTH = 0.6
STEPS = [0.05, 0.7, 3.0]
DOUBLE = {"dtype": torch.float64}

every = pytest.mark.parametrize("case", PENALTIES, ids=str)


def where(**flags: bool) -> pytest.MarkDecorator:
    """Parametrise over the cases whose penalties declare these flags."""
    chosen = [c for c in PENALTIES if all(getattr(c.make(STRENGTH), k) == v for k, v in flags.items())]
    return pytest.mark.parametrize("case", chosen, ids=str)


sparse = pytest.mark.parametrize("case", [c for c in PENALTIES if isinstance(c.make(1.0), SparsePenalty)], ids=str)


def weights(case: PenaltyCase, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (1.5 * torch.randn(case.shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)).to(dtype)


def steps(case: PenaltyCase, seed: int = 1) -> Tensor:
    """One step per coordinate, over two decades."""
    return 10 ** (2 * torch.rand(case.shape, generator=torch.Generator().manual_seed(seed), **DOUBLE) - 1.5)


def all_steps(case: PenaltyCase, penalty: Penalty) -> list[float | Tensor]:
    return [*STEPS, steps(case)] if penalty.metric else list(STEPS)


def objective(case: PenaltyCase, z: np.ndarray, w: np.ndarray, step: np.ndarray | float) -> float:
    return float(np.sum(case.terms(z, STRENGTH)) + ((z - w) ** 2 / (2 * step)).sum())


@every
def test_flags_are_declared(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    for flag in ("separable", "convex", "smooth", "has_prox", "metric", "is_constraint"):
        assert type(getattr(penalty, flag)) is bool, flag
    assert penalty.has_prox or not penalty.metric


@every
def test_value_is_the_formula(case: PenaltyCase) -> None:
    for seed in range(5):
        w = weights(case, seed)
        expected = float(np.sum(case.terms(w.numpy(), STRENGTH)))
        value = case.make(STRENGTH).value(w)
        assert value.shape == () and value.item() == pytest.approx(expected, rel=1e-12)


@where(is_constraint=False)
def test_grad_agrees_with_autograd_and_finite_differences(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    w = weights(case)
    w = (w.abs() if torch.isinf(penalty.value(w)) else w).requires_grad_()
    if math.isfinite(penalty.value(w).item()):
        assert torch.autograd.gradcheck(penalty.value, w)
        torch.testing.assert_close(penalty.grad(w), torch.autograd.grad(penalty.value(w), w)[0])


@where(is_constraint=False)
def test_zero_has_a_finite_subgradient(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    w = torch.zeros(case.shape, **DOUBLE).requires_grad_()
    (auto,) = torch.autograd.grad(penalty.value(w), w)
    for slope in (penalty.grad(w.detach()), auto):
        assert torch.isfinite(slope).all()
        for seed in range(5 if penalty.convex else 0):
            z = weights(case, seed)
            assert penalty.value(z) >= penalty.value(w) + (slope * z).sum() - 1e-12


@where(has_prox=True, separable=True)
def test_prox_of_a_coordinate_is_the_best_of_a_grid(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    w = torch.cat([torch.linspace(-4, 4, 61, **DOUBLE), weights(case).flatten()])
    grid = np.append(np.linspace(-5, 5, 20001), STRENGTH * np.array([-1, 2]))
    for step in [*STEPS, 10 ** torch.linspace(-1.5, 1, len(w), **DOUBLE)[torch.randperm(len(w))]]:
        p, s = penalty.prox(w, step).numpy(), np.broadcast_to(np.asarray(step), w.shape)
        best = [
            (case.terms(grid, STRENGTH) + (grid - x) ** 2 / (2 * d)).min() for x, d in zip(w.numpy(), s, strict=True)
        ]
        for near in (0.0, 1e-5, -1e-5, 1e-3, -1e-3):
            here = case.terms(p, STRENGTH) + (p - w.numpy()) ** 2 / (2 * s)
            there = case.terms(p + near, STRENGTH) + (p + near - w.numpy()) ** 2 / (2 * s)
            assert (here <= there + 1e-13).all()
        assert (here <= np.array(best) + 1e-12).all()


@where(has_prox=True)
def test_prox_has_no_better_neighbour(case: PenaltyCase) -> None:
    penalty, rng = case.make(STRENGTH), np.random.default_rng(0)
    for seed, step in enumerate(all_steps(case, penalty)):
        w = weights(case, seed)
        p, x, s = penalty.prox(w, step).numpy(), w.numpy(), np.asarray(step)
        here = objective(case, p, x, s)
        assert math.isfinite(here)
        for scale in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0):
            sparse_moves = rng.standard_normal((40, *case.shape)) * (rng.random((40, *case.shape)) < 0.4)
            moves = [*rng.standard_normal((40, *case.shape)), *sparse_moves, x - p, -p]
            candidates = [p + scale * move for move in moves]
            if case.inside is not None:
                candidates = [case.inside(z, STRENGTH) for z in candidates]
            assert here <= min(objective(case, z, x, s) for z in candidates) + 1e-13, scale


@where(has_prox=True, convex=True)
def test_prox_is_firmly_nonexpansive(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    for step in all_steps(case, penalty):
        a, b = weights(case, 3), weights(case, 4)
        moved = penalty.prox(a, step) - penalty.prox(b, step)
        assert (moved.square() / step).sum() <= (moved * (a - b) / step).sum() + 1e-12


@pytest.mark.parametrize("case", [c for c in PENALTIES if c.dual], ids=str)
def test_moreau_identity(case: PenaltyCase) -> None:
    penalty, dual = case.make(STRENGTH), case.dual(STRENGTH)
    for seed, step in enumerate(all_steps(case, penalty)):
        w = weights(case, seed)
        torch.testing.assert_close(penalty.prox(w, step) + step * dual.prox(w / step, 1 / step), w)


@where(has_prox=True, metric=False)
def test_a_step_per_coordinate_is_refused_where_the_flag_says_so(case: PenaltyCase) -> None:
    with pytest.raises(InputError, match=r"step must be one number, got a tensor of shape"):
        case.make(STRENGTH).prox(weights(case), steps(case))


@where(has_prox=False)
def test_without_a_prox_asking_for_it_is_an_error(case: PenaltyCase) -> None:
    with pytest.raises(InputError, match="proximal operator"):
        case.make(STRENGTH).prox(weights(case), 0.1)


@where(has_prox=True, metric=True)
def test_equal_steps_are_one_step(case: PenaltyCase) -> None:
    penalty, w = case.make(STRENGTH), weights(case)
    for step in STEPS:
        one = penalty.prox(w, step)
        torch.testing.assert_close(penalty.prox(w, torch.tensor(step, **DOUBLE)), one)
        torch.testing.assert_close(penalty.prox(w, torch.full(case.shape, step, **DOUBLE)), one)


@where(is_constraint=True)
def test_constraints_are_sets_and_projections(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        w = weights(case, 5, dtype)
        assert penalty.value(w) == math.inf
        for step in all_steps(case, penalty):
            p = penalty.prox(w, step)
            assert penalty.value(p) == 0
            torch.testing.assert_close(penalty.prox(p, step), p)
            assert not penalty.grad(w).any()


@sparse
def test_zeros_are_exact_and_positive(case: PenaltyCase) -> None:
    penalty, w = case.make(STRENGTH), weights(case)
    for step in [100.0] + [100 * steps(case)] * penalty.metric:
        p = penalty.prox(w / 5, step)
        assert (p == 0).all()
        assert not torch.signbit(p).any() or not penalty.metric


@sparse
def test_strength_max_is_where_the_last_weight_leaves(case: PenaltyCase) -> None:
    for seed in range(3):
        gradient = weights(case, seed)
        strongest = case.make(1.0).strength_max(gradient)
        assert strongest.shape == ()
        for factor, zero in ((1.0001, True), (0.9999, False)):
            step = 1e-3
            p = case.make(factor * strongest.item()).prox(-step * gradient, step)
            assert (p.abs().max() < 1e-15) == zero


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype_is_kept(case: PenaltyCase, dtype: torch.dtype) -> None:
    penalty, w, digits = case.make(STRENGTH), weights(case, 2, dtype), {"rtol": 0.05, "atol": 0.05}
    if dtype == torch.float32:
        digits = {"rtol": 1e-5, "atol": 1e-5}
    assert penalty.value(w).dtype == dtype
    torch.testing.assert_close(penalty.value(w).double(), penalty.value(w.double()), **digits)
    results = [(penalty.grad(w), penalty.grad(w.double()))]
    for step in all_steps(case, penalty) if penalty.has_prox else []:
        single = step.float() if isinstance(step, Tensor) else step
        results.append((penalty.prox(w, single), penalty.prox(w.double(), step)))
    for narrow, full in results:
        assert narrow.dtype == dtype and narrow.shape == w.shape
        torch.testing.assert_close(narrow.double(), full, **digits)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_vmap_over_strength_and_weights_is_a_loop(case: PenaltyCase, dtype: torch.dtype) -> None:
    strengths = torch.tensor([0.1, 0.6, 2.0], dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    ws, ds = torch.stack([weights(case, i, dtype) for i in range(3)]), torch.stack([steps(case, i) for i in range(3)])
    ds = ds.to(strengths.dtype)

    def alone(strength: Tensor, w: Tensor, step: Tensor) -> dict[str, Tensor]:
        penalty = case.make(strength)
        out = {"value": penalty.value(w), "grad": penalty.grad(w)}
        if penalty.has_prox:
            out["prox"] = penalty.prox(w, 0.5)
        if penalty.metric:
            out["metric"] = penalty.prox(w, step)
        return out

    together = vmap(alone)(strengths, ws, ds)
    for i in range(3):
        for key, value in alone(strengths[i], ws[i], ds[i]).items():
            tolerance = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {}
            torch.testing.assert_close(together[key][i], value, **tolerance)


@every
def test_it_can_be_traced(case: PenaltyCase) -> None:
    def population(strength: Tensor, w: Tensor) -> list[Tensor]:
        penalty = case.make(strength)
        proxes = [penalty.prox(w, s) for s in ([0.5, w.abs() + 0.1] if penalty.metric else [0.5] * penalty.has_prox)]
        return [penalty.value(w), penalty.grad(w), *proxes]

    inputs = torch.tensor([0.1, 2.0], **DOUBLE), torch.stack([weights(case, 0), weights(case, 1)])
    others = torch.tensor([0.6, 0.3], **DOUBLE), torch.stack([weights(case, 2), weights(case, 3)])
    graph = make_fx(vmap(population))(*inputs)
    for got, expected in zip(graph(*others), vmap(population)(*others), strict=True):
        torch.testing.assert_close(got, expected)


@every
def test_a_strength_given_as_a_number_is_the_same_as_a_tensor(case: PenaltyCase) -> None:
    number, tensor, w = case.make(STRENGTH), case.make(torch.tensor(STRENGTH, **DOUBLE)), weights(case)
    torch.testing.assert_close(number.value(w), tensor.value(w))
    torch.testing.assert_close(number.grad(w), tensor.grad(w))
    for step in all_steps(case, number) if number.has_prox else []:
        torch.testing.assert_close(number.prox(w, step), tensor.prox(w, step))


@every
def test_strength_zero_changes_nothing(case: PenaltyCase) -> None:
    if case.make(STRENGTH).is_constraint or case.name.startswith(("Sum", "Hierarchical")):
        pytest.skip("its strength is not a multiplier of the whole")
    penalty, w = case.make(0.0), weights(case)
    w[0] = 0
    assert penalty.value(w) == 0 and not penalty.grad(w).any()
    for step in all_steps(case, penalty) if penalty.has_prox else []:
        torch.testing.assert_close(penalty.prox(w, step), w)


@every
@pytest.mark.parametrize("size", ["empty rows", "empty columns", "one element"])
def test_empty_and_one_element_tensors(case: PenaltyCase, size: str) -> None:
    penalty = case.make(STRENGTH)
    shape = [1] * len(case.shape)
    if size != "one element":
        shape = list(case.shape)
        shape[0 if size == "empty rows" else 1] = 0
    elif "blocks" in case.name:
        shape[Groups(penalty.settings()["dim"]).axis] = 2
    w = torch.full(shape, 0.3, **DOUBLE)
    assert penalty.value(w).shape == () and not penalty.value(w).isnan()
    results = [penalty.grad(w)]
    if penalty.has_prox:
        results.append(penalty.prox(w, 0.5))
    if penalty.metric:
        results.append(penalty.prox(w, torch.full(shape, 0.5, **DOUBLE)))
    for result in results:
        assert result.shape == w.shape and torch.isfinite(result).all()


@every
def test_not_a_number_is_never_hidden(case: PenaltyCase) -> None:
    penalty, w = case.make(STRENGTH), weights(case)
    w[0, 1] = torch.nan
    assert penalty.is_constraint or penalty.value(w).isnan()
    for step in all_steps(case, penalty) if penalty.has_prox else []:
        assert penalty.prox(w, step)[0, 1].isnan().all()


@every
def test_settings_make_it_again(case: PenaltyCase) -> None:
    penalty = case.make(STRENGTH)
    assert penalty.replace({}) == penalty and type(penalty)(**penalty.settings()) == penalty
    assert penalty.bind(weights(case)) == penalty
