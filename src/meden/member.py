"""One model of a population: recipe, fold, seed and the arguments its model is made with."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from meden._checks import InputError, check_count, nearest
from meden._randomness import own_randomness
from meden._shown import ShownFields
from meden.data import Dataset, Encoder, Fold, Pair, splits_hash
from meden.data.arrays import Arrays
from meden.data.tables import Table
from meden.data.targets import IGNORED
from meden.models.named import fixed_arguments, model_name
from meden.noise import derive
from meden.objective import on_device
from meden.recipe import Recipe
from meden.trainable import check_plain, give_shapes, unwrapped

ModelMaker = Callable[..., nn.Module]
"""Returns a fresh model; arguments called ``num_inputs`` and ``num_outputs`` are filled in from the data."""


@dataclass(frozen=True, eq=False, repr=False)
class Member(ShownFields):
    """What distinguishes one run from the others.

    Members that share fold and seed share starting weights (if their shapes agree) and batch order, so that their
    differences are paired.

    Args:
        recipe: how it is trained.
        fold: which rows fit, decide when to stop, and score; None fits all rows.
        seed: of weights, batches and noise, 0 or more.
        model_args: arguments that its model is made with, by name.
        start: state dict that training starts from, in place of the weights that ``seed`` would draw.
        newest: whether the scored rows are also given to the newest state, if another one is kept.
        keep_losses: whether the loss of each fitting row, and of each row of the stop split, is kept too, at the state
            that is.
    """

    recipe: Recipe
    fold: Fold | None = None
    seed: int = 0
    model_args: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Tensor] | None = None
    newest: bool = False
    keep_losses: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, Recipe):
            raise InputError(f"member recipe must be a meden.Recipe, got {self.recipe!r}")
        if not isinstance(self.fold, Fold | None):
            raise InputError(f"member fold must be a meden.data.Fold or None, got {self.fold!r:.80}")
        check_count("member seed", self.seed, low=0)
        if not isinstance(self.model_args, Mapping):
            raise InputError(f"member model_args must be a mapping of names to values, got {self.model_args!r:.80}")
        tensors = self.start.values() if isinstance(self.start, Mapping) else [self.start]
        if self.start is not None and not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise InputError(f"member start must be a state dict of tensors or None, got {self.start!r:.80}")

    @functools.cached_property
    def run_seed(self) -> int:
        """The seed of this member's weights, batches and noise: a function of its fold's rows and its seed alone."""
        return derive(self.seed, "all rows" if self.fold is None else splits_hash([self.fold]))


@dataclass(frozen=True, eq=False)
class EncodedData:
    """The data of one fold, encoded by what its fitting rows showed.

    ``x`` (n, ...) and ``y`` (n, ...) hold all rows, so that members index into one tensor.
    """

    encoder: Encoder
    x: Tensor
    y: Tensor
    beside: Pair | None = None
    """All encodings of this width behind each other, of which ``x`` and ``y`` are a part; None is these alone."""
    first: int = 0
    """Where they begin there."""

    @property
    def together(self) -> Pair:
        """The tensors that members of all folds of this width index into."""
        return self.beside or (self.x, self.y)


KEPT_BYTES = 2**26
"""Of the encoded folds of a data set that are kept for the next call."""
_ENCODED: WeakKeyDictionary[Dataset, tuple[tuple[Fold | None, ...], dict[Fold | None, EncodedData]]] = (
    WeakKeyDictionary()
)


def encode_folds(dataset: Dataset, folds: Sequence[Fold | None]) -> dict[Fold | None, EncodedData]:
    """Encode a data set once for each distinct fold: how many inputs a table has, its fitting rows alone decide.

    Arrays are the same for every fold, and are held once. What a table's folds became is kept with it while that is
    small: every round of a search asks for it again, and thousands of columns take longer to encode than to train on.
    """
    wanted = tuple(dict.fromkeys(folds))
    before, shares = _ENCODED.get(dataset, ((), {}))
    if before != wanted:
        shares = _encoded(dataset, wanted)
        size = sum(share.x.nbytes + share.y.nbytes for share in shares.values())
        if isinstance(dataset.inputs, Table) and size <= KEPT_BYTES:
            _ENCODED[dataset] = wanted, shares
    return dict(shares)


def _encoded(dataset: Dataset, folds: Sequence[Fold | None]) -> dict[Fold | None, EncodedData]:
    rows = range(dataset.num_rows)
    encoders = {f: dataset.fit_encoder(rows if f is None else f.fit) for f in folds}
    first = next(iter(encoders.values()))
    if all(encoder == first for encoder in encoders.values()):
        share = _encode(dataset, first)
        return {fold: replace(share, encoder=encoder) for fold, encoder in encoders.items()}
    widths: dict[int, dict[Fold | None, Encoder]] = {}
    for fold, encoder in encoders.items():
        widths.setdefault(encoder.num_inputs, {})[fold] = encoder
    shares: dict[Fold | None, EncodedData] = {}
    for alike in widths.values():
        shares |= _behind_each_other(dataset, alike)
    return {fold: shares[fold] for fold in encoders}


def _behind_each_other(dataset: Dataset, encoders: Mapping[Fold | None, Encoder]) -> dict[Fold | None, EncodedData]:
    """Encode a data set by encoders of one width into one pair of tensors; no encoding is held twice."""
    shares: dict[Fold | None, EncodedData] = {}
    both: Pair | None = None
    for number, (fold, encoder) in enumerate(encoders.items()):
        own, first = _encode(dataset, encoder), number * dataset.num_rows
        if both is None:
            sizes = [(len(encoders) * len(part), *part.shape[1:]) for part in (own.x, own.y)]
            both = own.x.new_empty(sizes[0]), own.y.new_empty(sizes[1])
        x, y = (part[first : first + dataset.num_rows] for part in both)
        x.copy_(own.x), y.copy_(own.y)
        shares[fold] = EncodedData(encoder, x, y, both, first)
    return shares


def constant_loss(dataset: Dataset) -> float:
    """Return the loss of the best constant model for all rows: the entropy of classes, half the variance of numbers.

    It is NaN where nothing is known of the rows.

    Several answers of a row count as in the data loss: a mean over labels, a sum over numbers. Rows count by weight.

    Example:
        >>> from meden.data import as_dataset
        >>> round(constant_loss(as_dataset("iris")), 3)  # log(3)
        1.099
    """
    if dataset.task == "losses":
        return math.nan
    columns = dataset.labels.reshape(dataset.num_rows, -1).T
    weights = np.ones(dataset.num_rows) if dataset.weights is None else dataset.weights
    if dataset.task == "classification":
        from scipy.stats import entropy

        kept = columns != IGNORED
        told = [place for place in range(len(columns)) if kept[place].any()]
        each = [entropy(np.bincount(columns[place][kept[place]], weights[kept[place]])) for place in told]
        return float(weights.mean() * np.average(each, weights=kept.sum(1)[told]))
    if isinstance(dataset.inputs, Table):  # whose targets are standardised
        spread = columns.std(axis=1, keepdims=True)
        columns = columns / np.where(spread > 0, spread, 1.0)
    means = np.average(columns, axis=1, weights=weights, keepdims=True)
    return float((weights * (columns - means) ** 2).mean(axis=1).sum()) / 2


def check_member(make_model: ModelMaker, num_rows: int, member: Member) -> None:
    """Check what can be checked without making a model.

    Raises:
        InputError: if the fold has rows the data set has not, or none to fit; if rows of a stop split are needed and
            there are none; or if ``make_model`` has no such argument as the member gives it.
    """
    fold, recipe = member.fold, member.recipe
    if fold is not None:
        parts = np.concatenate([fold.fit, fold.stop, fold.score])
        if len(fold.fit) == 0 or parts.min() < 0 or parts.max() >= num_rows:
            raise InputError(f"member fold must hold rows 0 to {num_rows - 1}, including some to fit, got {fold!r:.80}")
    if fold is None or len(fold.stop) == 0:
        for name, needed in (("early_stopping", recipe.early_stopping), ("plateau", recipe.schedule.kind == "plateau")):
            if needed:
                raise InputError(f"member fold must have a stop split for a recipe with {name}, got none")
    wanted = inspect.signature(make_model).parameters
    takes_all = any(argument.kind is argument.VAR_KEYWORD for argument in wanted.values())
    for name in () if takes_all else member.model_args:
        if name not in wanted:
            known = ", ".join(wanted)
            raise InputError(
                f"make_model must accept the arguments in model_args ({known}), got {name!r}{nearest(name, wanted)}"
            )


def build_model(make_model: ModelMaker, share: EncodedData, dataset: Dataset, member: Member) -> nn.Module:
    """Make a member's model with its own starting weights, see :func:`start_model`."""
    return start_model(make_model, model_arguments(make_model, share, dataset, member), member, share.x[:2])


def start_model(make_model: ModelMaker, arguments: Mapping[str, Any], member: Member, x: Tensor) -> nn.Module:
    """Make a model with the member's own starting weights; the global generators are left as they were.

    Args:
        make_model: called with ``arguments``.
        arguments: what the model is made with.
        member: whose seed, or start, gives the weights.
        x: (B, ...) a row or two, by which lazy layers get their shapes.

    Raises:
        InputError: if ``make_model`` returns no module, or one that cannot be trained, or ``start`` does not fit it.
    """
    with own_randomness(derive(member.run_seed, "weights")):
        model = make_model(**arguments)
        if not isinstance(model, nn.Module):
            raise InputError(f"make_model must return a torch.nn.Module, got {type(model).__name__}")
        model = unwrapped(model)
        check_plain(model)
        give_shapes(model, on_device(x, model))
    if member.start is not None:
        _check_start(model, member.start)
        model.load_state_dict(member.start, strict=False)
    return model


def _check_start(model: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Check that a start has the model's names and shapes."""
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    given = {name: tuple(tensor.shape) for name, tensor in start.items()}
    for name in (*wanted, *given):
        if name not in given:
            raise InputError(f"member start must have the model's tensors ({', '.join(wanted)}), but lacks {name!r}")
        if name not in wanted:
            raise InputError(f"member start must have only the model's tensors, got {name!r}{nearest(name, wanted)}")
        if wanted[name] != given[name]:
            raise InputError(f"member start {name!r} must be of shape {wanted[name]}, got {given[name]}")


def as_taken(make_model: ModelMaker, dataset: Dataset, member: Member) -> Dataset:
    """Return a data set of whole numbers as floats if the model takes only these; any other as it is.

    A model of tokens looks whole numbers up, and takes them; layers of numbers refuse them. That is tried on two rows.
    """
    inputs = dataset.inputs
    if not isinstance(inputs, Arrays) or inputs.as_floats or inputs.x.is_floating_point():
        return dataset
    floats = replace(dataset, inputs=replace(inputs, as_floats=True))
    return next((data for data in (dataset, floats) if _takes(make_model, data, member)), dataset)


def _takes(make_model: ModelMaker, dataset: Dataset, member: Member) -> bool:
    encoder, rows = dataset.fit_encoder(range(dataset.num_rows)), np.arange(min(2, dataset.num_rows))
    share = EncodedData(encoder, dataset.features(encoder, rows), dataset.targets(encoder, rows))
    with torch.no_grad():
        try:
            model = build_model(make_model, share, dataset, member).eval()
            model(share.x.to(next((p.device for p in model.parameters()), share.x.device)))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False  # what is wrong is said where the model is trained
    return True


def model_arguments(make_model: ModelMaker, share: EncodedData, dataset: Dataset, member: Member) -> dict[str, Any]:
    """Return what a member's model is made with: its own arguments, and those the data decide."""
    given = {"num_inputs": share.encoder.num_inputs, "num_outputs": dataset.num_outputs}
    return known_arguments(make_model, given, member)


def made_with(make_model: ModelMaker, share: EncodedData, dataset: Dataset, member: Member) -> dict[str, Any]:
    """Return what a run says of where its model came from, see :func:`model_origin`."""
    return model_origin(make_model, model_arguments(make_model, share, dataset, member))


def model_origin(make_model: ModelMaker, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's name, if it is one of meden's own, and all the arguments it was made with."""
    name = model_name(make_model)
    fixed = {} if name is None else fixed_arguments(make_model)
    return {"model_name": name, "model_args": fixed | dict(arguments)}


def known_arguments(make_model: ModelMaker, given: Mapping[str, Any], member: Member) -> dict[str, Any]:
    """Return a member's own arguments, and those given by the data that ``make_model`` takes."""
    wanted = inspect.signature(make_model).parameters
    return {name: value for name, value in given.items() if name in wanted} | dict(member.model_args)


def _encode(dataset: Dataset, encoder: Encoder) -> EncodedData:
    rows = torch.arange(dataset.num_rows).numpy()
    return EncodedData(encoder, dataset.features(encoder, rows), dataset.targets(encoder, rows))
