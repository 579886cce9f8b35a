"""Augmentations: random changes of fitting rows that leave what they mean, (x, y, draws) -> (x, y)."""

from meden.augment.base import Augmentation, augmented
from meden.augment.images import Color, Cutout, Flip, PadCrop, color, cutout, flip, pad_crop
from meden.augment.mixing import CutMix, LabelSmoothing, Mixup, cutmix, label_smoothing, mixup, symmetric_beta
from meden.augment.tables import FeatureMask, Jitter, SwapNoise, feature_mask, jitter, swap_noise
from meden.augment.warps import Affine, Elastic, affine, elastic

__all__ = [
    "Affine",
    "Augmentation",
    "Color",
    "CutMix",
    "Cutout",
    "Elastic",
    "FeatureMask",
    "Flip",
    "Jitter",
    "LabelSmoothing",
    "Mixup",
    "PadCrop",
    "SwapNoise",
    "affine",
    "augmented",
    "color",
    "cutmix",
    "cutout",
    "elastic",
    "feature_mask",
    "flip",
    "jitter",
    "label_smoothing",
    "mixup",
    "pad_crop",
    "swap_noise",
    "symmetric_beta",
]
