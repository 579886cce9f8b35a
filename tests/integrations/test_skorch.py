"""The callback in skorch's net against plain loops, and in copies, pickles and checkpoints of the net."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import cross_val_score
from torch import nn

import meden
from meden.penalties import L1, L2, PullTo
from tests.integrations.jobs import net as make_module
from tests.integrations.jobs import rows

pytest.importorskip("skorch")
import skorch
from skorch.callbacks import Checkpoint, LoadInitState

from meden.integrations.skorch import Regularize

REGULARIZERS = [
    meden.Regularizer(L1(0.05), schedule=meden.StrengthSchedule(end=12)),
    meden.Regularizer(PullTo(L2(0.1)), on="2.weight"),
]


class Module(nn.Sequential):
    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(*make_module())


def net(*callbacks, module=Module, **settings):
    settings = {"max_epochs": 3, "lr": 0.1, "batch_size": 10, "optimizer__momentum": 0.9, "verbose": 0} | settings
    return skorch.NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, train_split=None, callbacks=list(callbacks), **settings
    )


def data():
    x, y = rows()
    return x.numpy(), y.numpy()


def plain(epochs=3, noise=None):
    model = Module()
    if noise is not None:
        meden.edits.set_dropout(model, noise)
        meden.noise.seed_noise(model, meden.noise.derive(0, "noise"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    handle = meden.regularize(optimizer, model, REGULARIZERS)
    x, y = rows()
    for _ in range(epochs):
        for part in torch.arange(len(y)).split(10):
            optimizer.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    return model, handle


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("noise", [None, 0.3])
def test_the_weights_are_those_of_a_plain_loop_bit_for_bit(noise):
    callback = Regularize(REGULARIZERS, noise=noise)
    trained = net(callback).fit(*data())
    wanted, handle = plain(noise=noise)
    assert equal(trained.module_, wanted) and (wanted[0].weight == 0).sum() > 5
    assert callback.handle.values() == handle.values() and len(callback.history) == 3
    assert not equal(trained.module_, net().fit(*data()).module_)


def test_partial_fit_goes_on_and_fit_begins_anew():
    callback = Regularize(REGULARIZERS, noise=0.3)
    trained = net(callback).fit(*data())
    trained.partial_fit(*data())
    wanted, _ = plain(epochs=6, noise=0.3)
    assert equal(trained.module_, wanted) and callback.handle.num_steps == 36 and len(callback.history) == 6
    hooks = trained.optimizer_._optimizer_step_post_hooks
    assert len(hooks) == 1
    trained.fit(*data())
    assert equal(trained.module_, plain(noise=0.3)[0]) and len(hooks) == 0 and len(callback.history) == 3


def test_a_module_that_is_trained_again_gets_its_noise_once():
    module = Module()
    trained = net(Regularize(noise={nn.ReLU: meden.noise.GaussianNoise(0.1)}), module=module).fit(*data())
    trained.fit(*data())
    assert list(meden.noise.noise_layers(module)) == ["1.input_noise"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_goes_on_as_it_was(copied):
    trained = net(Regularize(REGULARIZERS, noise=0.3)).fit(*data())
    twin = copied(trained)
    assert not twin.optimizer_._optimizer_step_post_hooks
    twin.partial_fit(*data())
    wanted, _ = plain(epochs=6, noise=0.3)
    assert equal(twin.module_, wanted) and not equal(trained.module_, wanted)
    trained.partial_fit(*data())
    assert equal(trained.module_, wanted)


def test_a_checkpoint_is_gone_on_from_exactly(tmp_path):
    kept = Checkpoint(monitor=None, dirname=str(tmp_path), f_meden="meden.pt")
    net(Regularize(REGULARIZERS, noise=0.3), kept, max_epochs=2).fit(*data())
    again = Regularize(REGULARIZERS, noise=0.3)
    other = net(again, LoadInitState(kept), max_epochs=1, module__seed=1).fit(*data())
    wanted, _ = plain(noise=0.3)
    assert equal(other.module_, wanted) and [record.epoch for record in again.history] == [1, 2, 3]


def test_it_is_copied_for_each_fold():
    trained = net(Regularize([meden.Regularizer(L1(100.0))]), max_epochs=5)
    assert cross_val_score(trained, *data(), cv=3).shape == (3,)
    assert trained.set_params(callbacks__Regularize__noise=0.2).get_params()["callbacks__Regularize__noise"] == 0.2


def test_it_says_what_stands_out(capsys):
    callback = Regularize(REGULARIZERS)
    net(callback, verbose=1).set_params(train_split=skorch.dataset.ValidSplit(3)).fit(*data())
    assert str(callback.diagnosis) in capsys.readouterr().out
    assert all(np.isfinite(callback.history.column("valid.loss")))


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (Regularize([L1(0.1)]), "regularizers must be a list of meden.Regularizer"),
        (Regularize(diagnose=1), "diagnose must be True or False, got 1"),
        (Regularize(noise=2.0), "noise must be a finite number"),
        (Regularize(REGULARIZERS, optimizer="adam"), "optimizer must be one of optimizer, got 'adam'"),
    ],
)
def test_bad_arguments_are_told(callback, message):
    with pytest.raises(meden.InputError, match=message):
        net(callback).fit(*data())


def test_before_a_training_there_is_nothing():
    callback = Regularize(REGULARIZERS)
    assert (callback.handle, len(callback.history), callback.diagnosis, callback.findings) == (None, 0, None, ())


def test_a_state_is_loaded_behind_the_callback_only(tmp_path):
    kept = Checkpoint(monitor=None, dirname=str(tmp_path), f_meden="meden.pt")
    with pytest.raises(meden.InputError, match=r"^callbacks must have LoadInitState after Regularize"):
        net(LoadInitState(kept), Regularize(REGULARIZERS), kept).fit(*data())


def test_two_for_one_optimizer_are_refused_before_the_first_step():
    both = [(name, Regularize([regularizer])) for name, regularizer in zip("ab", REGULARIZERS, strict=True)]
    trained = net(*both).initialize()
    with pytest.raises(meden.InputError, match=r"^callbacks must have only one Regularize for each optimizer"):
        trained.partial_fit(*data())
    assert equal(trained.module_, Module())
