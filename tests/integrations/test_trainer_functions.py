"""What every trainer function promises a search, whoever trains: one table of guests, one contract."""

from __future__ import annotations

import functools
import html
import importlib
import pickle
import types
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import meden
from meden.integrations._attachment import Attachment
from meden.integrations._trainers import TrainerFunction
from meden.search.racing import Contest
from meden.study.model_reference import ModelReference
from tests.integrations.jobs import NUM_ROWS, STOP, DiesInScoring, Killed, job_of, reports, rows, run

X, Y = rows()
SPACE = {"lr": meden.LogUniform(1e-3, 0.3)}


def tuned(train, study_dir=None, **options):
    """Search with it, in a small way."""
    small = {"rows": Y, "space": SPACE, "folds": 2, "budget": 1, "strategy": "random", "recipe": meden.Recipe(epochs=1)}
    return meden.tune(train, study_dir=study_dir, **small | options)


def once(make, carries):
    """Return a function that makes a thing each time, or only the first time."""
    return functools.cache(make) if carries else make


def check_rate(lr, limit):
    if lr > limit:
        raise ArithmeticError("too high")


def lightning(factor=0.1, carries=False, fails_above=1.0, **settings):
    pytest.importorskip("lightning")
    import lightning.pytorch as pl

    from meden.integrations.lightning import trainer_function

    class Net(pl.LightningModule):
        def __init__(self, lr=0.1, width=8):
            super().__init__()
            check_rate(lr, fails_above)
            self.net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2))
            self.lr = lr

        def forward(self, x):
            return self.net(x)

        def on_train_epoch_start(self):
            self.shift = torch.rand(())

        def training_step(self, batch):
            return F.cross_entropy(self(batch[0] + factor * self.shift), batch[1])

        def validation_step(self, batch):
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.8)]

    make = functools.wraps(Net)(functools.cache(Net)) if carries else Net
    return trainer_function(make, TensorDataset(X, Y), **{"batch_size": 10, "accelerator": "cpu"} | settings)


def keras(factor=0.1, carries=False, fails_above=1.0, **settings):
    K = pytest.importorskip("keras")
    from meden.integrations.keras import trainer_function

    class Shifted(K.layers.Layer):
        def call(self, x, training=False):
            return x + factor * K.random.normal((1,)) if training else x

    @functools.partial(once, carries=carries)
    def make_model(lr=0.1, width=8):
        check_rate(lr, fails_above)
        layers = K.layers
        dense = layers.Dense(width, activation="relu", kernel_regularizer=K.regularizers.L2(0.01))
        ends = layers.Dense(2, activation="softmax")
        model = K.Sequential([K.Input((5,)), dense, layers.Dropout(0.2), Shifted(), layers.BatchNormalization(), ends])
        model.compile(K.optimizers.Adam(lr), loss="sparse_categorical_crossentropy")
        return model

    return trainer_function(make_model, (X.numpy(), Y.numpy()), **{"batch_size": 10} | settings)


def skorch(factor=0.2, carries=False, fails_above=1.0, **settings):
    S = pytest.importorskip("skorch")
    from meden.integrations.skorch import trainer_function

    @functools.partial(once, carries=carries)
    def module(width):
        return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(factor), nn.Linear(width, 2))

    def make_net(lr=0.1, width=8):
        check_rate(lr, fails_above)
        settings = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "iterator_train__shuffle": True}
        return S.NeuralNetClassifier(module(width), lr=lr, batch_size=10, **settings)

    return trainer_function(make_net, (X.numpy(), Y.numpy()), **settings)


def huggingface(factor=0.2, carries=False, fails_above=1.0, **settings):
    transformers = pytest.importorskip("transformers")
    from meden.integrations.huggingface import MedenCallback, trainer_function

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(factor), nn.Linear(width, 2))

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    net = once(Net, carries)

    def make_trainer(train_dataset, eval_dataset, lr=0.1, width=8):
        check_rate(lr, fails_above)
        args = transformers.TrainingArguments(
            "unused", learning_rate=lr, lr_scheduler_type="constant", per_device_train_batch_size=10, use_cpu=True
        )
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        return transformers.Trainer(net(width), args, **data, callbacks=[MedenCallback(diagnose=False)])

    items = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    return trainer_function(make_trainer, items, **settings)


GUESTS = [lightning, keras, skorch, huggingface]
FACTORIES = {lightning: "Net", keras: "make_model", skorch: "make_net", huggingface: "make_trainer"}


@pytest.fixture(params=GUESTS, ids=lambda guest: guest.__name__)
def guest(request):
    return request.param


def scores(returned) -> np.ndarray:
    (value,) = returned.values()
    return np.asarray(value)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_numbers_are_those_of_the_rows_and_of_the_state_that_counts(guest, keep, tmp_path):
    lr = 0.3 if guest is lightning else 0.1  # which overfits in six epochs
    job = job_of(tmp_path, {"lr": lr, "width": 32}, epochs=6)
    (kind,) = returned = run(guest(keep=keep), job)
    values = torch.as_tensor(returned[kind])
    assert values.shape == (15, 2) and kind in ("logits", "probabilities")
    logits = values if kind == "logits" else values.log()
    losses = [loss for loss, _ in reports(job)]
    assert len(losses) == 6 and min(losses) < losses[-1]
    wanted = min(losses) if keep == "best" else losses[-1]
    assert F.cross_entropy(logits, Y[STOP]).item() == pytest.approx(wanted, rel=1e-5)
    assert losses[job.best_epoch - 1] == wanted


def test_the_seed_decides_and_the_state_of_the_generators_does_not(guest, tmp_path):
    def result(number, seed):
        job = job_of(tmp_path / str(number), {"lr": 0.05}, seed=seed)
        return scores(run(guest(), job)), reports(job)

    first, again, other = result(1, 3), result(2, 3), result(3, 4)
    assert np.array_equal(first[0], again[0]) and first[1] == again[1] and first[1] != other[1]


@pytest.mark.parametrize("dies_at", [1, 3])
def test_a_job_that_was_killed_goes_on_to_the_same_result(guest, dies_at, tmp_path):
    whole = job_of(tmp_path / "whole", {"lr": 0.05}, epochs=5)
    wanted = scores(run(guest(), whole))
    with pytest.raises(Killed):
        run(guest(), job_of(tmp_path / "cut", {"lr": 0.05}, epochs=5, dies_at=dies_at))
    cut = job_of(tmp_path / "cut", {"lr": 0.05}, epochs=5)
    assert np.array_equal(scores(run(guest(), cut)), wanted)
    assert reports(cut) == reports(whole) and cut.best_epoch == whole.best_epoch


@pytest.mark.parametrize("stops_at", [3, None])
def test_a_job_that_was_killed_while_it_scored_trains_no_more(guest, stops_at, tmp_path):
    told = {"params": {"lr": 0.05}, "epochs": 5, "stops_at": stops_at}
    whole = job_of(tmp_path / "whole", **told)
    wanted = scores(run(guest(), whole))
    with pytest.raises(Killed):
        run(guest(), job_of(tmp_path / "cut", kind=DiesInScoring, **told))
    cut, told_again = job_of(tmp_path / "cut", **told), []
    cut.on_epoch = told_again.append
    assert np.array_equal(scores(run(guest(), cut)), wanted) and reports(cut) == reports(whole)
    assert [record.epoch for record in told_again] == [stops_at or 5]


def test_a_job_stops_when_it_is_told_and_scores_the_best_state(guest, tmp_path):
    job = job_of(tmp_path / "stopped", {"lr": 0.05}, epochs=9, stops_at=2)
    stopped = scores(run(guest(), job))
    assert job.ending.status == "stopped_early" and len(reports(job)) == 2 and job.best_epoch == 1
    assert np.array_equal(stopped, scores(run(guest(), job_of(tmp_path / "short", {"lr": 0.05}, epochs=1))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {"widht": meden.Choice(8, 9)}}, "space must name .*lr.*, got 'widht'; did you mean 'width'"),
        ({"space": {"batch_size": meden.Choice(2.5, 3.5)}}, "batch_size must be a whole number of at least 1, got"),
        ({"stop_fraction": 0, "recipe": meden.Recipe(epochs=1)}, "stop_fraction must be above 0 for a trainer"),
    ],
)
def test_what_means_nothing_is_told_in_the_first_job(guest, options, message):
    with pytest.raises(meden.InputError, match=message) as caught:
        tuned(guest(), **options)
    assert "\n" not in str(caught.value)


def test_a_race_ends_a_job(guest, tmp_path):
    better = np.random.default_rng(0).uniform(high=1e-3, size=(20, 3))
    job = job_of(tmp_path, {"lr": 0.05}, contest=Contest({2: better}, {2: np.empty(0)}, columns=(0,), keeps_best=True))
    run(guest(), job)
    assert job.ending.status == "dropped" and len(reports(job)) == 2


def test_a_job_that_raises_is_lost_and_the_study_goes_on(guest, tmp_path):
    train, options = guest(fails_above=0.05), {"budget": 3, "seed": 3, "study_dir": tmp_path}
    with pytest.warns(UserWarning, match="2 of 6 jobs failed.*: ArithmeticError: too high"):
        study = tuned(train, **options)
    assert [trial.status for trial in study.trials] == ["ok", "ok", "failed"] and study.status == "ok"


def test_weights_that_are_carried_from_job_to_job_are_found(guest):
    train = guest(carries=True)
    with pytest.warns(UserWarning, match="train must start from fresh weights in each job"):
        study = tuned(train, space={"batch_size": meden.Choice(10, 20)}, folds=3)
    assert study.status == "diverged"


def test_a_study_knows_the_code_and_the_settings_of_its_factory(guest, tmp_path):
    study = tuned(guest(), tmp_path)
    assert study.model.text == f"{__name__}.{guest.__name__}.<locals>.{FACTORIES[guest]}"
    assert html.escape(study.model.text) in study.report(tmp_path / "report.html").read_text()
    tuned(guest(), tmp_path)
    fixed = functools.partial(guest().func.make, width=4)
    assert ModelReference.of_function(functools.partial(TrainerFunction(fixed, print), keep="best")) == study.model
    for changed in (guest(factor=0.3), guest(keep="last")):
        with pytest.raises(meden.InputError, match="code may have changed"):
            tuned(changed, tmp_path)


@pytest.mark.parametrize("name", ["lightning", "keras", "skorch", "huggingface"])
def test_a_function_goes_to_other_processes_if_its_parts_do(name):
    pytest.importorskip("transformers" if name == "huggingface" else name)
    module = importlib.import_module(f"meden.integrations.{name}")
    again = pickle.loads(pickle.dumps(module.trainer_function(nn.Linear, ([1], [2]) if name != "lightning" else DATA)))
    assert again.func.make is nn.Linear


@pytest.mark.parametrize(
    ("name", "argument"),
    [("lightning", "module"), ("keras", "model"), ("skorch", "net"), ("huggingface", "trainer")],
)
def test_a_factory_that_is_none_is_told_at_once(name, argument):
    pytest.importorskip("transformers" if name == "huggingface" else name)
    module = importlib.import_module(f"meden.integrations.{name}")
    with pytest.raises(meden.InputError, match=rf"^make_{argument} must be a function of a job's parameters, got 3$"):
        module.trainer_function(3, [])


@pytest.mark.parametrize("name", ["lightning", "skorch"])
def test_a_callback_of_ones_own_stays_beside_short_names(name, tmp_path):
    pytest.importorskip(name)
    module = importlib.import_module(f"meden.integrations.{name}")
    own = [meden.Regularizer(meden.penalties.L1(0.02))]

    def train(is_there):
        if name == "lightning":
            return lightning(callbacks=[module.MedenCallback(own)] if is_there else [])
        net = module.skorch.NeuralNetClassifier

        def make_net(lr):
            layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
            callbacks = [("own", module.Regularize(own))] if is_there else []
            return net(layers, criterion=nn.CrossEntropyLoss, lr=lr, callbacks=callbacks)

        return module.trainer_function(make_net, (X.numpy(), Y.numpy()))

    tried = [(True, {"l2": 0.1}), (True, {}), (False, {"l2": 0.1}), (False, {})]
    found = [
        scores(run(train(is_there), job_of(tmp_path / str(number), {"lr": 0.1} | params)))
        for number, (is_there, params) in enumerate(tried)
    ]
    assert len({one.tobytes() for one in found}) == 4


@pytest.mark.parametrize("guest", [lightning, skorch, huggingface], ids=lambda guest: guest.__name__)
def test_short_names_need_no_line_in_the_module(guest, tmp_path):
    plain, *others = (
        scores(run(guest(keep="last"), job_of(tmp_path / str(number), {"lr": 0.05} | params, epochs=8)))
        for number, params in enumerate([{}, {"l1": 100.0}, {"l2": 0.1}, {"dropout": 0.5}, {"batch_size": 30}])
    )
    assert all(not np.array_equal(plain, other) for other in others)
    assert np.ptp(others[0], axis=0) == pytest.approx(0)  # all weights are zero


@pytest.mark.parametrize("guest", [lightning, skorch], ids=lambda guest: guest.__name__)
def test_penalties_and_noise_of_short_names_go_on_too(guest, tmp_path):
    params = {"lr": 0.05, "l1": 0.01, "dropout": 0.5}
    wanted = scores(run(guest(), job_of(tmp_path / "whole", params)))
    with pytest.raises(Killed):
        run(guest(), job_of(tmp_path / "cut", params, dies_at=3))
    assert np.array_equal(scores(run(guest(), job_of(tmp_path / "cut", params))), wanted)


@pytest.mark.parametrize("guest", [lightning, keras], ids=lambda guest: guest.__name__)
def test_each_job_has_callbacks_of_its_own(guest, tmp_path):
    """What a callback has seen in one job changes nothing in the next; a killed job with callbacks ends the same."""
    module = pytest.importorskip("lightning.pytorch" if guest is lightning else "keras")

    class Slower(module.callbacks.Callback):
        num_epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002
            self.num_epochs += 1
            trainer.optimizers[0].param_groups[0]["lr"] /= self.num_epochs

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            self.num_epochs += 1
            self.model.optimizer.learning_rate = 0.1 / self.num_epochs

        def state_dict(self):
            return {"num_epochs": self.num_epochs}

        def load_state_dict(self, state):
            self.num_epochs = state["num_epochs"]

    train = guest(callbacks=[Slower()])
    first, second = (scores(run(train, job_of(tmp_path / name, {"lr": 0.1}))) for name in "ab")
    assert np.array_equal(first, second)
    with pytest.raises(Killed):
        run(train, job_of(tmp_path / "c", {"lr": 0.1}, dies_at=3))
    assert np.array_equal(scores(run(train, job_of(tmp_path / "c", {"lr": 0.1}))), first)


def test_an_interrupt_in_a_net_is_no_end_of_its_training():
    S = pytest.importorskip("skorch")
    from meden.integrations.skorch import trainer_function

    class Interrupts(S.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):  # noqa: ARG002
            raise KeyboardInterrupt

    def make_net():
        return S.NeuralNetClassifier(nn.Linear(5, 2), criterion=nn.CrossEntropyLoss, callbacks=[Interrupts()])

    with pytest.raises(KeyboardInterrupt):
        run(trainer_function(make_net, (X.numpy(), Y.numpy())), job_of(None))


def test_loaders_and_a_predict_step_of_ones_own(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")
    from meden.integrations.lightning import trainer_function

    class Net(pl.LightningModule):
        def __init__(self, lr=0.1):
            super().__init__()
            self.layer, self.lr = nn.Linear(5, 2), lr

        def losses(self, batch):
            return F.cross_entropy(self.layer(batch["x"]), batch["y"], reduction="none")

        def training_step(self, batch):
            return self.losses(batch).mean()

        def validation_step(self, batch):
            self.log("stop", self.losses(batch).mean())

        def predict_step(self, batch):
            return {"losses": self.losses(batch)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    items = [{"x": X[row], "y": Y[row]} for row in range(NUM_ROWS)]

    def loaders(job):
        data = job.watch(items)
        parts = ([data[row] for row in part] for part in (job.fit, job.stop))
        score = torch.utils.data.Subset(data, job.score.tolist())
        return *(torch.utils.data.DataLoader(part, 10) for part in parts), torch.utils.data.DataLoader(score, 10)

    job = job_of(tmp_path)
    returned = run(trainer_function(Net, loaders, val_loss="stop", accelerator="cpu"), job)
    assert returned.keys() == {"losses"} and returned["losses"].shape == (15,)
    assert returned["losses"].mean() == pytest.approx(min(loss for loss, _ in reports(job)), rel=1e-5)
    with pytest.raises(meden.InputError, match="val_loss must name a metric that the module logs, got 'val_loss'"):
        tuned(trainer_function(Net, loaders, accelerator="cpu"))

    def leaks(job):
        _, stop, score = loaders(job)
        return score, stop, score

    with pytest.raises(meden.InputError, match=r"must not read row \d+ before job.scoring"):
        tuned(trainer_function(Net, leaks, val_loss="stop", accelerator="cpu"))


DATA = TensorDataset(X, Y)


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
def test_a_factory_of_something_else_is_told(name, message):
    pytest.importorskip(name)
    module = importlib.import_module(f"meden.integrations.{name}")
    with pytest.raises(meden.InputError, match=message):
        tuned(module.trainer_function(lambda lr: nn.Linear(5, int(2 + lr)), (X.numpy(), Y.numpy())))


def test_a_net_with_callbacks_of_its_own_begins_anew(tmp_path):
    skorch = pytest.importorskip("skorch")
    from skorch.callbacks import LRScheduler

    from meden.integrations.skorch import trainer_function

    def make_net():
        schedule = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.5**epoch)
        return skorch.NeuralNetClassifier(nn.Linear(5, 2), criterion=nn.CrossEntropyLoss, lr=0.5, callbacks=[schedule])

    train = trainer_function(make_net, (X.numpy(), Y.numpy()))
    whole = job_of(tmp_path / "whole")
    wanted = scores(run(train, whole))
    with pytest.raises(Killed):
        run(train, job_of(tmp_path / "cut", dies_at=2))
    cut = job_of(tmp_path / "cut")
    assert np.array_equal(scores(run(train, cut)), wanted) and reports(cut) == reports(whole)


def test_jobs_of_a_search_give_a_warning_about_penalties_once() -> None:
    def train(make, job):
        model = make()
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        Attachment([meden.Regularizer(meden.penalties.L2(0.1))]).attach(optimizer, model)

    def warned(run):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        return len(caught)

    job = types.SimpleNamespace(stop=[0])
    search = TrainerFunction(functools.partial(nn.Linear, 2, 1), train)
    assert [warned(lambda: search(job)) for _ in range(3)] == [1, 0, 0]
    assert [warned(lambda: train(search.make, job)) for _ in range(2)] == [1, 1]  # no search
    assert warned(lambda: TrainerFunction(search.make, train)(job)) == 1  # another search
