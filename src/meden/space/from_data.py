"""Ends of strengths that the data decide.

Legend: ``n`` fitting rows, ``D`` inputs of a row, ``C`` outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.data.targets import Task
from meden.member import EncodedData, Member, ModelMaker, as_taken, build_model
from meden.objective import on_device
from meden.penalties import L1
from meden.recipe import Recipe
from meden.space.degree import degree
from meden.space.dimensions import Dimension, FromData, LogUniform, Maybe
from meden.space.names import PENALTIES, SHORT_NAMES, AskedSpace, Space

L2_MULTIPLE = 10.0
"""At so many times the largest variance of the inputs along any direction, every weight of a ridge regression has
shrunk to less than a tenth."""
ROWS = 32
"""Rows on which models are tried."""
MOST_MODELS = 16
"""Models that are tried: the edges of their arguments."""


def resolve(space: AskedSpace, dataset: Dataset, folds: Sequence[Fold], make_model: ModelMaker) -> Space:
    """Return a space in which every strength has its ends: :class:`meden.FromData` becomes a LogUniform.

    The high end is where a network with nothing but the penalised weights can do no better than a constant model, on
    the fitting rows of every fold: see :func:`highest` (scales of inputs that are not penalised may put it off). It
    depends on the number of layers on the shortest way through the network, which is measured
    (:func:`meden.space.degree.degree`) for the models that the space can reach. Scales without a penalty, as those of
    the network for tables, carry the answer a little beyond it. The ends are in the units of the canonical objective,
    and are rounded to two digits.

    Raises:
        InputError: if ends are left open that the data do not decide.

    Example:
        >>> import numpy as np
        >>> from meden.data import as_dataset, make_folds
        >>> from meden.models import MLP, Linear
        >>> x = np.tile([[1.0], [-1.0]], (10, 1))
        >>> data = as_dataset((x, x[:, 0]), task="regression")
        >>> folds = make_folds(data, 2, seed=0)
        >>> resolve({"l1": Maybe(FromData())}, data, folds, Linear)
        {'l1': Maybe(dimension=LogUniform(low=0.0001, high=1.0))}
        >>> resolve({"l1": FromData()}, data, folds, MLP)
        {'l1': LogUniform(low=2.1e-05, high=0.21)}
    """
    if not any(isinstance(getattr(d, "dimension", d), FromData) for d in space.values()):
        return dict(space)  # type: ignore[arg-type]  # nothing is left open
    layers = _fewest_layers(space, dataset, folds, make_model)
    return {name: _resolved(name, dimension, dataset, folds, layers) for name, dimension in space.items()}


def _resolved(
    name: str, dimension: Dimension | FromData, dataset: Dataset, folds: Sequence[Fold], layers: int
) -> Dimension:
    if isinstance(dimension, Maybe) and isinstance(dimension.dimension, FromData):
        return Maybe(_range(name, dimension.dimension, dataset, folds, layers))
    return _range(name, dimension, dataset, folds, layers) if isinstance(dimension, FromData) else dimension


def _range(name: str, dimension: FromData, dataset: Dataset, folds: Sequence[Fold], layers: int) -> LogUniform:
    if name not in PENALTIES:
        raise InputError(
            f"FromData must be used only for {' and '.join(PENALTIES)}, whose range the data determine, got it for "
            f"{name!r}"
        )
    high = max(highest(name, *_encoded(name, dataset, fold), dataset.task, layers) for fold in folds)
    if not (math.isfinite(high) and high > 0):
        raise InputError(
            f"{name} must be given with a range, since the inputs are uncorrelated with the target or constant"
        )
    high = float(f"{high:.1e}")
    return LogUniform(float(f"{high / 10**dimension.decades:.1e}"), high)


def _fewest_layers(space: AskedSpace, dataset: Dataset, folds: Sequence[Fold], make_model: ModelMaker) -> int:
    """Return the least degree of the models that a space can reach."""
    own = {name: d for name, d in space.items() if name not in (*SHORT_NAMES, *Recipe.model_fields)}
    edges = [d.edges() for d in own.values() if not isinstance(d, FromData)]
    rows = folds[0].fit[:ROWS]
    found = []
    for values in itertools.islice(itertools.product(*edges), MOST_MODELS):
        member = Member(Recipe(), folds[0], 0, dict(zip(own, values, strict=True)))
        try:
            taken = as_taken(make_model, dataset, member)
            encoder = taken.fit_encoder(folds[0].fit)
            share = EncodedData(encoder, taken.features(encoder, rows), taken.targets(encoder, rows))
            model = build_model(make_model, share, taken, member)
            found.append(degree(model, on_device(share.x, model)))
        except Exception:  # a model that cannot be made is refused where it is checked
            found.append(1)
    return min(found)


def _encoded(name: str, dataset: Dataset, fold: Fold) -> tuple[Tensor, Tensor]:
    """Return the fitting rows of a fold as a linear model would take them: (n, D) and (n, C)."""
    encoder = dataset.fit_encoder(fold.fit)
    x, y = dataset.features(encoder, fold.fit), encoder.target.encode(dataset.labels[fold.fit])
    if not x.is_floating_point() or (dataset.task == "classification" and y.ndim > 1):
        raise InputError(f"{name} must be given with a range when inputs are tokens or targets are sequences")
    wide = one_hot(y.long(), len(dataset.classes)) if dataset.task == "classification" else y.reshape(len(y), -1)
    return x.reshape(len(x), -1).double(), wide.double()


def highest(name: str, x: Tensor, y: Tensor, task: Task, layers: int) -> float:
    """Return the strength from which on a constant is the best answer.

    Let L be the loss of the best constant, and G the gradient of the loss there with respect to the weights of a linear
    model. A network of d layers whose weights have product P gains at most the smaller of L and P G, and its penalty
    is least if all layers are alike. So the gain never pays beyond

    - l1: G^(1/d) L^(1 - 1/d) / d, with G the largest entry: for d = 1 the largest strength of the lasso;
    - l2: (2/d) G^(2/d) L^(1 - 2/d), with G the largest singular value, for d of 2 or more. A linear model is never
      constant: its end is ten times the largest variance of the inputs along any direction.

    Args:
        name: ``"l1"`` or ``"l2"``.
        x: (n, D) inputs.
        y: (n, C) numbers, or classes as 0 and 1.
        task: what ``y`` is.
        layers: d.

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010, for d = 1.
    """
    if name == "l2" and layers == 1:
        return l2_max(x, y)
    power = (1 if name == "l1" else 2) / layers
    gain = l1_max(x, y) if name == "l1" else float(torch.linalg.matrix_norm(_gradient(x, y), ord=2))
    return float(power * gain**power * _loss_of_a_constant(y, task) ** (1 - power))


def _gradient(x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (D, C) at zero weights: there the intercept is the mean, or the classes' frequencies."""
    return x.T @ (y.mean(0) - y) / len(y)


def _loss_of_a_constant(y: Tensor, task: Task) -> float:
    shares = y.mean(0)
    return float(torch.special.entr(shares).sum() if task == "classification" else y.var(0, correction=0).sum() / 2)


def l1_max(x: Tensor, y: Tensor) -> float:
    """Return the smallest L1 strength at which a linear model with an intercept has no weight.

    At zero weights the intercept is the mean, or the classes' frequencies, so that both canonical losses have the same
    gradient there.

    Args:
        x: (n, D) inputs.
        y: (n, C) numbers, or classes as 0 and 1.

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010.
    """
    return float(L1(1.0).strength_max(_gradient(x, y)))


def l2_max(x: Tensor, _y: Tensor) -> float:
    """Return ten times the largest variance of the inputs along any direction; ``x`` is (n, D)."""
    centred = x - x.mean(0)
    return L2_MULTIPLE * float(torch.linalg.matrix_norm(centred, ord=2) ** 2) / len(x)
