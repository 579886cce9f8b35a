"""Keras 3 on torch: a model as a module that meden trains, and an honest search around ``compile`` and ``fit``."""

from __future__ import annotations

import copy
import functools
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from meden import checkpoint as files
from meden._checks import InputError
from meden._randomness import seed_all
from meden.integrations._keras_module import KerasModule, keras_on_torch
from meden.integrations._keras_regularizers import KerasPenalty, converted
from meden.integrations._trainers import Told, TrainerFunction, arguments, check_settings
from meden.noise import derive
from meden.optim import Regularizer
from meden.optim.regularizer import Coupling
from meden.search.jobs.fresh import check_fresh

__all__ = ["KerasPenalty", "as_module", "regularizers_of", "trainer_function"]

_ASKED: weakref.WeakSet[Any] = weakref.WeakSet()
"""Models of which somebody has the regularizers."""


def as_module(keras_model: Any) -> KerasModule:
    """Return a Keras model as a module of torch, for :func:`meden.fit`, ``regularize``, ``audit`` and ``tune``.

    Its mode is the module's: after ``train()`` dropout drops and batch norm counts, after ``eval()`` neither does. The
    rates of its layers ``Dropout`` and ``SpatialDropout`` follow ``dropout`` of a recipe and
    :func:`meden.edits.set_dropout`, but for those that were made with 0, which cannot draw.
    Parameters are named by layer, such as ``dense.kernel``, and each is there once; they share their memory with the
    Keras model's. Warns if the model has regularizers or constraints, which only act where they are passed on, unless
    :func:`regularizers_of` was asked before; and if it ends in a softmax, since meden's losses take logits.

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
            f"keras_model must be built, got {keras_model.name!r} without weights: start it with keras.Input, or "
            "call it on a batch"
        )
    for layer in keras_model._flatten_layers():
        if layer.activity_regularizer is not None:
            raise InputError(
                "keras_model must have no activity_regularizer, which only Keras's own fit minimises, got one on "
                f"{layer.name!r}"
            )
    module = KerasModule(keras_model)
    known = keras_model in _ASKED
    if (found := regularizers_of(module)) and not known:
        labels = ", ".join(regularizer.label for regularizer in found)
        warnings.warn(
            f"the regularizers of {keras_model.name!r} ({labels}) have no effect unless they are passed on: give "
            "regularizers_of(module) to the recipe or to meden.regularize",
            stacklevel=2,
        )
    if _ends_in_softmax(keras_model):
        warnings.warn(
            f"{keras_model.name!r} ends in a softmax, but meden's losses take logits: remove that activation",
            stacklevel=2,
        )
    return module


def regularizers_of(keras_model: Any, *, coupling: Coupling = "auto") -> list[Regularizer]:
    """Return the regularizers and constraints that the layers were made with, in canonical units.

    Keras's ``L2(x)`` is x sum w^2: L2 of strength 2 x here. What has no name here becomes a penalty by autograd,
    :class:`KerasPenalty`: runs with it are read with ``penalties={"KerasPenalty": KerasPenalty}``. Warns if it is one
    that no file can hold.

    Args:
        keras_model: a Keras model, or the module that :func:`as_module` made of it.
        coupling: of the penalties: ``"gradient"`` is what Keras does, ``"auto"`` what meden does (L1: exact zeros).

    Raises:
        InputError: if a constraint has no counterpart.

    Example:
        >>> import keras
        >>> dense = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.01))
        >>> regularizers_of(keras.Sequential([keras.Input((3,)), dense]))
        [Regularizer(penalty=L2(strength=0.02), on='dense.kernel', coupling='auto', schedule=None, groups=None)]
    """
    module = keras_model if isinstance(keras_model, KerasModule) else KerasModule(keras_model)
    _ASKED.add(module._shared.keras_model)
    trained = {place.name: place.variable for place in module._shared.trained if place.variable.trainable}
    return converted(trained, coupling)


def _ends_in_softmax(keras_model: Any) -> bool:
    last = keras_model.layers[-1] if getattr(keras_model, "layers", None) else keras_model
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def trainer_function(
    make_model: Callable[..., Any],
    data: tuple[Any, Any],
    *,
    returns: str | None = None,
    batch_size: int = 32,
    keep: str = "best",
    **fit: Any,
) -> Callable[[Any], Any]:
    """Return a training function for :func:`meden.tune` around Keras's own ``compile`` and ``fit``.

    The held-out loss of each epoch, without the regularizers', decides about races, early stopping and the state to
    keep; the rows that score it are read once, at the end. A job that was killed goes on after its last whole epoch,
    to the same result; one with ``callbacks`` begins anew, since their state is not known.

    Args:
        make_model: called with a job's parameters, returns a compiled model. ``batch_size`` is no argument of it.
        data: x and y of all rows, arrays (n, ...) and (n, ...).
        returns: what the model gives for a row: ``"logits"``, ``"probabilities"``, ``"predictions"`` or ``"losses"``;
            None is probabilities if it ends in a softmax, and logits if it does not.
        batch_size: rows of a batch, unless the space has it.
        keep: the state that is scored, the ``"best"`` by held-out loss or the ``"last"``.
        **fit: for Keras's ``fit``, such as ``class_weight``. Each job has copies of ``callbacks``.

    Raises:
        InputError: if an argument is none of these; in a job, if the space names no argument of ``make_model`` or the
            model is not compiled.
    """
    keras_on_torch()
    check_settings("make_model", make_model, keep, returns, batch_size)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(f"data must be a pair (x, y) of arrays, got {type(data).__name__}")
    if taken := {"x", "y", "epochs", "initial_epoch", "validation_data", "validation_split"} & set(fit):
        raise InputError(f"settings of fit must leave {sorted(taken)[0]} to the search, got it set")

    settings = {"returns": returns, "batch_size": batch_size, "keep": keep}
    return functools.partial(TrainerFunction(make_model, _train), data=data, **settings, **fit)


def _train(
    make_model: Callable[..., Any],
    job: Any,
    *,
    data: tuple[Any, Any],
    returns: str | None,
    batch_size: int,
    keep: str,
    callbacks: Sequence[Any] = (),
    **fit: Any,
) -> dict[str, Any]:
    _seed(job.seed)
    model = make_model(**arguments(make_model, job.params, ("batch_size",)))
    if not getattr(model, "compiled", False):
        raise InputError(f"make_model must return a compiled Keras model, got {type(model).__name__}")
    size = job.params.get("batch_size", batch_size)
    x, y = (job.watch(part) for part in data)
    if not model.built:
        model(x[job.fit[:2]])
    if keep == "best":
        job.keep_best(KerasModule(model))  # the tensors are the model's own
    epochs = _epochs_class()(job, model, resumes=not callbacks)
    if not epochs.told.again(job):
        model.fit(
            x[job.fit],
            y[job.fit],
            validation_data=(x[job.stop], y[job.stop]),
            epochs=job.epochs,
            initial_epoch=epochs.told.epochs,
            **{"batch_size": size, "verbose": 0} | fit | {"callbacks": [*copy.deepcopy(callbacks), epochs]},
        )
    kind = returns or ("probabilities" if _ends_in_softmax(model) else "logits")
    with job.scoring():
        return {kind: model.predict(x[job.score], verbose=0)}


def _seed(seed: int) -> None:
    """Seed all that Keras draws from: a generator of its own, which outlives a job, gives where no seed was given."""
    from keras.src.random.seed_generator import global_seed_generator

    state = global_seed_generator().state  # the first time it is asked for, it draws a seed of its own
    seed_all(seed)
    state.assign(torch.randint(0, 2**31 - 1, tuple(state.shape)))


@functools.cache
def _epochs_class() -> Any:
    """Return the class of callbacks that tell a job of each epoch, and keep what is needed to go on after it."""
    import keras

    class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, job: Any, model: Any, *, resumes: bool) -> None:
            super().__init__()
            self.job, self.trained, self.told = job, model, Told()
            self.path = Path(job.checkpoint_dir) / "last.safetensors"
            model.optimizer.build(model.trainable_variables)
            self.variables = [*model.variables, *model.optimizer.variables]
            if resumes and self.path.exists():
                tensors, values = files.load(self.path)
                for place, variable in enumerate(self.variables):
                    variable.assign(tensors[str(place)])
                self.told = Told(**values)

        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
            check_fresh(variable.value for variable in self.trained.trainable_variables)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            _seed(derive(self.job.seed, "epoch", epoch))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            with torch.no_grad():
                penalties = sum(float(loss) for loss in self.trained._get_regularization_losses())
            held_out, train = (float(logs[name]) - penalties for name in ("val_loss", "loss"))
            self.trained.stop_training = self.told.tell(self.job, held_out, train)
            tensors = {str(place): variable.value for place, variable in enumerate(self.variables)}
            files.save(self.path, tensors, asdict(self.told))

    return Epochs
