"""Images against slow or independent readings: scipy's maps of the plane, counted pixels, kornia's colours by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from meden._checks import InputError
from meden.augment import Color, Cutout, Elastic, PadCrop, affine, color, cutout, elastic, flip, pad_crop
from meden.augment.warps import resampled
from meden.noise import Draws, stream

N = 4000


def draws(key: int = 0) -> Draws:
    return Draws(stream("images", key), torch.tensor(0))


def blob(height: int, width: int) -> torch.Tensor:
    """A smooth image, (1, height, width), that is 0 at its border."""
    y, x = np.mgrid[:height, :width]
    bump = np.exp(-(((y - 0.45 * height) / 4) ** 2) - ((x - 0.55 * width) / 6) ** 2)
    return torch.tensor(bump)[None]


class Fixed:
    """Draws that are what one says."""

    def __init__(self, *values: float) -> None:
        self.values = torch.tensor(values, dtype=torch.float64)

    def uniform(self, *shape: int) -> torch.Tensor:
        return self.values.expand(shape)


@pytest.mark.parametrize("shape", [(24, 24), (20, 36)])
@pytest.mark.parametrize(
    ("turn", "zoom", "down", "right"),
    [(1.0, 0.5, 0.5, 0.5), (0.5, 1.0, 0.5, 0.5), (0.5, 0.5, 1.0, 0.5), (0.5, 0.5, 0.5, 0.0), (0.9, 0.1, 0.8, 0.3)],
)
def test_affine_is_that_of_scipy(shape: tuple[int, int], turn: float, zoom: float, down: float, right: float) -> None:
    image = blob(*shape)
    got = affine(image, Fixed(turn, zoom, down, right), degrees=40.0, translate=0.2, scale=0.5)[0]
    turn, zoom, down, right = (2 * u - 1 for u in (turn, zoom, down, right))
    angle = np.deg2rad(turn * 40)
    matrix = 1.5**-zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.array(shape)
    centre, move = (size - 1) / 2, 0.2 * np.array([down, right]) * size
    wanted = ndimage.affine_transform(
        image[0].numpy(), matrix, centre - matrix @ centre + move, order=1, mode="nearest"
    )
    # pixels' centres are float32: off by 6e-8 of 18 pixels along both axes, times 1.8 at most, at slopes below 0.22
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)


def test_a_quarter_turn_is_exact() -> None:
    image = torch.rand(1, 3, 9, 9)
    for u, turns in ((1.0, 1), (0.0, -1)):
        got = affine(image, Fixed(u, 0.5, 0.5, 0.5), degrees=90.0, translate=0.0, scale=0.0)
        wanted = [torch.rot90(image, k, (-2, -1)) for k in (turns, -turns)]
        assert min((got - one).abs().max() for one in wanted) < 1e-5


def test_affine_draws_fill_their_ranges() -> None:
    """A bright point far from the centre shows the angle, the factor and the move of each image."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    image = torch.tensor(np.exp(-(((x - 47.5) / 3) ** 2) - ((y - 31.5) / 3) ** 2))[None].expand(1000, 64, 64)

    def centre(**strengths: float) -> torch.Tensor:
        mass = affine(image, draws(), **{"degrees": 0.0, "translate": 0.0, "scale": 0.0} | strengths)
        places = torch.stack([mass.sum(1) @ torch.arange(64.0).double(), mass.sum(2) @ torch.arange(64.0).double()])
        return places / mass.sum((1, 2)) - 31.5

    across, down = centre(degrees=30.0)
    angles = torch.rad2deg(torch.atan2(down, across))
    assert 28 < angles.max() < 30.1 and -30.1 < angles.min() < -28 and abs(angles.mean().item()) < 3
    across, down = centre(translate=0.1)
    for move in (across - 16, down):
        assert 6.1 < move.max() < 6.5 and -6.5 < move.min() < -6.1 and abs(move.mean().item()) < 0.7
    factors = centre(scale=0.25)[0] / 16
    assert 1.23 < factors.max() < 1.26 and 0.79 < factors.min() < 0.81


def test_elastic_moves_have_the_same_spread_everywhere_and_are_smooth() -> None:
    ramp = torch.arange(40.0).double()
    moved = [elastic(image.expand(2000, 40, 30), draws(), std=0.5, smooth=4) for image in
             (ramp[:, None].expand(40, 30), ramp[:30].expand(40, 30))]  # fmt: skip
    down, right = (image - image.mean(0) for image in moved)
    inner = slice(4, -4), slice(4, -4)
    for field in (down, right):
        spread = field[:, *inner].std(0)
        assert spread.mean().item() == pytest.approx(0.5, rel=0.02)
        assert spread.min() > 0.44 and spread.max() < 0.56
    assert abs((down * right)[:, *inner].mean().item()) < 0.02
    near, far = ((down[:, 5:15] * down[:, 5 + k : 15 + k]).mean().item() / 0.25 for k in (4, 20))
    assert near == pytest.approx(np.exp(-1 / 4), abs=0.05) and abs(far) < 0.05


def test_reading_at_a_place_is_that_of_scipy() -> None:
    image, places = torch.rand(2, 9, 7).double(), torch.rand(2, 2, 9, 7).double() * 2.4 - 1.2
    got = resampled(image, places)
    for k in range(2):
        across, down = ((places[k, 0] + 1) * 7 - 1) / 2, ((places[k, 1] + 1) * 9 - 1) / 2
        wanted = ndimage.map_coordinates(image[k], [down, across], order=1, mode="nearest")
        np.testing.assert_allclose(got[k], wanted, atol=1e-9)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_cutout_makes_a_square_hole_that_the_border_cuts(size: int) -> None:
    holes = cutout(torch.ones(N, 2, 8, 8), draws(), size=size, p=0.7) == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    cut = holes[:, 0]
    heights, widths = cut.any(2).sum(1), cut.any(1).sum(1)
    assert torch.equal(cut.sum((1, 2)), heights * widths) and heights.max() == size
    assert (heights > 0).double().mean().item() == pytest.approx(0.7, abs=5 * (0.21 / N) ** 0.5)
    centre = np.arange(8)
    lengths = np.minimum(centre - size // 2 + size, 8) - np.maximum(centre - size // 2, 0)
    found = heights[heights > 0].double()
    assert found.mean().item() == pytest.approx(lengths.mean(), abs=5 * max(lengths.std(), 1e-9) / len(found) ** 0.5)


def test_a_mirror_is_chosen_with_its_probability() -> None:
    x = torch.arange(6.0).reshape(2, 3).expand(N, 2, 3)
    mirrored = flip(x, draws(), p=0.3)
    turned = (mirrored == x.flip(-1)).all((1, 2))
    assert (turned | (mirrored == x).all((1, 2))).all()
    assert turned.double().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / N) ** 0.5)


def test_a_padded_crop_is_a_slice_of_the_padded_image() -> None:
    x = torch.arange(30.0).reshape(1, 5, 6)
    padded = torch.nn.functional.pad(x[None], (2, 2, 2, 2), mode="replicate")[0, 0]
    crops = {padded[i : i + 5, j : j + 6].numpy().tobytes(): (i, j) for i in range(5) for j in range(5)}
    found = [crops[image.numpy().tobytes()] for image in pad_crop(x.expand(N, 5, 6), draws(), padding=2)]
    counts = np.bincount([5 * i + j for i, j in found], minlength=25)
    assert ((counts - N / 25) ** 2 / (N / 25)).sum() < 60  # chi square with 24 degrees of freedom


def test_colours_change_as_they_should() -> None:
    pytest.importorskip("kornia")
    x = torch.rand(5, 3, 6, 7)
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    factors = (2 * draws().uniform(5, 4) - 1).unbind(1)
    brighter = color(x, draws(), **none | {"brightness": 0.3})
    torch.testing.assert_close(brighter, (x * (1 + 0.3 * factors[0])[:, None, None, None]).clamp(0, 1))
    gray = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    for name, row, base in (("contrast", 1, gray.mean((1, 2, 3), keepdim=True)), ("saturation", 2, gray)):
        factor = (1 + 0.3 * factors[row])[:, None, None, None]
        got = color(x, draws(), **none | {name: 0.3})
        torch.testing.assert_close(got, (base + factor * (x - base)).clamp(0, 1), rtol=1e-3, atol=2e-3)
    muted = 0.4 + 0.2 * x
    turned = color(muted, draws(), **none | {"hue": 0.5})
    assert (turned - muted).abs().max() > 0.02
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((turned * weights).sum(1), (muted * weights).sum(1), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("augmentation", "shape", "message"),
    [
        (Cutout(size=40), (9, 1, 28, 28), r"Cutout size must be at most the image side \(28, 28\), got 40"),
        (PadCrop(padding=8), (9, 8, 20), "PadCrop padding must be less than the image side"),
        (Elastic(), (9, 64), r"x must have shape \(n, H, W\) or \(n, C, H, W\) for Elastic, got \(9, 64\)"),
    ],
)
def test_what_does_not_fit_is_refused(augmentation, shape, message) -> None:
    with pytest.raises(InputError, match=message):
        augmentation.check(torch.zeros(shape), "classification")


def test_colours_out_of_range_are_refused() -> None:
    pytest.importorskip("kornia")
    with pytest.raises(InputError, match=r"values in \[0, 1\] for Color, got \(2, 3, 4, 4\) with values from -1 to -1"):
        Color().check(torch.full((2, 3, 4, 4), -1.0), "classification")
    with pytest.raises(InputError, match=r"got \(2, 1, 4, 4\)"):
        Color().check(torch.zeros(2, 1, 4, 4), "classification")


def test_without_kornia_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(InputError, match=r"pip install 'meden\[image\]'"):
        Color().check(torch.zeros(2, 3, 4, 4), "classification")


@pytest.mark.parametrize("make", [lambda: Cutout(size=0), lambda: PadCrop(padding=-1), lambda: Elastic(smooth=0)])
def test_sizes_are_whole_numbers(make) -> None:
    with pytest.raises(InputError, match="must be a whole number"):
        make()
