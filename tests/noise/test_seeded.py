"""Torch's random functions under identifiers: the same bits again, torch's distributions, no generator moved."""

import inspect
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import meden
from meden import InputError
from meden.noise import may_draw, seeded
from meden.noise.seeded import _COMPOSED, _RULES


class Calls(nn.Module):
    """A function of a layer and its input."""

    def __init__(self, function, layer=None):
        super().__init__()
        self.function, self.layer = function, layer

    def forward(self, x):
        return self.function(self.layer, x)


def packed(layer, x):
    return layer(nn.utils.rnn.pack_padded_sequence(x, [7, 5, 5, 2], batch_first=True))[0].data


DISTRIBUTIONS = torch.distributions
ATTENTION = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
MODELS = {
    "dropout": Calls(lambda _, x: F.dropout(x, 0.3)),
    "dropout in place": Calls(lambda _, x: F.dropout(x.clone(), 0.3, inplace=True)),
    "dropout of channels": Calls(
        lambda _, x: F.dropout2d(x[None], 0.3) + F.dropout1d(x, 0.3) + F.dropout3d(x[None], 0.3)
    ),
    "torch.dropout": Calls(lambda _, x: torch.dropout(x, 0.3, True) + torch.alpha_dropout_(x.clone(), 0.3, True)),
    "AlphaDropout": nn.AlphaDropout(0.3),
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(0.3),
    "RReLU": nn.RReLU(),
    "gumbel_softmax": Calls(lambda _, x: F.gumbel_softmax(x, hard=True)),
    "MultiheadAttention": Calls(lambda m, x: m(x, x, x)[0], ATTENTION),
    "MultiheadAttention, fused": Calls(lambda m, x: m(x, x, x, need_weights=False)[0], ATTENTION),
    "TransformerEncoderLayer": nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True),
    "Transformer": Calls(lambda m, x: m(x, x), nn.Transformer(8, 2, 1, 1, 16, 0.3, batch_first=True)),
    "LSTM": Calls(lambda m, x: m(x)[0], nn.LSTM(8, 6, 3, dropout=0.3, bidirectional=True, batch_first=True)),
    "GRU": Calls(lambda m, x: m(x)[1], nn.GRU(8, 6, 2, dropout=0.3)),
    "RNN": Calls(lambda m, x: m(x)[1], nn.RNN(8, 6, 2, dropout=0.3)),
    "LSTM, packed": Calls(packed, nn.LSTM(8, 6, 2, dropout=0.3)),
    "FractionalMaxPool2d": nn.FractionalMaxPool2d(2, output_size=3),
    "FractionalMaxPool3d": Calls(
        lambda m, x: m(x.expand(20, 1, -1, -1, -1)), nn.FractionalMaxPool3d(2, output_size=(2, 3, 3))
    ),
    "rand": Calls(lambda _, x: x + torch.rand(8) + torch.rand_like(x)),
    "randn": Calls(lambda _, x: x + torch.randn(8) + torch.randn_like(x)),
    "randint": Calls(lambda _, x: x + torch.randint(5, (8,)) + torch.randint_like(x, 5) + torch.randint_like(x, 2, 5)),
    "randperm": Calls(lambda _, x: x.flatten()[torch.randperm(x.numel())]),
    "bernoulli": Calls(lambda _, x: torch.bernoulli(x.sigmoid()) + x.sigmoid().bernoulli() + x.clone().bernoulli_(0.3)),
    "normal": Calls(lambda _, x: torch.normal(x, 1.0) + x.clone().normal_()),
    "multinomial": Calls(lambda _, x: x.flatten(1).softmax(1).multinomial(3).float()),
    "counts": Calls(lambda _, x: torch.poisson(x.exp()) + torch.binomial(torch.full_like(x, 5), x.sigmoid())),
    "distributions": Calls(
        lambda _, x: (
            DISTRIBUTIONS.Normal(x, 1.0).rsample()
            + DISTRIBUTIONS.Gamma(x.exp(), 1.0).rsample()
            + DISTRIBUTIONS.Laplace(x, 1.0).sample()
        )
    ),
    "initialisation": Calls(
        lambda _, x: x + nn.init.trunc_normal_(torch.empty(8)) + nn.init.kaiming_uniform_(x.clone())
    ),
}
table = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
X = torch.randn(4, 7, 8, generator=torch.Generator().manual_seed(0))


def drawn(model, *identifiers, step=0):
    """Return the outputs of a training pass; the global generator must stay where it is."""
    before = torch.get_rng_state()
    with seeded(model.train(), *identifiers, step=step):
        outputs = model(X)
    assert torch.equal(before, torch.get_rng_state())
    return outputs


@table
def test_bits_follow_from_identifiers_and_step(model):
    assert may_draw(model)
    first = drawn(model, 1, "forward", step=3)
    torch.rand(7)
    assert torch.equal(first, drawn(model, 1, "forward", step=3))
    for other in ((2, "forward", 3), (1, "backward", 3), (1, "forward", 4)):
        assert not torch.equal(first, drawn(model, *other[:2], step=other[2]))


@table
def test_outputs_are_of_torchs_form(model):
    ours, theirs = drawn(model, 0), model(X)
    assert (ours.shape, ours.dtype, ours.requires_grad) == (theirs.shape, theirs.dtype, theirs.requires_grad)


@table
def test_two_threads_draw_what_one_does(model):
    alone = [drawn(model, "thread", step=step) for step in range(6)]

    def draw(step):
        with seeded(model, "thread", step=step):
            return model(X)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(alone, pool.map(draw, range(6)), strict=True))


SAMPLES = 200_000
ONES = torch.ones(SAMPLES)
NORMAL = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.dropout(ONES, 0.3),
        lambda: F.alpha_dropout(NORMAL, 0.3, True),
        lambda: F.rrelu(-ONES, 0.1, 0.5, training=True),
        lambda: F.feature_alpha_dropout(NORMAL.view(-1, 10, 1), 0.3, True).flatten(),
    ],
    ids=["dropout", "alpha dropout", "rrelu", "alpha dropout of channels"],
)
def test_distributions_are_torchs(call):
    with seeded(Calls(None), "distribution"):
        ours = call()
    torch.manual_seed(0)
    theirs = call()
    for power in (1, 2, 3):  # moments, within five standard errors of their difference
        a, b = ours.double() ** power, theirs.double() ** power
        error = ((a.var() + b.var()) / SAMPLES).sqrt()
        assert abs(a.mean() - b.mean()) < 5 * error, power
    assert ours.unique().numel() == theirs.unique().numel() or ours.unique().numel() > 1000


def tensors_of(nest):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(nest) if isinstance(leaf, torch.Tensor)]


TINY = 1e-12
"""A probability to drop at which nothing is dropped, so that the deterministic function shows."""


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("form", ["rows first", "steps first", "packed", "projected"])
def test_recurrent_layers_are_torchs_where_nothing_is_dropped(kind, form):
    if form == "projected" and kind is not nn.LSTM:
        pytest.skip("LSTM alone has projections")
    settings = {"batch_first": form == "rows first"} | ({"proj_size": 3} if form == "projected" else {})
    layer = kind(8, 6, 3, bidirectional=True, **settings).double()
    x = (
        nn.utils.rnn.pack_padded_sequence(X.double(), [7, 5, 5, 2], batch_first=True)
        if form == "packed"
        else X.double()
    )
    expected = tensors_of(layer(x))
    layer.dropout = TINY
    with seeded(layer, "tiny"):
        found = tensors_of(layer(x))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


MASK = torch.rand(5, 5, generator=torch.Generator().manual_seed(2)) > 0.3
MASK[:, 0] = True


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": 2.0 * MASK.double(), "scale": 0.3},
        {"enable_gqa": True},
    ],
    ids=str,
)
def test_attention_is_torchs_where_nothing_is_dropped(settings):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, 4, 5, 8, dtype=torch.float64, generator=generator) for _ in range(3))
    if settings.get("enable_gqa"):
        key, value = key[:, :2], value[:, :2]
    with seeded(Calls(None), "tiny"):
        ours = F.scaled_dot_product_attention(query, key, value, dropout_p=TINY, **settings)
    theirs = F.scaled_dot_product_attention(query, key, value, **settings)
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_every_function_of_torch_that_takes_a_generator_is_known():
    """By the list of torch's operations, and by the text of torch.nn.functional."""
    known = {
        "_fused_dropout",
        "manual_seed",
        "initial_seed",
        "seed",
        "random",
    }  # a kernel that no layer calls, and no draws
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name.rpartition("::")[2]
        if not any("Generator" in str(argument.type) for argument in schema.arguments):
            continue
        owners = [getattr(owner, name, None) for owner in (torch, torch.Tensor)]
        assert all(f is None or f in _RULES for f in owners) or name in known, name
    drawing = re.compile(r"dropout\(|rand\(|exponential_\(|bernoulli|rrelu")
    inner = {"_fractional_max_pool2d", "_fractional_max_pool3d"}
    for name, function in vars(F).items():
        if inspect.isfunction(function) and function.__module__ == F.__name__:
            body = inspect.getsource(function).split('"""')[-1]
            if drawing.search(body):
                assert function in _RULES or function in _COMPOSED or name in inner, name


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certain_dropout_draws_nothing(p):
    for function in (F.dropout, F.alpha_dropout, F.dropout1d):
        with seeded(Calls(None), "certain"):
            ours = function(X, p, training=True)
        assert torch.equal(ours, function(X, p, training=True))


def test_layers_of_torch_and_ours_that_cannot_draw_pay_nothing():
    quiet = [nn.LSTM(2, 2, 2), nn.MultiheadAttention(4, 2), meden.models.MLP(3, 2).eval()]
    meden.edits.own_dropouts(quiet[2])
    assert not any(may_draw(model) for model in quiet)
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda _layer, _args, out: F.dropout(out))
    assert may_draw(hooked) and may_draw(nn.LSTM(2, 2, 2, dropout=0.1))


def test_a_generator_of_ones_own_is_left_alone():
    with seeded(Calls(None), "mine"):
        ours = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(ours, torch.rand(3, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_parts_that_are_computed_twice_must_not_draw(reentrant):
    def forward(layer, x):
        if not torch.is_grad_enabled():
            return layer(x)[:, 0]
        h = torch.utils.checkpoint.checkpoint(
            lambda y: F.dropout(layer(y)), x + 0 * layer.bias, use_reentrant=reentrant
        )
        return h[:, 0]

    with pytest.raises(InputError, match="computes it twice"):
        meden.fit(Calls(forward, nn.Linear(8, 8)), (X[:, 0], X[:, 0, 0]))


def test_probabilities_are_checked():
    with seeded(Calls(None), "wrong"), pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        F.dropout(X, 1.5)
