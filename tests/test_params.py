"""Which tensors a selector finds, on every kind of layer."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization

from meden import InputError
from meden.models import CausalTransformer, TabularNet
from meden.params import role, select, select_modules, tensors


class T5Thing(nn.Module):
    """A norm without a norm's name."""

    def __init__(self, size: int = 4, leaf: str = "weight", shift: str = "", axis: int = -1) -> None:
        super().__init__()
        self.leaf, self.shift, self.axis = leaf, shift, axis
        setattr(self, leaf, nn.Parameter(torch.zeros(size) if leaf == "offset" else torch.ones(size)))
        if shift:
            setattr(self, shift, nn.Parameter(torch.zeros(size)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(self.axis, keepdim=True) if self.shift else x
        x = (centred * centred.square().mean(self.axis, keepdim=True).add(1e-5).rsqrt()).movedim(self.axis, -1)
        x = x * (getattr(self, self.leaf) + (self.leaf == "offset"))
        return (x + getattr(self, self.shift) if self.shift else x).movedim(-1, self.axis)


class NormalisedAttention(nn.Module):
    """No norm, but in name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.mix = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))


class EnormousHead(nn.Linear):
    pass


class NormalScale(nn.Module):
    """A factor for each input: a vector, but no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class Softmax(NormalScale):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x * self.weight, -1)


class Column(nn.Module):
    """A linear layer of one input, of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4, 1)), nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class Fourier(NormalScale):
    """Takes what no one can guess."""

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return x["numbers"] * self.weight


class Mine(nn.Module):
    """A linear layer of one's own."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(fan_out, fan_in))
        self.bias = nn.Parameter(torch.ones(fan_out))
        self.gate = nn.Parameter(torch.ones(1, fan_in))


class Doubled(nn.Module):
    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return 2 * w


class LowRank(nn.Module):
    """A parametrisation with matrices of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(shape[0], 1)), nn.Parameter(torch.ones(1, *shape[1:]))

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return w + (self.a @ self.b.flatten(1)).view(w.shape)


class Custom(nn.Module):
    """Bare parameters, as vision transformers and hand-written layers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 7, 4))
        self.position = nn.Parameter(torch.zeros(7, 4))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.layer_scale = nn.Parameter(torch.zeros(4, 1, 1))
        self.gate = nn.Parameter(torch.zeros(()))
        self.w = nn.Parameter(torch.zeros(4, 5))
        self.experts = nn.Parameter(torch.zeros(2, 4, 5))
        self.embedder = nn.Linear(4, 1)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


NORMS = [
    weight_norm,
    spectral_norm,
    orthogonal,
    lambda layer: register_parametrization(layer, "weight", Doubled()),
    lambda layer: register_parametrization(layer, "weight", LowRank(*layer.weight.shape)),
    old_weight_norm,
    nn.utils.spectral_norm,
]
"""Parametrisations, torch's older ones last."""

ROLES = [
    (nn.Linear(3, 1), ["weight"], ["bias"]),
    (nn.Linear(1, 1), ["weight"], ["bias"]),
    (nn.Bilinear(2, 3, 4), ["weight"], ["bias"]),
    (nn.Conv1d(1, 1, 1), ["weight"], ["bias"]),
    (nn.Conv2d(3, 4, 3), ["weight"], ["bias"]),
    (nn.ConvTranspose2d(3, 4, 3), ["weight"], ["bias"]),
    (nn.LSTM(3, 2), ["weight_ih_l0", "weight_hh_l0"], ["bias_ih_l0", "bias_hh_l0"]),
    (nn.GRUCell(3, 2), ["weight_ih", "weight_hh"], ["bias_ih", "bias_hh"]),
    (
        nn.MultiheadAttention(4, 2, kdim=3, vdim=3, add_bias_kv=True),
        ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
        ["in_proj_bias", "bias_k", "bias_v", "out_proj.bias"],
    ),
    (nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"], ["in_proj_bias", "out_proj.bias"]),
    (
        nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.RMSNorm((3, 3)), T5Thing()),
        [],
        ["0.bias", "1.bias"],
    ),
    (nn.Sequential(nn.Embedding(5, 3), nn.EmbeddingBag(5, 3), nn.PReLU(3)), [], []),
    (Custom(), ["w", "experts", "embedder.weight"], ["embedder.bias"]),
    (nn.Sequential(NormalisedAttention(), EnormousHead(3, 2)), ["0.weight", "0.mix", "1.weight"], ["1.bias"]),
    *((norm(layer), ["weight"], ["bias"]) for norm in NORMS for layer in (nn.Linear(3, 2), nn.Linear(3, 1))),
    *((norm(nn.Conv2d(1, 1, 3)), ["weight"], ["bias"]) for norm in NORMS),
    (Mine(5, 1), ["weight"], ["bias"]),
    (Mine(1, 5), ["weight"], ["bias"]),
    (Mine(1, 1), ["weight"], ["bias"]),
    (Column(), ["weight"], ["bias"]),
    (TabularNet(3, 1, depth=0), ["layers.1.weight"], ["numbers.embedding_bias", "layers.1.bias"]),
]


@pytest.mark.parametrize(("model", "weights", "biases"), ROLES, ids=lambda v: type(v).__name__)
def test_roles_are_told_by_structure(model, weights, biases) -> None:
    for on, expected in (("weights", weights), ("biases", biases)):
        if expected:
            assert list(select(model, on)) == expected
        else:
            with pytest.raises(InputError, match=f"on must select at least one .*got '{on}'"):
                select(model, on)
    if not any("parametrizations" in name or "weight_" in name for name, _ in model.named_parameters()):
        assert list(select(model, "all")) == [name for name, _ in model.named_parameters()]


def test_transformers_layers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    block = "transformer.h.0."
    names = ["attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"]
    assert list(select(model, "weights")) == [block + name for name in names]
    assert list(select(model, "lm_head.weight")) == ["transformer.wte.weight"]


def model() -> nn.Module:
    return nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)), "head": nn.Linear(4, 2)})


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("encoder.*.weight", ["encoder.0.weight", "encoder.1.weight"]),
        (
            nn.Linear,
            ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "head.weight", "head.bias"],
        ),
        (
            lambda _, module, param: module.__class__ is nn.Linear and param.shape[0] == 2,
            ["head.weight", "head.bias"],
        ),
        (["head.bias", "encoder.0.bias"], ["encoder.0.bias", "head.bias"]),
        (
            ("biases", lambda n, _, p: p.ndim == 2 and "head" in n),
            ["encoder.0.bias", "encoder.1.bias", "head.weight", "head.bias"],
        ),
    ],
)
def test_globs_types_functions_and_unions(on, expected) -> None:
    assert list(select(model(), on)) == expected


def test_tied_tensors_count_once_and_answer_to_every_name() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert list(select(tied, "weights")) == ["0.weight"]
    assert list(select(tied, "1.*")) == ["0.weight", "1.bias"]
    shared = nn.Linear(4, 4)
    assert list(select(nn.Sequential(shared, shared), "1.weight")) == ["0.weight"]


def test_learned_positions_are_no_weights() -> None:
    weights = set(select(CausalTransformer(num_inputs=6, num_tokens=9, width=8, depth=1, num_heads=2), "weights"))
    assert weights == {f"blocks.0.{name}.weight" for name in ("qkv", "mix", "perceptron.1", "perceptron.3")} | {
        "out.weight"
    }


def test_a_head_tied_to_an_embedding_is_an_embedding() -> None:
    tied = nn.Sequential(nn.Linear(3, 5), nn.Embedding(5, 3), nn.Linear(3, 2))
    tied[1].weight = tied[0].weight
    assert list(select(tied, "weights")) == ["2.weight"]


NORM_LAYERS = [
    *(T5Thing(leaf=leaf, shift=shift) for leaf in ("weight", "gamma", "g", "offset") for shift in ("", "beta", "bias")),
    T5Thing(axis=1),  # of channels first
    T5Thing(1000),
    nn.BatchNorm1d(4),
    nn.RMSNorm((4, 4)),
]
NO_NORM_LAYERS = [NormalisedAttention(), NormalScale(), Softmax(), nn.PReLU(4), EnormousHead(4, 1, bias=False)]


def roles(layer: nn.Module) -> set[str]:
    return {role(sites) for sites in tensors(layer)}


@pytest.mark.parametrize("layer", NORM_LAYERS)
def test_norms_are_told_by_what_they_do(layer) -> None:
    state = torch.get_rng_state()
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    layer.register_forward_hook(lambda *_: pytest.fail("a hook was called"))
    assert roles(layer) - {"bias"} == {"norm"}
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in layer.named_buffers())


@pytest.mark.parametrize("layer", NO_NORM_LAYERS)
def test_what_only_has_a_norms_name_is_none(layer) -> None:
    assert "norm" not in roles(layer)


def test_a_layer_that_cannot_be_tried_goes_by_its_structure() -> None:
    assert roles(Fourier()) == {"norm"}
    assert roles(T5Thing().to("meta")) == {"norm"}
    gate = Fourier()
    gate.gate = gate._parameters.pop("weight")
    assert roles(gate) == {"other"}


WRAPS = {
    "data parallel": nn.DataParallel,
    "compiled": torch.compile,
    "compiled, then data parallel": lambda m: nn.DataParallel(torch.compile(m)),
    "data parallel, then compiled": lambda m: torch.compile(nn.DataParallel(m)),
    "the encoder alone": lambda m: m.update({"encoder": nn.DataParallel(torch.compile(m["encoder"]))}) or m,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself, when it is first imported
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_wrapped_models_keep_their_names(wrap) -> None:
    wrapped = wrap(model())
    assert list(select(wrapped, "all")) == list(select(model(), "all"))
    assert list(select(wrapped, "head.*")) == ["head.weight", "head.bias"]
    assert list(select_modules(wrapped, nn.Linear)) == ["encoder.0", "encoder.1", "head"]
    assert list(select(wrapped, 0)) == ["encoder.0.weight", "encoder.0.bias"]


def test_an_attribute_called_module_is_a_name() -> None:
    mine = nn.Sequential()
    mine.module = nn.Linear(2, 1)
    assert list(select(mine, "weights")) == ["module.weight"]
    assert list(select(nn.DataParallel(mine), "weights")) == ["module.weight"]


@pytest.mark.parametrize("norm", NORMS)
def test_weights_that_are_made_have_the_name_of_their_layer(norm) -> None:
    torch.manual_seed(66)  # of a spectral norm that has not settled
    net = nn.Sequential(nn.Linear(3, 3), norm(nn.Linear(3, 2)), nn.Linear(2, 1))
    names = [f"{i}.{leaf}" for i in range(3) for leaf in ("weight", "bias")]
    assert sorted(select(net, "all")) == sorted(names)
    assert list(select(net, "*.weight")) == names[::2]
    assert list(select(net, 1)) == names[2:4] and list(select_modules(net, "weights")) == ["0", "1", "2"]
    assert list(select_modules(net, "all")) == ["0", "1", "2"]
    net.eval()
    net(torch.ones(4, 3))
    torch.testing.assert_close(select(net, "1.weight")["1.weight"], net[1].weight.detach())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    select(net.train(), "weights")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items()) and net[1].training
    with pytest.raises(InputError, match=r"at least one parameter of the model \(0.weight"):
        select(net, "*original*")


@pytest.mark.parametrize("on", [None, 3.5, True, [], int, ["head.*", None], {"head.*"}, nn.Linear(1, 1)])
def test_wrong_selectors_are_refused(on) -> None:
    with pytest.raises(
        InputError, match=r"on must be a role, a name glob, a layer type, a position, a function or a list of these"
    ):
        select(model(), on)


@pytest.mark.parametrize(
    ("on", "hint"), [("weight", "weights"), ("head.wieght", "head.weight"), ("bias", "biases"), ("head", "head.*")]
)
def test_a_selector_that_finds_nothing_gets_a_hint(on, hint) -> None:
    with pytest.raises(
        InputError, match=rf"on must select at least one .*got '{on}'; did you mean '{re.escape(hint)}'"
    ):
        select(model(), on)


def test_lazy_layers_must_have_their_shapes() -> None:
    with pytest.raises(InputError, match=r"0.weight has no shape yet: run one batch through it first"):
        select(nn.Sequential(nn.LazyLinear(3)), "weights")


# --- The same words for layers ---------------------------------------------------------------------------------------


def layered() -> nn.Module:
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(9, 4),
            "encoder": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.LSTM(4, 4)),
            "head": nn.Linear(4, 2),
        }
    )


SELECTORS = [
    ("weights", ["encoder.0", "encoder.3", "head"]),
    ("biases", ["encoder.0", "encoder.1", "encoder.3", "head"]),
    ("norms", ["encoder.1"]),
    ("embeddings", ["embed"]),
    ("all", ["embed", "encoder", "encoder.0", "encoder.1", "encoder.2", "encoder.3", "head"]),
    ("encoder.*", ["encoder.0", "encoder.1", "encoder.2", "encoder.3"]),
    (nn.Linear, ["encoder.0", "head"]),
    (0, ["embed"]),
    (2, ["encoder.1"]),
    (-1, ["head"]),
    (lambda name, layer: name.startswith("encoder.") and isinstance(layer, nn.ReLU), ["encoder.2"]),
    (["head", nn.LSTM, 0], ["embed", "encoder.3", "head"]),
]


@pytest.mark.parametrize(("on", "expected"), SELECTORS)
def test_layers(on, expected) -> None:
    assert list(select_modules(layered(), on)) == expected


@pytest.mark.parametrize(
    ("on", "layer"), [(0, "embed"), (1, "encoder.0"), (2, "encoder.1"), (3, "head"), (-2, "encoder.1")]
)
def test_a_position_means_the_same_layer_for_tensors(on, layer) -> None:
    model = layered()
    names = [f"{layer}.{name}" for name, _ in model.get_submodule(layer).named_parameters()]
    assert list(select(model, on)) == names
    assert list(select_modules(model, on)) == [layer]


def test_shared_layers_count_once_and_answer_to_every_name() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 1))
    assert list(select_modules(model, "2")) == ["0"]
    assert list(select_modules(model, 1)) == ["3"]


def test_layers_of_a_kind_and_without_another() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh(), nn.ReLU())
    assert list(select_modules(model, -1, kind=nn.ReLU)) == ["4"]
    assert list(select_modules(model, "*", without=(nn.ReLU, nn.Tanh))) == ["0", "2"]
    with pytest.raises(InputError, match=r"at least one relu layer of the model \(1, 4\), got 2"):
        select_modules(model, 2, kind=nn.ReLU)


@pytest.mark.parametrize("find", [select, select_modules])
@pytest.mark.parametrize(
    ("on", "end"), [(9, "got 9"), ("encoder.8*", "did you mean 'encoder"), (nn.Conv1d, "Conv1d'>")]
)
def test_what_finds_nothing_says_so_alike(find, on, end) -> None:
    with pytest.raises(InputError, match=rf"on must select at least one (parameter|layer) of the model \(embed.*{end}"):
        find(layered(), on)
    with pytest.raises(InputError, match="on must be a role, a name glob"):
        find(layered(), None)


def test_lazy_layers_are_found_by_all_but_a_role() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    assert list(select_modules(lazy, [nn.ReLU, 0])) == ["0", "1"]
    with pytest.raises(InputError, match="run one batch through it first"):
        select_modules(lazy, "weights")


class Single(nn.Module):
    """A parameter of one row or column, under a name."""

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.ones(shape)))


@pytest.mark.parametrize("name", ["w", "kernel", "projection", "out"])
@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1, 1)])
def test_matrices_of_one_row_or_column_are_weights(name: str, shape: tuple[int, ...]) -> None:
    assert roles(Single(name, *shape)) == {"weight"}


@pytest.mark.parametrize("name", ["cls_token", "pos_embed", "layer_scale", "gate", "gamma", "temperature"])
@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1, 1, 8), (8,)])
def test_tokens_and_scales_are_none(name: str, shape: tuple[int, ...]) -> None:
    assert "weight" not in roles(Single(name, *shape))


def test_a_role_that_no_tensor_has_is_not_suggested_again():
    model = nn.Module()
    model.e, model.o = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    model.o.weight = model.e.weight
    with pytest.raises(InputError, match="got 'weights'; all have another role") as caught:
        select(model, "weights")
    assert "did you mean" not in str(caught.value)
