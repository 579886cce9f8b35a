"""Sound: wav files to waveforms of one rate, and waveforms to log-mel spectrograms of one length.

Legend: ``n`` recordings, ``S`` samples, ``F`` frequencies, ``M`` mel bands, ``T`` frames.
"""

from __future__ import annotations

import dataclasses
import io
import math
import tarfile
import warnings
import wave
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from meden._checks import InputError, check_choice, check_count, check_number, one_line
from meden._shown import ShownFields
from meden.data.columns import Values

OnError = Literal["raise", "skip"]
FLOOR = 1e-6
"""Added to the power before the logarithm is taken."""

RATES = (1_000, 768_000)
"""Lowest and highest rate that is read, samples a second: resampling from 1 Hz makes gigabytes of 46 KB."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Recordings(ShownFields):
    """What :func:`read_wavs` found.

    Attributes:
        names: paths inside the folder or archive, sorted, (n,).
        waveforms: float32 (S,) each, in [-1, 1].
        rate: samples a second.
    """

    names: tuple[str, ...]
    waveforms: tuple[Tensor, ...]
    rate: int


def read_wavs(path: str | Path, *, rate: int | None = None, on_error: OnError = "raise") -> Recordings:
    """Read the .wav files of a folder (and those below it) or a tar archive; several channels become their mean.

    Args:
        path: folder, archive (.tar, also compressed), or a single .wav file.
        rate: samples a second, 1,000 to 768,000 as in the files; None is the rate of most of them. Files of
            another rate are resampled, and one warning says how many, of which rates.
        on_error: what a broken file does: ``"raise"``, or ``"skip"``, where a warning names those left out.

    Raises:
        InputError: naming the files that cannot be read, or if there is none. Wav files must hold whole numbers (PCM)
            of 8, 16, 24 or 32 bits.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    if rate is not None:
        check_count("rate", rate)
        check_number("rate", rate, low=RATES[0], high=RATES[1])
    read: dict[str, tuple[int, Values]] = {}
    broken: dict[str, str] = {}
    for name, content in _files(Path(path)):
        try:
            read[name] = _decode(content)
        except (wave.Error, EOFError, ValueError) as error:
            broken[name] = str(error) or "the file ends too early"
    _tell_broken(path, broken, len(read), on_error)
    rates = Counter(found for found, _ in read.values())
    rate = rate or rates.most_common(1)[0][0]
    _tell_resampled(rates, rate)
    names = tuple(sorted(read))
    return Recordings(names, tuple(_resampled(*read[name], rate) for name in names), rate)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the .wav files of a folder, an archive or a single file."""
    if path.is_dir():
        for file in path.rglob("*"):
            if file.suffix.lower() == ".wav":
                yield file.relative_to(path).as_posix(), file.read_bytes()
    elif path.suffix.lower() == ".wav" and path.is_file():
        yield path.name, path.read_bytes()
    else:
        yield from _archived(path)


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                if entry.isfile() and entry.name.lower().endswith(".wav"):
                    yield entry.name, archive.extractfile(entry).read()  # type: ignore[union-attr]
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(
            f"path must be a folder, a tar archive or a .wav file, got {str(path)!r}: {one_line(error)}"
        ) from None


def _decode(content: bytes) -> tuple[int, Values]:
    """Return rate and samples (S,) in [-1, 1] of one wav file."""
    with wave.open(io.BytesIO(content)) as file:
        channels, size, rate, num_samples = file.getparams()[:4]
        raw = file.readframes(num_samples)
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{num_samples} samples of {size} bytes at {rate} Hz, not {RATES[0]} to {RATES[1]}")
    if num_samples == 0 or size not in (1, 2, 3, 4):
        raise ValueError(f"{num_samples} samples of {size} bytes at {rate} Hz")
    if len(raw) != num_samples * channels * size:
        raise ValueError(f"{num_samples} samples announced, {len(raw) // (channels * size)} there")
    return rate, _numbers(raw, size).reshape(-1, channels).mean(1)


def _numbers(raw: bytes, size: int) -> Values:
    """Return whole numbers of ``size`` bytes, little-endian, divided by their largest size."""
    if size == 1:  # the only one without a sign
        return (np.frombuffer(raw, np.uint8) - 128.0) / 128
    wide = np.zeros((len(raw) // size, 4), np.uint8)
    wide[:, 4 - size :] = np.frombuffer(raw, np.uint8).reshape(-1, size)
    return wide.view("<i4")[:, 0] / 2.0**31


def _resampled(rate: int, samples: Values, wanted: int) -> Tensor:
    common = math.gcd(rate, wanted)
    if rate != wanted:
        from scipy.signal import resample_poly

        samples = resample_poly(samples, wanted // common, rate // common)
    return torch.from_numpy(samples.astype(np.float32))


def _tell_broken(path: str | Path, broken: Mapping[str, str], num_read: int, on_error: OnError) -> None:
    shown = ", ".join(f"{name} ({reason})" for name, reason in sorted(broken.items())[:5])
    shown += f" and {len(broken) - 5} more" if len(broken) > 5 else ""
    if num_read == 0 or (broken and on_error == "raise"):
        wrong = f"unreadable ones: {shown}" if broken else "none"
        raise InputError(f"path must hold wav files, got {str(path)!r} with {wrong}")
    if broken:
        warnings.warn(f"{len(broken)} of {len(broken) + num_read} files left out: {shown}", stacklevel=3)


def _tell_resampled(rates: Counter[int], wanted: int) -> None:
    others = {rate: count for rate, count in sorted(rates.items()) if rate != wanted}
    if others:
        listed = ", ".join(f"{count} from {rate} Hz" for rate, count in others.items())
        warnings.warn(
            f"{sum(others.values())} of {rates.total()} files resampled to {wanted} Hz: {listed}", stacklevel=3
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMel:
    """Log-mel spectrograms of one length: log(power in mel bands + 1e-6), of the middle of each recording.

    A recording becomes (T - 1) hop + n_fft samples, in the middle of silence if it is shorter, without both ends if
    it is longer; frame t holds the n_fft of them from t hop on, under a Hann window. Standardise the result by
    :class:`~meden.data.ChannelScaler`.

    Args:
        rate: samples a second.
        num_frames: frames T of every spectrogram; about its length in samples over ``hop``.
        n_fft: samples of a frame.
        hop: samples from frame to frame.
        num_mels: bands M, triangles equally spaced on the mel scale.
        low: lowest frequency in Hz.
        high: highest frequency in Hz; None is ``rate / 2``.
        scale: ``"htk"``, 2595 log10(1 + f / 700) and triangles of height 1; or ``"slaney"``, linear up to 1000 Hz,
            logarithmic above, and triangles of area 1 Hz.

    Raises:
        InputError: for a setting out of range, or bands so narrow that no frequency lies in one.

    Example:
        >>> LogMel(rate=8000, num_frames=32).encode([torch.zeros(3000), torch.zeros(9000)]).shape
        torch.Size([2, 1, 40, 32])

    Reference:
        S. Davis and P. Mermelstein, Comparison of parametric representations for monosyllabic word recognition in
        continuously spoken sentences, 1980.
    """

    rate: int
    num_frames: int
    n_fft: int = 256
    hop: int = 128
    num_mels: int = 40
    low: float = 0.0
    high: float | None = None
    scale: Literal["htk", "slaney"] = "htk"

    def __post_init__(self) -> None:
        for name in ("rate", "num_frames", "n_fft", "hop", "num_mels"):
            check_count(f"LogMel {name}", getattr(self, name), low=2 if name == "n_fft" else 1)
        check_choice("LogMel scale", self.scale, ("htk", "slaney"))
        top = self.rate / 2
        check_number("LogMel high", top if self.high is None else self.high, low=0.0, high=top, low_open=True)
        check_number("LogMel low", self.low, low=0.0, high=top if self.high is None else self.high, high_open=True)
        empty = int((self.filters().sum(1) == 0).sum())
        if empty:
            raise InputError(
                f"LogMel num_mels must leave at least one frequency in each band, got {self.num_mels} bands of "
                f"which {empty} are empty; use fewer, or a larger n_fft than {self.n_fft}"
            )

    def filters(self) -> Tensor:
        """Return the weight of each frequency k rate / n_fft in each band, float32 (M, F) with F = n_fft // 2 + 1."""
        frequencies = np.arange(self.n_fft // 2 + 1) * self.rate / self.n_fft
        low, high = _to_mel(np.array([self.low, self.rate / 2 if self.high is None else self.high]), self.scale)
        corners = _to_hertz(np.linspace(low, high, self.num_mels + 2), self.scale)
        left, center, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
        rising, falling = (frequencies - left) / (center - left), (right - frequencies) / (right - center)
        triangles = np.minimum(rising, falling).clip(min=0)
        height = 2 / (right - left) if self.scale == "slaney" else 1.0
        return torch.from_numpy((triangles * height).astype(np.float32))

    def encode(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Return the spectrograms of waveforms (S,) of any lengths, float32 (n, 1, M, T)."""
        size = (self.num_frames - 1) * self.hop
        pieces = torch.stack([middle(waveform.float(), size + self.n_fft) for waveform in waveforms])
        frames = pieces.unfold(1, self.n_fft, self.hop)  # (n, T, n_fft)
        window = torch.hann_window(self.n_fft)
        power: Tensor = torch.fft.rfft(frames * window).abs().square()
        return (power @ self.filters().T + FLOOR).log().mT.unsqueeze(1)


def middle(waveform: Tensor, size: int) -> Tensor:
    """Return the middle ``size`` samples of a waveform (S,), which is put into the middle of zeros if it is shorter.

    Example:
        >>> middle(torch.arange(1, 5), 2), middle(torch.arange(1, 3), 5)
        (tensor([2, 3]), tensor([0, 1, 2, 0, 0]))
    """
    missing = size - len(waveform)
    before = missing // 2 if missing > 0 else -(-missing // 2)
    return F.pad(waveform, (before, missing - before))


def _to_mel(hertz: Values, scale: str) -> Values:
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hertz / 700))
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def _to_hertz(mel: Values, scale: str) -> Values:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))
