"""Conversions agree with what each tool really minimises: scikit-learn and torch by fitting, others by their formula.

Legend: ``X`` (n, d) inputs, ``y`` (n,) targets, ``w`` (d,) weights without intercept unless said.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn import linear_model, neural_network
from sklearn.preprocessing import StandardScaler

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

N, B, D = 60, 15, 4
LR, LR_MAX = 0.003, 0.02
ALL = {"n": N, "batch_size": B, "lr": LR, "lr_max": LR_MAX}
OBJECTIVE_TOOLS = sorted(name for name, tool in TOOLS.items() if not tool.decoupled)
DECOUPLED_TOOLS = sorted(name for name, tool in TOOLS.items() if tool.decoupled)


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    X = StandardScaler().fit_transform(rng.normal(size=(N, D)))
    return X, X @ np.array([1.5, -1.0, 0.05, 0.0]) + 0.3 * rng.normal(size=N)


@pytest.fixture(scope="module")
def classes(regression):
    X, y = regression
    return X, (y + np.random.default_rng(1).normal(size=N) > 0).astype(int)


def residual(gradient: np.ndarray, w: np.ndarray, strength: Strength) -> float:
    """How far the canonical objective is from stationary at w: the smallest subgradient's largest entry."""
    pull = gradient + strength.l2 * w
    at_zero = np.maximum(np.abs(pull) - strength.l1, 0.0)
    return float(np.max(np.where(w == 0, at_zero, np.abs(pull + strength.l1 * np.sign(w)))))


def half_mse_gradient(X, y, w):
    return X.T @ (X @ w - y) / len(y)


def log_loss_gradient(X, y, w, weights=None):
    return (
        X.T
        @ ((1 / (1 + np.exp(-X @ w)) - y) * (np.ones(len(y)) if weights is None else weights))
        / (len(y) if weights is None else weights.sum())
    )


def canonical(value, source, **given) -> Strength:
    result = convert(value, source=source, to="canonical", **given)
    assert isinstance(result, Strength)
    return result


# --- fits of scikit-learn minimise the canonical objective ---


@pytest.mark.parametrize(
    ("model", "value", "given"),
    [
        (linear_model.Ridge(alpha=7.0, fit_intercept=False), 7.0, {"n": N}),
        (linear_model.Lasso(alpha=0.1, fit_intercept=False, tol=1e-12), 0.1, {}),
        (linear_model.ElasticNet(alpha=0.2, l1_ratio=0.3, fit_intercept=False, tol=1e-12), 0.2, {"l1_ratio": 0.3}),
        (linear_model.ElasticNet(alpha=0.2, fit_intercept=False, tol=1e-12), 0.2, {}),
    ],
)
def test_linear_regressions(regression, model, value, given) -> None:
    X, y = regression
    w = model.fit(X, y).coef_
    strength = canonical(value, f"sklearn.{type(model).__name__}", **given)
    assert residual(half_mse_gradient(X, y, w), w, strength) < 1e-7
    assert residual(half_mse_gradient(X, y, w), w, strength * 1.01) > 1e-4


@pytest.mark.parametrize("l1_ratio", [None, 0.0, 0.4, 1.0])
def test_logistic_regression_with_row_weights(classes, l1_ratio) -> None:
    X, y = classes
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=N)
    options = {} if l1_ratio is None else {"l1_ratio": l1_ratio}
    model = linear_model.LogisticRegression(
        C=0.3, solver="saga", fit_intercept=False, tol=1e-11, max_iter=20000, **options
    )
    w = model.fit(X, y, sample_weight=weights).coef_[0]
    strength = canonical(0.3, "sklearn.LogisticRegression", n=weights.sum(), **options)
    assert residual(log_loss_gradient(X, y, w, weights), w, strength) < 1e-6
    assert residual(log_loss_gradient(X, y, w, weights), w, canonical(0.3, "sklearn.LogisticRegression", n=N)) > 1e-4


@pytest.mark.parametrize("rows", [2, 6])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_sgd_estimators_do_not_depend_on_the_number_of_rows(rows, l1_ratio) -> None:
    """Copies of one row (and its mirror image) make every stochastic gradient equal, so that SGD really converges."""
    x = np.array([1.0, -0.5, 0.05])
    signs = np.tile([1.0, -1.0], rows // 2)
    X = signs[:, None] * x
    options = {"alpha": 0.2, "penalty": "elasticnet", "l1_ratio": l1_ratio, "fit_intercept": False, "tol": None}
    options |= {"learning_rate": "constant", "eta0": 0.05, "max_iter": 4000, "random_state": 0}
    given = ElasticNetSetting(0.2, l1_ratio)
    w = linear_model.SGDRegressor(**options).fit(X, 2 * signs).coef_
    assert residual(half_mse_gradient(X, 2 * signs, w), w, canonical(given, "sklearn.SGDRegressor")) < 1e-6
    y = (signs > 0).astype(int)
    w = linear_model.SGDClassifier(loss="log_loss", **options).fit(X, y).coef_[0]
    assert residual(log_loss_gradient(X, y, w), w, canonical(given, "sklearn.SGDClassifier")) < 1e-6


def mlp_parameters(model) -> list[torch.Tensor]:
    return [torch.tensor(a, requires_grad=True) for a in (*model.coefs_, *model.intercepts_)]


def mlp_objective(model, parameters, X, y, strength: Strength) -> torch.Tensor:
    """Canonical objective of a tanh network with one hidden layer, L2 on its weights and not on its biases."""
    first, second, first_bias, second_bias = parameters
    out = (torch.tanh(torch.as_tensor(X) @ first + first_bias) @ second + second_bias).squeeze(1)
    target = torch.as_tensor(y, dtype=torch.float64)
    if isinstance(model, neural_network.MLPClassifier):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(out, target)
    else:
        loss = (out - target).square().mean() / 2
    return loss + strength.l2 / 2 * (first.square().sum() + second.square().sum())


def mlp_residual(model, X, y, strength: Strength) -> float:
    parameters = mlp_parameters(model)
    gradients = torch.autograd.grad(mlp_objective(model, parameters, X, y, strength), parameters)
    return max(float(g.abs().max()) for g in gradients)


def minimise_mlp(model, X, y, strength: Strength) -> None:
    """Move the model's weights to the minimum of the canonical objective, beyond where scikit-learn stops."""
    parameters = mlp_parameters(model)
    lbfgs = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-11, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        lbfgs.zero_grad()
        value = mlp_objective(model, parameters, X, y, strength)
        value.backward()
        return value

    lbfgs.step(closure)
    values = [p.detach().numpy() for p in parameters]
    model.coefs_, model.intercepts_ = values[:2], values[2:]


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_mlp_under_lbfgs_divides_by_rows(regression, classes, kind) -> None:
    """Started at our minimum scikit-learn rests there; with one percent more alpha it leaves."""
    X, y = classes if kind == "MLPClassifier" else regression
    strength = canonical(3.0, f"sklearn.{kind}", solver="lbfgs", n=N)
    assert strength == canonical(3.0, f"sklearn.{kind}(lbfgs)", n=N)
    options = {"hidden_layer_sizes": (3,), "activation": "tanh", "solver": "lbfgs", "tol": 1e-8, "max_iter": 20000}
    model = getattr(neural_network, kind)(alpha=3.0, random_state=0, warm_start=True, **options).fit(X, y)
    assert mlp_residual(model, X, y, strength) < 1e-4  # its solver stops on the objective's last digits
    minimise_mlp(model, X, y, strength)
    for alpha, moves in ((3.0, False), (3.03, True)):
        before = [a.copy() for a in model.coefs_]
        model.set_params(alpha=alpha).fit(X, y)
        assert (max(np.abs(a - b).max() for a, b in zip(model.coefs_, before, strict=True)) > 1e-6) == moves


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_mlp_under_sgd_divides_by_the_rows_of_a_batch(regression, classes, kind) -> None:
    """Four copies of one batch: the data loss is that of the batch, the penalty tells batch rows from all rows."""
    X, y = classes if kind == "MLPClassifier" else regression
    X, y = X[:B], y[:B]
    options = {
        "hidden_layer_sizes": (3,),
        "activation": "tanh",
        "solver": "sgd",
        "learning_rate_init": 0.2,
        "shuffle": False,
        "batch_size": B,
    }
    model = getattr(neural_network, kind)(
        alpha=0.75, random_state=0, max_iter=600, tol=0.0, n_iter_no_change=600, **options
    )
    with pytest.warns(match="Maximum iterations"):
        model.fit(np.tile(X, (4, 1)), np.tile(y, 4))
    strength = canonical(0.75, f"sklearn.{kind}", batch_size=B, n=4 * B)
    assert mlp_residual(model, X, y, strength) < 1e-6
    assert mlp_residual(model, X, y, canonical(0.75, f"sklearn.{kind}", solver="lbfgs", n=4 * B)) > 1e-3


# --- fixed points of torch's optimizers ---


OWN_LOSSES = [("half_mse", 0.5), ("mse", 1.0), ("sum", 0.5 * N), ("sse", 1.0 * N)]


def train(optimizer: torch.optim.Optimizer, w, X, y, scale: float, steps: int) -> np.ndarray:
    for _ in range(steps):
        optimizer.zero_grad()
        (scale * (X @ w - y).square().mean()).backward()
        optimizer.step()
    return w.detach().numpy()


@pytest.mark.parametrize(("loss", "scale"), OWN_LOSSES)
def test_torch_sgd_reaches_the_ridge_solution(regression, loss, scale) -> None:
    ridge = linear_model.Ridge(alpha=10.0, fit_intercept=False).fit(*regression).coef_
    X, y = (torch.as_tensor(a) for a in regression)
    w = torch.zeros(D, dtype=torch.float64, requires_grad=True)
    decay = convert(10.0, source="sklearn.Ridge", to="torch.SGD", n=N, loss=loss)
    optimizer = torch.optim.SGD([w], lr=0.1 / scale, momentum=0.5, weight_decay=decay)
    assert np.abs(train(optimizer, w, X, y, scale, steps=150) - ridge).max() < 1e-8


@pytest.mark.parametrize(("loss", "scale"), OWN_LOSSES)
def test_torch_adam_rests_at_the_ridge_solution(regression, loss, scale) -> None:
    """A full-batch fixed point: one percent more decay leaves it."""
    ridge = linear_model.Ridge(alpha=10.0, fit_intercept=False).fit(*regression).coef_
    X, y = (torch.as_tensor(a) for a in regression)
    decay = convert(10.0, source="sklearn.Ridge", to="torch.Adam", n=N, loss=loss)
    for factor, moves in ((1.0, False), (1.01, True)):
        w = torch.tensor(ridge, requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=0.01, eps=1e-3, weight_decay=decay * factor)
        assert (np.abs(train(optimizer, w, X, y, scale, steps=3) - ridge).max() > 1e-6) == moves


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


# --- objectives of tools that are not installed here, as their documentation states them ---


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


def test_a_setting_is_the_tools_own_arguments(regression) -> None:
    X, y = regression
    setting = convert(GlmnetSetting(0.2, 0.3), source="glmnet", to="sklearn.ElasticNet")
    model = linear_model.ElasticNet(**dataclasses.asdict(setting), fit_intercept=False, tol=1e-12).fit(X, y)
    assert residual(half_mse_gradient(X, y, model.coef_), model.coef_, Strength(0.06, 0.14)) < 1e-7


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
        (1.0, {"l1_ratio": 0.5}, "l1_ratio must be left out"),
        (1.0, {"to": "sklearn.MLPClassifier"}, "batch_size, the rows of a step"),
        (1.0, {"source": "glmnet"}, "to must be a tool with an L1 part.*got 'torch.SGD'"),
        (1.0, {"source": "glmnet", "l1_ratio": 1.5}, r"l1_ratio must be a finite number in \[0, 1\], got 1.5"),
        (1.0, {"source": "xgboost", "l1_ratio": 0.5}, "l1_ratio must be left out for xgboost"),
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
    with pytest.raises(InputError, match=r"no single number exists.* is 100000 steps"):
        convert(0.01, source="torch.AdamW", to="sklearn.Ridge", n=N, lr=1e-3)
    with pytest.raises(InputError, match=r"no single number exists.* is 100000 steps"):
        convert(1e-5, source="adamw_paper", to="torch.SGD", lr=1e-3)
    with pytest.raises(InputError, match=r"no single number exists.*1/\(lr weight_decay\)"):
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
