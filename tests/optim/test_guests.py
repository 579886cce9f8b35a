"""Optimizers and models as other libraries hand them on."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from meden import audit
from meden.optim import Handle, Regularizer, StrengthSchedule, inner_optimizer, regularize
from meden.penalties import L1, L2, GroupLasso, MaxNorm, PullTo

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
Y = X[:, :1] - 0.5 * X[:, 1:2].square()


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))


def loss_of(model: nn.Module) -> Tensor:
    return (model(X) - Y).square().mean()


def expected(num_steps: int, regularizers: list[Regularizer]) -> nn.Module:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.05)
    regularize(optimizer, model, regularizers)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return model


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for own, its in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, its)


def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    model = make_model()
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(model, SGD(model.parameters(), lr=0.05))
    regularizers = [Regularizer(L1(0.1), schedule=StrengthSchedule(end=3))]
    handle = regularize(optimizer, model, regularizers)
    assert handle.optimizer is inner_optimizer(optimizer) is optimizer.optimizer
    assert audit(model, optimizer, [handle]).optimizer == "SGD"
    for _ in range(8):
        with accelerator.accumulate(model):
            accelerator.backward(loss_of(model))
            optimizer.step()
            optimizer.zero_grad()
    assert handle.num_steps == 4
    assert_same(model, expected(4, regularizers))
    assert any((p == 0).any() for p in model.parameters())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_lightning_resumes_with_its_own_checkpoints(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    regularizers = [Regularizer(L1(0.1), schedule=StrengthSchedule(end=6))]

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model()
            self.handle: Handle | None = None

        def configure_optimizers(self) -> Optimizer:
            return SGD(self.parameters(), lr=0.05)

        def on_train_start(self) -> None:
            assert type(self.optimizers()).__name__ == "LightningSGD"
            self.handle = regularize(self.optimizers(), self, regularizers)

        def training_step(self, _batch: Tensor) -> Tensor:
            return loss_of(self.model)

    def trainer(epochs: int) -> lightning.Trainer:
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return lightning.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=tmp_path, **quiet)

    rows = torch.utils.data.DataLoader(torch.zeros(1, 1))
    first, half = Module(), trainer(3)
    half.fit(first, rows)
    half.save_checkpoint(tmp_path / "half.ckpt")
    second = Module()
    trainer(8).fit(second, rows, ckpt_path=str(tmp_path / "half.ckpt"))
    assert first.handle.num_steps == 3 and second.handle.num_steps == 8
    assert list(second.handle.bound[0].targets) == ["model.0.weight", "model.2.weight"]
    assert_same(second, expected(8, regularizers))
    assert isinstance(inner_optimizer(second.optimizers()), SGD)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_fabric() -> None:
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
    model = make_model()
    model, optimizer = fabric.setup(model, SGD(model.parameters(), lr=0.05))
    regularizers = [Regularizer(L1(0.1))]
    handle = regularize(optimizer, model, regularizers)
    for _ in range(3):
        optimizer.zero_grad()
        fabric.backward(loss_of(model))
        optimizer.step()
    assert handle.num_steps == 3
    assert_same(model, expected(3, regularizers))
    table = audit(model, optimizer, [handle])
    assert (table.optimizer, table.tensors[0].name, table.tensors[0].aliases) == ("SGD", "0.weight", ())


def test_peft_counts_its_adapters_alone() -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(make_model(), peft.LoraConfig(target_modules=["0", "2"], r=2))
    optimizer = SGD(model.parameters(), lr=0.05)
    handle = regularize(optimizer, model, [Regularizer(L1(1.0)), Regularizer(MaxNorm(0.1))])
    factors = {name: param for name, param in model.named_parameters() if param.requires_grad}
    assert len(factors) == 4 and all("lora_" in name for name in factors)
    for bound in handle.bound:
        assert list(bound.targets) == list(factors)
    own = sum(float(param.detach().abs().sum()) for param in factors.values())
    assert handle.values()["L1(weights)"] == pytest.approx(own)
    table = audit(model, optimizer, [handle])
    assert {t.name for t in table.tensors if t.shrinkage} == set(factors)
    loss_of(model).backward()
    optimizer.step()
    for name, factor in factors.items():
        norms = factor.detach().norm(dim=1)
        assert (norms <= 0.1 * (1 + 1e-5)).all(), name


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_names_are_those_within(wrap) -> None:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.05)
    wrapped = wrap(model)
    handle = regularize(optimizer, wrapped, [Regularizer(PullTo(L2(0.1)), on="0.weight")])
    handle.rebind(model)
    assert list(handle.bound[0].targets) == ["0.weight"]
    assert audit(wrapped, optimizer, [handle]).tensors[0].name == "0.weight"


KERAS: dict[str, tuple[str, dict, tuple[int, ...], int | None, int | None]] = {
    "Dense": ("Dense", {"units": 5}, (3,), 1, 0),
    "Conv1D": ("Conv1D", {"filters": 5, "kernel_size": 2}, (7, 3), 2, 1),
    "Conv2D": ("Conv2D", {"filters": 5, "kernel_size": 2}, (7, 7, 3), 3, 2),
    "Conv2D in groups": ("Conv2D", {"filters": 6, "kernel_size": 2, "groups": 2}, (7, 7, 4), 3, None),
    "Conv2DTranspose": ("Conv2DTranspose", {"filters": 5, "kernel_size": 2}, (7, 7, 3), 2, 3),
    "DepthwiseConv2D": ("DepthwiseConv2D", {"kernel_size": 2}, (7, 7, 3), None, None),
    "LSTM": ("LSTM", {"units": 4}, (7, 3), 1, 0),
    "GRU": ("GRU", {"units": 4}, (7, 3), 1, 0),
}


@pytest.mark.parametrize("name", KERAS)
def test_axes_of_keras_kernels(name, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("keras was imported with another backend")
    kind, settings, shape, units, inputs = KERAS[name]
    model = keras.Sequential([keras.layers.Input(shape), getattr(keras.layers, kind)(**settings)])
    optimizer = SGD(model.parameters(), lr=0.1)
    for dim, axis in (("units", units), ("inputs", inputs)):
        regularizer = Regularizer(GroupLasso(0.1, dim=dim), on="*kernel")
        if axis is None:
            with pytest.raises(ValueError, match=rf"dim of GroupLasso.*kernel.* of {kind}.*'{dim}'"):
                regularize(optimizer, model, [regularizer])
        else:
            (bound,) = regularize(optimizer, model, [regularizer]).bound
            assert bound.penalties and {penalty.dim for penalty in bound.penalties.values()} == {axis}
