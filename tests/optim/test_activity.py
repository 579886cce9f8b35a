"""Activity penalties join the loss, by hooks, in training alone."""

import pytest
import torch
from torch import nn

import meden
from meden.penalties import L1, ActivityL1, ActivityL2, KLSparsity


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3), nn.Sigmoid())


def rows():
    x = torch.randn(32, 5, generator=torch.Generator().manual_seed(1))
    return x, (x[:, :3]).argmax(1)


def test_gradients_equal_those_of_a_penalty_written_by_hand():
    x, _ = rows()
    ours, theirs = net(), net()
    activities = [meden.Activity(ActivityL1(0.1), on=nn.ReLU), meden.Activity(KLSparsity(0.2, rho=0.1), on="3")]
    recording = meden.record_activity(ours, activities)
    (ours(x).sum() + recording.value()).backward()
    hidden = theirs[1](theirs[0](x))
    out = theirs[3](theirs[2](hidden))
    mean = out.mean(0)
    kl = (0.1 * (0.1 / mean).log() + 0.9 * (0.9 / (1 - mean)).log()).sum()
    (out.sum() + 0.1 * hidden.abs().sum() / 32 + 0.2 * kl).backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    recording.remove()
    assert not ours[1]._forward_hooks and not ours._forward_pre_hooks


def test_a_fit_has_smaller_activations_and_records_the_penalty():
    def mean_activation(recipe):
        run = meden.fit(net(), rows(), recipe=recipe)
        return run.model[1](run.model[0](rows()[0])).abs().mean().item(), run

    plain = meden.Recipe(lr=0.01, epochs=30)
    sparse = plain.replace(activity=[meden.Activity(ActivityL1(0.05), on="1")])
    (usual, _), (small, run) = mean_activation(plain), mean_activation(sparse)
    assert small < 0.5 * usual
    assert run.history[-1].penalties["ActivityL1(1)"] > 0
    assert meden.Recipe.from_dict(sparse.to_dict()) == sparse


def test_members_with_activity_penalties_equal_runs_alone():
    members = [
        meden.Member(meden.Recipe(epochs=2, activity=[meden.Activity(ActivityL2(s), on=nn.ReLU)])) for s in (0.1, 1.0)
    ]
    with pytest.warns(UserWarning, match="one by one, since activity"):
        together = meden.fit_many(meden.models.MLP, members, "iris")
    for run, member in zip(together, members, strict=True):
        (alone,) = meden.fit_many(meden.models.MLP, [member], "iris")
        assert run.history.column("train.loss") == alone.history.column("train.loss")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: meden.Activity(L1(0.1), on="1"), "penalty must be ActivityL1"),
        (lambda: meden.Activity(ActivityL1(0.1), on=3.5), "on must be a role, a name glob"),
        (lambda: meden.record_activity(net(), [meden.Activity(ActivityL1(0.1), on="encoder.*")]), "at least one layer"),
        (lambda: meden.Recipe(activity=["1"]), "activity must be a list"),
        (lambda: meden.Recipe(activity=[{"penalty": "L1", "on": "1"}]), "activity penalty must be one of"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(meden.InputError, match=message):
        make()
