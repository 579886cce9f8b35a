"""A penalty acts on the weight that the forward pass uses, also where a parametrisation makes it from other tensors."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization

import meden
from meden import InputError, Member, Recipe, Regularizer
from meden.optim import bind
from meden.optim.magnitudes import on_magnitudes
from meden.parametrised import parametrised
from meden.penalties import (
    L1,
    L2,
    ElasticNet,
    GroupLasso,
    MaxNorm,
    NonNegative,
    Nuclear,
    PullTo,
    Scaled,
    SparseGroupLasso,
    Sum,
    UnitNorm,
)
from meden.penalties.compose import AtScale

RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(60, 5, generator=RANDOM)
Y = X @ torch.tensor([[1.0, -0.5], [0.3, 0.0], [0.0, 0.1], [0.0, 0.1], [0.0, 0.0]])
Y = Y + 0.1 * torch.randn(60, 2, generator=RANDOM)


class Positive(nn.Module):
    def forward(self, w):
        return nn.functional.softplus(w)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


KINDS = {
    "weight_norm": weight_norm,
    "old weight_norm": old_weight_norm,
    "weight_norm of the whole": lambda layer: weight_norm(layer, dim=None),
    "spectral_norm": spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "orthogonal": orthogonal,
    "Positive": lambda layer: register_parametrization(layer, "weight", Positive()),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 2))


def made(kind="weight_norm"):
    model = plain()
    return nn.Sequential(KINDS[kind](model[0]))


def used(model):
    """Return the weight as the forward pass uses it."""
    model = model.eval()
    return (model(torch.eye(5)) - model(torch.zeros(1, 5))).mT.detach()


# --- The same function, written plainly and with weight norm ---------------------------------------------------------

ALIKE = [
    Regularizer(L2(0.1), coupling="loss"),
    Regularizer(L2(0.1), coupling="gradient"),
    Regularizer(L2(0.1), coupling="proximal"),
    Regularizer(L2(0.1), coupling="decoupled"),
    Regularizer(GroupLasso(0.03)),
    Regularizer(GroupLasso(0.03), coupling="loss"),
    Regularizer(MaxNorm(0.4)),
    Regularizer(Sum((GroupLasso(0.02), L2(0.1)))),
]


@pytest.mark.parametrize("regularizer", ALIKE, ids=repr)
@pytest.mark.parametrize("kind", ["weight_norm", "old weight_norm"])
def test_the_solution_is_that_of_the_weight_itself(regularizer, kind):
    recipe = Recipe(optimizer="sgd", lr=0.1, epochs=1500, batch_size="full", regularizers=[regularizer], eval_rows=1)
    ours, wanted = (meden.fit(model, (X, Y), recipe=recipe, seed=0) for model in (made(kind), plain()))
    torch.testing.assert_close(used(ours.model), used(wanted.model), rtol=1e-3, atol=1e-4)
    values, expected = (run.history[-1].penalties for run in (ours, wanted))
    assert values == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_l2_in_steps_is_ridge_regression():
    model = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    meden.regularize(optimizer, model, [Regularizer(L2(0.3))])
    for _ in range(2000):
        optimizer.zero_grad()
        ((model(X) - Y).square().sum() / 2 / len(X)).backward()
        optimizer.step()
    x, y = X - X.mean(0), Y - Y.mean(0)
    ridge = torch.linalg.solve(x.T @ x / len(x) + 0.3 * torch.eye(5), x.T @ y / len(x)).T
    torch.testing.assert_close(used(model), ridge, rtol=1e-3, atol=1e-4)


def test_a_group_that_leaves_is_a_row_of_exact_zeros():
    model = made()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    handle = meden.regularize(optimizer, model, [Regularizer(GroupLasso(0.2), on="*.weight")])
    for _ in range(1000):
        optimizer.zero_grad()
        ((model(X) - Y).square().sum() / 2 / len(X)).backward()
        optimizer.step()
    assert [bool(row.any()) for row in used(model)] == [True, False]
    assert handle.values()["GroupLasso(*.weight)"] == pytest.approx(float(GroupLasso(0.2).value(used(model))), rel=1e-5)


# --- Penalties on magnitudes -----------------------------------------------------------------------------------------

ON_MAGNITUDES = [
    L2(0.3),
    GroupLasso(0.3),
    GroupLasso(0.3, dim=-3),
    GroupLasso(0.3, block=2),
    GroupLasso(0.3, size_weighted=False),
    Sum((L2(0.1), GroupLasso(0.2))),
    Scaled(L2(0.3), 2.0),
    AtScale(GroupLasso(0.3), 0.5),
    MaxNorm(0.8),
    AtScale(MaxNorm(0.8), 0.5),
    UnitNorm(),
]


@pytest.mark.parametrize("penalty", ON_MAGNITUDES, ids=repr)
@pytest.mark.parametrize("dim", [0, 1])
def test_values_and_steps_by_definition(penalty, dim):
    """The step on g is the step on w along its direction: no neighbour of it costs less."""
    if isinstance(inner := getattr(penalty, "penalty", penalty), GroupLasso | MaxNorm | UnitNorm):
        inner = inner.replace({"dim": dim - 3 if inner.dim == -1 else dim})
        penalty = penalty.replace({"penalty": inner}) if isinstance(penalty, AtScale) else inner
    elif dim and isinstance(penalty, Sum):
        return
    torch.manual_seed(0)
    layer = weight_norm(nn.Conv1d(4, 6, 3).double(), dim=dim)
    how = parametrised(layer)["weight"]
    g = how.magnitudes.param
    with torch.no_grad():
        g.mul_(torch.randn_like(g))  # of either sign
        g.view(-1)[0] = 0.0
    ours = on_magnitudes(penalty, how.magnitudes)
    torch.testing.assert_close(ours.value(g), penalty.value(layer.weight))
    step = 0.7
    found = ours.prox(g.detach(), step)
    unit = (layer.weight / torch.where(g == 0, 1.0, g)).detach()

    def objective(z):
        return penalty.value(z * unit) + (z - g).square().sum() / (2 * step)

    kept = found.clone()
    if isinstance(penalty, UnitNorm):
        return torch.testing.assert_close(found, torch.sign(g))
    least = objective(kept)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            assert objective(kept + size * torch.randn_like(g) * (g != 0)) >= least - 1e-9


NOT_ON_MAGNITUDES = [
    L1(0.1),
    ElasticNet(0.1),
    SparseGroupLasso(0.1),
    GroupLasso(0.1, dim=1),
    MaxNorm(1.0, dim=-1),
    PullTo(L2(0.1)),
    Nuclear(0.1),
    NonNegative(),
    L2(torch.ones(2, 5)),
    Sum((L2(0.1), L1(0.1))),
    Scaled(L1(0.1), 2.0),
]


@pytest.mark.parametrize("penalty", NOT_ON_MAGNITUDES, ids=repr)
def test_what_no_magnitude_says_is_refused_in_one_line(penalty):
    model = made()
    for coupling in ("auto", "gradient", "decoupled", "proximal"):
        try:
            regularizer = Regularizer(penalty, coupling=coupling)
        except InputError:
            continue
        with pytest.raises(InputError, match=r"0\.weight, which weight_norm makes from other tensors") as said:
            bind(model, [regularizer], adaptive=True)
        assert "\n" not in str(said.value)
    with pytest.raises(InputError, match=r"0\.weight, which weight_norm makes .*must exclude|must exclude 0\.weight"):
        meden.regularize(torch.optim.SGD(model.parameters(), lr=0.1), model, [regularizer])


@kinds
@pytest.mark.parametrize("penalty", [L1(0.1), L2(0.1), MaxNorm(1.0)], ids=repr)
def test_other_parametrisations_take_no_steps(kind, penalty):
    model = made(kind)
    if kind in ("weight_norm", "old weight_norm") and not isinstance(penalty, L1):
        return
    if kind == "weight_norm of the whole" and isinstance(penalty, L2):
        torch.testing.assert_close(
            bind(model, [Regularizer(penalty)], adaptive=False)[0].value(), penalty.value(used(model))
        )
        return
    name = kind.removeprefix("old ").removesuffix(" of the whole")
    wanted = "on of .* must exclude" if isinstance(penalty, MaxNorm) else "coupling of .* must be 'loss' for"
    with pytest.raises(InputError, match=rf"^{wanted} 0\.weight, which {name} makes from other tensors"):
        bind(model, [Regularizer(penalty)], adaptive=False)
    bind(model, [Regularizer(penalty, on="biases")], adaptive=False)


# --- In the loss -----------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("penalty", [L1(0.3), L2(0.3), GroupLasso(0.3, dim=1), PullTo(L2(0.3))], ids=repr)
def test_the_loss_is_of_the_weight_that_is_used(kind, penalty):
    """Value by the weight that the forward pass uses, gradients by finite differences."""
    model = made(kind).double()
    model(torch.ones(3, 5, dtype=torch.float64))  # spectral norm starts by a pass
    (bound,) = bind(model, [Regularizer(penalty, on="0.weight", coupling="loss")], adaptive=False)
    start = used(model.float()).double()
    model = model.double().train()
    if isinstance(penalty, PullTo):
        assert float(bound.value().detach()) == pytest.approx(0.0, abs=1e-9)
        with torch.no_grad():
            for param in model.parameters():
                param.mul_(1.1).add_(0.1)
    else:
        assert float(bound.value().detach()) == pytest.approx(float(penalty.value(start).detach()), rel=1e-5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    params = [p for p in model.parameters() if p.ndim > 0 and p is not model[0].bias]
    grads = torch.autograd.grad(bound.value(), params, allow_unused=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()) and model[0].training
    for param, grad in zip(params, grads, strict=True):
        flat = param.detach().view(-1)
        for place in range(1, flat.numel(), 3):
            if kind == "orthogonal" and place // 5 == place % 5:  # whose signs alone are used
                continue
            kept, found = float(flat[place]), []
            for moved in (kept + 1e-6, kept - 1e-6):
                flat[place] = moved
                found.append(float(bound.value().detach()))
            flat[place] = kept
            slope = 0.0 if grad is None else float(grad.reshape(-1)[place])
            assert (found[0] - found[1]) / 2e-6 == pytest.approx(slope, abs=1e-5)


def test_a_users_scale_is_penalised_as_the_function_without_it():
    class Tripled(nn.Module):
        def forward(self, w):
            return 3 * w

    recipe = Recipe(optimizer="sgd", lr=0.02, epochs=2000, batch_size="full", eval_rows=1)
    found = []
    for scaled in (True, False):
        model = plain()
        if scaled:
            register_parametrization(model[0], "weight", Tripled())
        regularizers = [Regularizer(ElasticNet(0.1), coupling="loss")]
        found.append(used(meden.fit(model, (X, Y), recipe=recipe.replace(regularizers=regularizers), seed=0).model))
    torch.testing.assert_close(*found, rtol=1e-3, atol=2e-2)  # subgradients do not settle at zero


# --- Everywhere ------------------------------------------------------------------------------------------------------


def deep():
    return nn.Sequential(weight_norm(nn.Linear(5, 4)), nn.Tanh(), spectral_norm(nn.Linear(4, 2)))


def test_alone_together_saved_and_loaded(tmp_path):
    regularizers = [Regularizer(L1(0.01), on="*.weight", coupling="loss"), Regularizer(L2(0.1), on="0.weight")]
    recipe = Recipe(lr=0.02, epochs=4, batch_size=20, regularizers=regularizers)
    members = [Member(recipe.replace(lr=lr)) for lr in (0.01, 0.02)]
    with pytest.warns(
        UserWarning, match=r"one by one, since L1\(\*.weight\) is a penalty on 0.weight, which weight_norm"
    ):
        runs = meden.fit_many(deep, members, (X, Y))
    again = meden.fit_many(deep, members, (X, Y), chunk=1)
    for run, other in zip(runs, again, strict=True):
        assert run.history[-1].penalties == other.history[-1].penalties
    first, last = (sum(run.history[n].penalties.values()) for n in (0, -1))
    assert last < first
    runs[0].save(tmp_path / "run")
    loaded = meden.load_run(tmp_path / "run", deep)
    assert loaded.recipe == runs[0].recipe
    torch.testing.assert_close(loaded.model(X), runs[0].model(X), rtol=0, atol=0)
    names = list(bind(loaded.model, loaded.recipe.regularizers, adaptive=True)[0].targets)
    assert names == ["0.weight", "2.weight"]


def weight_normed():
    return made()


def test_a_search_over_l2_and_none_over_l1(tmp_path):
    recipe = Recipe(epochs=2, batch_size=20)
    study = meden.tune(
        weight_normed, (X, Y), {"l2": meden.LogUniform(1e-3, 1.0)}, recipe=recipe, folds=2, budget=3, seed=0
    )
    assert study.best.params["l2"] > 0
    with pytest.raises(InputError, match=r"coupling of L1\(weights\) must be 'loss' for 0.weight, which weight_norm"):
        meden.tune(
            weight_normed,
            (X, Y),
            {"l1": meden.LogUniform(1e-3, 1.0)},
            recipe=recipe,
            folds=2,
            budget=3,
            study_dir=tmp_path / "s",
        )
    assert not list((tmp_path / "s").glob("ledger*"))


def test_audit_names_the_weights_and_warns_of_decay_on_what_they_are_made_from():
    model = deep()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    handle = meden.regularize(optimizer, model, [Regularizer(L2(0.25), on="0.weight", coupling="gradient")])
    report = meden.audit(model, optimizer, [handle])
    assert [(t.name, t.made_by, t.shape, t.l2) for t in report.tensors][::2] == [
        ("0.weight", "weight_norm", (4, 5), 0.25),
        ("2.weight", "spectral_norm", (2, 4), 0.0),
    ]
    assert re.search(r"0\.weight \(weight_norm\) +weight +4x5 .*0\.25 +L2\(0\.weight\) \(gradient\)", str(report))
    report = meden.audit(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    (warning,) = [w for w in report.warnings if w.code == "parametrised"]
    assert warning.tensors == ("0.weight", "2.weight") and "set it to 0" in warning.message
    assert [t.l2 for t in report.tensors] == [None, 0.1, None, 0.1]
