"""What scikit-learn and torch find minimises the canonical objective at the converted strength."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn import linear_model, neural_network

from meden.strengths import ElasticNetSetting, GlmnetSetting, Strength, convert
from tests.strengths.common import B, D, N, canonical, half_mse_gradient, log_loss_gradient, residual

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


def test_a_setting_is_the_tools_own_arguments(regression) -> None:
    X, y = regression
    setting = convert(GlmnetSetting(0.2, 0.3), source="glmnet", to="sklearn.ElasticNet")
    model = linear_model.ElasticNet(**dataclasses.asdict(setting), fit_intercept=False, tol=1e-12).fit(X, y)
    assert residual(half_mse_gradient(X, y, model.coef_), model.coef_, Strength(0.06, 0.14)) < 1e-7


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
