"""What every trainer function promises a search, whoever trains: one table of guests, one contract."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import meden
from meden.search.identity import Models
from meden.study.model_reference import ModelReference
from tests.integrations.jobs import Job, Killed, rows


def lightning(**settings):
    pytest.importorskip("lightning")
    import lightning.pytorch as pl

    from meden.integrations.lightning import trainer_function

    class Net(pl.LightningModule):
        def __init__(self, lr=0.1, width=8):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2))
            self.lr = lr

        def forward(self, x):
            return self.net(x)

        def on_train_epoch_start(self):
            self.shift = torch.rand(())

        def training_step(self, batch):
            return F.cross_entropy(self(batch[0] + 0.1 * self.shift), batch[1])

        def validation_step(self, batch):
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.8)]

    return trainer_function(Net, TensorDataset(*rows()), batch_size=10, accelerator="cpu", **settings)


def keras(**settings):
    K = pytest.importorskip("keras")
    from meden.integrations.keras import trainer_function

    def make_model(lr=0.1, width=8):
        layers = K.layers
        dense = layers.Dense(width, activation="relu", kernel_regularizer=K.regularizers.L2(0.01))
        ends = layers.Dense(2, activation="softmax")
        model = K.Sequential([K.Input((5,)), dense, layers.Dropout(0.2), layers.GaussianNoise(0.1), ends])
        model.compile(K.optimizers.Adam(lr), loss="sparse_categorical_crossentropy")
        return model

    x, y = rows()
    return trainer_function(make_model, (x.numpy(), y.numpy()), batch_size=10, **settings)


def skorch(**settings):
    S = pytest.importorskip("skorch")
    from meden.integrations.skorch import trainer_function

    def make_net(lr=0.1, width=8):
        module = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2))
        settings = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "iterator_train__shuffle": True}
        return S.NeuralNetClassifier(module, lr=lr, batch_size=10, **settings)

    x, y = rows()
    return trainer_function(make_net, (x.numpy(), y.numpy()), **settings)


def huggingface(**settings):
    transformers = pytest.importorskip("transformers")
    from meden.integrations.huggingface import MedenCallback, trainer_function

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2))

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def make_trainer(train_dataset, eval_dataset, lr=0.1, width=8):
        args = transformers.TrainingArguments(
            "unused", learning_rate=lr, lr_scheduler_type="constant", per_device_train_batch_size=10, use_cpu=True
        )
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        return transformers.Trainer(Net(width), args, **data, callbacks=[MedenCallback(diagnose=False)])

    items = [{"x": x, "labels": y} for x, y in zip(*rows(), strict=True)]
    return trainer_function(make_trainer, items, **settings)


GUESTS = [lightning, keras, skorch, huggingface]


@pytest.fixture(params=GUESTS, ids=lambda guest: guest.__name__)
def guest(request):
    return request.param


def scores(returned) -> np.ndarray:
    (value,) = returned.values()
    return np.asarray(value)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_numbers_are_those_of_the_rows_and_of_the_state_that_counts(guest, keep, tmp_path):
    job = Job(tmp_path, {"lr": 0.1, "width": 32}, epochs=6, scores_stop=True)
    (kind,) = returned = job.run(guest(keep=keep))
    values = torch.as_tensor(returned[kind])
    assert values.shape == (15, 2) and kind in ("logits", "probabilities")
    logits = values if kind == "logits" else values.log()
    losses = [loss for _, loss in job.reports]
    wanted = min(losses) if keep == "best" else losses[-1]
    assert F.cross_entropy(logits, rows()[1][job.stop]).item() == pytest.approx(wanted, rel=1e-5)
    assert [epoch for epoch, _ in job.reports] == [1, 2, 3, 4, 5, 6] and min(losses) < losses[-1]


def test_the_seed_decides_and_the_state_of_the_generators_does_not(guest, tmp_path):
    def result(number, seed):
        job = Job(tmp_path / str(number), {"lr": 0.05}, seed=seed)
        torch.rand(number)  # the search has seeded before
        return scores(job.run(guest())), job.reports

    first, again, other = result(1, 3), result(2, 3), result(3, 4)
    assert np.array_equal(first[0], again[0]) and first[1] == again[1] and first[1] != other[1]


@pytest.mark.parametrize("killed", [1, 3])
def test_a_job_that_was_killed_goes_on_to_the_same_result(guest, killed, tmp_path):
    params = {"lr": 0.05}
    whole = Job(tmp_path / "whole", params, epochs=5)
    wanted = scores(whole.run(guest()))
    with pytest.raises(Killed):
        Job(tmp_path / "cut", params, epochs=5, kill_after=killed).run(guest())
    cut = Job(tmp_path / "cut", params, epochs=5)
    assert np.array_equal(scores(cut.run(guest())), wanted)
    assert cut.reports == whole.reports


@pytest.mark.parametrize("stop_after", [3, None])
def test_a_job_that_was_killed_while_it_scored_trains_no_more(guest, stop_after, tmp_path):
    params, told = {"lr": 0.05}, {"epochs": 5, "stop_after": stop_after}
    whole = Job(tmp_path / "whole", params, **told)
    wanted = scores(whole.run(guest()))
    with pytest.raises(Killed):
        Job(tmp_path / "cut", params, **told, kill_in_scoring=True).run(guest())
    cut = Job(tmp_path / "cut", params, **told)
    assert np.array_equal(scores(cut.run(guest())), wanted) and cut.reports == whole.reports


def test_a_job_stops_when_it_is_told_and_scores_the_best_state(guest, tmp_path):
    job = Job(tmp_path / "stopped", {"lr": 0.05}, epochs=9, stop_after=2)
    stopped = scores(job.run(guest()))
    assert len(job.reports) == 2 and job.reports[1][1] < job.reports[0][1]
    assert np.array_equal(stopped, scores(Job(tmp_path / "short", {"lr": 0.05}, epochs=2).run(guest())))


def test_a_name_that_means_nothing_is_told(guest, tmp_path):
    with pytest.raises(meden.InputError, match=r"space must name .*lr.*, got 'widht'; did you mean 'width'"):
        Job(tmp_path, {"widht": 8}).run(guest())


@pytest.mark.parametrize("guest", [lightning, skorch, huggingface], ids=lambda guest: guest.__name__)
def test_short_names_need_no_line_in_the_module(guest, tmp_path):
    plain, *others = (
        scores(Job(tmp_path / str(number), {"lr": 0.05} | params, epochs=8).run(guest(keep="last")))
        for number, params in enumerate([{}, {"l1": 100.0}, {"l2": 0.1}, {"dropout": 0.5}, {"batch_size": 30}])
    )
    assert all(not np.array_equal(plain, other) for other in others)
    assert np.ptp(others[0], axis=0) == pytest.approx(0)  # all weights are zero


@pytest.mark.parametrize("guest", [lightning, skorch], ids=lambda guest: guest.__name__)
def test_penalties_and_noise_of_short_names_go_on_too(guest, tmp_path):
    params = {"lr": 0.05, "l1": 0.01, "dropout": 0.5}
    wanted = scores(Job(tmp_path / "whole", params).run(guest()))
    with pytest.raises(Killed):
        Job(tmp_path / "cut", params, kill_after=3).run(guest())
    assert np.array_equal(scores(Job(tmp_path / "cut", params).run(guest())), wanted)


def test_loaders_and_a_predict_step_of_ones_own(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")
    from meden.integrations.lightning import trainer_function

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)

        def losses(self, batch):
            return F.cross_entropy(self.layer(batch["x"]), batch["y"], reduction="none")

        def training_step(self, batch):
            return self.losses(batch).mean()

        def validation_step(self, batch):
            self.log("stop", self.losses(batch).mean())

        def predict_step(self, batch):
            return {"losses": self.losses(batch)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    x, y = rows()
    items = [{"x": x[row], "y": y[row]} for row in range(len(y))]

    def loaders(job):
        data = job.watch(items)
        parts = ([data[row] for row in part] for part in (job.fit, job.stop))
        score = torch.utils.data.Subset(data, job.score.tolist())
        return *(torch.utils.data.DataLoader(part, 10) for part in parts), torch.utils.data.DataLoader(score, 10)

    job = Job(tmp_path, scores_stop=True)
    returned = job.run(trainer_function(Net, loaders, val_loss="stop", accelerator="cpu"))
    assert returned.keys() == {"losses"} and returned["losses"].shape == (15,)
    assert returned["losses"].mean() == pytest.approx(min(loss for _, loss in job.reports), rel=1e-5)
    with pytest.raises(meden.InputError, match="val_loss must name a metric that the module logs, got 'val_loss'"):
        Job(tmp_path / "other").run(trainer_function(Net, loaders, accelerator="cpu"))


DATA = TensorDataset(*rows())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lightning", (dict, 3), "data must be a map-style Dataset or a function of a job, got int"),
        ("lightning", (dict, DATA, {"keep": "first"}), "keep must be one of best, last, got 'first'"),
        ("lightning", (dict, DATA, {"max_epochs": 3}), "trainer settings must leave max_epochs to the search"),
        ("lightning", (dict, DATA, {"returns": "classes"}), "returns must be one of losses, logits"),
        ("keras", (dict, [1]), r"data must be a pair \(x, y\) of arrays, got list"),
        ("keras", (dict, ([1], [2]), {"epochs": 3}), "settings of fit must leave epochs to the search"),
        ("skorch", (dict, ([1], [2]), {"returns": "logits"}), "returns must be probabilities, predictions or None"),
        ("skorch", (dict, 1), r"data must be a pair \(x, y\) of arrays, got int"),
    ],
)
def test_bad_arguments_are_told_before_any_job(name, arguments, message):
    pytest.importorskip(name)
    make, data, *settings = arguments
    module = importlib.import_module(f"meden.integrations.{name}")
    with pytest.raises(meden.InputError, match=message):
        module.trainer_function(make, data, **dict(*settings))


@pytest.mark.parametrize(
    ("name", "message"),
    [("keras", "make_model must return a compiled"), ("skorch", "make_net must return a skorch.Neur")],
)
def test_a_factory_of_something_else_is_told(name, message, tmp_path):
    pytest.importorskip(name)
    module = importlib.import_module(f"meden.integrations.{name}")
    x, y = rows()
    with pytest.raises(meden.InputError, match=message):
        Job(tmp_path).run(module.trainer_function(lambda: nn.Linear(5, 2), (x.numpy(), y.numpy())))


def test_a_net_with_callbacks_of_its_own_begins_anew(tmp_path):
    skorch = pytest.importorskip("skorch")
    from skorch.callbacks import LRScheduler

    from meden.integrations.skorch import trainer_function

    def make_net():
        schedule = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.5**epoch)
        return skorch.NeuralNetClassifier(nn.Linear(5, 2), criterion=nn.CrossEntropyLoss, lr=0.5, callbacks=[schedule])

    x, y = rows()
    train = trainer_function(make_net, (x.numpy(), y.numpy()))
    whole = Job(tmp_path / "whole", epochs=4)
    wanted = scores(whole.run(train))
    with pytest.raises(Killed):
        Job(tmp_path / "cut", epochs=4, kill_after=2).run(train)
    cut = Job(tmp_path / "cut", epochs=4)
    assert np.array_equal(scores(cut.run(train)), wanted) and cut.reports == whole.reports


def test_a_search_of_each_goes_to_its_end(guest, tmp_path):
    space, recipe = {"lr": meden.LogUniform(0.01, 0.2)}, meden.Recipe(epochs=3)
    asked = {"rows": rows()[1], "space": space, "folds": 2, "budget": 2, "recipe": recipe, "study_dir": tmp_path}
    study = meden.tune(guest(), **asked)
    assert [trial.status for trial in study.trials] == ["ok"] * 2
    assert study.metric == "accuracy" and np.isfinite(study.score.estimate)
    again = meden.tune(guest(), **asked)  # trains nothing
    assert repr(again.score) == repr(study.score)


def test_a_study_knows_whose_code_it_tries():
    pytest.importorskip("skorch")
    from meden.integrations.skorch import trainer_function

    def first():
        return 1

    def second():
        return 2

    codes = [Models.of(trainer_function(make, ([1], [2])), ()).code for make in (first, second, first)]
    assert codes[0] != codes[1] and codes[0] == codes[2]
    assert ModelReference.of_function(trainer_function(first, ([1], [2]))).text.endswith("first")
