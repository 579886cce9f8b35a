"""All that decides how a model is trained, apart from the model and the data; to YAML and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import nn
from torch.optim import Optimizer

from meden._checks import InputError, check_choice, one_line
from meden._files import FIELD, check_format, versioned, write_whole
from meden._settings import Settings
from meden.augment import Augmentation
from meden.edits import own_dropouts, set_dropout, takes_dropout
from meden.noise import derive, seed_noise
from meden.optim import Activity, Averaging, Regularizer, Schedule, Sharpness
from meden.penalties import L1, L2, ElasticNet
from meden.recipe import serialise
from meden.recipe.rates import FACTOR
from meden.recipe.yaml_text import PlainDumper, read_yaml
from meden.stopping import EarlyStopping
from meden.strengths import TOOLS, Strength, Value, convert

if TYPE_CHECKING:
    Regularizers = tuple[Regularizer, ...]
    Activities = tuple[Activity, ...]
    Augmentations = tuple[Augmentation, ...]
else:  # the validators below check them; pydantic cannot build a Penalty
    Regularizers = Activities = Augmentations = tuple[Any, ...]
OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]


class Recipe(Settings):
    """How to train: optimizer, learning rate, batches, epochs, and every regulariser.

    Args:
        optimizer: update rule: ``sgd``, ``adam``, ``adamw`` or ``rmsprop``. ``adam`` and ``adamw`` differ in nothing
            but name: decay is a regularizer's business here.
        lr: learning rate, above 0.
        lr_factors: what the rate of some tensors is multiplied by: ``{"biases": 2.0, "blocks.0.*": 0.5}``. Of the
            selectors, roles or name globs (:data:`meden.params.Selector`), the first that matches a tensor counts;
            others have 1. Layers near the input of a pretrained model may learn more slowly
            (:func:`meden.layerwise_factors`), and under ``adam`` the matrices of a model k times as wide learn at 1 / k
            of the rate (muP: G. Yang and others, Tensor programs V, 2022). Penalties act at each tensor's own rate;
            records show ``lr``.
        momentum: momentum of ``sgd`` and ``rmsprop``, in [0, 1).
        nesterov: Nesterov's momentum (``sgd`` with a momentum).
        betas: decay of the first and second moment of ``adam`` and ``adamw``, each in [0, 1).
        alpha: decay of the second moment of ``rmsprop``, in [0, 1).
        eps: added to the root of the second moment, above 0.
        epochs: passes over the fitting rows, or pieces of ``steps_per_epoch``, at most, 1 to 1,000,000; the schedule is
            laid out over them.
        steps_per_epoch: optimizer steps from one evaluation to the next, 1 or more; None is one pass over the fitting
            rows. Pass follows pass, also within an epoch; all that counts epochs, such as patience, counts these.
        eval_rows: fitting rows that are evaluated for each epoch's record, 1 or more: at most so many, a seeded sample;
            None is all.
        stop_after: end after so many epochs of the schedule, 1 or more; None goes on to ``epochs``. A refit stops where
            its folds did.
        batch_size: rows of a step: a number, 1 (stochastic) or ``"full"``. The rows of an epoch are cut into as
            few batches as that allows, which differ by a row at most.
        schedule: learning rate over time; the name of a kind is short for its default settings.
        clip_norm: the gradient's Euclidean norm is cut to this, above 0; None is no clipping.
        dropout: drop probability, in [0, 1), of the model's dropout layers, which are put in where it has none; None
            changes nothing.
        dropout_shape: over the depth: ``dropout`` in all layers (``constant``), or little at first and ``dropout`` in
            the last (``linear``), or the reverse (``funnel``), or most in the middle (``diamond``).
        rdrop: R-Drop: two passes over each batch, which draw other noise, and the mean of their losses plus this times
            (KL(p || q) + KL(q || p)) / 2 of what they predict (for regression half the squared difference). It doubles
            the work of a step; batch norm measures both passes; noise layers under ``torch.utils.checkpoint`` refuse,
            since they cannot tell them apart. The paper adds up the two losses: its alpha is twice this number, its
            gradient twice as long. Records show data losses without it. (L. Wu and others, R-Drop: regularized dropout
            for neural networks, 2021.)
        regularizers: penalties with their places and couplings.
        activity: penalties on what layers put out, with the layers; they join the loss.
        augment: augmentations of the fitting rows, in their order; no other rows ever meet them.
        averaging: evaluate and keep an average of the weights; ``"ema"`` or ``"swa"`` is short for its default
            settings.
        sharpness: take the gradient where the loss nearby is highest (SAM), which doubles the work of a step.
        early_stopping: when to stop before ``epochs``; the run then ends on its best state. None trains to the end.

    Example:
        >>> recipe = Recipe(optimizer="sgd", lr=0.1, momentum=0.9, regularizers=[Regularizer(L1(1e-4))])
        >>> Recipe.from_dict(recipe.to_dict()) == recipe
        True
    """

    optimizer: OptimizerName = "adamw"
    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    lr_factors: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = Field(default=0.99, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0, allow_inf_nan=False)
    epochs: int = Field(default=50, ge=1, le=1_000_000)
    steps_per_epoch: int | None = Field(default=None, ge=1)
    eval_rows: int | None = Field(default=None, ge=1)
    stop_after: int | None = Field(default=None, ge=1)
    batch_size: int | Literal["full"] = 32
    schedule: Schedule = Schedule()
    clip_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    dropout_shape: Literal["constant", "linear", "funnel", "diamond"] = "constant"
    rdrop: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    regularizers: Regularizers = ()
    activity: Activities = ()
    augment: Augmentations = ()
    averaging: Averaging | None = None
    sharpness: Sharpness | None = None
    early_stopping: EarlyStopping | None = None

    @field_validator("batch_size", mode="before")
    @classmethod
    def _batch_size(cls, value: Any) -> Any:
        if value != "full" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"Recipe batch_size must be an integer of at least 1 or 'full', got {value!r}")
        return value

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise InputError(f"Recipe betas must be two numbers in [0, 1), got {value!r}")
        return value

    @field_validator("schedule", "averaging", mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("lr_factors", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        """Join what :meth:`to_dict` writes: a list of mappings, since their order counts."""
        listed = isinstance(value, (list, tuple)) and all(isinstance(part, Mapping) for part in value)
        return {name: factor for part in value for name, factor in part.items()} if listed else value

    @field_validator(*serialise.LISTS, mode="before")
    @classmethod
    def _lists(cls, value: Any, info: ValidationInfo) -> tuple[Any, ...]:
        return serialise.listed(str(info.field_name), value, {})

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise InputError("Recipe nesterov needs optimizer 'sgd' and a momentum above 0")
        if self.dropout_shape != "constant" and self.dropout is None:
            raise InputError(f"Recipe dropout_shape {self.dropout_shape!r} needs a dropout, got None")
        if self.momentum and self.optimizer in ("adam", "adamw"):
            raise InputError(
                f"Recipe momentum is for sgd and rmsprop ({self.optimizer} has betas), got {self.momentum!r}"
            )
        return self

    @property
    def adaptive(self) -> bool:
        """Whether the update rule divides the gradient coordinate by coordinate."""
        return self.optimizer != "sgd"

    @property
    def last_epoch(self) -> int:
        """The epoch after which training ends if nothing stops it before."""
        return self.epochs if self.stop_after is None else min(self.epochs, self.stop_after)

    def shortened(self, last_epoch: int) -> Recipe:
        """Return the recipe that ends after so many epochs, 1 or more, at the same place of its schedule.

        Example:
            >>> Recipe(epochs=100, stop_after=50).shortened(10).epochs
            20
        """
        if last_epoch == self.last_epoch:
            return self
        if self.last_epoch == self.epochs:
            return self.replace(epochs=last_epoch, stop_after=None)
        epochs = max(last_epoch, round(self.epochs * last_epoch / self.last_epoch))
        return self.replace(epochs=epochs, stop_after=last_epoch)

    def strengths_in(self, tool: str, *, n: float | None = None, loss: str = "half_mse") -> dict[str, Value | str]:
        """Return the strengths of the regularizers in another tool's units, by label.

        Args:
            tool: one of :data:`meden.strengths.TOOLS`, such as ``"keras.L2"`` or ``"sklearn.Ridge"``.
            n: rows trained on, for tools whose number depends on it.
            loss: what the other tool's user minimises, as in :func:`meden.convert`.

        Returns:
            What the tool would be given, or a sentence where it has no such number.

        Raises:
            InputError: if the tool is not known.

        Example:
            >>> recipe = Recipe(regularizers=[Regularizer(L2(0.01), coupling="proximal")])
            >>> recipe.strengths_in("sklearn.Ridge", n=100)
            {'L2(weights)': 1.0}
        """
        check_choice("tool", tool, TOOLS)
        size = None if self.batch_size == "full" else self.batch_size
        strengths: dict[str, Value | str] = {}
        for regularizer in self.regularizers:
            try:
                canonical = _canonical(regularizer)
                strengths[regularizer.label] = convert(
                    canonical, source="canonical", to=tool, n=n, batch_size=size, lr=self.lr, loss=loss
                )
            except InputError as error:
                strengths[regularizer.label] = str(error)
        return strengths

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that YAML and JSON can hold; fields at their defaults are left out.

        Raises:
            InputError: if a regularizer holds what a file cannot: a tensor, a layer type, a function.
        """
        lists = {
            "lr_factors": [{name: factor} for name, factor in self.lr_factors.items()],
            "regularizers": [serialise.regularizer_to_dict(item) for item in self.regularizers],
            "activity": [serialise.activity_to_dict(item) for item in self.activity],
            "augment": [serialise.augmentation_to_dict(item) for item in self.augment],
        }
        fields = self.model_dump(mode="json", exclude_defaults=True, exclude=set(lists))
        return fields | {name: items for name, items in lists.items() if items}

    @classmethod
    def from_dict(
        cls,
        fields: Mapping[str, Any],
        *,
        newer: bool = False,
        penalties: Mapping[str, type[Any]] | None = None,
        augmentations: Mapping[str, type[Augmentation]] | None = None,
    ) -> Self:
        """Rebuild from :meth:`to_dict`, or from what a person wrote.

        Args:
            fields: names to values.
            newer: whether a newer minor version wrote them, whose unknown fields are ignored wherever they are.
            penalties: penalties of your own by the names of their classes in ``fields``: ``{"Mine": Mine}``.
            augmentations: the same for augmentations.

        Raises:
            InputError: for an unknown field or class (with the nearest name) or a value out of range.
        """
        if not isinstance(fields, Mapping):
            raise InputError(f"a recipe must be a mapping of fields to values, got {fields!r}")
        penalties, augmentations = penalties or {}, augmentations or {}
        serialise.check_classes(penalties, serialise.PENALTY, serialise.ACTIVITY)
        serialise.check_classes(augmentations, serialise.AUGMENTATION)
        given = cls.known(fields) if newer else {str(name): value for name, value in fields.items()}
        for name in serialise.LISTS:
            if name in given:
                own = augmentations if name == "augment" else penalties
                given[name] = serialise.listed(name, given[name], own, newer=newer)
        return cls(**given)

    def save(self, path: Path | str) -> None:
        """Write YAML, with the version of its format."""
        write_whole(Path(path), self.to_yaml().encode())

    def to_yaml(self) -> str:
        """Return the text of the file that :meth:`save` writes.

        Raises:
            InputError: if it holds what no file can: a tensor, a layer type, a function.
        """
        text: str = yaml.dump(versioned(self.to_dict()), Dumper=PlainDumper, sort_keys=False)
        return text

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        penalties: Mapping[str, type[Any]] | None = None,
        augmentations: Mapping[str, type[Augmentation]] | None = None,
    ) -> Self:
        """Read YAML, of :meth:`save` or written by a person.

        Args:
            path: of the file.
            penalties: penalties of your own by the names of their classes in the file: ``{"Mine": Mine}``.
            augmentations: the same for augmentations.

        Raises:
            InputError: if the file is missing, is no YAML, is of a newer major version, or holds a wrong field or an
                unknown class; only a file of a newer minor version may hold fields that this one does not know.
        """
        try:
            fields = read_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"recipe {str(path)!r} cannot be read: {one_line(error)}") from None
        newer = False
        if isinstance(fields, Mapping) and FIELD in fields:
            newer = check_format(fields[FIELD], path, oldest=1)
            fields = {name: value for name, value in fields.items() if name != FIELD}
        return cls.from_dict(fields or {}, newer=newer, penalties=penalties, augmentations=augmentations)


def _canonical(regularizer: Regularizer) -> Strength:
    penalty = regularizer.penalty
    if isinstance(penalty, L1):
        return Strength(l1=float(penalty.strength))
    if isinstance(penalty, L2):
        return Strength(l2=float(penalty.strength))
    if isinstance(penalty, ElasticNet):
        l1, l2 = penalty.parts
        return Strength(l1=float(l1.strength), l2=float(l2.strength))
    raise InputError(f"{type(penalty).__name__} has no counterpart in other tools")


def make_optimizer(
    recipe: Recipe, params: Iterable[nn.Parameter], factors: Mapping[nn.Parameter, float] | None = None
) -> Optimizer:
    """Return the torch optimizer of a recipe, without any decay of its own.

    Args:
        recipe: which, and its settings.
        params: what it trains.
        factors: of the learning rate, see :func:`meden.recipe.rates.lr_factors_of`; each has a parameter group.
    """
    params, factors = list(params), factors or {}
    by_factor: dict[float, list[nn.Parameter]] = {}
    for param in params:
        by_factor.setdefault(factors.get(param, 1.0), []).append(param)
    groups = [{"params": own, "lr": recipe.lr * factor, FACTOR: factor} for factor, own in by_factor.items()]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, recipe.lr, recipe.alpha, recipe.eps, momentum=recipe.momentum)
    make: Callable[..., Optimizer] = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in params)  # one pass, not ten
    return make(groups, recipe.lr, recipe.betas, recipe.eps, weight_decay=0.0, fused=fused or None)


def prepare_noise(model: nn.Module, recipe: Recipe, seed: int) -> None:
    """Make all randomness inside a model a function of ``seed``, and set the recipe's dropout, in place.

    Warns if the recipe has dropout and the model, such as one without a hidden layer, has no place for it.
    """
    own_dropouts(model)
    if recipe.dropout is not None and takes_dropout(model):
        set_dropout(model, recipe.dropout, shape=recipe.dropout_shape)
    elif recipe.dropout:
        warnings.warn(
            f"dropout={recipe.dropout:g} has no effect on a {type(model).__name__} that has neither a dropout "
            "layer nor an nn.Linear after its first layer in front of which dropout could be inserted",
            stacklevel=2,
        )
    seed_noise(model, derive(seed, "noise"))
