"""Couplings against torch's own weight decay, and through everything a training loop does around a step."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from meden import InputError
from meden.optim import Regularizer, StrengthSchedule, regularize
from meden.optim.inplace import add_grad_, decay_, prox_
from meden.optim.metric import one_length
from meden.penalties import (
    L1,
    L2,
    ElasticNet,
    GroupLasso,
    MaxNorm,
    NonNegative,
    Nuclear,
    Orthogonality,
    PullTo,
    Scaled,
    Sum,
)

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = X[:, :1] - 0.5 * X[:, 1:2].square()
STRENGTH = 0.03


def make_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def loss_of(model: nn.Module, rows: slice = slice(None)) -> Tensor:
    return (model(X[rows]) - Y[rows]).square().mean() / 2


def train(model: nn.Module, optimizer: Optimizer, num_steps: int = 100) -> None:
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_equal(model: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(weights(model), weights(other), rtol=1e-11, atol=1e-13)


OWN_DECAY: dict[str, tuple[Callable[..., Optimizer], str]] = {
    "SGD": (lambda p, **k: SGD(p, lr=0.1, **k), "gradient"),
    "SGD nesterov": (lambda p, **k: SGD(p, lr=0.05, momentum=0.9, nesterov=True, **k), "gradient"),
    "SGD fused": (lambda p, **k: SGD(p, lr=0.05, momentum=0.9, fused=True, **k), "gradient"),
    "Adam": (lambda p, **k: Adam(p, lr=0.01, **k), "gradient"),
    "Adam foreach": (lambda p, **k: Adam(p, lr=0.01, foreach=True, **k), "gradient"),
    "Adam amsgrad": (lambda p, **k: Adam(p, lr=0.01, amsgrad=True, **k), "gradient"),
    "RMSprop": (lambda p, **k: RMSprop(p, lr=0.01, momentum=0.5, **k), "gradient"),
    "Adagrad": (lambda p, **k: Adagrad(p, lr=0.1, **k), "gradient"),
    "AdamW": (lambda p, **k: AdamW(p, lr=0.01, **k), "decoupled"),
    "AdamW fused": (lambda p, **k: AdamW(p, lr=0.01, fused=True, **k), "decoupled"),
    "AdamW tensor lr": (lambda p, **k: AdamW(p, lr=torch.tensor(0.01, dtype=torch.float64), **k), "decoupled"),
}


@pytest.mark.parametrize("name", OWN_DECAY)
def test_l2_equals_the_optimizers_own_decay(name) -> None:
    make, coupling = OWN_DECAY[name]
    ours, theirs = make_model(), make_model()
    own = make(theirs.parameters(), weight_decay=STRENGTH)
    plain = make(ours.parameters(), weight_decay=0.0)
    regularize(plain, ours, [Regularizer(L2(STRENGTH), on="all", coupling=coupling)])
    train(ours, plain)
    train(theirs, own)
    assert_equal(ours, theirs)
    assert (weights(ours) - weights(make_model())).abs().max() > 1e-2


@pytest.mark.parametrize("make", [lambda p: Adam(p, lr=0.01), lambda p: SGD(p, lr=0.1)])
def test_auto_is_decoupled_under_adam_and_gradient_under_sgd(make) -> None:
    auto, named = make_model(), make_model()
    coupling = "decoupled" if isinstance(make([torch.zeros(1)]), Adam) else "gradient"
    for model, how in ((auto, "auto"), (named, coupling)):
        optimizer = make(model.parameters())
        regularize(optimizer, model, [Regularizer(L2(STRENGTH), coupling=how)])
        train(model, optimizer)
    assert torch.equal(weights(auto), weights(named))


def test_clipping_never_sees_the_penalty() -> None:
    model, reference = make_model(), make_model()
    optimizer, own = SGD(model.parameters(), lr=0.1), SGD(reference.parameters(), lr=0.1, weight_decay=5.0)
    regularize(optimizer, model, [Regularizer(L2(5.0), on="all")])
    for one, steps in ((model, optimizer), (reference, own)):
        for _ in range(5):
            steps.zero_grad()
            loss_of(one).backward()
            clip_grad_norm_(one.parameters(), 0.01)
            steps.step()
    assert_equal(model, reference)


@pytest.mark.parametrize("coupling", ["gradient", "decoupled", "proximal"])
def test_accumulated_batches_equal_the_large_batch(coupling) -> None:
    model, reference = make_model(), make_model()
    for one, parts in ((model, 4), (reference, 1)):
        optimizer = SGD(one.parameters(), lr=0.1, momentum=0.9)
        regularize(optimizer, one, [Regularizer(L2(STRENGTH), coupling=coupling)])
        for _ in range(10):
            optimizer.zero_grad()
            for part in range(parts):
                size = len(X) // parts
                (loss_of(one, slice(part * size, (part + 1) * size)) / parts).backward()
            optimizer.step()
    assert_equal(model, reference)


@pytest.mark.parametrize("as_keyword", [False, True])
def test_a_closure_changes_nothing_but_who_calls(as_keyword) -> None:
    model, reference = make_model(), make_model()
    regularizers = [
        Regularizer(L2(STRENGTH), coupling="decoupled"),
        Regularizer(L2(STRENGTH), coupling="gradient", on="biases"),
        Regularizer(L1(STRENGTH)),
    ]
    optimizer, plain = Adam(model.parameters(), lr=0.01), Adam(reference.parameters(), lr=0.01)
    regularize(optimizer, model, regularizers)
    regularize(plain, reference, regularizers)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure=closure) if as_keyword else optimizer.step(closure)
    train(reference, plain, 20)
    assert torch.equal(weights(model), weights(reference))


def test_a_closure_called_twice_decays_once() -> None:
    class Twice(Optimizer):
        """As sharpness-aware methods do."""

        def step(self, closure):
            closure()
            closure()

    model, reference = make_model(), make_model()
    optimizer = Twice(model.parameters(), {"lr": 0.5})
    regularize(optimizer, model, [Regularizer(L2(STRENGTH), coupling="decoupled", on="all")])

    def closure() -> None:
        for param in model.parameters():
            param.grad = torch.zeros_like(param)

    optimizer.step(closure)
    torch.testing.assert_close(weights(model), weights(reference) * (1 - 0.5 * STRENGTH))


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_minimises_loss_plus_penalty(search) -> None:
    model, reference = nn.Linear(6, 1).double(), nn.Linear(6, 1).double()
    reference.load_state_dict(model.state_dict())
    for one, ours in ((model, True), (reference, False)):
        optimizer = LBFGS(one.parameters(), max_iter=60, line_search_fn=search, tolerance_grad=1e-12)
        if ours:
            regularize(optimizer, one, [Regularizer(L2(0.5))])

        def closure(one=one, ours=ours, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(one) + (0 if ours else 0.25 * one.weight.square().sum())
            loss.backward()
            return loss

        optimizer.step(closure)
    torch.testing.assert_close(model.weight, reference.weight, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make", [lambda p: SGD(p, lr=0.1), lambda p: Adam(p, lr=0.01, fused=True)])
def test_gradscaler_leaves_no_trace_and_skips_overflow(make) -> None:
    regularizers = [
        Regularizer(L2(STRENGTH), coupling="gradient"),
        Regularizer(L2(STRENGTH), on="biases", coupling="decoupled"),
        Regularizer(L1(STRENGTH)),
    ]
    model, reference = make_model().float(), make_model().float()
    x, y = X.float(), Y.float()
    optimizer, plain = make(model.parameters()), make(reference.parameters())
    regularize(optimizer, model, regularizers)
    regularize(plain, reference, regularizers)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
    for step in range(12):
        overflows = step in (0, 5)
        before = weights(model)
        optimizer.zero_grad()
        scaler.scale((model(x) - y).square().mean() / 2).backward()
        if overflows:
            model[0].weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        if overflows:
            assert torch.equal(weights(model), before)
            continue
        plain.zero_grad()
        ((reference(x) - y).square().mean() / 2).backward()
        plain.step()
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Adam(p, lr=0.01, fused=True),
        lambda p: AdamW(p, lr=0.01, weight_decay=0.0, fused=True),
        lambda p: SGD(p, lr=0.1, fused=True),
        lambda p: SGD(p, lr=0.1),
    ],
    ids=["Adam", "AdamW", "SGD", "SGD, skipped by GradScaler"],
)
@pytest.mark.parametrize("coupling", ["gradient", "decoupled", "proximal"])
def test_steps_that_are_skipped_are_not_counted(make, coupling) -> None:
    """A strength that grows from step to step is, after two overflows of six, that of four steps."""
    model, reference = make_model().float(), make_model().float()
    x, y = X.float(), Y.float()
    ramp = [Regularizer(L2(STRENGTH), coupling=coupling, schedule=StrengthSchedule(end=6))]
    optimizer, plain = make(model.parameters()), make(reference.parameters())
    handle, other = regularize(optimizer, model, ramp), regularize(plain, reference, ramp)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale((model(x) - y).square().mean() / 2).backward()
        if step in (1, 4):
            model[0].weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        if step not in (1, 4):
            plain.zero_grad()
            ((reference(x) - y).square().mean() / 2).backward()
            plain.step()
    assert handle.num_steps == other.num_steps == handle.state_dict()["num_steps"] == 4
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_found_inf_on_a_fused_optimizer_is_a_step_that_was_not(kind) -> None:
    model = make_model().float()
    optimizer = kind(model.parameters(), lr=0.01, fused=True)
    handle = regularize(optimizer, model, [Regularizer(L1(STRENGTH))])
    (model(X.float()) - Y.float()).square().mean().backward()
    before = weights(model)
    for found, counted in ((1.0, 0), (0.0, 1), (1.0, 1)):
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(1.0), torch.tensor(found)
        optimizer.step()
        assert handle.num_steps == counted and torch.equal(weights(model), before) is (counted == 0)
    del optimizer.grad_scale, optimizer.found_inf
    optimizer.step()
    assert handle.num_steps == 2


def test_groups_added_later_and_replaced_by_loading_are_covered() -> None:
    model = make_model()
    optimizer = SGD(model[0].parameters(), lr=0.1)
    regularize(optimizer, model, [Regularizer(L1(100.0))])
    train(model, optimizer, 1)
    assert not model[0].weight.any() and model[2].weight.all()
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.2})
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.param_groups[0]["lr"] = 0.0
    model[0].weight.data.fill_(0.5)
    train(model, optimizer, 1)
    assert model[0].weight.all() and not model[2].weight.any()


def test_two_handles_act_in_turn_and_leave_alone_once_removed() -> None:
    model, reference = make_model(), make_model()
    optimizer, plain = SGD(model.parameters(), lr=0.1), SGD(reference.parameters(), lr=0.1)
    handles = [regularize(optimizer, model, [Regularizer(r)]) for r in (L1(STRENGTH), L2(0.0))]
    regularize(plain, reference, [Regularizer(L1(STRENGTH))])
    train(model, optimizer, 10)
    train(reference, plain, 10)
    assert torch.equal(weights(model), weights(reference))
    for handle in handles:
        handle.remove()
    plain = SGD(reference.parameters(), lr=0.1)
    train(model, optimizer, 10)
    train(reference, plain, 10)
    assert torch.equal(weights(model), weights(reference))


def test_parameters_without_a_gradient_stay() -> None:
    model = make_model()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = SGD(model.parameters(), lr=0.1)
    regularize(optimizer, model, [Regularizer(L1(100.0)), Regularizer(L2(1.0), coupling="decoupled")])
    train(model, optimizer, 2)
    assert torch.equal(model[0].weight, before) and not model[2].weight.any()


@pytest.mark.parametrize("order", [1, -1])
def test_proximal_penalties_on_one_tensor_act_as_their_sum(order) -> None:
    parts = [L1(0.02), NonNegative(), MaxNorm(0.02), L2(0.1)]
    model, reference = make_model(), make_model()
    for one, penalties in ((model, parts[::order]), (reference, [Sum(parts)])):
        optimizer = Adam(one.parameters(), lr=0.01)
        regularize(optimizer, one, [Regularizer(p, coupling="proximal") for p in penalties])
        train(one, optimizer, 10)
    assert_equal(model, reference)
    assert model[0].weight.any() and (model[0].weight == 0).any()
    torch.testing.assert_close(model[0].weight.norm(dim=1).max(), torch.tensor(0.02, dtype=torch.float64))


def test_strength_follows_its_schedule_and_survives_a_restart() -> None:
    schedule = StrengthSchedule(start=2, end=6, kind="cosine")
    regularizers = [Regularizer(L1(STRENGTH), schedule=schedule), Regularizer(PullTo(L2(0.5)), on="biases")]
    model, resumed = make_model(), make_model()
    optimizer, again = (Adam(m.parameters(), lr=0.01) for m in (model, resumed))
    handle, first = regularize(optimizer, model, regularizers), regularize(again, resumed, regularizers)
    train(model, optimizer, 9)
    train(resumed, again, 4)
    saved = (first.state_dict(), copy.deepcopy(again.state_dict()), copy.deepcopy(resumed.state_dict()))
    resumed, again = make_model(seed=7), None
    again = Adam(resumed.parameters(), lr=0.01)
    resumed.load_state_dict(saved[2])
    second = regularize(again, resumed, regularizers)
    second.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train(resumed, again, 5)
    assert torch.equal(weights(model), weights(resumed))
    assert second.values() == handle.values() and set(handle.values()) == {"L1(weights)", "PullTo(biases)"}
    with pytest.raises(InputError, match=r"regularizers must be those that the state was saved with, .* are those of"):
        second.load_state_dict({"num_steps": 1, "starts": {"L3(weights)": {}}})


def test_values_are_those_of_the_penalties_now() -> None:
    model = make_model()
    schedule = StrengthSchedule(end=2)
    handle = regularize(
        SGD(model.parameters(), lr=0.1),
        model,
        [Regularizer(L1(0.5)), Regularizer(L1(0.5)), Regularizer(L1(0.5), on="biases", schedule=schedule)],
    )
    total = 0.5 * sum(float(m.weight.detach().abs().sum()) for m in (model[0], model[2]))
    assert handle.values() == pytest.approx({"L1(weights)": total, "L1(weights) #2": total, "L1(biases)": 0.0})


def test_pull_to_the_start_keeps_most_weights_there() -> None:
    model = make_model()
    start = weights(model)
    optimizer = Adam(model.parameters(), lr=0.01)
    regularize(optimizer, model, [Regularizer(PullTo(L1(0.05)), on="all")])
    train(model, optimizer, 300)
    assert 0 < (weights(model) == start).sum() < len(start)


def test_matrix_penalties_take_one_step_under_adam() -> None:
    model = make_model()
    optimizer = Adam(model.parameters(), lr=0.01)
    regularize(optimizer, model, [Regularizer(Nuclear(0.1), on="0.weight")])
    train(model, optimizer, 200)
    assert torch.linalg.matrix_rank(model[0].weight) < 5
    assert one_length(torch.tensor([1.0, 1e9])) == pytest.approx(2.0)
    assert one_length(0.5) == 0.5


def test_group_lasso_under_adam_reaches_the_solution_of_sgd() -> None:
    solutions = []
    for make in (lambda p: SGD(p, lr=0.2), lambda p: Adam(p, lr=0.01)):
        model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
        optimizer = make(model.parameters())
        regularize(optimizer, model, [Regularizer(GroupLasso(0.35, dim=1, block=2, size_weighted=False))])
        train(model, optimizer, 1000)
        solutions.append(model.weight.detach())
    torch.testing.assert_close(*solutions, rtol=0, atol=1e-7)
    assert 0 < (solutions[0] == 0).sum() < 6 and torch.equal(solutions[0] == 0, solutions[1] == 0)


@pytest.mark.parametrize("make", [lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: Adam(p, lr=0.01)])
@pytest.mark.slow
def test_a_compiled_step_is_penalised_too(make) -> None:
    model, reference = make_model(), make_model()
    optimizer, plain = make(model.parameters()), make(reference.parameters())
    regularizers = [Regularizer(L1(0.3)), Regularizer(L2(STRENGTH), on="biases", coupling="gradient")]
    regularize(optimizer, model, regularizers)
    regularize(plain, reference, regularizers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about the profiler's scopes
        step = torch.compile(optimizer.step, backend="aot_eager")
        for _ in range(6):
            optimizer.zero_grad()
            loss_of(model).backward()
            step()
    train(reference, plain, 6)
    # A compiled Adam takes 0.999^t in float32, wrong by 3e-8 t + 6e-8, and divides by the root of 1 - 0.999^t, which is
    # about t / 1000: its six steps of at most 0.01 are each off by 1.5e-5 + 3e-5 / t of themselves, 1.7e-6 together.
    torch.testing.assert_close(weights(model), weights(reference), rtol=0, atol=2e-6)
    assert (weights(model) == 0).any()


@pytest.mark.parametrize("strength", [0.2, torch.tensor([[0.2], [0.0], [3.0], [0.1]])], ids=["number", "tensor"])
@pytest.mark.parametrize("step", [0.7, torch.tensor([[0.7, 0.1, 0.0]]).expand(4, 3)], ids=["one", "per coordinate"])
@pytest.mark.parametrize("kind", [L1, L2, ElasticNet, lambda s: Scaled(L1(s), 0.5)])
def test_in_place_forms_equal_the_penalties(kind, step, strength) -> None:
    penalty, w, g = kind(strength), torch.linspace(-2, 2, 12).view(4, 3), torch.ones(4, 3)
    for found, expected in (
        (lambda t: prox_(penalty, t, step), penalty.prox(w, step)),
        (lambda t: decay_(penalty, t, step), w - step * penalty.grad(w)),
    ):
        moved = w.clone()
        found(moved)
        torch.testing.assert_close(moved, expected)
        assert torch.equal(moved == 0, expected == 0)
    add_grad_(penalty, g, w, step)
    torch.testing.assert_close(g, 1 + step * penalty.grad(w))


def test_sgd_state_holds_nothing_of_ours() -> None:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.1)
    regularize(optimizer, model, [Regularizer(L1(0.1))])
    train(model, optimizer, 2)
    assert not optimizer.state_dict()["state"]


class Nested(SGD):
    def step(self, closure=None):
        return super().step(closure)


def sgd_of(model: nn.Module, **settings: float) -> Optimizer:
    return SGD(model.parameters(), lr=0.1, **settings)


@pytest.mark.parametrize(
    ("make", "regularizers", "message"),
    [
        (sgd_of, [Regularizer(L1(0.1), coupling="loss")], r"coupling of L1\(weights\) must be .*got 'loss'"),
        (sgd_of, Regularizer(L1(0.1)), r"regularizers must be a list of meden.Regularizer, got Regularizer\("),
        (sgd_of, [L1(0.1)], r"regularizers must be a list of meden.Regularizer, got the item L1\("),
        (lambda m: SGD(m.parameters(), lr=0.1, maximize=True), [Regularizer(L1(0.1))], "minimise.*maximize=True"),
        (lambda m: LBFGS(m.parameters()), [Regularizer(L1(0.1))], "must be gradient under LBFGS.*got 'proximal'"),
        (lambda m: LBFGS(m.parameters()), [Regularizer(L2(0.1), coupling="decoupled")], "under LBFGS"),
        (lambda _: sgd_of(make_model()), [Regularizer(L1(0.1))], r"must select a parameter that the optimizer steps"),
        (sgd_of, [Regularizer(L1(0.1), on="3.*")], r"on must select .*0.weight.*got '3\.\*'"),
        (lambda m: Nested(m.parameters(), lr=0.1), [Regularizer(L1(0.1))], r"must not call super\(\).step.* as Nested"),
        (lambda m: m, [], "optimizer must be a torch.optim.Optimizer, got Sequential"),
    ],
)
def test_impossible_attachments_are_refused(make, regularizers, message) -> None:
    model = make_model()
    with pytest.raises(InputError, match=message):
        regularize(make(model), model, regularizers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": "L1"}, "penalty must be one of meden.penalties, such as .* got 'L1'"),
        ({"penalty": L2}, "penalty must be one of"),
        ({"penalty": L1(0.1), "coupling": "proximl"}, "coupling must be one of .*'proximl'; did you mean 'proximal'"),
        ({"penalty": L1(0.1), "on": 3.5}, "on must be a role, a name glob, .* got 3.5"),
        ({"penalty": L1(0.1), "on": []}, "on must be a role"),
        ({"penalty": L1(0.1), "schedule": 0.5}, "schedule must be a StrengthSchedule or None, got 0.5"),
        ({"penalty": Orthogonality(0.1), "coupling": "proximal"}, "for Orthogonality, which has no prox, got proximal"),
        ({"penalty": MaxNorm(1.0), "coupling": "gradient"}, "coupling must be proximal .*MaxNorm, got 'gradient'"),
        ({"penalty": Sum([Orthogonality(1.0), NonNegative()])}, "coupling must be proximal .*in Sum, got 'auto'"),
        ({"penalty": MaxNorm(1.0), "schedule": StrengthSchedule(end=5)}, "schedule must be None .*MaxNorm"),
    ],
)
def test_impossible_regularizers_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        Regularizer(**settings)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), "0.1", None, True])
def test_wrong_strengths_are_refused(strength) -> None:
    with pytest.raises(InputError, match=f"L1 strength must be a .*number of at least 0, got {strength!r}"):
        Regularizer(L1(strength))


def test_doubled_decay_is_a_warning_that_names_both() -> None:
    model = make_model()
    with pytest.warns(
        UserWarning, match=r"L2\(weights\) and the weight_decay=0.01 of AdamW both shrink 0.weight and 1 m"
    ):
        regularize(AdamW(model.parameters()), model, [Regularizer(L2(0.1))])


def test_a_metric_that_is_not_known_is_a_warning() -> None:
    model = make_model()
    with pytest.warns(UserWarning, match=r"the proximal step of L1\(weights\) uses the learning rate.*for NAdam"):
        regularize(NAdam(model.parameters()), model, [Regularizer(L1(0.1)), Regularizer(MaxNorm(2.0))])


@pytest.mark.parametrize("make", [lambda p: Adam(p, lr=0.01), lambda p: RMSprop(p, lr=0.01, momentum=0.5)])
@pytest.mark.parametrize("penalty", [L1(0.1), GroupLasso(0.1), Sum((L1(0.1), L2(0.1)))], ids=repr)
def test_what_the_data_do_not_move_yet_is_not_gone_in_one_step(make, penalty) -> None:
    """A last layer of zeros tells the others nothing in the first step: gradients are 0, and their metric endless."""
    model = make_model()
    nn.init.zeros_(model[2].weight)
    before = model[0].weight.detach().clone()
    optimizer = make(model.parameters())
    regularize(optimizer, model, [Regularizer(penalty, on="0.weight")])
    train(model, optimizer, 1)
    moved = (before - model[0].weight).abs()
    rate = 0.01 / (1 - optimizer.param_groups[0].get("momentum", 0.0))
    assert 0 < float(moved.max().detach()) <= 2 * rate * (1.1 if isinstance(penalty, GroupLasso) else 1 + 1e-6)


def test_a_column_without_data_still_ends_at_exact_zeros() -> None:
    model = nn.Linear(3, 1).double()
    optimizer = Adam(model.parameters(), lr=0.01)
    regularize(optimizer, model, [Regularizer(L1(0.01))])
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 0
    for _ in range(100):
        optimizer.zero_grad()
        (model(x)[:, 0] - x[:, 0]).square().mean().backward()
        optimizer.step()
    assert model.weight[0, 2] == 0 and model.weight[0, 0] != 0
