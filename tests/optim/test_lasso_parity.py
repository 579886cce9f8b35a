"""The proximal step of every optimizer with a known metric reaches the solutions of scikit-learn, zeros included."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import ElasticNet as SkElasticNet
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from meden.optim import Regularizer, regularize
from meden.penalties import L1, L2, MCP, ElasticNet, Penalty, SparseGroupLasso

MAKERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p: SGD(p, lr=0.2),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9),
    "dampening": lambda p: SGD(p, lr=0.2, momentum=0.9, dampening=0.5),
    "nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: Adam(p, lr=0.02),
    "adam foreach": lambda p: Adam(p, lr=0.02, foreach=True),
    "adam fused": lambda p: Adam(p, lr=0.02, fused=True),
    "adamw": lambda p: AdamW(p, lr=0.02, weight_decay=0.0),
    "amsgrad": lambda p: Adam(p, lr=0.02, amsgrad=True),
    "rmsprop": lambda p: RMSprop(p, lr=0.02),
    "rmsprop momentum": lambda p: RMSprop(p, lr=0.003, momentum=0.9),
    # On the full batch the centred second moment tends to 0, so that eps alone keeps the step finite.
    "rmsprop centered": lambda p: RMSprop(p, lr=0.01, centered=True, eps=1e-2),
    "adagrad": lambda p: Adagrad(p, lr=0.5, lr_decay=1e-4),
}
ADAPTIVE = ["sgd", "momentum", "adam", "rmsprop", "adagrad"]


@pytest.fixture(scope="module")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_breast_cancer(return_X_y=True)
    x = x[:, [0, 1, 4, 7, 8, 9]]  # the rest is nearly collinear with these, which makes any solver slow
    return (x - x.mean(0)) / x.std(0), y.astype(float)


def solve_least_squares(data, make, penalty: Penalty, *, coupling="auto", num_steps=1200) -> np.ndarray:
    """Minimise half the mean squared error plus a penalty by a full-batch loop whose rate falls linearly."""
    x, y = (torch.from_numpy(part) for part in data)
    gram, moment = x.T @ x / len(x), y @ x / len(x)
    torch.manual_seed(0)
    model = nn.Linear(x.shape[1], 1, bias=False, dtype=torch.float64)
    optimizer = make(model.parameters())
    regularize(optimizer, model, [Regularizer(penalty, coupling=coupling)])

    def gradient() -> None:
        model.weight.grad = model.weight.detach() @ gram - moment

    descend(optimizer, gradient, num_steps)
    return model.weight.detach().numpy()[0]


def descend(optimizer: Optimizer, gradient: Callable[[], None], num_steps: int) -> None:
    rate = optimizer.param_groups[0]["lr"]
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / num_steps)
        gradient()
        optimizer.step()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found == 0, expected == 0)


@pytest.mark.parametrize("name", MAKERS)
def test_l1_is_the_lasso(diabetes, name) -> None:
    expected = Lasso(alpha=0.1, tol=1e-14, fit_intercept=False).fit(*diabetes).coef_
    assert 0 < (expected == 0).sum() < 10
    assert_same(solve_least_squares(diabetes, MAKERS[name], L1(0.1)), expected)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_elastic_net_is_scikit_learns(diabetes, name) -> None:
    expected = SkElasticNet(alpha=0.3, l1_ratio=0.4, tol=1e-14, fit_intercept=False).fit(*diabetes).coef_
    assert 0 < (expected == 0).sum() < 10
    assert_same(solve_least_squares(diabetes, MAKERS[name], ElasticNet(0.3, l1_ratio=0.4)), expected)


@pytest.mark.parametrize(("name", "coupling"), [("sgd", "gradient"), ("sgd", "decoupled"), ("momentum", "proximal")])
@pytest.mark.parametrize("strength", [0.2])
def test_l2_is_ridge(diabetes, name, coupling, strength) -> None:
    expected = Ridge(alpha=strength * len(diabetes[1]), fit_intercept=False, tol=1e-14).fit(*diabetes).coef_
    found = solve_least_squares(diabetes, MAKERS[name], L2(strength), coupling=coupling)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adagrad"])
@pytest.mark.parametrize("coupling", ["gradient", "proximal"])
def test_l2_is_ridge_under_adaptive_optimizers(diabetes, name, coupling) -> None:
    expected = Ridge(alpha=0.2 * len(diabetes[1]), fit_intercept=False, tol=1e-14).fit(*diabetes).coef_
    found = solve_least_squares(diabetes, MAKERS[name], L2(0.2), coupling=coupling)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.parametrize("penalty", [MCP(0.1, gamma=1e9), SparseGroupLasso(0.1, l1_ratio=1.0)], ids=lambda p: str(p))
def test_limits_are_the_lasso(diabetes, name, penalty) -> None:
    expected = Lasso(alpha=0.1, tol=1e-14, fit_intercept=False).fit(*diabetes).coef_
    assert_same(solve_least_squares(diabetes, MAKERS[name], penalty), expected)


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("penalty", [L1(0.02), L2(0.02), ElasticNet(0.02, l1_ratio=0.5)], ids=lambda p: str(p))
def test_one_logit_is_logistic_regression(cancer, name, penalty) -> None:
    """The intercept is free in scikit-learn's saga and lbfgs, and so are biases here."""
    x, y = (torch.from_numpy(part) for part in cancer)
    model = nn.Linear(x.shape[1], 1, dtype=torch.float64)
    optimizer = SGD(model.parameters(), lr=0.8, momentum=0.9) if name == "sgd" else Adam(model.parameters(), lr=0.05)
    regularize(optimizer, model, [Regularizer(penalty, coupling="proximal")])

    def gradient() -> None:
        residual: Tensor = torch.sigmoid(x @ model.weight.detach()[0] + model.bias.detach()) - y
        model.weight.grad, model.bias.grad = (residual @ x / len(x))[None], residual.mean()[None]

    descend(optimizer, gradient, 2500)
    ratio = {L1: 1.0, L2: 0.0, ElasticNet: 0.5}[type(penalty)]
    peer = LogisticRegression(
        C=1 / (penalty.strength * len(y)), l1_ratio=ratio, solver="saga", tol=1e-10, max_iter=9000
    )
    peer.fit(*cancer)
    assert_same(model.weight.detach().numpy()[0], peer.coef_[0])
    np.testing.assert_allclose(model.bias.item(), peer.intercept_[0], atol=1e-6)


def test_liblinear_penalises_the_intercept_as_on_all_does(cancer) -> None:
    x, y = (torch.from_numpy(part) for part in cancer)
    model = nn.Linear(x.shape[1], 1, dtype=torch.float64)
    optimizer = SGD(model.parameters(), lr=0.8, momentum=0.9)
    regularize(optimizer, model, [Regularizer(L2(0.1), on="all")])

    def gradient() -> None:
        residual: Tensor = torch.sigmoid(x @ model.weight.detach()[0] + model.bias.detach()) - y
        model.weight.grad, model.bias.grad = (residual @ x / len(x))[None], residual.mean()[None]

    descend(optimizer, gradient, 400)
    peer = LogisticRegression(C=1 / (0.1 * len(y)), solver="liblinear", tol=1e-12).fit(*cancer)
    np.testing.assert_allclose(model.weight.detach().numpy()[0], peer.coef_[0], atol=1e-6)
    np.testing.assert_allclose(model.bias.item(), peer.intercept_[0], atol=1e-6)
