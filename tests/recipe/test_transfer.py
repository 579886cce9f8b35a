"""A recipe written for another scale: decay keeps its time in epochs, activations move alike at all widths."""

import dataclasses
import math
import warnings

import pytest
import torch
from torch import nn

import meden
from meden import Recipe, Regularizer, Scale, StrengthSchedule, transfer
from meden.data import num_batches
from meden.models import MLP, CausalTransformer, Decoder
from meden.optim import Averaging, regularize
from meden.params import select
from meden.penalties import L1, L2, GroupLasso, MaxNorm, PullTo, Scaled, Sum
from meden.recipe import lr_factors_of, make_optimizer

EPOCHS, ROWS = 10, 160
"""Time constant of the decay below, at so many rows."""
RECIPE = Recipe(lr=0.025, batch_size=4, regularizers=[Regularizer(L2(0.1))])
SCHEDULED = Regularizer(L2(0.1), schedule=StrengthSchedule(start=100, end=200))


def transformer(width, depth=1):
    return CausalTransformer(num_inputs=8, num_tokens=11, width=width, depth=depth, num_heads=width // 8)


def perceptron(width):
    return MLP(6, 3, width=width, depth=3)


def convolutions(width):
    return nn.Sequential(nn.Conv1d(3, width, 3), nn.ConvTranspose1d(width, 2 * width, 3), nn.Conv1d(2 * width, 5, 3))


def decoder(width):
    return Decoder(num_inputs=8, num_tokens=11, width=width, depth=1, num_heads=2)


class Own(nn.Module):
    """A matrix of which nothing says what its inputs are."""

    def __init__(self, width):
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(width, width))


MODELS = {"transformer": transformer, "perceptron": perceptron, "convolutions": convolutions, "decoder": decoder}


def shrinkage(model, recipe, rows, epochs):
    """Return what decay alone leaves of each weight."""
    torch.manual_seed(0)
    for param in model.parameters():
        nn.init.uniform_(param, 1.0, 2.0)
    before = {name: param.detach().clone() for name, param in select(model, "weights").items()}
    optimizer = make_optimizer(recipe, model.parameters(), lr_factors_of(model, recipe.lr_factors))
    regularize(optimizer, model, recipe.regularizers)
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    for _ in range(epochs * num_batches(rows, recipe.batch_size)):
        optimizer.step()
    return {name: float((param.detach() / before[name]).mean()) for name, param in select(model, "weights").items()}


SCALES = {
    "nothing": ({}, {}),
    "batches": ({"batch_size": 8}, {"batch_rule": "fixed"}),
    "batches and the rate": ({"batch_size": 16}, {}),
    "smaller batches": ({"batch_size": 2}, {}),
    "rows": ({"rows": 60}, {}),
    "all": ({"rows": 360, "batch_size": 9}, {}),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("change", SCALES.values(), ids=SCALES)
def test_each_weight_falls_to_one_over_e_in_as_many_epochs(make, change):
    given, rule = change
    small, large = make(16), make(32)
    to = Scale(model=large, **({"rows": ROWS} | given))
    moved = transfer(RECIPE.replace(betas=(0.8, 0.99)), from_=Scale(model=small, rows=ROWS), to=to, **rule)
    for model, recipe, rows in ((small, RECIPE, ROWS), (large, moved, to.rows)):
        left = shrinkage(model, recipe, rows, EPOCHS)
        assert left == pytest.approx(dict.fromkeys(left, math.exp(-1)), rel=0.01)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_other_adaptive_optimizers_keep_the_time_constant_too(optimizer):
    recipe = RECIPE.replace(optimizer=optimizer, regularizers=[Regularizer(L2(0.1), coupling="decoupled")])
    large = transformer(32)
    moved = transfer(recipe, from_=Scale(model=transformer(16), rows=ROWS), to=Scale(model=large, rows=40))
    left = shrinkage(large, moved, 40, EPOCHS)
    assert left == pytest.approx(dict.fromkeys(left, math.exp(-1)), rel=0.01)


def test_matrices_alone_learn_more_slowly():
    model = transformer(64)
    moved = transfer(RECIPE, from_=Scale(model=transformer(16)), to=Scale(model=model))
    factors = lr_factors_of(model, moved.lr_factors)
    for name, param in model.named_parameters():
        is_matrix = param.ndim == 2 and not name.startswith("embed.")
        assert factors.get(param, 1.0) == (0.25 if is_matrix else 1.0), name
    assert dict(moved.lr_factors) == {"weights": 0.25} and moved.lr == RECIPE.lr


def test_a_layer_whose_inputs_do_not_grow_keeps_its_rate():
    moved = transfer(RECIPE, from_=Scale(model=perceptron(16)), to=Scale(model=perceptron(64)))
    first, *others = select(perceptron(16), "weights")
    assert dict(moved.lr_factors) == {first: 1.0, "weights": 0.25}
    assert [(r.penalty, r.on) for r in moved.regularizers] == [(L2(0.1), (first,)), (L2(0.4), tuple(others))]


def test_a_filter_of_each_channel_and_an_embedding_keep_their_rates():
    moved = transfer(RECIPE, from_=Scale(model=decoder(8)), to=Scale(model=decoder(32)))
    assert dict(moved.lr_factors) == {"mixed.weight": 1.0, "weights": 0.25}
    assert factors_by_name(decoder(32), moved.lr_factors)["embed.weight"] == 1.0


def hidden_moves(width, recipe):
    """Return how far what goes into the last layer moves in two steps, root mean square."""
    torch.manual_seed(0)
    model = transformer(width, depth=2)
    nn.init.normal_(model.out.weight, std=1 / width)  # what muP asks of the model
    tokens = torch.randint(11, (32, 8))
    seen = []
    model.out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    optimizer = make_optimizer(recipe, model.parameters(), lr_factors_of(model, recipe.lr_factors))
    for _ in range(3):
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float((seen[-1] - seen[0]).square().mean().sqrt())


def test_activations_move_alike_at_all_widths_and_do_not_without():
    recipe, widths = Recipe(lr=0.0005), (32, 128, 512)
    scales = [Scale(model=transformer(width, depth=2)) for width in widths]
    plain = [hidden_moves(width, recipe) for width in widths]
    moved = [
        hidden_moves(width, transfer(recipe, from_=scales[0], to=to)) for width, to in zip(widths, scales, strict=True)
    ]
    assert max(moved) < 2 * min(moved) and plain[2] > 4 * plain[0]


def test_the_square_root_rule_or_a_fixed_rate():
    recipe = Recipe(lr=0.01, betas=(0.9, 0.96), eps=1e-8, batch_size=8, regularizers=[Regularizer(L2(0.1))])
    rooted = transfer(recipe, from_=Scale(), to=Scale(batch_size=32))
    assert (rooted.lr, rooted.eps, rooted.batch_size) == (pytest.approx(0.02), pytest.approx(5e-9), 32)
    assert rooted.betas == pytest.approx((0.6, 0.84))
    assert rooted.regularizers[0].penalty.strength == pytest.approx(0.2)
    fixed = transfer(recipe, from_=Scale(), to=Scale(batch_size=32), batch_rule="fixed")
    assert fixed == recipe.replace(batch_size=32, regularizers=[Regularizer(L2(0.4))])
    rms = transfer(Recipe(optimizer="rmsprop", alpha=0.96, batch_size=8), from_=Scale(), to=Scale(batch_size=32))
    assert (rms.alpha, rms.lr, rms.betas) == (pytest.approx(0.84), pytest.approx(2e-3), (0.9, 0.999))


def test_penalties_of_the_objective_and_dropout_are_kept_when_rows_change():
    parts = [Regularizer(L1(1e-3)), Regularizer(MaxNorm(2.0)), Regularizer(L2(0.1), coupling="gradient")]
    recipe = Recipe(regularizers=parts, dropout=0.3, clip_norm=1.0, sharpness=meden.Sharpness())
    assert transfer(recipe, from_=Scale(rows=100), to=Scale(rows=1000)) == recipe
    sgd = Recipe(optimizer="sgd", regularizers=[Regularizer(L2(0.1), coupling="decoupled")])
    assert transfer(sgd, from_=Scale(rows=100), to=Scale(rows=1000)) == sgd  # without an adaptive metric L2 is L2


def test_what_counts_steps_counts_the_same_epochs():
    recipe = RECIPE.replace(
        regularizers=[SCHEDULED], steps_per_epoch=30, averaging=Averaging(decay=0.96), epochs=7, schedule="cosine"
    )
    moved = transfer(recipe, from_=Scale(rows=400), to=Scale(rows=1600))
    assert (moved.steps_per_epoch, moved.epochs, moved.averaging.decay) == (120, 7, pytest.approx(0.99))
    assert moved.regularizers[0].schedule == StrengthSchedule(start=400, end=800)


PULL = PullTo(L2(0.1))


@pytest.mark.parametrize(
    ("penalty", "moved"),
    [
        (L1(0.1), L1(0.4)),
        (PULL, PullTo(L2(0.4))),
        (Sum((L2(0.1), L1(0.2))), Sum((L2(0.4), L1(0.8)))),
        (Scaled(PULL, 0.5), Scaled(PULL, 2.0)),
        (GroupLasso(0.1), Scaled(GroupLasso(0.1), 4.0)),
    ],
)
def test_any_decoupled_penalty_takes_as_much_in_an_epoch(penalty, moved):
    recipe = Recipe(regularizers=[Regularizer(penalty, coupling="decoupled")])
    there = transfer(recipe, from_=Scale(model=transformer(8)), to=Scale(model=transformer(32)))
    assert there.regularizers[0].penalty == moved
    assert transfer(there, from_=Scale(model=transformer(32)), to=Scale(model=transformer(8))) == recipe


def test_factors_of_its_own_are_multiplied():
    own = {"out.*": 2.0, "blocks.*.norm.*": 0.5, "weights": 0.1}
    large = transformer(32)
    moved = transfer(RECIPE.replace(lr_factors=own), from_=Scale(model=transformer(8)), to=Scale(model=large))
    before, after = factors_by_name(large, own), factors_by_name(large, moved.lr_factors)
    matrices = {name for name, param in large.named_parameters() if param.ndim == 2 and not name.startswith("embed.")}
    assert after == {name: factor / (4 if name in matrices else 1) for name, factor in before.items()}


ROUND_TRIPS = {
    "plain": RECIPE,
    "with factors": RECIPE.replace(lr_factors={"out.*": 3.0, "biases": 0.5}),
    "everything": RECIPE.replace(
        regularizers=[SCHEDULED, Regularizer(L1(1e-3), on="out.weight"), Regularizer(PULL)],
        steps_per_epoch=40,
        averaging="ema",
        betas=(0.9, 0.99),
        dropout=0.1,
        schedule="one_cycle",
    ),
}


@pytest.mark.filterwarnings("ignore:no rule for another width is known")
@pytest.mark.parametrize("recipe", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@pytest.mark.parametrize("width", [8, 24, 64])
@pytest.mark.parametrize("batch_size", [4, 12])
def test_there_and_back_is_the_same_recipe(recipe, width, batch_size):
    here = Scale(model=transformer(16), rows=480, batch_size=4)
    there = Scale(model=transformer(width), rows=960, batch_size=batch_size)
    back = transfer(transfer(recipe, from_=here, to=there), from_=there, to=here)
    assert_close(back.model_dump(), recipe.model_dump())
    assert list(back.lr_factors) == list(recipe.lr_factors)


def assert_close(value, wanted):
    if isinstance(wanted, dict):
        assert value.keys() == wanted.keys()
        for name in wanted:
            assert_close(value[name], wanted[name])
    elif dataclasses.is_dataclass(wanted):
        assert_close(vars(value), vars(wanted))
    elif isinstance(wanted, list | tuple):
        assert len(value) == len(wanted)
        for part, other in zip(value, wanted, strict=True):
            assert_close(part, other)
    else:
        assert value == (pytest.approx(wanted, rel=1e-9) if isinstance(wanted, float) else wanted)


def test_there_and_back_each_tensor_of_a_split_regularizer_is_as_it_was():
    here, there = Scale(model=perceptron(8)), Scale(model=perceptron(40))
    back = transfer(transfer(RECIPE, from_=here, to=there), from_=there, to=here)
    assert dict(back.lr_factors) == {}
    strengths = {n: r.penalty.strength for r in back.regularizers for n in select(here.model, r.on)}
    assert strengths == pytest.approx(dict.fromkeys(select(here.model, "weights"), 0.1))


def factors_by_name(model, factors):
    known = lr_factors_of(model, factors)
    return {name: known.get(param, 1.0) for name, param in model.named_parameters()}


def test_a_model_without_memory_will_do_and_a_tied_head_is_an_embedding():
    class Tied(CausalTransformer):
        def __init__(self, width):
            super().__init__(num_inputs=8, num_tokens=11, width=width, num_heads=2)
            self.out.weight = self.embed.tokens.weight

    with torch.device("meta"):
        small, large = Tied(16), Tied(64)
    moved = transfer(RECIPE, from_=Scale(model=small), to=Scale(model=large))
    assert factors_by_name(large, moved.lr_factors)["embed.tokens.weight"] == 1.0
    assert factors_by_name(large, moved.lr_factors)["blocks.0.qkv.weight"] == 0.25


def test_what_has_no_rule_for_a_width_is_said_once():
    here, there = Scale(model=transformer(8)), Scale(model=transformer(16))
    recipe = Recipe(regularizers=[Regularizer(L1(1e-3)), Regularizer(L2(0.1))], clip_norm=1.0, dropout=0.1)
    with pytest.warns(UserWarning, match=r"unchanged: L1\(weights\), clip_norm$") as said:
        moved = transfer(recipe, from_=here, to=there)
    assert len(said) == 1 and said[0].filename == __file__
    assert moved.regularizers[0] == recipe.regularizers[0] and moved.dropout == 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transfer(recipe, from_=here, to=here) == recipe


def weight_normed(width):
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(width, width)))


WRONG = {
    "sgd at another width": (
        Recipe(optimizer="sgd"), transformer(8), transformer(16), {}, "optimizer must be adam, adamw or rmsprop"),
    "another depth": (
        RECIPE, transformer(8), transformer(8, depth=2), {}, r"the same tensors.*blocks\.1\..* only in to"),
    "less deep": (RECIPE, transformer(8, depth=2), transformer(8), {}, r"blocks\.1\..* only in from_"),
    "one model": (RECIPE, transformer(8), None, {}, "model must be given for both scales .* got none for to"),
    "unknown inputs": (RECIPE, Own(8), Own(16), {}, r"which axis of matrix \(8, 8\).*matrix_axes.*layer Own"),
    "parametrised": (RECIPE, weight_normed(8), weight_normed(16), {}, "not have parametrised matrices.*0.weight"),
    "no recipe": ({"lr": 1}, None, None, {}, "recipe must be a meden.Recipe, got dict"),
    "no rule": (RECIPE, None, None, {"batch_rule": "sqrt"}, "batch_rule must be one of square_root, fixed, got 'sqrt'"),
    "no scale": (RECIPE, None, None, {"to": 64}, "to must be a meden.Scale, got 64"),
    "rows once": (RECIPE, None, None, {"to": Scale(rows=9)}, "rows must be given for both.*got none for from_"),
    "another batch": (RECIPE, None, None, {"from_": Scale(batch_size=7)}, "from_ batch_size must be the recipe's, 4"),
    "full": (
        RECIPE, None, None, {"from_": Scale(rows=9), "to": Scale(rows=9, batch_size="full")},
        "batch_rule must be 'fixed' when batches are or become 'full'"),
    "full of unknown size": (RECIPE, None, None, {"to": Scale(batch_size="full")}, "rows must be given for both"),
    "sgd by the root": (
        Recipe(optimizer="sgd"), None, None, {"to": Scale(batch_size=64)}, "batch_rule must be 'fixed' for sgd"),
    "too large a batch": (
        RECIPE, None, None, {"to": Scale(batch_size=44)}, "batch_rule must be 'fixed' for this change.*at most 10"),
    "too short an average": (
        RECIPE.replace(averaging=Averaging(decay=0.5)), None, None,
        {"from_": Scale(rows=400), "to": Scale(rows=40)}, "averaging must span at least one step.*decay=0.5"),
}  # fmt: skip


@pytest.mark.parametrize(("recipe", "small", "large", "given", "match"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_transferred_is_refused(recipe, small, large, given, match):
    arguments = {"from_": Scale(model=small), "to": Scale(model=large)} | given
    with pytest.raises(meden.InputError, match=match):
        transfer(recipe, **arguments)


@pytest.mark.parametrize("field", [{"rows": 0}, {"rows": 2.5}, {"batch_size": 0}, {"batch_size": "all"}, {"model": 3}])
def test_a_scale_out_of_range_is_refused(field):
    (name,) = field
    with pytest.raises(meden.InputError, match=f"^{name} must be"):
        Scale(**field)
