"""Every noise layer: one table, one contract; then each against a slow reference of its own."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from meden._checks import InputError
from meden.edits import insert, set_dropout
from meden.noise import (
    DropBlock,
    DropConnect,
    Dropout,
    DropPath,
    EmbeddingNoise,
    GaussianDropout,
    GaussianNoise,
    Noise,
    SpatialDropout,
    TokenDropout,
    attach,
    load_noise_state,
    mc_predict,
    noise_layers,
    noise_state,
    seed_noise,
    stream,
)
from meden.noise.rng import keep_mask

P = 0.3
DROP_VARIANCE = P / (1 - P)
# layer, input shape, variance for an input of ones (None: only the mean is checked)
LAYERS: dict[str, tuple[Noise, tuple[int, ...], float | None]] = {
    "Dropout": (Dropout(P), (64, 32), DROP_VARIANCE),
    "SpatialDropout 1d": (SpatialDropout(P), (64, 32, 3), DROP_VARIANCE),
    "SpatialDropout 2d": (SpatialDropout(P), (64, 32, 3, 3), DROP_VARIANCE),
    "SpatialDropout 3d": (SpatialDropout(P), (64, 32, 2, 2, 2), DROP_VARIANCE),
    "TokenDropout": (TokenDropout(P), (64, 32, 3), DROP_VARIANCE),
    "GaussianDropout": (GaussianDropout(P), (64, 32), DROP_VARIANCE),
    "DropPath": (DropPath(P), (2048, 3), DROP_VARIANCE),
    "DropConnect": (DropConnect(P), (64, 32), DROP_VARIANCE),
    "DropBlock": (DropBlock(P, block_size=3), (16, 8, 9, 9), None),
    "GaussianNoise": (GaussianNoise(0.5), (64, 32), 0.25),
    "EmbeddingNoise": (EmbeddingNoise(5.0), (16, 32, 8), 25 / (32 * 8) / 3),
}
table = pytest.mark.parametrize("name", LAYERS)


def case(name: str) -> tuple[Noise, Tensor, float | None]:
    layer, shape, variance = LAYERS[name]
    layer = copy.deepcopy(layer)
    seed_noise(layer, 1)
    return layer, torch.ones(shape), variance


@table
def test_expectation_and_variance(name: str) -> None:
    layer, x, variance = case(name)
    y = torch.stack([layer(x) for _ in range(20)]).double()
    free = torch.stack([layer(x) for _ in range(20)]).double()
    groups = {"SpatialDropout 1d": 3, "SpatialDropout 2d": 9, "SpatialDropout 3d": 8, "TokenDropout": 3, "DropPath": 3}
    independent = y.numel() / groups.get(name, 9 if name == "DropBlock" else 1)
    expected = variance if variance is not None else DROP_VARIANCE
    assert abs(y.mean().item() - 1) < 5 * (expected / independent) ** 0.5
    if variance is not None:
        assert abs(y.var().item() - variance) < 5 * variance * (3 / independent) ** 0.5
    assert not torch.equal(y, free)


@table
def test_evaluation_is_the_identity_and_touches_nothing(name: str) -> None:
    layer, x, _ = case(name)
    assert layer.eval()(x) is x
    assert layer.step.item() == 0


@table
def test_level_zero_is_exact(name: str) -> None:
    layer, x, _ = case(name)
    layer.set_level(0.0)
    x = torch.randn_like(x)
    assert torch.equal(layer(x), x)


@table
def test_at_level_zero_nothing_is_drawn_but_steps_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, _ = case(name)
    layer.set_level(0.0)
    monkeypatch.setattr(type(layer), "_perturb", None)
    layer(x)
    assert layer.step.item() == 1
    layer.level.fill_(0.5)
    with pytest.raises(TypeError):
        layer(x)


@table
def test_a_call_counts_a_step_and_the_state_repeats_it(name: str) -> None:
    layer, x, _ = case(name)
    state = noise_state(layer)
    first, second = layer(x), layer(x)
    assert layer.step.item() == 2
    assert not torch.equal(first, second)
    load_noise_state(layer, state)
    assert torch.equal(layer(x), first)
    assert not layer.state_dict()


@table
def test_half_precision_draws_the_same_noise(name: str) -> None:
    layer, x, _ = case(name)
    y = copy.deepcopy(layer)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=2**-7, atol=2**-7)


@table
def test_a_model_turned_to_half_precision_still_works(name: str) -> None:
    layer, x, _ = case(name)
    y = layer.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert abs(y.float().mean().item() - 1) < 0.2


@table
def test_members_with_their_own_level_equal_themselves_alone(name: str) -> None:
    layer, x, _ = case(name)
    members = [copy.deepcopy(layer) for _ in range(3)]
    for i, member in enumerate(members):
        member.set_level(layer.level * (0.5 + 0.3 * i))
        seed_noise(member, i)
    x = torch.randn(3, *x.shape)
    _, buffers = stack_module_state(members)
    base = copy.deepcopy(layer).to("meta")

    def forward(buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(base, buffers, (x,))

    traced = make_fx(vmap(forward))({k: v.clone() for k, v in buffers.items()}, x)
    for together in (vmap(forward), traced):
        mine = {k: v.clone() for k, v in buffers.items()}
        for _ in range(2):
            expected = torch.stack([member(row) for member, row in zip(members, x, strict=True)])
            torch.testing.assert_close(together(mine, x), expected, rtol=1e-6, atol=1e-6)
        assert mine["step"].tolist() == [2, 2, 2]
        for member in members:
            member.step.zero_()


def test_a_population_with_gradients_equals_its_members() -> None:
    members = []
    for i in range(3):
        torch.manual_seed(i)
        model = nn.Sequential(
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)
        )
        set_dropout(model, 0.1 * i)
        attach(model[0], DropConnect(0.2 * i))
        seed_noise(model, i)
        members.append(copy.deepcopy(model))
    base = copy.deepcopy(members[0]).to("meta")
    params, buffers = stack_module_state(members)
    params = {k: v.detach() for k, v in params.items()}
    x = torch.randn(3, 16, 8)

    def loss(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(base, (params, buffers), (x,)).square().mean()

    step = vmap(grad_and_value(loss))
    traced = make_fx(step)(params, {k: v.clone() for k, v in buffers.items()}, x)
    again = {k: v.clone() for k, v in buffers.items()}
    for _ in range(3):
        grads, values = step(params, buffers, x)
        traced_grads, traced_values = traced(params, again, x)
        for i, member in enumerate(members):
            member.zero_grad()
            value = member(x[i]).square().mean()
            value.backward()
            torch.testing.assert_close(values[i], value.detach())
            torch.testing.assert_close(traced_values[i], value.detach())
            for name, parameter in member.named_parameters():
                torch.testing.assert_close(grads[name][i], parameter.grad)
                torch.testing.assert_close(traced_grads[name][i], parameter.grad)
    assert members[0][0].weight is dict(members[0].named_parameters())["0.weight"]


def test_layers_of_a_model_draw_differently_and_calls_do() -> None:
    model = nn.Sequential(Dropout(0.5), Dropout(0.5))
    seed_noise(model, 0)
    x = torch.ones(1000)
    masks = [model[0](x) > 0, model[0](x) > 0, model[1](x) > 0]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 400 < (masks[a] == masks[b]).sum() < 600


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel, checkpoint_wrapper])
def test_wrapped_models_are_seeded_alike_and_take_each_others_state(wrap) -> None:
    def built() -> nn.Sequential:
        part = nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", GaussianNoise(0.1))
        return nn.Sequential(nn.Sequential(part, Dropout(0.3)), Dropout(0.4))

    plain, wrapped = built(), built()
    wrapped[0] = wrap(wrapped[0])
    wrapped = wrap(wrapped)
    seed_noise(plain, 3)
    seed_noise(wrapped, 3)
    state = noise_state(wrapped)
    assert list(state) == list(noise_state(plain)) and len(noise_layers(plain)) == 3
    assert all(torch.equal(state[key], value) for key, value in noise_state(plain).items())
    load_noise_state(plain, state)


def test_drop_path_equals_a_loop_over_samples() -> None:
    layer, x = DropPath(0.4), torch.randn(50, 3, 2)
    keep = keep_mask(layer.key, torch.tensor(0), layer.p, torch.Size([50, 1, 1])).ravel()
    expected = torch.stack([row / 0.6 if kept else torch.zeros(3, 2) for row, kept in zip(x, keep, strict=True)])
    assert 0 < keep.sum() < 50
    torch.testing.assert_close(layer(x), expected)


def test_drop_connect_equals_a_loop_over_weights_and_leaves_the_weight() -> None:
    layer = attach(nn.Linear(5, 4), DropConnect(0.4))
    weight, x = layer.weight.detach().clone(), torch.randn(7, 5)
    keep = keep_mask(layer.weight_noise.key, torch.tensor(0), torch.tensor(0.4), torch.Size([4, 5]))
    expected = torch.zeros(7, 4)
    for b in range(7):
        for i in range(4):
            expected[b, i] = layer.bias[i].detach() + sum(
                float(weight[i, j]) / 0.6 * float(x[b, j]) for j in range(5) if keep[i, j]
            )
    y = layer(x)
    torch.testing.assert_close(y.detach(), expected)
    y.sum().backward()
    torch.testing.assert_close(layer.weight.grad, keep / 0.6 * x.sum(0))
    assert isinstance(layer.weight, nn.Parameter) and torch.equal(layer.weight, weight)
    assert torch.equal(layer.eval()(x), nn.functional.linear(x, weight, layer.bias))


def test_a_failing_forward_puts_the_weight_back() -> None:
    layer = attach(nn.Linear(5, 4), DropConnect(0.4))
    weight = layer.weight
    with pytest.raises(RuntimeError, match="shapes"):
        layer(torch.ones(2, 6))
    assert layer.weight is weight


@pytest.mark.parametrize("size", [1, 3, 20])
def test_drop_block_equals_a_loop_over_blocks(size: int) -> None:
    layer, x = DropBlock(0.2, block_size=size), torch.randn(2, 3, 8, 6)
    s = min(size, 6)
    gamma = min(0.2 * 48 / (s * s * (8 - s + 1) * (6 - s + 1)), 1.0)
    seeds = keep_mask(layer.key, torch.tensor(0), torch.tensor(gamma), torch.Size([2, 3, 9 - s, 7 - s])) == 0
    keep = torch.ones_like(x)
    for b, c, i, j in seeds.nonzero().tolist():
        keep[b, c, i : i + s, j : j + s] = 0
    torch.testing.assert_close(layer(x), x * keep * keep.numel() / keep.sum())


def test_embedding_noise_has_the_scale_of_the_paper() -> None:
    noise = EmbeddingNoise(5.0)(torch.zeros(64, 16, 25))
    assert noise.abs().max() <= 5 / math.sqrt(16 * 25)
    assert noise.abs().max() > 0.99 * 5 / math.sqrt(16 * 25)


def test_a_resumed_loop_with_noise_on_embeddings_ends_where_the_uninterrupted_one_does(tmp_path) -> None:
    rows = torch.randint(0, 30, (6, 4, 8), generator=torch.Generator().manual_seed(0))

    def started() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 30))
        insert(model, 0, EmbeddingNoise(5.0))
        seed_noise(model, 1)
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    def go_on(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Tensor) -> None:
        for x in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x).mT, x).backward()
            optimizer.step()

    go_on(*(whole := started()), rows)
    go_on(*(first := started()), rows[:2])
    saved = {"model": first[0].state_dict(), "optimizer": first[1].state_dict(), "noise": noise_state(first[0])}
    torch.save(saved, tmp_path / "checkpoint.pt")
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    results = []
    for has_noise in (True, False):
        model, optimizer = started()
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        if has_noise:
            load_noise_state(model, found["noise"])
        go_on(model, optimizer, rows[2:])
        results.append(all(map(torch.equal, model.parameters(), whole[0].parameters())))
    assert results == [True, False]


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan, "a", True])
@pytest.mark.parametrize("make", [Dropout, DropPath, DropBlock, DropConnect, SpatialDropout, GaussianDropout])
def test_p_outside_its_range_is_an_input_error(make: type[Noise], p: object) -> None:
    with pytest.raises(InputError, match=f"{make.__name__} p must be"):
        make(p)


def test_other_bad_input() -> None:
    with pytest.raises(InputError, match="GaussianNoise std"):
        GaussianNoise(-1.0)
    with pytest.raises(InputError, match="block_size"):
        DropBlock(0.1, block_size=0)
    with pytest.raises(InputError, match=r"\(B, C, H, W\)"):
        DropBlock(0.1)(torch.ones(2, 3))
    with pytest.raises(InputError, match="did you mean 'input'"):
        attach(nn.Linear(2, 2), Dropout(0.1), "inputs")
    with pytest.raises(InputError, match="free"):
        attach(attach(nn.Linear(2, 2), Dropout(0.1)), Dropout(0.1))
    with pytest.raises(InputError, match="parameter named weight"):
        attach(nn.ReLU(), DropConnect(0.1))
    with pytest.raises(InputError, match=r"'1\.key' is missing"):
        load_noise_state(nn.Sequential(Dropout(0.1), Dropout(0.1)), noise_state(nn.Sequential(Dropout(0.1))))


def test_monte_carlo_prediction_of_a_linear_model_has_the_spread_of_dropout() -> None:
    model = nn.Sequential(nn.BatchNorm1d(50), Dropout(0.2), nn.Linear(50, 1))
    model[0].train()
    x, state = torch.randn(3, 50), copy.deepcopy(model.state_dict())
    mean, spread = mc_predict(model, x, num_samples=1000)
    again = mc_predict(model, x, num_samples=1000)
    assert torch.equal(mean, again.mean)
    noisy_inputs = (x / (1 + 1e-5) ** 0.5).square()  # batch norm in evaluation at its first state
    variance = (noisy_inputs * model[2].weight.square()).sum(1, keepdim=True) * 0.25
    torch.testing.assert_close(spread, variance.sqrt(), rtol=0.15, atol=0)
    clean = copy.deepcopy(model).eval()(x)
    assert ((mean - clean).abs() < 5 * spread / 1000**0.5).all()
    assert model.training and model[1].step == 0 and torch.equal(model[1].key, stream(0))
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with pytest.raises(InputError, match="noise layers"):
        mc_predict(nn.Linear(1, 1), torch.ones(1, 1))
