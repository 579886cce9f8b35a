"""The callback in Lightning's trainer against plain loops, and a job around a LightningModule."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import meden
from meden.data import batches, num_batches
from meden.penalties import L1, L2, PullTo
from tests.integrations.jobs import NUM_ROWS, net, rows

pytest.importorskip("lightning")
import lightning.pytorch as pl
import pytorch_lightning

from meden.integrations.lightning import MedenCallback

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "The number of training batches",
        "Checkpoint directory .* exists",
        "Be aware that when using `ckpt_path`",
        "Experiment logs directory",
    )
]
QUIET = dict(
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
    enable_checkpointing=False,
)
REGULARIZERS = [
    meden.Regularizer(L1(0.05), schedule=meden.StrengthSchedule(end=12)),
    meden.Regularizer(PullTo(L2(0.1)), on="net.2.weight"),
]


class Automatic(pl.LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.lr = net(), lr

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


class Constant(Automatic):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


class Manual(Automatic):
    """Steps, accumulates and clips by its own hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        self.manual_backward(super().training_step(batch) / 2)
        if batch_idx % 2:
            self.clip_gradients(optimizer, gradient_clip_val=0.1)
            optimizer.step()
            optimizer.zero_grad()

    def on_train_epoch_end(self):
        self.lr_schedulers().step()


class TwoOptimizers(Automatic):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch):
        loss = super().training_step(batch)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()
        self.log("loss", loss, on_epoch=True, on_step=False)

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[place].parameters(), lr=0.1) for place in (0, 2)]


def loader(size: int = 10) -> DataLoader:
    return DataLoader(TensorDataset(*rows()), size)


def fitted(module, *callbacks, epochs=3, ckpt_path=None, **settings):
    trainer = pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **QUIET | settings)
    trainer.fit(module, loader(), loader(20), ckpt_path=ckpt_path)
    return trainer


def plain(model: nn.Module, *, epochs=3, accumulate=1, clip=None):
    """Train as a loop without Lightning does."""
    model = model.net
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    own = [REGULARIZERS[0], meden.Regularizer(PullTo(L2(0.1)), on="2.weight")]
    handle = meden.regularize(optimizer, model, own)
    for _ in range(epochs):
        for number, (x, y) in enumerate(loader()):
            (F.cross_entropy(model(x), y) / accumulate).backward()
            if (number + 1) % accumulate == 0:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
        schedule.step()
    return model, handle


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("module", "settings", "loop"),
    [
        (Automatic, {}, {}),
        (Automatic, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}, {"accumulate": 2, "clip": 0.1}),
        (Manual, {}, {"accumulate": 2, "clip": 0.1}),
    ],
)
def test_the_weights_are_those_of_a_plain_loop_bit_for_bit(module, settings, loop):
    trained, callback = module(), MedenCallback(REGULARIZERS, diagnose=False)
    fitted(trained, callback, **settings)
    wanted, handle = plain(module(), **loop)
    assert equal(trained.net, wanted) and callback.handle.num_steps == handle.num_steps
    zeros = int((wanted[0].weight == 0).sum())
    assert zeros > 5 and int((trained.net[0].weight == 0).sum()) == zeros
    unpenalised = module()
    fitted(unpenalised, **settings)
    assert not equal(trained.net, unpenalised.net)


class SameBatches(pl.Callback):
    """Batches of the rows, in the order in which ``meden.fit`` draws them."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def on_train_epoch_start(self, trainer, pl_module):  # noqa: ARG002
        self.epoch = trainer.current_epoch

    def __iter__(self):
        x, y = rows()
        parts = batches(len(y), self.size, seed=self.seed, epoch=self.epoch)
        return iter([(x[part], y[part]) for part in parts])

    def __len__(self):
        return num_batches(NUM_ROWS, self.size)


def test_the_weights_are_those_of_fit():
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, momentum=0.9, schedule={"kind": "constant"}, epochs=4)
    recipe = recipe.replace(batch_size=20, dropout=0.4, regularizers=REGULARIZERS)
    run = meden.fit(Constant(), rows(), recipe=recipe, seed=5)
    module, callback = Constant(), MedenCallback(recipe.regularizers, noise=0.4, seed=5, diagnose=False)
    same = SameBatches(20, seed=5)
    pl.Trainer(max_epochs=4, callbacks=[callback, same], **QUIET).fit(module, same, loader())
    for own, wanted in zip(module.parameters(), run.model.parameters(), strict=True):
        torch.testing.assert_close(own, wanted)
    zeros = module.net[0].weight == 0
    assert torch.equal(zeros, run.model.net[0].weight == 0) and zeros.sum() > 5


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_training_that_goes_on_equals_one_that_was_never_cut_off(epoch, tmp_path):
    noise = {nn.ReLU: meden.noise.GaussianNoise(0.2)}
    whole = MedenCallback(REGULARIZERS, noise=noise, diagnose=False)
    keep = pl.callbacks.ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, monitor="val_loss")
    uncut, cut = Automatic(), Automatic()
    fitted(uncut, whole, keep, epochs=5, enable_checkpointing=True)
    again = MedenCallback(REGULARIZERS, noise=copy.deepcopy(noise), diagnose=False)
    with torch.no_grad():
        cut.net[2].weight.add_(1.0)  # the start that PullTo pulls to is in the checkpoint
    fitted(cut, again, epochs=5, ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
    assert equal(uncut, cut) and again.handle.num_steps == whole.handle.num_steps == 30
    assert again.history.column("valid.loss") == whole.history.column("valid.loss")
    assert again.handle.values() == whole.handle.values()
    trainer = pl.Trainer(callbacks=[again], **QUIET)
    trainer.validate(cut, loader(), ckpt_path=tmp_path / "epoch=0.ckpt", verbose=False)
    assert len(again.history) == 5


def test_the_history_is_of_the_losses_as_they_were(capsys):
    module, callback = Automatic(lr=0.0), MedenCallback(REGULARIZERS)
    fitted(module, callback, epochs=2, accumulate_grad_batches=2)
    x, y = rows()
    loss = F.cross_entropy(module(x), y).item()
    assert callback.history.column("train.loss") == pytest.approx([loss] * 2)
    assert callback.history.column("valid.loss") == pytest.approx([loss] * 2)
    assert (
        callback.history.column("step") == [3, 6]
        and callback.history[0].penalties.keys() == callback.handle.values().keys()
    )
    assert str(callback.diagnosis) in capsys.readouterr().out


def test_several_optimizers_are_refused_or_named():
    with pytest.raises(meden.InputError, match=r"optimizer must say which .* 0 to 1, got None"):
        fitted(TwoOptimizers(), MedenCallback([meden.Regularizer(L1(0.05))]))
    with pytest.raises(meden.InputError, match=r"optimizer must be a position in \[0, 1\], got 2"):
        fitted(TwoOptimizers(), MedenCallback([meden.Regularizer(L1(0.05))], optimizer=2))
    module = TwoOptimizers()
    both = [
        MedenCallback(
            [meden.Regularizer(L1(strength), on=f"net.{2 * place}.weight")], optimizer=place, train_loss="loss"
        )
        for place, strength in enumerate((0.05, 50.0))
    ]
    fitted(module, *both)
    assert (module.net[2].weight == 0).all() and not (module.net[0].weight == 0).all()
    assert all(len(callback.history) == 3 for callback in both)


def test_a_second_fit_attaches_once():
    module, callback = Automatic(), MedenCallback(REGULARIZERS, noise=0.3, diagnose=False)
    for _ in range(2):
        trainer = fitted(module, callback, epochs=1)
    assert callback.handle.optimizer is trainer.optimizers[0] and callback.handle.num_steps == 6
    assert len(trainer.optimizers[0]._optimizer_step_post_hooks) == 0  # nothing stays behind


class Attached(Manual):
    def on_train_start(self):
        self.handle = meden.regularize(self.optimizers(), self, REGULARIZERS)


def test_a_module_may_attach_by_itself_and_nothing_twice():
    module = Attached()
    fitted(module)
    assert equal(module.net, plain(Manual(), accumulate=2, clip=0.1)[0])
    with pytest.raises(meden.InputError, match=r"must not act twice on net\.0\.weight"):
        fitted(Attached(), MedenCallback(REGULARIZERS, diagnose=False))


def test_the_other_package_will_do():
    steps = {
        name: vars(Automatic)[name] for name in ("forward", "training_step", "validation_step", "configure_optimizers")
    }
    module = type("Other", (pytorch_lightning.LightningModule,), steps)()
    module.net, module.lr = Automatic().net, 0.1
    callback = MedenCallback(REGULARIZERS, diagnose=False)
    pytorch_lightning.Trainer(max_epochs=3, callbacks=[callback], **QUIET).fit(module, loader(), loader(20))
    assert equal(module.net, plain(Automatic())[0]) and len(callback.history) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"regularizers": L1(0.1)}, "regularizers must be a list of meden.Regularizer"),
        ({"regularizers": [L1(0.1)]}, "regularizers must be a list of meden.Regularizer"),
        ({"noise": 1.5}, r"noise must be a finite number in \[0, 1\)"),
        ({"noise": {"net.1": 0.5}}, "noise must hold layers of meden.noise"),
        ({"optimizer": "adam"}, "optimizer must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"val_loss": 3}, "val_loss must be the name of a logged loss, got 3"),
        ({"train_loss": 3}, "train_loss must be the name of a logged loss, got 3"),
        ({"diagnose": "no"}, "diagnose must be True or False, got 'no'"),
    ],
)
def test_bad_arguments_are_told_at_once(arguments, message):
    with pytest.raises(meden.InputError, match=message):
        MedenCallback(**arguments)


def test_before_a_training_there_is_nothing():
    callback = MedenCallback(REGULARIZERS)
    assert (callback.handle, len(callback.history), callback.diagnosis, callback.findings) == (None, 0, None, ())


@pytest.mark.parametrize(
    "settings",
    [{"val_loss": "valloss"}, {"train_loss": "trainloss"}],
)
def test_a_loss_that_is_not_logged_is_told_once(settings):
    class Logs(Automatic):
        def training_step(self, batch):
            return {"loss": super().training_step(batch)}

    callback = MedenCallback(**settings, diagnose=False)
    ((name, asked),) = settings.items()
    with pytest.warns(UserWarning, match=f"^{name} must name a metric .* logs, val_loss, got {asked!r}") as told:
        fitted(Logs(), callback, epochs=2)
    assert len([one for one in told if name in str(one.message)]) == 1
    assert len(callback.history) == (2 if name == "val_loss" else 0)


class Returns(Manual):
    def training_step(self, batch, batch_idx):  # noqa: ARG002
        loss = Automatic.training_step(self, batch)
        self.manual_backward(0.0 * loss)
        self.optimizers().step()
        return loss


def test_losses_that_a_manual_step_returns_are_the_training_loss():
    callback, module = MedenCallback(), Returns()
    fitted(module, callback, epochs=2)
    x, y = rows()
    assert callback.history.column("train.loss") == pytest.approx([F.cross_entropy(module(x), y).item()] * 2)
    with pytest.warns(UserWarning, match="train_loss must name a metric .* got 'train_loss': there is no history"):
        fitted(Manual(), MedenCallback(), epochs=1)
    fitted(Manual(), MedenCallback(diagnose=False), epochs=1)  # nobody asked for one


def test_a_checkpoint_of_another_training_is_told(tmp_path):
    fitted(Automatic(), epochs=1).save_checkpoint(tmp_path / "without.ckpt")
    own = MedenCallback(REGULARIZERS, diagnose=False)
    with pytest.raises(meden.InputError, match="ckpt_path must be a checkpoint of a training with this callback"):
        fitted(Automatic(), own, ckpt_path=tmp_path / "without.ckpt")
    fitted(Automatic(), own, epochs=1).save_checkpoint(tmp_path / "with.ckpt")
    other = MedenCallback([meden.Regularizer(PullTo(L2(0.1)), on="net.0.weight")], diagnose=False)
    with pytest.raises(meden.InputError, match=r"^regularizers must be those of the checkpoint .*net\.2.*net\.0"):
        fitted(Automatic(), other, ckpt_path=tmp_path / "with.ckpt")
