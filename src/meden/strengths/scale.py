"""What becomes of decay, rates and data as models, batches and data sets grow."""

from __future__ import annotations

import math
from typing import NamedTuple

from meden._checks import InputError, check_number, check_strength

REPETITIONS = 15.387756
"""R*: repetitions after which what one more adds has fallen to 1/e, as N. Muennighoff and others fitted it."""


def time_constant(lr: float, weight_decay: float, *, steps_per_epoch: float = 1.0) -> float:
    """Return 1 / (lr weight_decay steps_per_epoch): when decoupled decay alone has shrunk weights to about 37 %.

    AdamW's weights are a moving average of their updates over this time. In epochs, its best value hardly moves when
    batches, rates, widths or data change; the decay that gives it does. Under a schedule ``lr`` is the mean of the
    rate over the training, since weights shrink by exp(-weight_decay times the sum of the rates).

    Args:
        lr: mean learning rate, zero or more.
        weight_decay: as torch.AdamW takes it, zero or more.
        steps_per_epoch: optimizer steps of one pass over the rows, above 0; left out, the answer is in steps.

    Returns:
        Epochs, or steps; infinity without decay.

    Raises:
        InputError: if one is out of range.

    Example:
        >>> time_constant(lr=0.125, weight_decay=0.01), time_constant(lr=0.125, weight_decay=0.01, steps_per_epoch=100)
        (800.0, 8.0)

    Reference:
        X. Wang and L. Aitchison, How to set AdamW's weight decay as you scale model and dataset size, 2024.
    """
    check_strength("lr", lr)
    check_strength("weight_decay", weight_decay)
    check_number("steps_per_epoch", steps_per_epoch, low=0.0, low_open=True)
    rate = lr * weight_decay * steps_per_epoch
    return 1 / rate if rate else math.inf


def decay_of(time_constant: float, lr: float, *, steps_per_epoch: float = 1.0) -> float:
    """Return the decay that has a time constant: the way back from :func:`time_constant`.

    Args:
        time_constant: epochs, or steps where ``steps_per_epoch`` is left out; above 0, infinity for no decay.
        lr: mean learning rate, above 0.
        steps_per_epoch: optimizer steps of one pass over the rows, above 0.

    Returns:
        As torch.AdamW takes it.

    Raises:
        InputError: if one is out of range.

    Example:
        >>> decay_of(8.0, lr=0.125, steps_per_epoch=100)
        0.01
    """
    if time_constant != math.inf:
        check_number("time_constant", time_constant, low=0.0, low_open=True)
    check_number("lr", lr, low=0.0, low_open=True)
    check_number("steps_per_epoch", steps_per_epoch, low=0.0, low_open=True)
    return 1 / (time_constant * lr * steps_per_epoch)


class AdaptiveSettings(NamedTuple):
    """The settings of an adaptive optimizer that must change with the batch size."""

    lr: float
    betas: tuple[float, ...]
    """Decay rates of the moments: two for Adam, one for RMSprop."""
    eps: float


def square_root_rule(settings: AdaptiveSettings, growth: float) -> AdaptiveSettings:
    """Return the settings that preserve the trajectory of an adaptive optimizer with larger batches.

    lr becomes sqrt(k) lr, each 1 - beta becomes k (1 - beta), and eps becomes eps / sqrt(k), k being the growth. The
    rule is for gradients in which noise rules; batches that are no longer small against the noise gain nothing by it.

    Args:
        settings: at the old batch size.
        growth: new batch size over the old one, above 0.

    Raises:
        InputError: if the moments would have to forget faster than in a step.

    Example:
        >>> square_root_rule(AdaptiveSettings(lr=0.001, betas=(0.75, 0.875), eps=1e-8), growth=4)
        AdaptiveSettings(lr=0.002, betas=(0.0, 0.5), eps=5e-09)

    Reference:
        S. Malladi, K. Lyu, A. Panigrahi and S. Arora, On the SDEs and scaling rules for adaptive gradient algorithms,
        2022.
    """
    check_number("growth", growth, low=0.0, low_open=True)
    betas = tuple(1 - growth * (1 - beta) for beta in settings.betas)
    if min(betas, default=0.0) < 0:
        most = min(1 / (1 - beta) for beta in settings.betas)
        raise InputError(f"batches must grow by at most {most:.3g} for the decays {settings.betas}, got {growth:.4g}")
    return AdaptiveSettings(settings.lr * math.sqrt(growth), betas, settings.eps / math.sqrt(growth))


def epochs_worth(epochs: float) -> float:
    """Return how many epochs of fresh rows some epochs of the same rows are worth.

    1 + R* (1 - exp(-R / R*)), R being the repetitions beyond the first pass and R* about 15.4: four epochs are worth
    3.7, forty 15, and no number of them more than 16.4.

    The constant was fitted to language models of 10 million to 9 billion parameters on English web text, at the decay
    that is usual there (0.1); up to four epochs were nearly as good as fresh data. It is no promise for other data,
    nor for models that overfit: far stronger decay makes more of the repetitions (K. Kim and others, 2025), and with
    too little of it they do harm, which this formula cannot show.

    Args:
        epochs: passes over the rows, zero or more; less than one pass repeats nothing.

    Raises:
        InputError: if it is negative or not finite.

    Example:
        >>> [round(epochs_worth(epochs), 1) for epochs in (0.5, 1, 4, 16, 40)]
        [0.5, 1.0, 3.7, 10.6, 15.2]

    Reference:
        N. Muennighoff and others, Scaling data-constrained language models, 2023. K. Kim, S. Kotha, P. Liang and T.
        Hashimoto, Pre-training under infinite compute, 2025.
    """
    check_number("epochs", epochs, low=0.0)
    repetitions = max(epochs - 1, 0.0)
    return min(epochs, 1.0) - REPETITIONS * math.expm1(-repetitions / REPETITIONS)
