"""Keras 3 on torch: a model as a module that meden trains, and an honest search around ``compile`` and ``fit``."""

from __future__ import annotations

import warnings
from typing import Any

from meden._checks import InputError
from meden.integrations._keras_module import KerasModule, keras_on_torch
from meden.integrations._keras_regularizers import converted
from meden.optim import Regularizer
from meden.optim.regularizer import Coupling


def as_module(keras_model: Any) -> KerasModule:
    """Return a Keras model as a module of torch, for :func:`meden.fit`, ``regularize``, ``audit`` and ``tune``.

    Its mode is the module's: after ``train()`` dropout drops and batch norm counts, after ``eval()`` neither does.
    Parameters are named by layer, such as ``dense.kernel``, and each is there once; they share their memory with the
    Keras model's. Warns if the model has regularizers or constraints, which only act where they are passed on
    (:func:`regularizers_of`), and if it ends in a softmax, since meden's losses take logits.

    Args:
        keras_model: a built model or layer, on Keras's torch backend.

    Raises:
        InputError: if it is none, is not built, or has an ``activity_regularizer``; if Keras has another backend.

    Example:
        >>> import os
        >>> os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported for the first time
        >>> import keras, torch
        >>> layers = [keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)]
        >>> module = as_module(keras.Sequential(layers))
        >>> [name for name, _ in module.named_parameters()], module(torch.ones(5, 3)).shape
        (['dense.kernel', 'dense.bias', 'dense_1.kernel', 'dense_1.bias'], torch.Size([5, 2]))
    """
    keras = keras_on_torch()
    if not isinstance(keras_model, keras.Layer):
        raise InputError(f"keras_model must be a keras.Model or layer, got {type(keras_model).__name__}")
    if not keras_model.built:
        raise InputError(
            f"keras_model must be built, got {keras_model.name!r} without weights: begin it with keras.Input, or call "
            "it on a batch"
        )
    for layer in keras_model._flatten_layers():
        if layer.activity_regularizer is not None:
            raise InputError(
                f"keras_model must have no activity_regularizer, which only Keras's own fit minimises; got one on "
                f"{layer.name!r}"
            )
    module = KerasModule(keras_model)
    if found := regularizers_of(module):
        labels = ", ".join(regularizer.label for regularizer in found)
        warnings.warn(
            f"the regularizers of {keras_model.name!r} ({labels}) act only where they are passed on: give "
            "regularizers_of(module) to the recipe, or to meden.regularize",
            stacklevel=2,
        )
    if _ends_in_softmax(keras_model):
        warnings.warn(
            f"{keras_model.name!r} ends in a softmax, and meden's losses take logits: leave that activation out",
            stacklevel=2,
        )
    return module


def regularizers_of(keras_model: Any, *, coupling: Coupling = "auto") -> list[Regularizer]:
    """Return the regularizers and constraints that the layers were made with, in canonical units.

    Keras's ``L2(x)`` is x sum w^2: L2 of strength 2 x here. What has no name here becomes a penalty by autograd.

    Args:
        keras_model: a Keras model, or the module that :func:`as_module` made of it.
        coupling: of the penalties: ``"gradient"`` is what Keras does, ``"auto"`` what meden does (L1 gives exact zeros).

    Raises:
        InputError: if a constraint has no counterpart.

    Example:
        >>> import keras
        >>> dense = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.01))
        >>> regularizers_of(keras.Sequential([keras.Input((3,)), dense]))
        [Regularizer(penalty=L2(strength=0.02), on='dense.kernel', coupling='auto', schedule=None)]
    """
    module = keras_model if isinstance(keras_model, KerasModule) else KerasModule(keras_model)
    trained = {place.name: place.variable for place in module._shared.places if place.variable.trainable}
    return converted(trained, coupling)


def _ends_in_softmax(keras_model: Any) -> bool:
    last = keras_model.layers[-1] if getattr(keras_model, "layers", None) else keras_model
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"
