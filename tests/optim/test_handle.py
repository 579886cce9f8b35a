"""A handle through all that happens to an optimizer and a model: resumed, swapped, frozen, attached twice."""

import copy
import gc
import pickle
import warnings
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, Adam, AdamW, Optimizer

from meden import InputError, audit
from meden.optim import Handle, Regularizer, StrengthSchedule, regularize
from meden.penalties import L1, L2, MaxNorm, PullTo

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = X[:, :1] - 0.5 * X[:, 1:2].square()
RAMP = StrengthSchedule(end=40)

Make = Callable[..., Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: SGD(p, lr=0.05),
    "SGD, fused, momentum": lambda p: SGD(p, lr=0.05, momentum=0.9, fused=True),
    "Adam": lambda p: Adam(p, lr=0.01),
    "AdamW, tensor lr": lambda p: AdamW(p, lr=torch.tensor(0.01, dtype=torch.float64), weight_decay=0.0),
}
REGULARIZERS = [
    Regularizer(L1(0.05), schedule=RAMP),
    Regularizer(L2(0.1), on="biases", coupling="gradient", schedule=RAMP),
    Regularizer(PullTo(L1(0.01)), on="0.weight"),
]


def make_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def train(model: nn.Module, optimizer: Optimizer, num_steps: int) -> None:
    for _ in range(num_steps):
        optimizer.zero_grad()
        (model(X) - Y).square().mean().backward()
        optimizer.step()


def two_groups(make: Make, model: nn.Sequential) -> Optimizer:
    return make([{"params": model[0].parameters()}, {"params": model[2].parameters()}])


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for (name, own), its in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(own, its), name


def by_torch(old: nn.Module, optimizer: Optimizer, new: nn.Module, resumed: Optimizer) -> None:
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def by_dcp(flat: bool) -> Callable[[nn.Module, Optimizer, nn.Module, Optimizer], None]:
    def carry(old: nn.Module, optimizer: Optimizer, new: nn.Module, resumed: Optimizer) -> None:
        options = StateDictOptions(flatten_optimizer_state_dict=flat)
        state = copy.deepcopy(get_optimizer_state_dict(old, optimizer, options=options))
        set_optimizer_state_dict(new, resumed, state, options=options)

    return carry


CARRIERS = {"torch": by_torch, "distributed": by_dcp(False), "distributed, flat": by_dcp(True)}


class TestResumed:
    """Strength schedules and pulls go on where they were."""

    @pytest.mark.parametrize("carrier", CARRIERS)
    @pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
    @pytest.mark.filterwarnings("ignore:.*get_optimizer_state_dict.*:FutureWarning")
    def test_it_equals_the_uninterrupted(self, make, carrier) -> None:
        whole, model = make_model(), make_model()
        optimizer = two_groups(make, whole)
        regularize(optimizer, whole, REGULARIZERS)
        train(whole, optimizer, 30)

        first = two_groups(make, model)
        handle = regularize(first, model, REGULARIZERS)
        train(model, first, 12)
        starts = handle.state_dict()
        resumed = make_model(seed=7)
        resumed.load_state_dict(model.state_dict())
        second = two_groups(make, resumed)
        again = regularize(second, resumed, REGULARIZERS)
        first.zero_grad()
        CARRIERS[carrier](model, first, resumed, second)
        assert again.num_steps == 12
        again.load_state_dict(starts)
        train(resumed, second, 18)
        assert again.num_steps == 30
        assert_same(resumed, whole)

    def test_a_state_that_was_loaded_before(self) -> None:
        whole, model, state = make_model(), make_model(), {}
        for m, parts in ((whole, (30,)), (model, (12, 18))):
            for steps in parts:
                optimizer = SGD(m.parameters(), lr=0.05, momentum=0.9)
                if steps == 18:
                    optimizer.load_state_dict(state)
                regularize(optimizer, m, REGULARIZERS[:2])
                train(m, optimizer, steps)
                state = optimizer.state_dict()
        assert_same(model, whole)

    def test_two_handles_count_for_themselves(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        early = regularize(optimizer, model, [Regularizer(L1(0.1), schedule=RAMP)])
        train(model, optimizer, 5)
        late = regularize(optimizer, model, [Regularizer(L2(0.1), schedule=RAMP)])
        train(model, optimizer, 3)
        assert (early.num_steps, late.num_steps) == (8, 3)
        fresh = SGD(model.parameters(), lr=0.05)
        early, late = (regularize(fresh, model, [Regularizer(p, schedule=RAMP)]) for p in (L1(0.1), L2(0.1)))
        fresh.load_state_dict(optimizer.state_dict())
        assert (early.num_steps, late.num_steps) == (8, 3)

    def test_groups_added_later_and_handles_removed(self) -> None:
        model = make_model()
        optimizer = SGD(model[0].parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(0.1), schedule=RAMP)])
        train(model, optimizer, 2)
        optimizer.add_param_group({"params": model[2].parameters()})
        train(model, optimizer, 2)
        keys = [group.keys() - {"params"} for group in optimizer.state_dict()["param_groups"]]
        assert keys[0] == keys[1]
        handle.remove()
        plain = SGD(make_model().parameters(), lr=0.05)
        assert optimizer.state_dict()["param_groups"][0].keys() == plain.state_dict()["param_groups"][0].keys()
        handle = regularize(optimizer, model, [Regularizer(L1(0.1), schedule=RAMP)])
        assert handle.num_steps == 0

    def test_a_plain_optimizer_takes_such_a_state(self) -> None:
        model = make_model()
        optimizer = Adam(model.parameters(), lr=0.05)
        regularize(optimizer, model, [Regularizer(L1(0.1))])
        train(model, optimizer, 2)
        plain = Adam(model.parameters(), lr=0.05)
        plain.load_state_dict(optimizer.state_dict())
        train(model, plain, 2)

    def test_a_state_without_a_count_leaves_it(self) -> None:
        model = make_model()
        old = SGD(model.parameters(), lr=0.05)
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(0.1))])
        train(model, optimizer, 2)
        optimizer.load_state_dict(old.state_dict())
        train(model, optimizer, 1)
        assert handle.num_steps == 3

    @pytest.mark.parametrize("load_first", [True, False])
    def test_pulls_to_resumed_weights_are_told(self, load_first) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(PullTo(L2(0.1)))])
        train(model, optimizer, 3)
        resumed = copy.deepcopy(model)
        second = SGD(resumed.parameters(), lr=0.05)
        if load_first:
            second.load_state_dict(optimizer.state_dict())
        again = regularize(second, resumed, [Regularizer(PullTo(L2(0.1)))])
        if not load_first:
            second.load_state_dict(optimizer.state_dict())
        with pytest.warns(UserWarning, match=r"PullTo\(weights\).*step 3.*load_state_dict"):
            train(resumed, second, 1)
        again.load_state_dict(handle.state_dict())
        train(resumed, second, 2)  # nothing more is said

    def test_pulls_to_the_first_weights_are_right(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        regularize(optimizer, model, [Regularizer(PullTo(L2(0.1)))])
        train(model, optimizer, 3)
        fresh = make_model()
        second = SGD(fresh.parameters(), lr=0.05)
        regularize(second, fresh, [Regularizer(PullTo(L2(0.1)))])
        fresh.load_state_dict(model.state_dict())
        second.load_state_dict(optimizer.state_dict())
        train(fresh, second, 1)
        train(model, optimizer, 1)
        assert_same(fresh, model)

    @pytest.mark.slow
    def test_a_compiled_step_is_compiled_once(self) -> None:
        model = make_model()
        optimizer = Adam(model.parameters(), lr=torch.tensor(0.01, dtype=torch.float64))
        compiled = 0

        def backend(graph, _inputs):
            nonlocal compiled
            compiled += 1
            return graph.forward

        handle = regularize(optimizer, model, [Regularizer(L1(0.1), schedule=RAMP)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about the profiler's scopes
            step = torch.compile(optimizer.step, backend=backend, dynamic=False)
            counts = []
            for _ in range(6):
                optimizer.zero_grad()
                (model(X) - Y).square().mean().backward()
                step()
                counts.append(compiled)
        assert handle.num_steps == 6 and counts[1] == counts[-1]


class TestSwapped:
    """Parameters that are replaced under a handle."""

    @staticmethod
    def swap(model: nn.Module) -> dict[nn.Parameter, nn.Parameter]:
        new = {}
        for layer in model.modules():
            for name, param in list(layer._parameters.items()):
                new[param] = nn.Parameter(param.detach().clone())
                setattr(layer, name, new[param])
        return new

    @pytest.mark.parametrize("in_place", [True, False])
    def test_the_optimizer_holds_the_new_ones(self, in_place) -> None:
        model, reference = make_model(), make_model()
        optimizers = [Adam(m.parameters(), lr=0.01) for m in (model, reference)]
        handle, _ = (regularize(o, m, REGULARIZERS) for o, m in zip(optimizers, (model, reference), strict=True))
        optimizer = optimizers[0]
        train(model, optimizer, 4)
        train(reference, optimizers[1], 9)
        new, group = self.swap(model), optimizer.param_groups[0]
        state = {new[p]: s for p, s in optimizer.state.items()}
        optimizer.state.clear()
        optimizer.state.update(state)
        if in_place:
            group["params"][:] = [new[p] for p in group["params"]]
        else:
            group["params"] = [new[p] for p in group["params"]]
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(InputError, match=r"0\.weight.*handle\.rebind\(model\)"):
            train(model, optimizer, 1)
        with pytest.raises(InputError, match=r"handle\.rebind\(model\)"):
            handle.values()
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])
        handle.rebind(model)
        assert handle.num_steps == 4
        train(model, optimizer, 5)
        assert_same(model, reference)

    def test_the_optimizer_holds_the_old_ones(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, REGULARIZERS)
        self.swap(model)
        with pytest.raises(InputError, match=r"0\.weight.*handle\.rebind\(model\)"):
            train(model, optimizer, 1)
        optimizer.param_groups[0]["params"] = list(model.parameters())
        handle.rebind(model)
        train(model, optimizer, 1)

    def test_tied_and_untied(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        model[1].weight = model[0].weight
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(1e-3))])
        model[1].weight = nn.Parameter(model[0].weight.detach().clone())
        optimizer.add_param_group({"params": [model[1].weight]})
        x = torch.ones(2, 4)
        model(x).sum().backward()
        with pytest.raises(InputError, match=r"1\.weight.*rebind"):
            optimizer.step()
        handle.rebind(model)
        optimizer.step()
        assert list(handle.bound[0].targets) == ["0.weight", "1.weight"]
        model[1].weight = model[0].weight
        optimizer.zero_grad()
        model(x).sum().backward()
        with pytest.raises(InputError, match=r"1\.weight.*rebind"):
            optimizer.step()

    def test_no_grad_is_no_swap(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(0.1))])
        model[0](X).sum().backward()  # nothing reaches the last layer
        optimizer.step()
        assert handle.num_steps == 1

    def test_another_model(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, REGULARIZERS)
        with pytest.raises(InputError, match="optimizer steps"):
            handle.rebind(make_model())
        with pytest.raises(InputError, match=r"0\.weight"):
            handle.rebind(nn.ModuleDict({"a": model[0], "b": model[2]}))
        train(model, optimizer, 1)


class TestTwice:
    """A second handle that would do the same again."""

    def test_it_is_refused(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(0.1)), Regularizer(MaxNorm(1.0))])
        for again in (Regularizer(L1(0.1), on="2.weight"), Regularizer(MaxNorm(1.0, dim=0))):
            with pytest.raises(InputError, match=r"\.weight.*remove\(\)") as error:
                regularize(optimizer, model, [again])
            assert again.label in str(error.value) and "\n" not in str(error.value)
        regularize(optimizer, model, [Regularizer(L1(0.2))])
        regularize(optimizer, model, [Regularizer(L1(0.1), on="biases")])
        handle.remove()
        regularize(optimizer, model, [Regularizer(L1(0.1))])

    def test_tensors_and_pulls_are_compared_too(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05)
        regularize(optimizer, model, [Regularizer(L1(torch.tensor(0.1))), Regularizer(PullTo(L2(0.1)))])
        train(model, optimizer, 2)
        regularize(optimizer, model, [Regularizer(L1(torch.tensor(0.2)))])
        for again in (Regularizer(L1(torch.tensor(0.1))), Regularizer(PullTo(L2(0.1)))):
            with pytest.raises(InputError, match=r"remove\(\)"):
                regularize(optimizer, model, [again])

    def test_another_optimizer_needs_its_own(self) -> None:
        model = make_model()
        regularize(SGD(model.parameters(), lr=0.05), model, [Regularizer(L1(0.1))])
        optimizer = SGD(model.parameters(), lr=0.05)
        regularize(optimizer, model, [Regularizer(L1(0.1))])
        train(model, optimizer, 1)

    def test_nothing_is_kept_alive(self) -> None:
        model = make_model()
        optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
        handle = regularize(optimizer, model, [Regularizer(L1(0.1))])
        train(model, optimizer, 2)
        for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert copied.state_dict()["param_groups"][0]["lr"] == 0.05
            copied.step()
        seen = [weakref.ref(thing) for thing in (optimizer, handle, model)]
        del optimizer, handle, model, copied
        gc.collect()
        assert [ref() for ref in seen] == [None] * 3


class Adapted(nn.Module):
    """A frozen layer with a trained correction of low rank."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base = nn.Linear(6, 5).double().requires_grad_(False)
        self.lora_A, self.lora_B = (nn.Linear(*shape, bias=False).double() for shape in ((6, 2), (2, 5)))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_B(self.lora_A(x))


class TestFrozen:
    """Only what the optimizer steps counts."""

    @staticmethod
    def l1(*layers: nn.Linear) -> float:
        return sum(float(layer.weight.detach().abs().sum()) for layer in layers)

    @pytest.mark.parametrize("held", ["all", "trained"])
    def test_frozen_weights_are_left_out(self, held) -> None:
        model = Adapted()
        optimizer = SGD([p for p in model.parameters() if held == "all" or p.requires_grad], lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(1.0)), Regularizer(PullTo(L2(1.0)))])
        assert handle.values()["L1(weights)"] == pytest.approx(self.l1(model.lora_A, model.lora_B))
        for b in handle.bound:
            assert list(b.targets) == ["lora_A.weight", "lora_B.weight"]
        assert list(handle.state_dict()["starts"]["PullTo(weights)"]) == ["lora_A.weight", "lora_B.weight"]
        table = {t.name: t for t in audit(model, optimizer, [handle]).tensors}
        assert not table["base.weight"].shrinkage and table["lora_A.weight"].l1 == 1.0

    def test_thawed_and_frozen_later(self) -> None:
        model = Adapted()
        optimizer = SGD([*model.lora_A.parameters(), *model.lora_B.parameters()], lr=0.05)
        handle = regularize(optimizer, model, [Regularizer(L1(1e-3))])
        pull = regularize(optimizer, model, [Regularizer(PullTo(L1(1e-3)))])

        def step() -> None:
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()

        step()
        model.base.requires_grad_()
        optimizer.add_param_group({"params": model.base.parameters()})
        before = model.base.weight.detach().clone()
        step()
        assert handle.values()["L1(weights)"] == pytest.approx(1e-3 * self.l1(model.base, model.lora_A, model.lora_B))
        assert torch.equal(pull.state_dict()["starts"]["PullTo(weights)"]["base.weight"], before)
        model.lora_A.requires_grad_(False)
        step()
        assert handle.values()["L1(weights)"] == pytest.approx(1e-3 * self.l1(model.base, model.lora_B))

    def test_all_frozen_is_refused(self) -> None:
        model = Adapted()
        with pytest.raises(InputError, match="optimizer steps"):
            regularize(SGD(model.parameters(), lr=0.1), model, [Regularizer(L1(1.0), on="base.weight")])


def test_the_handle_of_a_step_is_found_in_its_optimizer() -> None:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.05)
    handle = regularize(optimizer, model, [Regularizer(L1(0.1))])
    assert isinstance(handle, Handle) and handle.optimizer is optimizer
