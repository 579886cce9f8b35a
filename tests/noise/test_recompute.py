"""A part of a forward pass that is computed twice draws the same both times, or says that it cannot."""

import copy
import pickle

import pytest
import torch
from tests.noise.test_layers import LAYERS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import meden
from meden._checks import InputError
from meden.edits import set_dropout
from meden.noise import (
    DropConnect,
    Dropout,
    GaussianNoise,
    Noise,
    attach,
    mc_predict,
    noise_layers,
    recompute,
    seed_noise,
    stream,
)
from meden.noise.recompute import steps_to_draw

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{of_torch}")
    for of_torch in (
        "None of the inputs have requires_grad=True",  # nested, the outer part computes the inner one without gradients
        "The .grad attribute of a Tensor that is not a leaf",  # the compiler looks at its inputs
        "`torch.jit.script_method` is deprecated",
    )
]
WAYS = {"reentrant": True, "not reentrant": False}
ways = pytest.mark.parametrize("way", WAYS)


class Blocks(nn.Module):
    """Blocks, each computed again in the backward pass."""

    def __init__(self, *blocks: nn.Module, reentrant: bool | None = None, nested: bool = False) -> None:
        super().__init__()
        self.blocks, self.reentrant, self.nested = nn.ModuleList(blocks), reentrant, nested

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.whole, x) if self.nested else self.whole(x)

    def whole(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self.again(block, x)
        return x

    def again(self, part, x: Tensor) -> Tensor:
        return part(x) if self.reentrant is None else checkpoint(part, x, use_reentrant=self.reentrant)


def block(noise: Noise | None = None) -> nn.Sequential:
    """Nonlinear before and after the noise, so that its mask is in the gradient of both."""
    return nn.Sequential(
        nn.Linear(8, 8), nn.Tanh(), Dropout(0.5) if noise is None else noise, nn.Linear(8, 8), nn.Tanh()
    )


def gradients(model: nn.Module, x: Tensor, call=None, passes: int = 2) -> list[Tensor]:
    """Train for some passes; the gradients of all of them, and the steps."""
    call, found = model if call is None else call, []
    seed_noise(model, 1)
    for _ in range(passes):
        model.zero_grad()
        call(x.clone().requires_grad_()).square().sum().backward()
        found += [p.grad.clone() for p in model.parameters()]
    return found + [layer.step.double() for layer in noise_layers(model).values()]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("nested", [False, True])
@ways
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_draws_again_what_it_drew(name: str, way: str, nested: bool) -> None:
    layer, shape, _ = LAYERS[name]
    shape = (4, *shape[1:])
    weighted = [nn.Sequential(nn.Linear(shape[-1], shape[-1]), nn.Tanh()) for _ in range(4)]
    parts = [nn.Sequential(a, copy.deepcopy(layer), b) for a, b in (weighted[:2], weighted[2:])]
    x, plain = torch.randn(shape), Blocks(*parts)
    twice = copy.deepcopy(plain)
    twice.reentrant, twice.nested = WAYS[way], nested
    assert_same(gradients(twice, x), gradients(plain, x))


@ways
def test_noise_on_weights_is_repeated_and_taken_off(way: str) -> None:
    plain = Blocks(block(), block())
    for part in plain.blocks:
        attach(part[0], DropConnect(0.5))
        attach(part[3], GaussianNoise(0.3), "weight")
    twice, x = copy.deepcopy(plain), torch.randn(4, 8)
    twice.reentrant = WAYS[way]
    assert_same(gradients(twice, x), gradients(plain, x))
    assert all(isinstance(part[i].weight, nn.Parameter) for part in twice.blocks for i in (0, 3))


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@ways
def test_hugging_faces_models_with_gradient_checkpointing(way: str, attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 20, "n_positions": 12}
    config = transformers.GPT2Config(**sizes, use_cache=False, attn_implementation=attention)
    plain = transformers.GPT2LMHeadModel(config)
    set_dropout(plain, 0.3)
    twice, tokens = copy.deepcopy(plain), torch.randint(0, 20, (3, 10))
    twice.gradient_checkpointing_enable({"use_reentrant": WAYS[way]})

    def trained(model: nn.Module) -> list[Tensor]:
        torch.manual_seed(0)  # torch's attention draws by itself
        seed_noise(model.train(), 0)
        model(input_ids=tokens, labels=tokens).loss.backward()
        return [p.grad for p in model.parameters()]

    assert_same(trained(twice), trained(plain))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["whole", "blocks"])
@pytest.mark.parametrize("way", ["once", *WAYS])
def test_compiled_models_draw_again_what_they_drew(way: str, what: str, backend: str) -> None:
    torch._dynamo.reset()
    plain, x = Blocks(block(), block(DropConnect(0.5)), block(GaussianNoise(0.5))), torch.randn(4, 8)
    twice = copy.deepcopy(plain)
    twice.reentrant = WAYS.get(way)
    if what == "blocks":
        for part in twice.blocks:
            part.compile(backend=backend)
    call = torch.compile(twice, backend=backend, fullgraph=True) if what == "whole" else twice
    assert_same(gradients(twice, x, call), gradients(plain, x))


def test_compiled_calls_before_one_backward_pass_keep_their_draws() -> None:
    torch._dynamo.reset()
    plain, x = block(), torch.randn(4, 8)
    twice, found = copy.deepcopy(plain), []
    for model, call in ((plain, plain), (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))):
        seed_noise(model, 0)
        (call(x).square().sum() + call(x).square().sum()).backward()
        found.append([p.grad for p in model.parameters()])
    assert_same(*found)


def test_compiled_blocks_of_one_kind_are_compiled_once() -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    parts = [block() for _ in range(6)]
    model = Blocks(*parts)
    for part in model.blocks:
        part.compile(backend=counter)
    seed_noise(model, 0)
    for _ in range(2):
        model(torch.randn(4, 8).requires_grad_()).sum().backward()
    assert counter.frame_count == 1


class Shared(nn.Module):
    """One layer of noise at two places."""

    def __init__(self, reentrant: bool, parts: int) -> None:
        super().__init__()
        self.first, self.second, self.noise = nn.Linear(8, 8), nn.Linear(8, 8), Dropout(0.5)
        self.reentrant, self.parts = reentrant, parts

    def forward(self, x: Tensor) -> Tensor:
        if self.parts == 1:
            return checkpoint(lambda x: self.one(self.two(x)), x, use_reentrant=self.reentrant)
        x = checkpoint(self.one, x, use_reentrant=self.reentrant)
        return checkpoint(self.two, x, use_reentrant=self.reentrant) if self.parts == 2 else self.two(x)

    def one(self, x: Tensor) -> Tensor:
        return self.noise(self.first(x).tanh()).tanh()

    def two(self, x: Tensor) -> Tensor:
        return self.noise(self.second(x).tanh()).tanh()


@ways
@pytest.mark.parametrize("parts", [1, 2])
def test_a_layer_that_is_called_twice_raises(way: str, parts: int) -> None:
    loss = Shared(WAYS[way], parts)(torch.randn(4, 8).requires_grad_()).sum()
    with pytest.raises(InputError, match=r"called only once per pass .* got 2 calls before the backward pass"):
        loss.backward()


@pytest.mark.parametrize("what", ["whole", "part"])
def test_a_compiled_layer_that_is_called_twice_raises(what: str) -> None:
    torch._dynamo.reset()
    model = Shared(False, 2)
    call = torch.compile(model, backend="aot_eager") if what == "whole" else model
    if what == "part":
        model.noise.compile(backend="aot_eager")
    loss = call(torch.randn(4, 8).requires_grad_()).sum()
    with pytest.raises(InputError, match="got 2 calls"):
        loss.backward()


@pytest.mark.parametrize("compiled", [False, True])
def test_calls_without_a_backward_pass_raise_until_they_are_forgotten(compiled: bool) -> None:
    torch._dynamo.reset()
    plain, x = Blocks(block()), torch.randn(4, 8)
    expected, twice = gradients(plain, x), copy.deepcopy(plain)
    twice.reentrant = False
    if compiled:
        twice.compile(backend="aot_eager")
    kept = twice(x.clone().requires_grad_())
    loss = twice(x.clone().requires_grad_()).sum()
    with pytest.raises(InputError, match="load_noise_state"):
        loss.backward()
    assert kept.requires_grad
    assert_same(gradients(twice, x), expected)  # seeded anew
    twice.train()
    mc_predict(twice, x, num_samples=3)  # between passes it leaves the model as it was
    assert_same(gradients(twice, x), expected)


def _first_pass_of(model: nn.Module, x: Tensor, before) -> list[Tensor]:
    seed_noise(model, 0)
    before(model, x)
    model.zero_grad()
    for layer in noise_layers(model).values():
        layer.step.fill_(7)  # whatever came before
    loss = model(x.clone().requires_grad_()).square().sum()
    loss.backward()
    return [p.grad.clone() for p in model.parameters()]


def _without_gradients(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)


def _plain_training(model: nn.Module, x: Tensor) -> None:
    reentrant, model.reentrant = model.reentrant, None
    for _ in range(3):
        model(x.clone().requires_grad_()).sum().backward()
    model.reentrant = reentrant


def _skipped_batch(model: nn.Module, x: Tensor) -> None:
    model(x.clone().requires_grad_()).sum()


def _skipped_then_trained(model: nn.Module, x: Tensor) -> None:
    _skipped_batch(model, x)
    model(x.clone().requires_grad_()).sum().backward()


BEFORE = {f.__name__: f for f in (_without_gradients, _plain_training, _skipped_batch, _skipped_then_trained)}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("before", BEFORE)
@ways
def test_what_no_backward_pass_asks_for_is_not_repeated(way: str, before: str, compiled: bool) -> None:
    torch._dynamo.reset()
    plain, x = Blocks(block(), block()), torch.randn(4, 8)
    twice = copy.deepcopy(plain)
    twice.reentrant = WAYS[way]
    if compiled:
        for part in twice.blocks:
            part.compile(backend="aot_eager")
    assert_same(_first_pass_of(twice, x, BEFORE[before]), _first_pass_of(plain, x, BEFORE[before]))


@pytest.mark.parametrize("compiled", [False, True])
@ways
def test_a_call_without_gradients_between_a_pass_and_its_backward_pass(way: str, compiled: bool) -> None:
    torch._dynamo.reset()
    plain, x = Blocks(block()), torch.randn(4, 8)
    twice, found = copy.deepcopy(plain), []
    twice.reentrant = WAYS[way]
    if compiled:
        twice.blocks[0].compile(backend="aot_eager")
    for model in (plain, twice):
        seed_noise(model, 0)
        loss = model(x.clone().requires_grad_()).square().sum()
        _without_gradients(model, x)
        loss.backward()
        found.append([*(p.grad for p in model.parameters()), model.blocks[0][2].step.double()])
    assert_same(*found)


@ways
def test_a_layer_called_once_in_a_checkpointed_part_and_once_beside_it(way: str) -> None:
    model, x, found = Shared(WAYS[way], 3), torch.randn(4, 8), []
    for reentrant in (False, True):
        seed_noise(model, 0)
        model.zero_grad()
        x_ = x.clone().requires_grad_()
        (model(x_) if reentrant else model.two(model.one(x_))).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert_same(*found)


def test_a_layer_in_the_midst_of_a_pass_is_copied_and_pickled() -> None:
    model = Blocks(block(), reentrant=False)
    loss = model(torch.randn(4, 8).requires_grad_()).sum()
    for other in (copy.deepcopy(model.blocks[0][2]), pickle.loads(pickle.dumps(model.blocks[0][2]))):
        assert other.step == 1
    loss.backward()


def test_evaluation_between_a_pass_and_its_backward_pass_changes_nothing() -> None:
    found = []
    for reentrant in (None, False):
        torch.manual_seed(0)
        model, x = Blocks(block(), reentrant=reentrant), torch.randn(4, 8)
        seed_noise(model, 0)
        loss = model(x).square().sum()
        model.eval()(x)
        model.train()
        mc_predict(model, x, num_samples=2)
        loss.backward()
        found.append([p.grad for p in model.parameters()])
    assert_same(*found)


def test_noise_on_gradients_draws_anew_in_each_backward_pass() -> None:
    weight, noise = nn.Parameter(torch.zeros(100)), GaussianNoise(1.0)
    weight.register_hook(noise)
    found = []
    for _ in range(2):
        weight.grad = None
        weight.sum().backward()
        found.append(weight.grad)
    assert not torch.equal(*found) and noise.step == 2


@pytest.mark.filterwarnings("ignore:models are trained one by one")
@pytest.mark.parametrize("alone", [True, False])
def test_fit_and_fit_many_train_models_that_compute_twice(alone: bool) -> None:
    x, y = torch.randn(40, 8), torch.randn(40, 8)
    recipe, found = meden.Recipe(epochs=2, batch_size=20, lr=0.1, optimizer="sgd"), []
    for reentrant in (None, False):
        torch.manual_seed(0)
        if alone:
            runs = [meden.fit(Blocks(block(), reentrant=reentrant), train=(x, y), recipe=recipe, seed=0)]
        else:
            members = [meden.Member(recipe, seed=seed) for seed in range(2)]
            runs = meden.fit_many(lambda r=reentrant: Blocks(block(), reentrant=r), members, data=(x, y))
        found.append([p.detach() for run in runs for p in run.model.parameters()])
    assert_same(*found)


def test_a_compiled_layer_knows_no_calls_of_one_that_was_there_before_it() -> None:
    for _ in range(100):  # memory is given out again
        key = stream(0).clone()
        for step in range(2):
            steps_to_draw(torch.tensor(step), key)
        assert recompute._compiled(key).num == 2
        del key
    assert len(recompute._COMPILED) < 50


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@ways
def test_an_accelerator_draws_again_what_it_drew(way: str) -> None:
    plain, x = Blocks(block(), block()).cuda(), torch.randn(4, 8).cuda()
    twice = copy.deepcopy(plain)
    twice.reentrant = WAYS[way]
    assert_same(gradients(twice, x), gradients(plain, x))
