"""Searches around trainers, which other processes can be sent: to be killed at random moments, or divided."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import meden
from meden.study import Study
from tests.integrations.jobs import rows

X, Y = rows()
SPACE = {"lr": meden.LogUniform(1e-3, 0.3), "l1": meden.LogUniform(1e-4, 0.1)}


def net(dropout: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def make_trainer(train_dataset: Any, eval_dataset: Any, lr: float) -> Any:
    import transformers

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Any, labels: Any) -> Any:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    args = transformers.TrainingArguments(learning_rate=lr, per_device_train_batch_size=10, use_cpu=True)
    return transformers.Trainer(Net(), args, train_dataset=train_dataset, eval_dataset=eval_dataset)


def make_module(lr: float) -> Any:
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any) -> None:
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=lr)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.8)]

    return Net()


def make_net(lr: float) -> Any:
    import skorch

    settings = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "iterator_train__shuffle": True}
    return skorch.NeuralNetClassifier(net(), lr=lr, batch_size=10, **settings)


def make_model(lr: float, l1: float) -> Any:
    import keras

    dense = keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L1(l1))
    model = keras.Sequential([keras.Input((5,)), dense, keras.layers.Dropout(0.2), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(lr), loss=loss)
    return model


def _function(guest: str) -> Any:
    if guest == "huggingface":
        from meden.integrations.huggingface import trainer_function

        return trainer_function(make_trainer, [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)])
    if guest == "lightning":
        from meden.integrations.lightning import trainer_function

        return trainer_function(make_module, TensorDataset(X, Y), batch_size=10, accelerator="cpu")
    if guest == "skorch":
        from meden.integrations.skorch import trainer_function

        return trainer_function(make_net, (X.numpy(), Y.numpy()))
    from meden.integrations.keras import trainer_function

    return trainer_function(make_model, (X.numpy(), Y.numpy()), batch_size=10)


def search(guest: str, study_dir: Any = None, **options: Any) -> Study:
    """Search with one of ``huggingface``, ``lightning``, ``skorch`` and ``keras``."""
    recipe = meden.Recipe(epochs=4, early_stopping=meden.EarlyStopping(patience=2))
    small = {"rows": Y, "space": SPACE, "folds": 2, "budget": 4, "strategy": "random", "recipe": recipe}
    return meden.tune(_function(guest), study_dir=study_dir, **small | options)
