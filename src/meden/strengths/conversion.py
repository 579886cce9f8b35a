"""Conversions of a strength between tools, and between numbers of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meden._checks import InputError, check_choice, check_count, check_number
from meden.strengths.quantities import Strength, Value
from meden.strengths.scale import time_constant
from meden.strengths.tools import LOSSES, Tool, find_tool

_SOLVERS = ("adam", "sgd", "lbfgs")
_NEEDED = {
    "n": "n, the number of training rows (the sum of sample weights),",
    "batch_size": "batch_size, the rows of a step (scikit-learn's 'auto' is min(200, n)),",
    "loss": "n, or batch_size, over whose rows the loss is summed,",
    "lr": "lr, the learning rate,",
    "lr_max": "lr_max, the initial or largest learning rate (lr, where it is constant),",
}


def convert(
    value: Any,
    *,
    source: str,
    to: str,
    n: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    lr_max: float | None = None,
    loss: str = "half_mse",
    solver: str = "adam",
    l1_ratio: float | None = None,
) -> Value:
    """Convert a regularisation strength from one tool's convention to another's.

    Args:
        value: the number as the source tool takes it, zero or more; or, for two coefficients, what an earlier
            conversion returned (``ElasticNetSetting``, ``LogisticSetting``, ``GlmnetSetting``, ``XGBoostSetting``,
            ``Strength``).
        source: the tool that ``value`` is written for, a key of ``TOOLS``.
        to: the tool to write it for.
        n: rows trained on (the sum of sample weights); needed where a tool adds the penalty to a sum of losses.
        batch_size: rows of a step, at least 1; needed for scikit-learn's MLPs under adam and sgd.
        lr: learning rate, above 0; needed between tools whose decoupled decay scales differently with it.
        lr_max: initial or largest learning rate of the schedule, ``lr`` if left out.
        loss: what your own code minimises, where the tool leaves that to you (torch, keras, tf, lassonet, meden):
            ``"half_mse"``, ``"cross_entropy"`` (a mean over rows), ``"mse"``, and the sums over the rows of a step
            ``"sum"`` (of half squares or cross-entropies) and ``"sse"`` (of squares). torch's and Keras's mean squared
            error is ``"mse"``: every strength counts half as much there.
        solver: ``"adam"``, ``"sgd"`` or ``"lbfgs"``, for scikit-learn's MLPs, where it changes the meaning of alpha.
        l1_ratio: share of L1 from 0 to 1 in ``value``, for tools that mix; the tool's own default if left out.

    Returns:
        A float where the target takes one number, or its number alone says it all (a pure L2 for
        LogisticRegression); otherwise a frozen dataclass with the target's arguments; a ``Strength`` for
        ``"canonical"``.

    Raises:
        InputError: for an unknown tool, a quantity that is needed and missing, a value out of range, a part that the
            target lacks, or when no single number exists (between decay apart from the gradient, as in AdamW, and
            a term of the objective).

    Example:
        >>> convert(1.0, source="sklearn.Ridge", to="torch.SGD", n=500)
        0.002
        >>> convert(0.5, source="sklearn.ElasticNet", to="canonical", l1_ratio=0.5)
        Strength(l1=0.25, l2=0.25)
        >>> convert(Strength(l1=0.25, l2=0.25), source="canonical", to="glmnet")
        GlmnetSetting(lambda_=0.5, alpha=0.5)

    Reference:
        I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019, for the decay that has no such number.
    """
    check_choice("solver", solver, _SOLVERS)
    here, there = find_tool("source", source, solver), find_tool("to", to, solver)
    amounts = _amounts(n, batch_size, lr, lr_max, loss)
    strength = here.form.read(value, l1_ratio)
    if here.decoupled != there.decoupled:
        raise _no_single_number(source, to, here, strength, amounts)
    powers = {name: here.powers.get(name, 0) - there.powers.get(name, 0) for name in amounts}
    factor = here.factor / there.factor * _product(powers, amounts, f"to convert {source} to {to}")
    return there.form.write(strength * factor, to)


def rescale_for_rows(value: Any, source: str, n_from: float, n_to: float, *, solver: str = "adam") -> Value:
    """Keep the canonical strength when the number of training rows changes, as from a fold to the full refit.

    Args:
        value: the strength as the tool takes it, chosen on ``n_from`` rows.
        source: the tool, a key of ``TOOLS``. Ridge alpha, LogisticRegression C, XGBoost's pair, the textbook's
            lambda and the alpha of lbfgs MLPs change; all others mean the same for any number of rows.
        n_from: rows that the value was chosen on, above 0.
        n_to: rows that it will be used on, above 0.
        solver: as in :func:`convert`.

    Returns:
        The value for ``n_to`` rows, in the form that :func:`convert` gives.

    Raises:
        InputError: for an unknown tool or a number out of range.

    Example:
        >>> rescale_for_rows(8.0, "sklearn.Ridge", n_from=400, n_to=500)
        10.0
        >>> rescale_for_rows(8.0, "sklearn.Lasso", n_from=400, n_to=500)
        8.0
    """
    check_choice("solver", solver, _SOLVERS)
    tool = find_tool("source", source, solver)
    check_number("n_from", n_from, low=0.0, low_open=True)
    check_number("n_to", n_to, low=0.0, low_open=True)
    strength = tool.form.read(value, None)
    power = tool.powers.get("n", 0)
    return tool.form.write(strength * (float(n_from) / float(n_to)) ** power, source) if power else value


def _amounts(
    n: float | None, batch_size: int | None, lr: float | None, lr_max: float | None, loss: str
) -> dict[str, float | None]:
    for name, given in (("n", n), ("lr", lr), ("lr_max", lr_max)):
        if given is not None:
            check_number(name, given, low=0.0, low_open=True)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_choice("loss", loss, LOSSES)
    multiple, summed = LOSSES[loss]
    rows = (n if batch_size is None else batch_size) if summed else 1
    k = None if rows is None else multiple * rows
    return {"n": n, "batch_size": batch_size, "loss": k, "lr": lr, "lr_max": lr if lr_max is None else lr_max}


def _product(powers: Mapping[str, int], amounts: Mapping[str, float | None], purpose: str) -> float:
    product = 1.0
    for name in (name for name, power in powers.items() if power):
        amount = amounts[name]
        if amount is None:
            raise InputError(f"{_NEEDED[name]} must be given {purpose}, got None")
        product *= float(amount) ** powers[name]
    return product


def _no_single_number(
    source: str, to: str, here: Tool, strength: Strength, amounts: Mapping[str, float | None]
) -> InputError:
    decoupled = source if here.decoupled else to
    reason = f"{decoupled} shrinks weights separately from the gradient, so there is no equivalent strength"
    hint = "compare time constants instead: 1/(lr weight_decay) steps for torch.AdamW"
    if here.decoupled and all(amounts[name] for name in here.powers):
        steps = time_constant(strength.l2 * _product(here.powers, amounts, ""), 1.0)
        hint = f"its time constant (1/(lr weight_decay) for torch.AdamW) is {steps:g} steps"
    kind = "decoupled decay" if here.decoupled else "term of the objective"
    return InputError(f"to must be a {kind} like source={source!r}, got {to!r}: {reason}; {hint}")
