"""Augmentations: random changes of fitting rows that leave what they mean, (x, y, draws) -> (x, y)."""

from meden.augment.audio import (
    BackgroundNoise,
    FrequencyMask,
    Speed,
    TimeMask,
    TimeShift,
    background_noise,
    frequency_mask,
    speed,
    time_mask,
    time_shift,
)
from meden.augment.base import Augmentation, augmented
from meden.augment.images import Color, Cutout, Flip, PadCrop, color, cutout, flip, pad_crop
from meden.augment.mixing import CutMix, LabelSmoothing, Mixup, cutmix, label_smoothing, mixup, symmetric_beta
from meden.augment.tables import FeatureMask, Jitter, SwapNoise, feature_mask, jitter, swap_noise
from meden.augment.text import SpanMask, TokenDrop, TokenSwap, span_mask, token_drop, token_swap
from meden.augment.warps import Affine, Elastic, affine, elastic

__all__ = [
    "Affine",
    "Augmentation",
    "BackgroundNoise",
    "Color",
    "CutMix",
    "Cutout",
    "Elastic",
    "FeatureMask",
    "Flip",
    "FrequencyMask",
    "Jitter",
    "LabelSmoothing",
    "Mixup",
    "PadCrop",
    "SpanMask",
    "Speed",
    "SwapNoise",
    "TimeMask",
    "TimeShift",
    "TokenDrop",
    "TokenSwap",
    "affine",
    "augmented",
    "background_noise",
    "color",
    "cutmix",
    "cutout",
    "elastic",
    "feature_mask",
    "flip",
    "frequency_mask",
    "jitter",
    "label_smoothing",
    "mixup",
    "pad_crop",
    "span_mask",
    "speed",
    "swap_noise",
    "symmetric_beta",
    "time_mask",
    "time_shift",
    "token_drop",
    "token_swap",
]
