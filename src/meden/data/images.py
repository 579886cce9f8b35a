"""Images as networks take them: float32 (n, C, H, W), scaled to [0, 1], or standardised by the fitting rows.

Legend: ``n`` rows, ``C`` channels, ``H`` and ``W`` the sides.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError, check_choice, one_line
from meden.data.arrays import to_tensor
from meden.data.columns import Values
from meden.data.fitted import standardisation

CHANNELS = (1, 3, 4)
"""Numbers of channels an image may have: grey, colour, colour with transparency."""


def read_images(images: Any, key: str | None = None) -> Tensor:
    """Return images as float32 in [0, 1], (n, C, H, W).

    Args:
        images: an array or tensor (n, H, W) or (n, H, W, C) with 1, 3 or 4 channels, of uint8, booleans, or floating
            numbers in [0, 1]; or the path of an ``.npz`` or ``.npy`` file of such an array.
        key: which array of an ``.npz`` file; None for its only one.

    Raises:
        InputError: for a file that is missing or unreadable, an unknown key, or an array that is none of these.

    Example:
        >>> read_images(np.full((2, 28, 28), 255, dtype=np.uint8)).shape
        torch.Size([2, 1, 28, 28])
    """
    array = _load(Path(images), key) if isinstance(images, (str, Path)) else images
    tensor = to_tensor("images", array)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(-1)
    if tensor.ndim != 4 or tensor.shape[-1] not in CHANNELS or tensor.numel() == 0:
        raise InputError(f"images must be (n, H, W) or (n, H, W, C) with C 1, 3 or 4, got {tuple(tensor.shape)}")
    return _unit(tensor).permute(0, 3, 1, 2).contiguous()


def _unit(tensor: Tensor) -> Tensor:
    """Return the values as float32 in [0, 1]."""
    if tensor.dtype == torch.uint8:
        return tensor.float().div_(255)
    if tensor.dtype != torch.bool and not tensor.is_floating_point():
        raise InputError(f"images must be of uint8, booleans or floating numbers in [0, 1], got {tensor.dtype}")
    values = tensor.float()
    if values.min() < 0 or values.max() > 1:
        raise InputError(
            f"images of floating numbers must lie in [0, 1], got {float(values.min()):g} to {float(values.max()):g}"
        )
    return values


def _load(path: Path, key: str | None) -> Values:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _named(loaded, path, key)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"images {str(path)!r} cannot be read: {one_line(error)}") from None


def _named(arrays: Mapping[str, Values], path: Path, key: str | None) -> Values:
    names = list(arrays)
    if key is None and len(names) != 1:
        raise InputError(f"key must name an array of {str(path)!r} ({', '.join(names)}), got None")
    check_choice("key", key or names[0], names)
    return arrays[key or names[0]]


@dataclasses.dataclass(frozen=True)
class ChannelScaler:
    """Subtracts each channel's mean and divides by its standard deviation, both of the rows it was fitted on.

    A channel that is constant in those rows becomes zeros.

    Example:
        >>> images = read_images(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
        >>> scaler = ChannelScaler.fit(images[:1])
        >>> scaler.encode(images[:1]).mean().abs().item() < 1e-6
        True
        >>> ChannelScaler.from_dict(scaler.to_dict()) == scaler
        True
    """

    center: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, x: Tensor) -> ChannelScaler:
        """Take mean and 1 / standard deviation of each channel from the fitting rows (n, C, ...).

        Raises:
            InputError: if there are no rows.
        """
        if x.ndim < 2 or x.numel() == 0:
            raise InputError(f"x must have shape (n, C, ...) with at least one row, got {tuple(x.shape)}")
        channels = (channel.double().flatten().cpu().numpy() for channel in x.unbind(1))
        center, scale = zip(*(standardisation(values) for values in channels), strict=True)
        return cls(center, scale)

    def encode(self, x: Tensor) -> Tensor:
        """Return rows (n, C, ...) standardised, float32.

        Raises:
            InputError: if the number of channels is another one.
        """
        if x.ndim < 2 or x.shape[1] != len(self.center):
            raise InputError(f"x must have shape (n, {len(self.center)}, ...), got {tuple(x.shape)}")
        shape = (-1, *(1 for _ in x.shape[2:]))
        center, scale = (torch.tensor(part, device=x.device).view(shape) for part in (self.center, self.scale))
        return (x.float() - center) * scale

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"center": list(self.center), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ChannelScaler:
        """Return the scaler that :meth:`to_dict` described."""
        return cls(tuple(fields["center"]), tuple(fields["scale"]))
