"""A strength acts on weights as the forward pass sees them: the same function, written with and without a scale."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import meden
from meden import Member, Recipe, Regularizer, StrengthSchedule
from meden.optim import bind
from meden.penalties import (
    L1,
    L2,
    MCP,
    ElasticNet,
    GroupLasso,
    MaxNorm,
    NonNegative,
    Nuclear,
    PullTo,
    Scaled,
    SparseGroupLasso,
    Sum,
)  # fmt: skip
from meden.penalties.compose import AtScale

C = 0.2
RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(60, 5, generator=RANDOM)
Y = X @ torch.tensor([[1.0, -0.5], [0.3, 0.0], [0.0, 0.0], [0.0, 0.1], [0.0, 0.0]]) + 0.1 * torch.randn(
    60, 2, generator=RANDOM
)
START = torch.randn(2, 5, generator=RANDOM) / 3


class Layer(nn.Module):
    """x W' * scale + b, whose effective weights start at ``START``."""

    def __init__(self, scale: float, num_inputs: int = 5, num_outputs: int = 2) -> None:
        super().__init__()
        assert (num_inputs, num_outputs) == (5, 2)
        self.weight_scale = scale
        self.weight_axes = {"units": 0, "inputs": 1}
        self.weight = nn.Parameter(START / scale)
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.weight_scale, self.bias)

    @property
    def effective(self) -> torch.Tensor:
        return (self.weight * self.weight_scale).detach()


CONVEX = [
    L1(0.05),
    L2(0.1),
    ElasticNet(0.05, 0.5),
    GroupLasso(0.05, dim=1),
    SparseGroupLasso(0.05, 0.5, dim=1),
    Sum((L1(0.05), NonNegative())),
    Sum((GroupLasso(0.02, dim=1), L2(0.1))),
    Scaled(L1(0.5), 0.1),
    MaxNorm(0.5),
    Nuclear(0.05),
    PullTo(L1(0.05)),
]


def trained(scale, penalty, *, coupling="auto", optimizer="sgd", steps=4000):
    model = Layer(scale)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    rate, slower = {"sgd": (0.1, scale**2), "adam": (0.01, scale)}[optimizer]
    groups = [{"params": [model.weight], "lr": rate / slower}, {"params": [model.bias], "lr": rate}]
    chosen = kind(groups)
    regularizer = Regularizer(penalty, on="weights", coupling=coupling)
    handle = meden.regularize(chosen, model, [regularizer])
    for _ in range(steps):
        chosen.zero_grad()
        ((model(X) - Y).square().sum() / 2 / len(X)).backward()
        chosen.step()
    return model.effective, handle.values()


@pytest.mark.parametrize("penalty", CONVEX, ids=repr)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_solution_is_that_of_the_function_without_a_scale(penalty, optimizer):
    steps, coupling = (600, "auto") if optimizer == "sgd" else (1500, "proximal")
    options = {"coupling": coupling, "optimizer": optimizer, "steps": steps}
    (scaled, values), (plain, wanted) = (trained(c, penalty, **options) for c in (C, 1.0))
    torch.testing.assert_close(scaled, plain, rtol=1e-3, atol=1e-4)
    assert ((scaled == 0) == (plain == 0)).all()
    assert values == pytest.approx(wanted, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("coupling", ["gradient", "proximal"])
def test_l2_is_ridge_regression(coupling):
    found, _ = trained(C, L2(0.1), coupling=coupling, steps=1500)
    x, y = X - X.mean(0), Y - Y.mean(0)
    ridge = torch.linalg.solve(x.T @ x / len(x) + 0.1 * torch.eye(5), x.T @ y / len(x)).T
    torch.testing.assert_close(found, ridge, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("penalty", [L2(0.3), PullTo(L2(0.3)), ElasticNet(0.3, 0.5), L1(0.3)], ids=repr)
def test_decoupled_decay_is_that_of_the_weights_the_forward_pass_sees(penalty):
    """w <- w - lr grad(w), with no gradient of the data."""
    moved = []
    for c in (C, 1.0):
        model = Layer(c)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        meden.regularize(optimizer, model, [Regularizer(penalty, coupling="decoupled")])
        with torch.no_grad():
            model.weight.mul_(1.5)
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
        moved.append(model.effective)
    torch.testing.assert_close(*moved)


@pytest.mark.parametrize("penalty", [*CONVEX[:5], MCP(0.5, 3.0), MaxNorm(0.5), Nuclear(0.3)], ids=repr)
@pytest.mark.parametrize("step", [0.3, torch.rand(4, 3, dtype=torch.float64) + 0.1], ids=["one step", "metric"])
def test_value_grad_and_prox_by_definition(penalty, step):
    if isinstance(step, torch.Tensor) and not penalty.metric:
        return
    at = AtScale(penalty, 0.4)
    w = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert at.value(w) == penalty.value(0.4 * w)
    if penalty.smooth:
        leaf = w.clone().requires_grad_()
        torch.testing.assert_close(at.grad(w), torch.autograd.grad(penalty.value(0.4 * leaf), leaf)[0])
    found = at.prox(w, step)

    def objective(z):
        return at.value(z) + ((z - w) ** 2 / (2 * step)).sum()

    least = objective(found)
    for size in (1e-1, 1e-2, 1e-3):
        for seed in range(20):
            moved = found + size * torch.randn(w.shape, dtype=w.dtype, generator=torch.Generator().manual_seed(seed))
            assert objective(moved) >= least - 1e-12


SCHEDULE = StrengthSchedule(first=0.0, last=1.0, end=20)


@pytest.mark.parametrize(
    "regularizer",
    [
        *(Regularizer(penalty) for penalty in CONVEX),
        Regularizer(L1(0.05), schedule=SCHEDULE),
        Regularizer(L2(0.3), coupling="decoupled"),
        Regularizer(ElasticNet(0.3, 0.5), coupling="decoupled"),
        Regularizer(L2(0.3), coupling="loss"),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:models are trained one by one")
def test_a_stack_equals_members_alone(regularizer):
    """Two layers of two scales lie side by side, and the first member's strength is 0."""

    def make():
        torch.manual_seed(0)
        return nn.Sequential(Layer(C), nn.Tanh(), nn.Linear(2, 5), nn.Tanh(), Layer(0.7))

    def with_penalty(penalty):
        return Regularizer(penalty, coupling=regularizer.coupling, schedule=regularizer.schedule)

    penalty = regularizer.penalty
    off = [r for r in (L1(0.0), L2(0.0)) if isinstance(penalty, type(r))]
    members = [
        Member(Recipe(lr=0.02, epochs=5, batch_size=20, regularizers=(with_penalty(p),)), seed=s)
        for s, p in enumerate([*off, penalty, penalty])
    ]
    alone, together = (meden.fit_many(make, members, (X, Y), chunk=chunk) for chunk in (1, len(members)))
    for one, other in zip(alone, together, strict=True):
        for name, tensor in one.model.state_dict().items():
            torch.testing.assert_close(tensor, other.model.state_dict()[name], rtol=1e-4, atol=1e-6)
        first, second = one.history[-1].penalties, other.history[-1].penalties
        assert first == pytest.approx(second, rel=1e-4, abs=1e-7)


class Standard(nn.Module):
    """x W' / sqrt(fan_in) + b with standard normal W, and the same function with W / sqrt(fan_in) as weights."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weight_scale = scale
        self.weight_axes = {"units": 0, "inputs": 1}
        self.weight = nn.Parameter(torch.randn(2, 5) / 5**0.5 / scale)
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.weight_scale, self.bias)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kind", [L1, L2])
@pytest.mark.parametrize("chunk", [1, 3], ids=["alone", "in a stack"])
def test_standard_weights_and_a_declared_scale_have_the_solution_of_plain_weights(optimizer, kind, chunk):
    """Under one rate for all tensors, so that the way there is another; three strengths beside each other."""
    lr, epochs = {"sgd": (0.3, 500), "adam": (0.02, 1200)}[optimizer]
    recipe = Recipe(optimizer=optimizer, lr=lr, epochs=epochs, batch_size="full")
    recipe = recipe.replace(schedule="cosine", eval_rows=1)
    members = [
        Member(recipe.replace(regularizers=[Regularizer(kind(s), coupling="proximal")])) for s in (0.02, 0.1, 0.3)
    ]
    scaled, plain = (
        meden.fit_many(lambda scale=scale: Standard(scale), members, (X, Y), chunk=chunk) for scale in (5**-0.5, 1.0)
    )
    for ours, wanted in zip(scaled, plain, strict=True):
        effective, expected = (run.model.weight.detach() * run.model.weight_scale for run in (ours, wanted))
        atol = {"sgd": 1e-4, "adam": 3e-3}[optimizer]  # Adam's last steps are as long as its rate
        torch.testing.assert_close(effective, expected, rtol=1e-3, atol=atol)
        if kind is L1:
            assert ((effective == 0) == (expected == 0)).all()
        penalties = [run.history[-1].penalties for run in (ours, wanted)]
        assert penalties[0] == pytest.approx(penalties[1], rel=1e-3 if optimizer == "sgd" else 0.01)


def test_audit_says_strengths_of_the_weights_the_forward_pass_sees():
    model = Layer(C)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    handle = meden.regularize(optimizer, model, [Regularizer(L1(0.3))])
    first = meden.audit(model, optimizer, [handle]).tensors[0]
    assert [(s.l1, s.l2) for s in first.shrinkage] == [(0.0, pytest.approx(0.01 / C**2)), (0.3, 0.0)]


def test_a_parameter_tied_at_two_scales_is_refused():
    model = nn.Sequential(Layer(0.5), nn.Linear(2, 5), Layer(0.7))
    model[2].weight = model[0].weight
    with pytest.raises(meden.InputError, match=r"one scale, got \[0.5, 0.7\] for 0.weight, 2.weight"):
        bind(model, [Regularizer(L1(0.1))], adaptive=False)
