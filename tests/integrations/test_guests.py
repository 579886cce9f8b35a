"""What callbacks of all trainers share, without any of these trainers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.integrations._attachment import Attachment
from meden.integrations._guest import Missing, guest
from meden.integrations._trainers import Told, arguments, per_row, short_names
from meden.penalties import L1, L2, PullTo
from tests.integrations.jobs import net


def test_a_guest_that_is_not_installed_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "skorch", None)
    with pytest.raises(ImportError, match=r"^skorch must be installed: pip install 'meden\[skorch\]'$"):
        guest("skorch", "skorch")
    assert issubclass(Missing, meden.InputError)


def test_the_package_that_is_in_use_is_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such_package", math)
    assert guest("x", "json", "no_such_package") is sys.modules["json"]
    monkeypatch.delitem(sys.modules, "json.tool", raising=False)
    assert guest("x", "json.tool", "no_such_package") is math


def test_a_guest_whose_own_import_fails_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_guest.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        guest("x", "broken_guest")


def test_state_that_comes_before_the_optimizer_waits_for_it():
    regularizers = [meden.Regularizer(PullTo(L2(1.0)), on="0.weight")]
    first, model = Attachment(regularizers, noise=0.5), net()
    first.prepare(model)
    first.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)
    model(torch.ones(2, 5)).sum().backward()
    first.handle.optimizer.step()
    state = first.state_dict()
    second = Attachment(regularizers, noise=0.5)
    second.load_state_dict(state)
    other = net()
    second.prepare(other)
    second.attach(torch.optim.SGD(other.parameters(), lr=0.1), other)
    assert second.handle.num_steps == 1
    starts = [attachment.state_dict()["handle"]["starts"]["PullTo(0.weight)"] for attachment in (first, second)]
    assert torch.equal(starts[0]["0.weight"], starts[1]["0.weight"])
    steps = [layer.step.item() for layer in meden.noise.noise_layers(other).values()]
    assert steps == [1]


def test_findings_do_not_blame_a_loss_in_training_mode():
    attachment = Attachment()
    for epoch in range(1, 10):
        attachment.record(net(), epoch=epoch, step=epoch, lr=0.1, train=1.0 / epoch + 1, held_out=1.0 / epoch)
    assert "held_out_easier" not in [finding.code for finding in attachment.diagnosis().findings]
    attachment.record(net(), epoch=4, step=4, lr=0.1, train=math.nan, held_out=math.nan)
    assert [record.epoch for record in attachment.history] == [1, 2, 3, 4]
    assert [finding.code for finding in attachment.diagnosis().findings] == ["diverged"]
    assert Attachment().diagnosis() is None


def test_short_names_are_canonical_and_proximal():
    asked = short_names({"l1": 0.1, "l2": None, "dropout": 0.2, "lr": 1.0})
    assert asked.regularizers == (meden.Regularizer(L1(0.1), coupling="proximal"),) and asked.noise == 0.2
    assert short_names({"lr": 1.0}).regularizers == () and short_names({}).noise is None


def test_a_factory_gets_its_arguments():
    def make(lr, width=3):
        return lr, width

    assert arguments(make, {"lr": 1, "l1": 2, "epochs": 3}, taken=("l1",)) == {"lr": 1}
    assert arguments(lambda **kwargs: kwargs, {"any": 1}) == {"any": 1}
    with pytest.raises(meden.InputError, match="space must name lr, width, l1, epochs, got 'depth'"):
        arguments(make, {"depth": 1}, taken=("l1",))


class Answer:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    ("wrap", "kind"),
    [(lambda t: t, "predictions"), (Answer, "logits"), (lambda t: {"losses": t, "more": 1}, "losses")],
)
def test_answers_of_batches_become_those_of_rows(wrap, kind):
    parts = [torch.arange(6.0).view(3, 2), torch.arange(2.0).view(1, 2)]
    (name, values), *_ = per_row([wrap(part) for part in parts], "predictions").items()
    assert name == kind and np.array_equal(values, torch.cat(parts).numpy())


def test_what_was_told_last_can_be_told_again():
    reports = []

    class Job:
        def report(self, *report):
            reports.append(report)
            return len(reports) > 1

    told = Told()
    assert not told.again(Job()) and not told.tell(Job(), 0.5) and told.tell(Job(), 0.4, 0.3)
    assert Told(epochs=2, stop_loss=0.4, train_loss=0.3) == told and told.again(Job())
    assert reports == [(1, 0.5, None), (2, 0.4, 0.3), (2, 0.4, 0.3)]


@pytest.mark.parametrize("noise", [{nn.ReLU: 0.5}, 1.0, -0.1, "dropout"])
def test_noise_that_is_none_is_told(noise):
    with pytest.raises(meden.InputError, match=r"^noise must"):
        Attachment(noise=noise)


def test_a_factory_is_not_told_of_what_the_guest_gives_it():
    def make(train_dataset, eval_dataset, lr=0.1, *rest):
        return lr

    with pytest.raises(meden.InputError, match=r"^space must name lr, epochs, got 'learning_rate'"):
        arguments(make, {"learning_rate": 1}, num_given=2)
    with pytest.raises(meden.InputError, match=r"^space must name lr, epochs, got 'eval_dataset'"):
        arguments(make, {"eval_dataset": 1}, num_given=2)


@pytest.mark.parametrize("size", [2.5, "8", 0, True])
def test_a_batch_is_a_whole_number_of_rows(size):
    with pytest.raises(meden.InputError, match=r"^batch_size must be a whole number of at least 1"):
        arguments(lambda: None, {"batch_size": size}, taken=("batch_size",))

    def own(batch_size):
        return batch_size

    assert arguments(own, {"batch_size": size}) == {"batch_size": size}  # one of its own


def attached(regularizers, state=None):
    attachment, model = Attachment(regularizers), net()
    if state is not None:
        attachment.load_state_dict(state)
    attachment.prepare(model)
    attachment.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)
    return attachment


@pytest.mark.parametrize(
    ("saved", "present"),
    [("0.weight", "2.weight"), (None, "2.weight"), ("0.weight", None), ("0.weight", "weights")],
)
def test_starts_of_other_regularizers_are_told(saved, present):
    def pulling(on):
        return [meden.Regularizer(L1(0.1))] + ([] if on is None else [meden.Regularizer(PullTo(L2(1.0)), on=on)])

    state = attached(pulling(saved)).state_dict()
    with pytest.raises(meden.InputError, match=r"^regularizers must be those of the checkpoint"):
        attached(pulling(present), state)
    attached(pulling(saved), state)


def test_noise_of_the_model_is_seeded_once():
    layers = [nn.Sequential(nn.Linear(2, 2), meden.noise.Dropout(0.5)) for _ in range(2)]
    for model, seed in zip(layers, (1, 2), strict=True):
        Attachment(seed=seed).prepare(model)
    assert not torch.equal(layers[0][1].key, layers[1][1].key)
