"""R-Drop: what it is, against a loop written by hand, alone and together, with all that passes twice or draws."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import meden
from meden import Activity, InputError, Recipe
from meden.augment import LabelSmoothing, Mixup
from meden.checkpoint import model_tensors
from meden.data import batches
from meden.models import MLP, CausalTransformer
from meden.noise import PassDraws, seed_noise, stream
from meden.objective import mean_of
from meden.optim import SAM, Sharpness
from meden.penalties import ActivityL2
from meden.rdrop import fitting_losses, is_noisy, row_divergence
from tests.training.many.witness import alone, assert_same_run, blobs, crossed, curve

RECIPE = Recipe(optimizer="sgd", lr=0.1, epochs=3, batch_size=16, rdrop=2.0)


class Dropping(nn.Module):
    """Draws by a function of torch, and not by a layer."""

    def __init__(self, num_inputs=5, num_outputs=3, p=0.4):
        super().__init__()
        self.first, self.last, self.p = nn.Linear(num_inputs, 8), nn.Linear(8, num_outputs), p

    def forward(self, x):
        return self.last(F.dropout(torch.tanh(self.first(x)), self.p, self.training))


def layered(num_inputs=5, num_outputs=3):
    return nn.Sequential(nn.Linear(num_inputs, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, num_outputs))


def made(kind, seed=0):
    torch.manual_seed(seed)
    return kind().double()


def rows():
    x, y = blobs()
    return torch.from_numpy(x).double(), torch.as_tensor(y)


def kl(p, q):
    return (p * (p.log() - q.log())).sum(-1)


def symmetric(a, b):
    p, q = a.softmax(-1), b.softmax(-1)
    return (kl(p, q) + kl(q, p)) / 2


def pair(*shape):
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_divergence_of_classes_is_the_mean_of_both_kullback_leibler_divergences():
    first, second = pair(6, 4)
    expected = symmetric(first, second)
    torch.testing.assert_close(row_divergence("classification", first, second, torch.arange(6) % 4), expected)
    twice = F.kl_div(second.log_softmax(-1), first.softmax(-1), reduction="none").sum(-1)
    twice += F.kl_div(first.log_softmax(-1), second.softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(expected, twice / 2)
    weighted = torch.full((6, 4), 0.5, dtype=torch.float64)
    torch.testing.assert_close(row_divergence("classification", first, second, weighted), 2 * expected)


def test_divergence_of_one_logit_is_that_of_two_classes():
    first, second = pair(6, 1)
    both = symmetric(*(torch.cat([torch.zeros_like(z), z], 1) for z in (first, second)))
    torch.testing.assert_close(row_divergence("classification", first, second, torch.arange(6) % 2), both)


def test_divergence_of_tokens_is_the_mean_of_those_that_have_a_target():
    first, second = pair(2, 3, 5)
    y = torch.tensor([[1, 2, 3], [4, -100, 0]])
    each = symmetric(first, second) * (y >= 0)
    torch.testing.assert_close(row_divergence("classification", first, second, y), each.mean(1))
    outputs = iter((first, second))
    ours = mean_of("classification", fitting_losses("classification", lambda _: next(outputs), y, None, rdrop=0.7), y)
    cross = [F.cross_entropy(z.flatten(0, 1), y.flatten()) for z in (first, second)]
    torch.testing.assert_close(ours, sum(cross) / 2 + 0.7 * each.sum() / 5)


def test_divergence_of_numbers_is_that_of_normal_distributions():
    first, second = pair(6, 2)
    normal = [torch.distributions.Normal(z, 1.0) for z in (first, second)]
    expected = torch.distributions.kl_divergence(*normal).sum(1)
    torch.testing.assert_close(row_divergence("regression", first, second, torch.zeros(6, 2)), expected)
    pairs = torch.stack([torch.zeros(6, 2), torch.full((6, 2), 3.0)], -1)
    torch.testing.assert_close(row_divergence("regression", first, second, pairs), 3 * expected)


@pytest.mark.parametrize("kind", [Dropping, layered])
@pytest.mark.parametrize("sharpness", [None, Sharpness(rho=0.1)], ids=["plain", "SAM"])
def test_equals_a_loop_written_by_hand(kind, sharpness):
    x, y = rows()
    run = meden.fit(made(kind), (x, y), recipe=RECIPE.replace(sharpness=sharpness), seed=7)

    model = made(kind)
    meden.edits.own_dropouts(model)
    seed_noise(model, meden.noise.derive(7, "noise"))
    optimizer, step = torch.optim.SGD(model.parameters(), 0.1), 0
    sam = SAM(optimizer, Sharpness(rho=0.1), model)
    for epoch in range(3):
        for chosen in batches(len(y), 16, seed=7, epoch=epoch):

            def closure(chosen=chosen, step=step):
                draws = PassDraws(stream(7, "forward"), torch.tensor(step), (7, "forward", step))
                outputs = []
                for own in (draws, draws.again()):
                    with meden.noise.Seeded(own):
                        outputs.append(model(x[chosen]))
                assert not torch.equal(*outputs)
                loss = sum(F.cross_entropy(z, y[chosen]) for z in outputs) / 2 + 2.0 * symmetric(*outputs).mean()
                optimizer.zero_grad()
                loss.backward()
                return loss

            closure() if sharpness is None else sam.backward(closure)
            optimizer.step()
            step += 1
    for name, tensor in model_tensors(run.model).items():
        torch.testing.assert_close(tensor, model_tensors(model)[name], rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        assert run.history[-1].train["loss"] == pytest.approx(F.cross_entropy(run.model(x), y).item())


def test_with_two_times_the_rate_it_is_the_papers_sum():
    first, second = pair(6, 4)
    y, outputs = torch.arange(6) % 4, iter((first, second))
    ours = mean_of("classification", fitting_losses("classification", lambda _: next(outputs), y, None, rdrop=0.7), y)
    cross = [F.cross_entropy(z, y) for z in (first, second)]
    torch.testing.assert_close(2 * ours, cross[0] + cross[1] + 1.4 * symmetric(first, second).mean())


@pytest.mark.parametrize("kind", [MLP, Dropping])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optimizer": "adamw", "lr": 0.01, "dropout": 0.2, "averaging": "ema"},
        {"augment": [Mixup(0.4), LabelSmoothing(0.1)]},
    ],
    ids=["plain", "adamw, dropout, ema", "mixtures"],
)
@pytest.mark.filterwarnings("error:models are trained one by one")
def test_alone_or_together_with_shares_of_their_own(kind, fields):
    def make_model(num_inputs, num_outputs):
        noise = {"dropout": 0.3} if kind is MLP else {}
        return kind(num_inputs, num_outputs, **noise).double()

    data = blobs()
    shared = {"epochs": 10, "batch_size": 8, "optimizer": "sgd", "lr": 0.05} | fields
    recipes = [Recipe(**shared, rdrop=share) for share in (0.0, 1.0, 5.0)]
    members = crossed(recipes, data)
    runs = meden.fit_many(make_model, members, data)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(make_model, member, data))
    assert runs[0].history[-1].train["loss"] < runs[2].history[-1].train["loss"]


def test_alone_or_together_in_regression():
    def make_model(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=8, dropout=0.3).double()

    data = curve()
    members = crossed([RECIPE.replace(lr=0.02, epochs=10, batch_size=8, rdrop=share) for share in (0.1, 1.0)], data)
    for run, member in zip(meden.fit_many(make_model, members, data), members, strict=True):
        assert_same_run(run, alone(make_model, member, data))


def test_alone_or_together_with_batch_norm():
    def make_model(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=6, dropout=0.3, batch_norm=True).double()

    data = blobs()
    members = crossed([RECIPE.replace(epochs=8, batch_size=8, rdrop=share) for share in (0.1, 1.0)], data)
    for run, member in zip(meden.fit_many(make_model, members, data), members, strict=True):
        assert_same_run(run, alone(make_model, member, data))


def test_tokens_train_and_agree_more():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 7, (24, 6), generator=generator)
    apart = {}
    for share in (None, 5.0):
        torch.manual_seed(0)
        model = CausalTransformer(num_inputs=5, num_tokens=7, width=8, depth=1, num_heads=2, dropout=0.3)
        recipe = Recipe(lr=0.01, epochs=20, batch_size=8, rdrop=share)
        run = meden.fit(model, (tokens[:, :-1], tokens[:, 1:]), recipe=recipe)
        model = run.model.train()
        apart[share] = row_divergence("classification", model(tokens[:, :-1]), model(tokens[:, :-1]), tokens[:, 1:])
    assert apart[5.0].mean() < 0.5 * apart[None].mean()


def test_activity_penalties_are_the_mean_of_both_passes():
    x, y = rows()
    activity = [Activity(ActivityL2(0.5), on=-1)]
    run = meden.fit(made(Dropping), (x, y), recipe=RECIPE.replace(epochs=1, batch_size="full", activity=activity))

    model, (chosen,) = made(Dropping), batches(len(y), "full", seed=0, epoch=0)
    x, y = x[chosen], y[chosen]
    draws = PassDraws(stream(0, "forward"), torch.tensor(0), (0, "forward", 0))
    outputs = []
    for own in (draws, draws.again()):
        with meden.noise.Seeded(own):
            outputs.append(model(x))
    loss = sum(F.cross_entropy(z, y) + ActivityL2(0.5).value(z) for z in outputs) / 2 + 2.0 * symmetric(*outputs).mean()
    loss.backward()
    for param, trained in zip(model.parameters(), run.model.parameters(), strict=True):
        torch.testing.assert_close(trained, param.detach() - 0.1 * param.grad)


class Rechecked(nn.Module):
    """Computes its block once more in the backward pass."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False) if self.training else self.block(x)


def test_checkpointed_noise_layers_cannot_tell_the_passes_apart_and_say_so():
    model = Rechecked(made(layered))
    with pytest.raises(InputError, match="got 2 calls before the backward pass"):
        meden.fit(model, rows(), recipe=RECIPE)


def test_a_kill_changes_nothing(tmp_path):
    whole = meden.fit(made(Dropping), rows(), recipe=RECIPE, seed=3)
    path = tmp_path / "run.safetensors"

    def kill(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meden.fit(made(Dropping), rows(), recipe=RECIPE, seed=3, checkpoint=path, on_epoch=kill)
    resumed = meden.fit(made(Dropping), rows(), recipe=RECIPE, seed=3, checkpoint=path)
    for name, tensor in model_tensors(whole.model).items():
        assert torch.equal(tensor, model_tensors(resumed.model)[name])


def test_a_model_without_noise_is_told():
    quiet = made(lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)))
    said = "rdrop=2 compares two identical passes in a {} without noise"
    with pytest.warns(UserWarning, match=said.format("Sequential")):
        noiseless = meden.fit(copy.deepcopy(quiet), rows(), recipe=RECIPE)
    plain = meden.fit(copy.deepcopy(quiet), rows(), recipe=RECIPE.replace(rdrop=None))
    for ours, theirs in zip(noiseless.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    members = [meden.Member(RECIPE, None, seed) for seed in (0, 1)]
    with pytest.warns(UserWarning, match=said.format("Linear")):
        meden.fit_many(lambda num_inputs, num_outputs: nn.Linear(num_inputs, num_outputs), members, blobs())


@pytest.mark.filterwarnings("error")
def test_a_level_of_zero_is_not_told_of():
    meden.fit(made(layered), rows(), recipe=RECIPE.replace(dropout=0.0))


def test_noise_is_found_where_it_is():
    x = torch.ones(2, 5)
    assert is_noisy(Dropping(), x) and not is_noisy(Dropping(p=0.0), x)
    assert not is_noisy(nn.Linear(5, 3), x)
    assert is_noisy(nn.Sequential(nn.Linear(5, 3), nn.RReLU()), -x)


@pytest.mark.parametrize("share", [-0.1, float("inf"), "much"])
def test_its_share_is_a_number_from_0_on(share):
    with pytest.raises(InputError, match=r"Recipe rdrop .*, got"):
        Recipe(rdrop=share)


def test_a_space_may_search_it():
    def make_model(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=4, dropout=0.3)

    space = {"rdrop": meden.LogUniform(0.1, 10.0)}
    study = meden.tune(make_model, blobs(), space, recipe=RECIPE.replace(rdrop=None), folds=2, budget=2, baselines=[])
    assert 0.1 <= study.best.params["rdrop"] <= 10.0
