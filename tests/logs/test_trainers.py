"""Logs that other trainers really wrote, against what those trainers say of themselves."""

from __future__ import annotations

import csv
import json
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from meden._checks import InputError
from meden.logs import read_logs

EPOCHS = 3


def rows(num=64, seed=0):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 4, generator=draws)
    return x, (x[:, 0] > 0).long()


def loss(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


@pytest.fixture
def lightning():
    lightning = pytest.importorskip("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return lightning


def trained_by_lightning(lightning, logger, **logged):
    """Train a linear model, and return its held-out loss after each epoch as measured beside the logger."""
    x, y = rows()
    held_out = rows(40, seed=1)
    measured = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def training_step(self, batch, _):
            value = loss(self.net, *batch)
            self.log("train_loss", value, **logged)
            return value

        def validation_step(self, batch, _):
            value = loss(self.net, *batch)
            self.log("val_loss", value)
            measured.append(float(value))

        def test_step(self, batch, _):
            self.log("test_loss", loss(self.net, *batch) + 1)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.5)

    trainer = lightning.Trainer(
        max_epochs=EPOCHS, logger=logger, log_every_n_steps=2, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, accelerator="cpu",
    )  # fmt: skip
    module, loader = Module(), DataLoader(TensorDataset(*held_out), 40)
    trainer.fit(module, DataLoader(TensorDataset(x, y), 16), loader)
    trainer.test(module, loader, verbose=False)
    return measured


@pytest.mark.parametrize("on_epoch", [True, False])
def test_metrics_of_lightning(lightning, tmp_path, on_epoch):
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path, name="", version="")
    measured = trained_by_lightning(lightning, logger, on_step=True, on_epoch=on_epoch)
    (log,) = read_logs(tmp_path)
    assert log == read_logs(tmp_path / "metrics.csv")[0] and log.as_logged
    assert log.history.column("valid.loss") == pytest.approx(measured)
    assert log.scored == pytest.approx(measured[-1] + 1)
    with open(tmp_path / "metrics.csv") as file:
        written = list(csv.DictReader(file))
    name = "train_loss_epoch" if on_epoch else "train_loss"
    cells = [float(row[name]) for row in written if row[name]]
    if not on_epoch:  # a cell for every second step, of which Lightning calls the first 0
        cells = [(cells[0] + 2 * cells[1]) / 3, *np.array(cells[2:]).reshape(-1, 2).mean(1)]
    assert log.history.column("train.loss") == pytest.approx(cells)


def test_state_of_a_trainer_that_evaluates_once_an_epoch(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    x, y = rows()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def forward(self, x, labels):
            return {"loss": loss(self.net, x, labels), "logits": self.net(x)}

    data = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    args = transformers.TrainingArguments(
        str(tmp_path), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=EPOCHS, learning_rate=0.1,
        per_device_train_batch_size=8, logging_steps=3, eval_strategy="epoch", save_strategy="epoch",
    )  # fmt: skip
    trainer = transformers.Trainer(Net(), args, train_dataset=data, eval_dataset=data[:20])
    trainer.train()
    (log,) = read_logs(tmp_path / "checkpoint-24" / "trainer_state.json")
    assert read_logs(tmp_path) == (log,)
    told = trainer.state.log_history
    assert log.history.column("valid.loss") == [row["eval_loss"] for row in told if "eval_loss" in row]
    steps = {row["step"]: row["loss"] for row in told if "loss" in row}
    assert sorted(steps) == [3, 6, 9, 12, 15, 18, 21, 24]
    parts = [{3: 3, 6: 3}, {9: 1, 12: 3, 15: 3}, {18: 2, 21: 3, 24: 3}]  # steps since the last one, or an evaluation
    by_hand = [sum(size * steps[k] for k, size in part.items()) / sum(part.values()) for part in parts]
    assert log.history.column("train.loss") == pytest.approx(by_hand)
    (same,) = read_logs(trainer.state)
    assert same.history.column("train.loss") == log.history.column("train.loss")


@pytest.fixture
def keras():
    return pytest.importorskip("keras")


def test_history_and_csv_of_keras(keras, tmp_path):
    x, y = (part.numpy() for part in rows())
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    callbacks = [keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.CSVLogger(tmp_path / "b.csv", ";")]
    made = model.fit(x, y, validation_split=0.25, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    (log,) = read_logs(made)
    assert log.history.column("train.loss") == made.history["loss"] and log.as_logged
    assert log.history.column("valid.loss") == made.history["val_loss"]
    for same in (made.history, tmp_path / "log.csv", str(tmp_path / "b.csv")):
        (again,) = read_logs(same)
        for column in ("train.loss", "valid.loss"):
            assert again.history.column(column) == pytest.approx(log.history.column(column))


@pytest.fixture
def writer():
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter


TRAINED, HELD_OUT = [0.9, 0.7, 0.5, 0.4], [1.0, 0.8, 0.75, 0.8]


def assert_read(log, train=TRAINED, valid=HELD_OUT):
    assert log.history.column("train.loss") == pytest.approx(train)
    assert log.history.column("valid.loss") == pytest.approx(valid)


def test_events_of_one_run_and_of_several(writer, tmp_path):
    for run in ("a", "b"):
        with writer(str(tmp_path / run)) as events:
            for epoch, (train, valid) in enumerate(zip(TRAINED, HELD_OUT, strict=True)):
                events.add_scalar("Loss/train", train, epoch)
                events.add_scalar("Loss/val", valid, epoch)
                events.add_scalar("Accuracy/val", 0.5, epoch)
    (alone,) = read_logs(tmp_path / "a")
    assert_read(alone)
    assert alone.name == ""
    (file,) = (tmp_path / "a").iterdir()
    assert_read(*read_logs(file))
    both = read_logs(tmp_path)
    assert [log.name for log in both] == ["a", "b"]
    assert_read(both[1])


def test_events_of_folders_that_are_one_run(writer, tmp_path):
    with writer(str(tmp_path / "curves")) as events:
        for epoch, (train, valid) in enumerate(zip(TRAINED, HELD_OUT, strict=True)):
            events.add_scalars("loss", {"train": train, "valid": valid}, epoch)
    assert_read(*read_logs(tmp_path))
    for part, losses in (("train", TRAINED), ("validation", HELD_OUT)):  # as Keras' callback names them
        with writer(str(tmp_path / "keras" / part)) as events:
            for epoch, value in enumerate(losses):
                events.add_scalar("epoch_loss", value, epoch)
    assert_read(*read_logs(tmp_path / "keras"))


def test_events_of_training_by_steps_and_evaluation_by_epochs_are_in_the_order_of_time(writer, tmp_path):
    with writer(str(tmp_path)) as events:
        for epoch, valid in enumerate(HELD_OUT):
            for step in range(10):
                events.add_scalar("train_loss", TRAINED[epoch] + (0.1 if step % 2 else -0.1), 10 * epoch + step)
            events.add_scalar("val_loss", valid, epoch)
    assert_read(*read_logs(tmp_path))


def test_events_of_tensorboards_newer_kind(writer, tmp_path):
    summary = pytest.importorskip("tensorboard.summary")
    events = summary.Writer(str(tmp_path))
    for epoch, (train, valid) in enumerate(zip(TRAINED, HELD_OUT, strict=True)):
        events.add_scalar("train/loss", train, epoch)
        events.add_scalar("val/loss", valid, epoch)
    events.close()
    assert_read(*read_logs(tmp_path))


def test_events_of_lightning(writer, lightning, tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path, name="", version="", log_graph=False)
    measured = trained_by_lightning(lightning, logger, on_step=True, on_epoch=True)
    logger.experiment.close()
    (log,) = read_logs(tmp_path)
    assert log.history.column("valid.loss") == pytest.approx(measured) and len(log.history) == EPOCHS


def test_events_without_numbers_and_without_their_reader_are_told(writer, tmp_path, monkeypatch):
    with writer(str(tmp_path / "text")) as events:
        events.add_text("note", "no numbers")
    with pytest.raises(InputError, match=r"path must be TensorBoard event files that hold numbers, got none"):
        read_logs(tmp_path)


def test_a_reader_that_is_not_installed_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.backend.event_processing.event_accumulator", None)
    (tmp_path / "events.out.tfevents.1.host").touch()
    with pytest.raises(InputError, match=r"^tensorboard must be installed .* pip install 'meden\[trackers\]'$"):
        read_logs(tmp_path)


def test_an_export_of_weights_and_biases(tmp_path):
    """Written by hand: wandb is not installed. Its charts export a column for each run and two for its spread."""
    path = tmp_path / "wandb_export_2026-11-26.csv"
    names = ["train/loss", "val/loss"]
    header = ["Step"]
    for run in ("quiet - sun 7", "fold-1"):
        header += [f"{run} - _step", f"{run} - _step__MIN", f"{run} - _step__MAX"]
        header += [f"{run} - {name}{end}" for name in names for end in ("", "__MIN", "__MAX")]
    lines = [header]
    for epoch, (train, valid) in enumerate(zip(TRAINED, HELD_OUT, strict=True)):
        cells = [str(train), "", "", str(valid), "", ""]
        lines += [[str(2 * epoch), *([str(2 * epoch)] * 3 + cells) * 2]]
    with open(path, "w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(lines)
    logs = read_logs(path)
    assert [log.name for log in logs] == ["quiet - sun 7", "fold-1"]
    for log in logs:
        assert_read(log)
    only = [[cell for cell, name in zip(line, header, strict=True) if "val" not in name] for line in lines]
    with open(path, "w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(only)
    with pytest.raises(InputError, match=r"must have a column of held-out losses .* got Step, _step, train/loss"):
        read_logs(path)


def test_a_state_that_is_none_is_told(tmp_path):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"epoch": 1}))
    with pytest.raises(InputError, match=r"path must be a trainer_state.json with a log_history"):
        read_logs(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"path must be JSON"):
        read_logs(tmp_path)
