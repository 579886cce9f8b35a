"""A space for tables that mixes many mild regularisers: what to search when there is no better idea."""

from __future__ import annotations

from collections.abc import Mapping

from meden.data.targets import Task
from meden.member import ModelMaker
from meden.space.dimensions import Choice, Dimension, LogUniform, Maybe, Uniform
from meden.space.names import Space, model_arguments

SHAPES: Mapping[str, Dimension] = {
    "width": Choice(64, 256),
    "depth": Choice(2, 3),
    "batch_norm": Choice(False, True),
}
"""Few, since members of one shape are trained together."""
STRENGTHS: Mapping[str, Dimension] = {
    "lr": LogUniform(5e-4, 1e-2),
    "l1": Maybe(LogUniform(1e-6, 1e-3)),
    "l2": Maybe(LogUniform(1e-5, 1e-1)),
    "dropout": Uniform(0.0, 0.5),
    "dropout_shape": Choice("constant", "linear", "funnel"),
    "swap_noise": Maybe(Uniform(0.02, 0.2)),
    "mixup": Maybe(LogUniform(0.05, 1.0)),
    "label_smoothing": Maybe(Uniform(0.01, 0.15)),
    "averaging": Choice(None, "ema"),
}


def cocktail(task: Task, make_model: ModelMaker) -> Space:
    """Return the default space of :func:`meden.tune`, meant for 64 configurations and inputs that are standardised.

    Each regulariser may be off; several mild ones together often do better than the best of them alone.

    Args:
        task: ``"classification"`` or ``"regression"`` (no label smoothing then).
        make_model: ``width``, ``depth`` and ``batch_norm`` are searched if they are arguments of it.

    Example:
        >>> from meden.models import MLP
        >>> list(cocktail("regression", MLP))[:4]
        ['width', 'depth', 'batch_norm', 'lr']

    Reference:
        A. Kadra, M. Lindauer, F. Hutter and J. Grabocka, Well-tuned simple nets excel on tabular datasets, 2021.
    """
    taken = model_arguments(make_model)
    space = {name: dimension for name, dimension in SHAPES.items() if name in taken} | dict(STRENGTHS)
    return {name: space[name] for name in space if task == "classification" or name != "label_smoothing"}
