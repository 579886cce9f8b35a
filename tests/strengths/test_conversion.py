"""Conversions follow each tool's stated objective or update rule, go both ways, and refuse what is wrong by name."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from meden._checks import InputError
from meden.strengths import (
    TOOLS,
    ElasticNetSetting,
    GlmnetSetting,
    LogisticSetting,
    Strength,
    XGBoostSetting,
    convert,
    rescale_for_rows,
    time_constant,
)
from tests.strengths.common import B, N, canonical, half_mse_gradient, residual

LR, LR_MAX = 0.003, 0.02
ALL = {"n": N, "batch_size": B, "lr": LR, "lr_max": LR_MAX}
OBJECTIVE_TOOLS = sorted(name for name, tool in TOOLS.items() if not tool.decoupled)
DECOUPLED_TOOLS = sorted(name for name, tool in TOOLS.items() if tool.decoupled)


def shrink(tool: str, weight_decay: float) -> float:
    """What one step does to a weight of 1 without gradient, by each tool's own update rule."""
    rules = {
        "torch.AdamW": 1 - LR * weight_decay,
        "keras.AdamW": 1 - weight_decay * LR,
        "optax.adamw": 1 - LR * (0.0 + weight_decay),
        "fastai": 1 - LR * weight_decay,
        "adamw_paper": 1 - LR / LR_MAX * weight_decay,
        "composer.DecoupledAdamW": 1 - LR / LR_MAX * weight_decay,
        "timm": 1 - LR**2 / LR_MAX * weight_decay,
        "pytorch_optimizer": 1 - weight_decay,
    }
    return rules[tool]


@pytest.mark.parametrize("tool", DECOUPLED_TOOLS)
def test_decoupled_tools_shrink_as_torch_does(tool) -> None:
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    w.grad = torch.zeros_like(w)
    torch.optim.AdamW([w], lr=LR, weight_decay=0.1).step()
    there = convert(0.1, source="torch.AdamW", to=tool, lr=LR, lr_max=LR_MAX)
    assert shrink(tool, there) == pytest.approx(w.item(), abs=1e-15)


def test_composer_counts_the_constant_rate_as_its_largest() -> None:
    assert convert(0.01, source="torch.AdamW", to="composer.DecoupledAdamW", lr=1e-3) == pytest.approx(1e-5)
    assert convert(0.01, source="torch.AdamW", to="keras.AdamW") == 0.01  # both scale with lr: none is needed


# --- objectives of the tools, as their documentation states them ---


def objective(tool: str, numbers, square_errors: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Return (data loss, penalty) of a regression as the tool adds them, for the tool's own numbers."""
    absolute, square = np.abs(w).sum(), np.square(w).sum()
    half_mean, half_sum = square_errors.mean() / 2, square_errors.sum() / 2
    if tool == "sklearn.LogisticRegression":
        share = numbers.l1_ratio
        return numbers.C * half_sum, share * absolute + (1 - share) / 2 * square
    if tool in ("sklearn.ElasticNet", "sklearn.SGDClassifier", "sklearn.SGDRegressor", "skglm", "celer"):
        share = numbers.l1_ratio
        return half_mean, numbers.alpha * (share * absolute + (1 - share) / 2 * square)
    if tool == "glmnet":
        return half_mean, numbers.lambda_ * ((1 - numbers.alpha) / 2 * square + numbers.alpha * absolute)
    if tool == "xgboost":
        return half_sum, numbers.reg_alpha * absolute + numbers.reg_lambda / 2 * square
    if tool == "canonical":
        return half_mean, numbers.l1 * absolute + numbers.l2 / 2 * square
    one_number = {
        "sklearn.Ridge": (square_errors.sum(), numbers * square),
        "sklearn.MLPClassifier": (half_mean, numbers / 2 * square / B),
        "sklearn.MLPClassifier(lbfgs)": (half_mean, numbers / 2 * square / N),
        "textbook": (half_mean, numbers / (2 * N) * square),
        "keras.L2": (half_mean, numbers * square),
        "tf.l2_loss": (half_mean, numbers * square / 2),
        "torch.SGD": (half_mean, numbers / 2 * square),
        "meden.L2": (half_mean, numbers / 2 * square),
        "sklearn.Lasso": (half_mean, numbers * absolute),
        "keras.L1": (half_mean, numbers * absolute),
        "meden.L1": (half_mean, numbers * absolute),
        "lassonet": (half_mean, numbers * absolute),
    }
    same = {"MLPRegressor": "MLPClassifier", "torch.Adam": "torch.SGD"}
    for name, twin in same.items():
        tool = tool.replace(name, twin)
    return one_number[tool]


def numbers_for(tool: str):
    """Some numbers of the tool, two where it takes two."""
    twos = {
        "sklearn.LogisticRegression": LogisticSetting(0.4, 0.3),
        "glmnet": GlmnetSetting(0.4, 0.3),
        "xgboost": XGBoostSetting(0.4, 0.3),
        "canonical": Strength(0.4, 0.3),
    }
    mixes = ("sklearn.ElasticNet", "sklearn.SGDClassifier", "sklearn.SGDRegressor", "skglm", "celer")
    return twos.get(tool, ElasticNetSetting(0.4, 0.3) if tool in mixes else 0.7)


@pytest.mark.parametrize("tool", OBJECTIVE_TOOLS)
def test_every_objective_is_a_multiple_of_the_canonical_one(regression, tool) -> None:
    X, y = regression
    w = np.array([0.3, -2.0, 0.0, 1.1])
    square_errors = np.square(X @ w - y)
    data, penalty = objective(tool, numbers_for(tool), square_errors, w)
    strength = canonical(numbers_for(tool), tool, n=N, batch_size=B)
    expected = strength.l1 * np.abs(w).sum() + strength.l2 / 2 * np.square(w).sum()
    assert penalty / data == pytest.approx(expected / (square_errors.mean() / 2), rel=1e-12)


def test_xgboost_leaf_weight_minimises_the_canonical_objective() -> None:
    """One leaf over squared errors: -soft(G, alpha) / (H + lambda), Chen and Guestrin 2016."""
    y = np.array([1.0, 2.0, 4.0])
    leaf = (y.sum() - 0.5) / (len(y) + 2.0)
    strength = canonical(XGBoostSetting(reg_alpha=0.5, reg_lambda=2.0), "xgboost", n=3)
    assert residual(half_mse_gradient(np.ones((3, 1)), y, np.array([leaf])), np.array([leaf]), strength) < 1e-12


OWN_LOSS_TOOLS = {
    *("meden.L1", "meden.L2", "keras.L1", "keras.L2", "tf.l2_loss", "torch.SGD", "torch.Adam", "lassonet"),
}


@pytest.mark.parametrize("tool", OBJECTIVE_TOOLS)
def test_only_tools_that_leave_the_loss_to_the_user_depend_on_it(tool) -> None:
    """Twice the loss with the same penalty is the canonical objective at half the strength, times two."""
    given = {"n": N, "batch_size": B}
    once, twice = (canonical(numbers_for(tool), tool, loss=loss, **given) for loss in ("half_mse", "mse"))
    assert twice == (once * 0.5 if tool in OWN_LOSS_TOOLS else once)


def test_keras_squares_under_its_mean_squared_error_equal_torch_weight_decay_halved() -> None:
    assert convert(0.02, source="torch.SGD", to="keras.L2", loss="mse") == pytest.approx(0.01)
    assert canonical(0.02, "keras.L2", loss="mse") == Strength(l2=0.02)
    assert canonical(0.02, "keras.L1", loss="mse") == Strength(l1=0.01)


# --- forms, round trips, rows ---


@pytest.mark.parametrize("there", OBJECTIVE_TOOLS)
@pytest.mark.parametrize("here", OBJECTIVE_TOOLS)
def test_round_trips_between_tools_of_the_objective(here, there) -> None:
    for strength in (Strength(), Strength(l1=0.3), Strength(l2=0.2), Strength(0.3, 0.2)):
        try:
            first = convert(strength, source="canonical", to=here, loss="mse", **ALL)
            second = convert(first, source=here, to=there, loss="mse", **ALL)
        except InputError as error:
            assert "part" in str(error)
            continue
        back = convert(second, source=there, to="canonical", loss="mse", **ALL)
        assert (back.l1, back.l2) == pytest.approx((strength.l1, strength.l2), rel=1e-12)
        given_back = convert(second, source=there, to=here, loss="mse", **ALL)
        assert as_numbers(given_back) == pytest.approx(as_numbers(first), rel=1e-12)


def as_numbers(value) -> list[float]:
    return [value] if isinstance(value, float) else list(dataclasses.astuple(value))


@pytest.mark.parametrize("there", DECOUPLED_TOOLS)
@pytest.mark.parametrize("here", DECOUPLED_TOOLS)
def test_round_trips_between_decoupled_tools(here, there) -> None:
    value = convert(0.3, source=here, to=there, **ALL)
    assert convert(value, source=there, to=here, **ALL) == pytest.approx(0.3, rel=1e-12)


def test_one_number_comes_back_where_it_says_it_all() -> None:
    assert convert(0.01, source="torch.SGD", to="sklearn.LogisticRegression", n=100) == pytest.approx(1.0)
    assert convert(0.1, source="sklearn.Lasso", to="glmnet") == 0.1
    assert convert(0.1, source="sklearn.Lasso", to="sklearn.LogisticRegression", n=100) == LogisticSetting(0.1, 1.0)
    assert convert(0.1, source="sklearn.Lasso", to="sklearn.ElasticNet") == ElasticNetSetting(0.1, 1.0)
    assert str(convert(0.1, source="torch.SGD", to="glmnet")) == "GlmnetSetting(lambda_=0.1, alpha=0.0)"
    assert convert(0, source="torch.SGD", to="sklearn.LogisticRegression", n=100) == math.inf
    assert canonical(math.inf, "sklearn.LogisticRegression", n=100) == Strength()


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_rescaling_keeps_the_canonical_strength(tool) -> None:
    value = numbers_for(tool)
    rescaled = rescale_for_rows(value, tool, n_from=40, n_to=50)
    if TOOLS[tool].decoupled:
        assert rescaled == value
    else:
        before, after = canonical(value, tool, n=40, batch_size=B), canonical(rescaled, tool, n=50, batch_size=B)
        assert (after.l1, after.l2) == pytest.approx((before.l1, before.l2), rel=1e-12)


def test_rescaling_moves_what_is_added_to_a_sum_and_nothing_else() -> None:
    assert rescale_for_rows(2.0, "sklearn.Ridge", 40, 50) == pytest.approx(2.5)
    assert rescale_for_rows(2.0, "sklearn.LogisticRegression", 40, 50) == pytest.approx(1.6)
    assert rescale_for_rows(2.0, "sklearn.MLPRegressor", 40, 50, solver="lbfgs") == pytest.approx(2.5)
    for tool in ("sklearn.Lasso", "sklearn.ElasticNet", "sklearn.MLPRegressor", "torch.SGD", "torch.AdamW", "keras.L2"):
        assert rescale_for_rows(2.0, tool, 40, 50) == 2.0


def test_time_constant_is_the_fall_to_one_over_e() -> None:
    steps = time_constant(lr=1e-3, weight_decay=0.1)
    assert (1 - 1e-4) ** steps == pytest.approx(math.exp(-1), rel=1e-3)
    assert time_constant(1e-3, 0) == math.inf


# --- bad input ---


@pytest.mark.parametrize(
    ("value", "given", "match"),
    [
        (-1.0, {}, "value must be a finite number of at least 0, got -1"),
        (math.nan, {}, "value must be a finite number of at least 0, got nan"),
        (math.inf, {}, "value must be a finite number"),
        ("1", {}, "value must be a number"),
        (True, {}, "value must be a number"),
        (torch.ones(2), {}, "value must be one number"),
        (torch.tensor(math.nan), {}, "value must be a finite number"),
        (ElasticNetSetting(1.0, 0.5), {}, "value must be a number"),
        (1.0, {"n": None}, "n, the number of training rows"),
        (1.0, {"n": 0}, "n must be a finite number above 0, got 0"),
        (1.0, {"n": "many"}, "n must be a number"),
        (1.0, {"lr": -1e-3}, "lr must be a finite number above 0"),
        (1.0, {"batch_size": 2.5}, "batch_size must be a whole number"),
        (1.0, {"source": "sklearn.Rigde"}, "source must be one of .*did you mean 'sklearn.Ridge'"),
        (1.0, {"to": "torch.optim.SGD"}, "to must be one of .*did you mean 'torch.SGD'"),
        (1.0, {"loss": "l2"}, "loss must be one of"),
        (1.0, {"solver": "saga"}, "solver must be one of"),
        (1.0, {"l1_ratio": 0.5}, "l1_ratio must not be given"),
        (1.0, {"to": "sklearn.MLPClassifier"}, "batch_size, the rows of a step"),
        (1.0, {"source": "glmnet"}, "to must be a tool with an L1 part.*got 'torch.SGD'"),
        (1.0, {"source": "glmnet", "l1_ratio": 1.5}, r"l1_ratio must be a finite number in \[0, 1\], got 1.5"),
        (1.0, {"source": "xgboost", "l1_ratio": 0.5}, "l1_ratio must not be given for xgboost"),
        (1.0, {"source": "canonical"}, r"value must be a Strength\(l1, l2\)"),
        (0.0, {"source": "sklearn.LogisticRegression"}, "value must be a finite number above 0"),
        (1.0, {"loss": "sum"}, "n, or batch_size|n, the number"),
    ],
)
def test_bad_input_is_refused_by_name(value, given, match) -> None:
    given = {"source": "sklearn.Ridge", "to": "torch.SGD", "n": N} | given
    if given.get("loss") == "sum":
        given |= {"source": "torch.SGD", "to": "canonical", "n": None}
    with pytest.raises(InputError, match=match):
        convert(value, **given)


def test_no_single_number_exists_across_the_coupling_and_the_message_gives_the_time() -> None:
    with pytest.raises(InputError, match=r"there is no equivalent strength.* is 100000 steps"):
        convert(0.01, source="torch.AdamW", to="sklearn.Ridge", n=N, lr=1e-3)
    with pytest.raises(InputError, match=r"there is no equivalent strength.* is 100000 steps"):
        convert(1e-5, source="adamw_paper", to="torch.SGD", lr=1e-3)
    with pytest.raises(InputError, match=r"there is no equivalent strength.*1/\(lr weight_decay\)"):
        convert(1.0, source="sklearn.Ridge", to="torch.AdamW", n=N, lr=1e-3)
    with pytest.raises(InputError, match=r"^lr, the learning rate"):
        convert(1.0, source="torch.AdamW", to="timm")
    with pytest.raises(InputError, match=r"^lr_max, the initial"):
        convert(1.0, source="torch.AdamW", to="adamw_paper")


@pytest.mark.parametrize("given", [{"n_from": 0}, {"n_to": -1}, {"n_from": math.nan}])
def test_rows_must_be_positive(given) -> None:
    with pytest.raises(InputError, match=next(iter(given))):
        rescale_for_rows(1.0, "sklearn.Ridge", **({"n_from": 4, "n_to": 5} | given))


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_settings_check_their_fields(wrong) -> None:
    for kind in (Strength, ElasticNetSetting, GlmnetSetting, LogisticSetting, XGBoostSetting):
        with pytest.raises(InputError):
            kind(wrong, 0.5)
        with pytest.raises(InputError):
            kind(0.5, wrong)
    with pytest.raises(InputError, match="weight_decay"):
        time_constant(1e-3, wrong)
