"""Images: layouts, scales, files, and standardisation that knows the fitting rows only."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from meden._checks import InputError
from meden.data import ChannelScaler, read_images

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def some_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=shape).astype(np.uint8)


def test_grey_and_colour():
    grey, colour = some_images(3, 4, 5), some_images(3, 4, 5, 3)
    assert np.allclose(read_images(grey).numpy()[:, 0], grey / 255)
    assert np.allclose(read_images(colour).numpy(), np.moveaxis(colour, 3, 1) / 255)
    assert read_images(torch.tensor(colour)).dtype == torch.float32 and read_images(colour).is_contiguous()


def test_floating_numbers_and_booleans_stay():
    values = np.random.default_rng(0).uniform(size=(2, 3, 3))
    assert np.allclose(read_images(values).numpy()[:, 0], values)
    assert read_images(values > 0.5).unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (some_images(3, 4), r"images must be \(n, H, W\) or .* got \(3, 4\)"),
        (some_images(3, 3, 4, 5), r"with C 1, 3 or 4, got \(3, 3, 4, 5\)"),
        (some_images(0, 4, 5), r"got \(0, 4, 5, 1\)"),
        (some_images(3, 4, 5).astype(int), "images must be of uint8, booleans or .* got torch.int64"),
        (some_images(3, 4, 5) / 1.0, r"must lie in \[0, 1\], got 0 to 255"),
        (np.full((1, 2, 2), np.nan), "images must hold finite numbers, got 4 NaN and 0 infinite"),
        (np.array([["a"]]), "images must hold numbers"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_bad_arrays(images, message):
    with pytest.raises(InputError, match=message):
        read_images(images)


def test_files(tmp_path):
    images = some_images(3, 4, 5)
    np.save(tmp_path / "one.npy", images)
    np.savez(tmp_path / "one.npz", images)
    np.savez(tmp_path / "two.npz", train=images[:2], test=images[2:])
    for read in (read_images(tmp_path / "one.npy"), read_images(str(tmp_path / "one.npz"))):
        assert torch.equal(read, read_images(images))
    assert torch.equal(read_images(tmp_path / "two.npz", "test"), read_images(images[2:]))
    with pytest.raises(InputError, match=r"key must name an array of .* \(train, test\), got None"):
        read_images(tmp_path / "two.npz")
    with pytest.raises(InputError, match="key must be one of train, test, got 'trian'; did you mean 'train'"):
        read_images(tmp_path / "two.npz", "trian")


@pytest.mark.parametrize("content", [None, b"", b"no array", b"PK\x03\x04 no zip"])
def test_files_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"images '.*bad.npz' cannot be read: ."):
        read_images(path)


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read: Object arrays"):
        read_images(tmp_path / "objects.npy")


def test_scaler_is_that_of_scikit_learn_and_sees_the_fitting_rows_only():
    x = read_images(some_images(6, 4, 5, 3))
    scaler = ChannelScaler.fit(x[:4])
    witness = StandardScaler().fit(x[:4].permute(0, 2, 3, 1).reshape(-1, 3).numpy())
    theirs = witness.transform(x.permute(0, 2, 3, 1).reshape(-1, 3).numpy())
    assert np.allclose(scaler.encode(x).permute(0, 2, 3, 1).reshape(-1, 3).numpy(), theirs, atol=1e-5)
    assert scaler == ChannelScaler.fit(torch.cat([x[:4], x[4:] + 100])[:4])
    assert ChannelScaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


def test_a_constant_channel_becomes_zeros():
    scaler = ChannelScaler.fit(torch.full((2, 1, 3, 3), 0.7))
    assert torch.equal(scaler.encode(torch.rand(2, 1, 3, 3)), torch.zeros(2, 1, 3, 3))


def test_scaler_bad_input():
    with pytest.raises(InputError, match=r"x must have shape \(n, C, ...\) with at least one row, got \(0, 1, 2, 2\)"):
        ChannelScaler.fit(torch.zeros(0, 1, 2, 2))
    with pytest.raises(InputError, match=r"x must have shape \(n, 1, ...\), got \(5, 3, 2, 2\)"):
        ChannelScaler.fit(torch.ones(1, 1, 2, 2)).encode(torch.ones(5, 3, 2, 2))


def test_real_digits():
    path = DATA / "mnist" / "mnist.npz"
    if not path.is_file():
        pytest.skip("mnist is not at hand (MEDEN_DATA)")
    images = read_images(path, "x_test")
    assert images.shape == (10000, 1, 28, 28) and (images.min(), images.max()) == (0, 1)
