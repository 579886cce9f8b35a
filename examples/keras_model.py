"""A Keras 3 model, on torch: trained by meden with its own regularizers, then searched with Keras's compile and fit.

Digits, 64-64-10.

Run: python examples/keras_model.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import keras
import numpy as np
import torch
from keras import layers, regularizers
from sklearn.datasets import load_digits

import meden
from meden.integrations.keras import as_module, regularizers_of, trainer_function

SPACE = {
    "lr": meden.LogUniform(1e-3, 3e-2),
    "l2": meden.LogUniform(1e-6, 1e-2),
    "dropout": meden.Uniform(0.0, 0.6),
    "batch_size": meden.Choice(32, 128),
}


def network(l1: float = 0.0, l2: float = 0.0, dropout: float = 0.2) -> keras.Model:
    """Return a perceptron that says logits."""
    hidden = layers.Dense(64, activation="relu", kernel_regularizer=regularizers.L1L2(l1, l2))
    return keras.Sequential([keras.Input((64,)), hidden, layers.Dropout(dropout), layers.Dense(10)])


def compiled(lr: float, l2: float, dropout: float) -> keras.Model:
    """Return it ready for Keras's own fit."""
    model = network(0.0, l2, dropout)
    model.compile(keras.optimizers.Adam(lr), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def train_once(x: np.ndarray, y: np.ndarray, epochs: int) -> meden.Run:
    """Train by a recipe: dropout drops, and the L1 of the layer makes exact zeros."""
    keras.utils.set_random_seed(0)
    model = network(l1=1e-3)
    penalties = regularizers_of(model)
    recipe = meden.Recipe(epochs=epochs, lr=3e-3, regularizers=penalties)
    run = meden.fit(as_module(model), (x, y), recipe=recipe)
    zeros = float(np.mean(model.layers[0].kernel.numpy() == 0))
    print(f"{penalties[0]}\n{zeros:.0%} of the kernel's weights are zero, in the Keras model too\n")
    return run


def search(x: np.ndarray, y: np.ndarray, epochs: int, budget: int) -> meden.Study:
    """Search how much it needs, in folds, each with rows of its own to stop by."""
    train = trainer_function(compiled, (x, y))
    recipe = meden.Recipe(epochs=epochs, early_stopping=meden.EarlyStopping(patience=5))
    return meden.tune(train, rows=y, space=SPACE, folds=3, budget=budget, recipe=recipe)


def main(arguments: Sequence[str] | None = None) -> meden.Study:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600, help="digits, at most 1797 (600)")
    parser.add_argument("--epochs", type=int, default=15, help="of each training, at most (15)")
    parser.add_argument("--budget", type=int, default=6, help="configurations (6)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the net is small
    x, y = load_digits(return_X_y=True)
    x, y = (x[: options.rows] / 16).astype(np.float32), y[: options.rows]
    train_once(x, y, options.epochs)
    study = search(x, y, options.epochs, options.budget)
    print(study.verdict)
    print(f"choice: {study.choice.params}")
    return study


if __name__ == "__main__":
    main()
