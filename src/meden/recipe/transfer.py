"""A recipe that was found at one scale, written for another."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn

from meden._checks import InputError, check_choice, check_count
from meden.axes import axes, owners
from meden.data import num_batches
from meden.data.batches import BatchSize
from meden.optim import Averaging, Regularizer, StrengthSchedule
from meden.params import Site, check_module, role, select_sites, tensors
from meden.penalties import L1, L2, ElasticNet, Penalty, PullTo, Scaled, Sum
from meden.recipe.recipe import Recipe
from meden.strengths import AdaptiveSettings, square_root_rule

BatchRule = Literal["square_root", "fixed"]
_RULES = ("square_root", "fixed")
_SAME = 1e-12


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What differs between two runs of one recipe; fields that are left out stay the same.

    Args:
        model: the model of that scale, trained or not; one on torch's meta device takes no memory. Its shapes alone
            are looked at.
        rows: fitting rows of that scale (windows of a text), 1 or more.
        batch_size: as in a :class:`meden.Recipe`; None is the recipe's own.

    Raises:
        InputError: if one is out of range.

    Example:
        >>> Scale(rows=1000, batch_size=8)
        Scale(rows=1000, batch_size=8)
    """

    model: nn.Module | None = field(default=None, repr=False)
    rows: int | None = None
    batch_size: BatchSize | None = None

    def __post_init__(self) -> None:
        if self.model is not None:
            check_module(self.model)
        if self.rows is not None:
            check_count("rows", self.rows)
        if self.batch_size is not None:
            num_batches(1, self.batch_size)


def transfer(recipe: Recipe, *, from_: Scale, to: Scale, batch_rule: BatchRule = "square_root") -> Recipe:
    """Transfer a recipe from one scale, such as a search on a small model, to another.

    ================== ===============================================================================================
    what               what becomes of it
    ================== ===============================================================================================
    width              each matrix learns at 1 / k of the rate, k being how many times as many inputs a unit of it has
                       (muP, for Adam and RMSprop); embeddings, biases and norms at the rate itself: ``lr_factors``
    batch_size         ``lr`` times sqrt(k), 1 - beta times k, ``eps`` by sqrt(k) (``"square_root"``), or all as it was
    decoupled decay    its time constant in epochs is kept, of each tensor: strength * rate * steps of a pass. Where its
                       tensors come to differ, a regularizer becomes several
    other penalties    kept: the objective is a mean over rows, and so is the same for any number of them
    what counts steps  goes on counting epochs: ``steps_per_epoch``, strength schedules, the decay of ``"ema"``
    dropout, the rest  kept
    ================== ===============================================================================================

    What is the model's is not in a recipe: muP wants the output layer to start with a standard deviation of 1 / width
    (or outputs times 1 / width; 1 / sqrt(width) is usual), and more heads, not larger ones, in a wider model.
    For a width, penalties of the objective, ``activity``, ``clip_norm`` and ``sharpness`` have no rule: they are kept,
    and a warning names them.

    This is a first guess, to be checked at full size between neighbours of a third and three times the strength. The
    best time constant is nearly stable, not a law: over large language models it falls as a power of tokens per
    parameter (S. Bergsma and others, 2025), and where text repeats many times the best decay rose with size (0.8, 1.6,
    3.2, 3.2 for 150 million to 1.4 billion parameters: K. Kim and others, 2025). Whether decay transfers under muP is
    not settled.

    Args:
        recipe: found at the scale ``from_``.
        from_: that scale; model and rows are given for both scales or for neither.
        to: the other one. Its model has the same tensors in other sizes: depths are not transferred.
        batch_rule: ``"square_root"`` (for gradients in which noise rules) or ``"fixed"``.

    Returns:
        The recipe for ``to``; transferred back, each tensor's rate and strengths are the first ones, up to rounding.

    Raises:
        InputError: for sgd with another width (muP's rates for it are others) or the square-root rule, models of other
            tensors, a matrix of which it is not known what its inputs are, and scales that contradict the recipe.

    Example:
        >>> import torch, meden
        >>> make = lambda width: meden.models.CausalTransformer(16, 50, width=width, num_heads=width // 16)
        >>> with torch.device("meta"):
        ...     small, large = (Scale(model=make(width)) for width in (32, 128))
        >>> recipe = Recipe(lr=0.01, regularizers=[Regularizer(L2(0.5))])
        >>> wide = transfer(recipe, from_=small, to=large)
        >>> dict(wide.lr_factors), wide.regularizers[0].penalty
        ({'weights': 0.25}, L2(strength=2.0))

    Reference:
        G. Yang and others, Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer, 2022.
        X. Wang and L. Aitchison, How to set AdamW's weight decay as you scale model and dataset size, 2024.
        S. Malladi and others, On the SDEs and scaling rules for adaptive gradient algorithms, 2022.
        S. Bergsma and others, Power lines: scaling laws for weight decay and batch size in LLM pre-training, 2025.
        K. Kim and others, Pre-training under infinite compute, 2025.
    """
    before, after = _check(recipe, from_, to, batch_rule)
    steps = _steps_growth(from_.rows, to.rows, before, after)
    moved = recipe.replace(batch_size=after, **_by_batch(recipe, _batch_growth(from_, to, before, after), batch_rule))
    ratios = _rate_ratios(from_.model, to.model) if from_.model is not None and to.model is not None else {}
    if any(ratio != 1 for ratio in ratios.values()):
        if not recipe.adaptive:
            raise InputError("optimizer must be adam, adamw or rmsprop where the width changes, got 'sgd'")
        assert to.model is not None
        moved = moved.replace(lr_factors=_factors(to.model, recipe.lr_factors, ratios))
        _say_kept(recipe)
    rate = moved.lr / recipe.lr
    regularizers = [
        part
        for regularizer in recipe.regularizers
        for part in _regularizers(regularizer, recipe.adaptive, to.model, ratios, steps, rate)
    ]
    per_epoch = None if recipe.steps_per_epoch is None else max(1, round(recipe.steps_per_epoch * steps))
    return moved.replace(
        regularizers=regularizers, steps_per_epoch=per_epoch, averaging=_averaging(recipe.averaging, steps)
    )


def _check(recipe: Recipe, from_: Scale, to: Scale, batch_rule: str) -> tuple[BatchSize, BatchSize]:
    """Return the batch sizes of both scales."""
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe must be a meden.Recipe, got {type(recipe).__name__}")
    for name, scale in (("from_", from_), ("to", to)):
        if not isinstance(scale, Scale):
            raise InputError(f"{name} must be a meden.Scale, got {scale!r}")
    for name in ("model", "rows"):
        if (getattr(from_, name) is None) != (getattr(to, name) is None):
            missing = "from_" if getattr(from_, name) is None else "to"
            raise InputError(f"{name} must be given for both scales or for neither, got none for {missing}")
    if from_.batch_size not in (None, recipe.batch_size):
        raise InputError(
            f"from_ batch_size must be the recipe's, {recipe.batch_size!r}, or left out, got {from_.batch_size!r}"
        )
    check_choice("batch_rule", batch_rule, _RULES)
    return recipe.batch_size, recipe.batch_size if to.batch_size is None else to.batch_size


def _steps_growth(rows_before: int | None, rows_after: int | None, before: BatchSize, after: BatchSize) -> float:
    """Return how many times as many steps a pass over the rows has."""
    if rows_before is not None and rows_after is not None:
        return num_batches(rows_after, after) / num_batches(rows_before, before)
    if before == after:
        return 1.0
    if before == "full" or after == "full":
        raise InputError(f"rows must be given for both scales when batches are or become 'full', got {after!r}")
    return before / after


def _batch_growth(from_: Scale, to: Scale, before: BatchSize, after: BatchSize) -> float | None:
    """Return how many times as many rows a batch has; None where one scale has no sampling noise."""
    if before == after:
        return 1.0
    if before == "full" or after == "full":
        return None
    return min(after, to.rows or after) / min(before, from_.rows or before)


def _by_batch(recipe: Recipe, growth: float | None, batch_rule: str) -> dict[str, Any]:
    """Return the fields of an optimizer that follow the batch."""
    if batch_rule == "fixed" or growth == 1:
        return {}
    if growth is None:
        raise InputError("batch_rule must be 'fixed' when batches are or become 'full', got 'square_root'")
    if not recipe.adaptive:
        raise InputError("batch_rule must be 'fixed' for sgd, got 'square_root', which is for adaptive optimizers")
    is_rmsprop = recipe.optimizer == "rmsprop"
    settings = AdaptiveSettings(recipe.lr, (recipe.alpha,) if is_rmsprop else recipe.betas, recipe.eps)
    try:
        scaled = square_root_rule(settings, growth)
    except InputError as error:
        raise InputError(f"batch_rule must be 'fixed' for this change of batch_size: {error}") from None
    moments = {"alpha": scaled.betas[0]} if is_rmsprop else {"betas": scaled.betas}
    return {"lr": scaled.lr, "eps": scaled.eps, **moments}


def _rate_ratios(small: nn.Module, large: nn.Module) -> dict[str, float]:
    """Return what muP multiplies each tensor's rate by: matrices have the ratio of their units' inputs."""
    before, after = ({sites[0].name: sites for sites in tensors(model)} for model in (small, large))
    for name in (*before, *after):
        if name not in before or name not in after:
            only = "from_" if name in before else "to"
            raise InputError(f"models must have the same tensors (depth is not transferred), got {name} only in {only}")
    owned = (owners(small), owners(large))
    return {name: _ratio(name, (before[name], after[name]), owned) for name in after}


def _ratio(
    name: str, places: tuple[tuple[Site, ...], tuple[Site, ...]], owned: tuple[Mapping[int, nn.Module], ...]
) -> float:
    if role(places[1]) != "weight" or places[0][0].param.shape == places[1][0].param.shape:
        return 1.0
    if places[1][0].made is not None:
        raise InputError(
            f"models must not have parametrised matrices of different width, which muP does not cover: {name}"
        )
    before, after = (_num_inputs(name, *pair) for pair in zip(places, owned, strict=True))
    return before / after


def _num_inputs(name: str, sites: tuple[Site, ...], owned: Mapping[int, nn.Module]) -> int:
    """Return the numbers that a unit of a matrix reads."""
    known, param = axes(sites, owned), sites[0].param
    if "units" in known:
        return param.numel() // param.shape[known["units"]]
    if "inputs" in known:
        return param.shape[known["inputs"]]
    leaf = name.rpartition(".")[2]
    raise InputError(
        f'models must declare which axis of {name} {tuple(param.shape)} counts inputs, as {leaf}_axes = {{"units": '
        f'0, "inputs": 1}} in its layer {type(sites[0].module).__name__}'
    )


def _factors(model: nn.Module, old: Mapping[str, float], ratios: Mapping[str, float]) -> dict[str, float]:
    """Return ``lr_factors`` times ``ratios``: what differs from its selector's most common factor stands before it."""
    written: dict[str, float] = {}
    taken: set[str] = set()
    for selector in (*old, "weights"):
        own = {
            name: old.get(selector, 1.0) * ratios[name] for name in select_sites(model, selector) if name not in taken
        }
        if own:
            taken |= own.keys()
            [(common, _)] = Counter(own.values()).most_common(1)
            written |= {name: factor for name, factor in own.items() if factor != common} | {selector: common}
    return _shortest(model, written)


def _shortest(model: nn.Module, factors: Mapping[str, float]) -> dict[str, float]:
    """Leave out what those after it, or 1, say as well."""
    kept: dict[str, float] = {}
    said: dict[str, float] = {}
    for selector, factor in reversed(list(factors.items())):
        own = select_sites(model, selector)
        if not all(math.isclose(factor, said.get(name, 1.0), rel_tol=_SAME) for name in own):
            kept, said = {selector: factor} | kept, said | dict.fromkeys(own, factor)
    return kept


def _regularizers(
    regularizer: Regularizer,
    adaptive: bool,
    model: nn.Module | None,
    ratios: Mapping[str, float],
    steps: float,
    rate: float,
) -> Iterator[Regularizer]:
    """Yield what becomes of a regularizer: decay apart from an adaptive optimizer keeps its time constant in epochs."""
    regularizer = replace(regularizer, schedule=_schedule(regularizer.schedule, steps))
    if not adaptive or regularizer.resolve(adaptive=adaptive) != "decoupled":
        yield regularizer
        return
    names = {} if model is None or not ratios else select_sites(model, regularizer.on)
    groups: dict[float, list[str]] = {}
    for name in names:
        groups.setdefault(ratios[name], []).append(name)
    for ratio, own in (groups or {1.0: []}).items():
        on = regularizer.on if len(groups) < 2 else tuple(own)
        yield replace(regularizer, penalty=_times(regularizer.penalty, 1 / (ratio * steps * rate)), on=on)


def _times(penalty: Penalty, factor: float) -> Penalty:
    """Return a penalty of ``factor`` times the strength."""
    if isinstance(penalty, L1 | L2 | ElasticNet):
        return replace(penalty, strength=penalty.strength * factor)
    if isinstance(penalty, PullTo):
        return PullTo(_times(penalty.penalty, factor), penalty.target)
    if isinstance(penalty, Sum):
        return Sum(tuple(_times(part, factor) for part in penalty.parts))
    inner, old = (penalty.penalty, penalty.scale) if isinstance(penalty, Scaled) else (penalty, 1.0)
    return inner if math.isclose(old * factor, 1.0, rel_tol=_SAME) else Scaled(inner, old * factor)


def _schedule(schedule: StrengthSchedule | None, steps: float) -> StrengthSchedule | None:
    if schedule is None:
        return None
    return schedule.replace(start=round(schedule.start * steps), end=round(schedule.end * steps))


def _averaging(averaging: Averaging | None, steps: float) -> Averaging | None:
    """Return the average over as many epochs as before."""
    if averaging is None or averaging.kind == "swa" or steps == 1:
        return averaging
    decay = 1 - (1 - averaging.decay) / steps
    if decay <= 0:
        raise InputError(
            f"averaging must span at least one step at the target scale, got decay={averaging.decay:g} with "
            f"{steps:.3g} times as many steps per epoch"
        )
    return averaging.replace(decay=decay)


def _say_kept(recipe: Recipe) -> None:
    """Warn of what is kept though no rule is known for another width."""
    kept = [r.label for r in recipe.regularizers if r.resolve(adaptive=recipe.adaptive) != "decoupled"]
    kept += [activity.label for activity in recipe.activity]
    kept += [name for name in ("clip_norm", "sharpness") if getattr(recipe, name) is not None]
    if kept:
        warnings.warn(f"no rule for another width is known, unchanged: {', '.join(kept)}", stacklevel=3)
