"""Wav files of every width and rate, broken ones, and log-mel spectrograms against a transform written out."""

import os
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from meden._checks import InputError
from meden.data import LogMel, read_wavs
from meden.data.audio import middle

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def tone(hertz=440, rate=8000, seconds=0.25):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def write(path, samples, rate=8000, size=2):
    """Write samples (S,) or (S, channels) in [-1, 1] by the standard library."""
    samples = np.asarray(samples)[:, None] if np.ndim(samples) == 1 else np.asarray(samples)
    whole = np.round(samples * (2 ** (8 * size - 1) - 1)).astype(np.int64) + (128 if size == 1 else 0)
    raw = whole.astype("<i8").view(np.uint8).reshape(*whole.shape, 8)[..., :size].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(size)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


@pytest.mark.parametrize(("size", "error"), [(1, 1e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_every_width(tmp_path, size, error):
    write(tmp_path / "a.wav", tone(), size=size)
    recordings = read_wavs(tmp_path)
    assert (recordings.names, recordings.rate) == (("a.wav",), 8000)
    assert np.allclose(recordings.waveforms[0].numpy(), tone(), atol=error)


def test_agrees_with_scipy(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))
    rate, theirs = wavfile.read(write(tmp_path / "a.wav", noise, rate=11025))
    ours = read_wavs(tmp_path / "a.wav")
    assert ours.rate == rate and np.allclose(ours.waveforms[0].numpy(), theirs.mean(1) / 2**15, atol=1e-6)


def test_folders_and_archives_are_read_in_order(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, name in enumerate(["b.wav", "deep/c.WAV", "a.wav"]):
        write(tmp_path / "in" / name, tone(100 * (number + 1)))
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "in", arcname=".")
    folder, archive = read_wavs(tmp_path / "in"), read_wavs(tmp_path / "all.tar.gz")
    assert folder.names == ("a.wav", "b.wav", "deep/c.WAV")
    assert [name.removeprefix("./") for name in archive.names] == list(folder.names)
    for ours, theirs in zip(folder.waveforms, archive.waveforms, strict=True):
        assert torch.equal(ours, theirs)


def test_another_rate_is_resampled_and_said_so(tmp_path):
    for name, rate in {"a": 8000, "b": 8000, "c": 16000, "d": 22050}.items():
        write(tmp_path / f"{name}.wav", tone(rate=rate), rate=rate)
    told = "^2 of 4 files resampled to 8000 Hz: 1 from 16000 Hz, 1 from 22050 Hz$"
    with pytest.warns(UserWarning, match=told) as warned:
        recordings = read_wavs(tmp_path)
    assert len(warned) == 1 and recordings.rate == 8000
    for waveform in recordings.waveforms:
        size = min(len(waveform), 2000)
        assert np.allclose(waveform.numpy()[100 : size - 100], tone()[100 : size - 100], atol=0.01)


def test_a_rate_may_be_asked_for(tmp_path):
    write(tmp_path / "a.wav", tone())
    with pytest.warns(UserWarning, match="1 of 1 files resampled to 4000 Hz: 1 from 8000 Hz"):
        recordings = read_wavs(tmp_path, rate=4000)
    assert recordings.rate == 4000 and len(recordings.waveforms[0]) == 1000


def broken_folder(tmp_path):
    whole = write(tmp_path / "whole.wav", tone()).read_bytes()
    contents = {"short": whole[:-100], "cut": whole[:30], "empty": b"", "text": b"no sound at all"}
    for name, content in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    write(tmp_path / "nothing.wav", tone()[:0])
    wavfile.write(tmp_path / "float.wav", 8000, tone().astype(np.float32))
    return tmp_path


def test_broken_files_are_named(tmp_path):
    with pytest.raises(InputError) as caught:
        read_wavs(broken_folder(tmp_path))
    said = str(caught.value)
    assert said.startswith("path must hold wav files, got ")
    assert "short.wav (2000 samples announced, 1950 there)" in said
    assert "float.wav (unknown format: 3)" in said and "nothing.wav (0 samples" in said
    assert "and 1 more" in said and "\n" not in said


def test_broken_files_are_left_out_if_asked(tmp_path):
    with pytest.warns(UserWarning, match=r"6 of 7 files left out: cut.wav \(") as warned:
        recordings = read_wavs(broken_folder(tmp_path), on_error="skip")
    assert recordings.names == ("whole.wav",) and len(warned) == 1


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(InputError, match="with none"):
        read_wavs(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"unreadable ones: a.wav \(the file ends too early\)"):
        read_wavs(tmp_path, on_error="skip")


@pytest.mark.parametrize("name", ["absent", "absent.wav", "text.tar"])
def test_a_path_that_is_none(tmp_path, name):
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(InputError, match=rf"path must be a folder, a tar archive or a .wav file, got '.*{name}': ."):
        read_wavs(tmp_path / name)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**32 - 1])
def test_a_header_with_an_absurd_rate_is_named_before_anything_is_resampled(tmp_path, rate):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.wav", tone())
    bomb = bytearray(write(tmp_path / "bomb.wav", tone()).read_bytes())
    bomb[24:28] = rate.to_bytes(4, "little")  # the header's field of the rate
    (tmp_path / "bomb.wav").write_bytes(bomb)
    with pytest.raises(InputError, match=rf"bomb.wav \(2000 samples of 2 bytes at {rate} Hz, not 1000 to 768000\)"):
        read_wavs(tmp_path)


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="on_error must be one of raise, skip, got 'ignore'"):
        read_wavs(tmp_path, on_error="ignore")
    with pytest.raises(InputError, match="rate must be a whole number of at least 1, got 0"):
        read_wavs(tmp_path, rate=0)
    with pytest.raises(InputError, match=r"rate must be a finite number in \[1000, 768000\], got 768001"):
        read_wavs(tmp_path, rate=768_001)


def mel_by_hand(hertz, scale):
    if scale == "htk":
        return 1127.01048 * np.log(1 + hertz / 700)
    return hertz / (200 / 3) if hertz < 1000 else 15 + np.log(hertz / 1000) / (np.log(6.4) / 27)


def spectrogram_by_hand(samples, rate, n_fft, hop, num_mels, scale):
    """Return (M, T) by sums over samples, frequencies and bands; corners are found by bisection."""
    top = mel_by_hand(rate / 2, scale)
    hertz = np.linspace(0, rate / 2, 200_001)
    mels = np.array([mel_by_hand(f, scale) for f in hertz])
    corners = np.interp(np.linspace(0, top, num_mels + 2), mels, hertz)
    frames = []
    for start in range(0, len(samples) - n_fft + 1, hop):
        window = [np.sin(np.pi * s / n_fft) ** 2 for s in range(n_fft)]
        piece = samples[start : start + n_fft] * window
        bands = np.zeros(num_mels)
        for k in range(n_fft // 2 + 1):
            power = abs(sum(piece[s] * np.exp(-2j * np.pi * k * s / n_fft) for s in range(n_fft))) ** 2
            for m in range(num_mels):
                left, centre, right = corners[m : m + 3]
                side = (k * rate / n_fft - left) / (centre - left), (right - k * rate / n_fft) / (right - centre)
                bands[m] += power * max(0.0, min(side)) * (2 / (right - left) if scale == "slaney" else 1)
        frames.append(np.log(bands + 1e-6))
    return np.array(frames).T


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("n_fft", [32, 33])
def test_spectrogram_is_its_formula(scale, n_fft):
    samples = np.random.default_rng(0).normal(size=n_fft + 3 * 10).astype(np.float32)
    mel = LogMel(rate=8000, num_frames=4, n_fft=n_fft, hop=10, num_mels=5, scale=scale)
    ours = mel.encode([torch.from_numpy(samples)])[0, 0].numpy()
    assert np.allclose(ours, spectrogram_by_hand(samples, 8000, n_fft, 10, 5, scale), atol=1e-3)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_filters_are_those_of_others(scale):
    audio_utils = pytest.importorskip("transformers.audio_utils")
    mel = LogMel(rate=16000, num_frames=1, n_fft=512, num_mels=40, low=60, high=7000, scale=scale)
    norm = "slaney" if scale == "slaney" else None
    theirs = audio_utils.mel_filter_bank(257, 40, 60, 7000, 16000, norm=norm, mel_scale=scale)
    assert np.allclose(mel.filters().numpy(), theirs.T, atol=1e-5)


def test_a_tone_is_loudest_in_its_band():
    mel = LogMel(rate=8000, num_frames=10)
    band = int(mel.encode([torch.from_numpy(tone(1000))])[0, 0, :, 5].argmax())
    assert int(mel.filters()[:, 32].argmax()) == band  # 1000 Hz is frequency 32 of 256


def test_one_length_for_all():
    mel = LogMel(rate=8000, num_frames=8, n_fft=64, hop=32, num_mels=8)
    size = 7 * 32 + 64
    long = torch.randn(1001, generator=torch.Generator().manual_seed(0))
    spectrograms = mel.encode([long, middle(long, size), long[:10]])
    assert spectrograms.shape == (3, 1, 8, 8) and torch.equal(spectrograms[0], spectrograms[1])
    silent = spectrograms[2, 0, :, [0, 1, 6, 7]]
    assert torch.allclose(silent, torch.full((8, 4), float(np.log(1e-6))))


@pytest.mark.parametrize("size", [1, 2, 5, 6, 9, 10])
@pytest.mark.parametrize("length", [1, 2, 5, 6])
def test_middle(length, size):
    taken = middle(torch.arange(1, length + 1), size)
    assert len(taken) == size and int((taken > 0).sum()) == min(length, size)
    if size >= length:
        assert abs(int((taken > 0).nonzero()[0]) - (size - 1 - int((taken > 0).nonzero()[-1]))) <= 1
    else:
        assert abs(int(taken[0]) - 1 - (length - int(taken[-1]))) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, "LogMel hop must be a whole number of at least 1, got 0"),
        ({"n_fft": 1}, "LogMel n_fft must be a whole number of at least 2, got 1"),
        ({"high": 4001}, r"LogMel high must be a finite number in \(0, 4000\], got 4001"),
        ({"low": 4000}, r"LogMel low must be a finite number in \[0, 4000\), got 4000"),
        ({"scale": "bark"}, "LogMel scale must be one of htk, slaney, got 'bark'"),
        (
            {"num_mels": 128},
            "LogMel num_mels must leave at least one frequency in each band, got 128 bands of which .* are empty",
        ),
    ],
    ids=str,
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        LogMel(**{"rate": 8000, "num_frames": 10} | options)


def test_real_digits():
    path = DATA / "fsdd" / "fsdd_wavs.tar"
    if not path.is_file():
        pytest.skip("fsdd is not at hand (MEDEN_DATA)")
    recordings = read_wavs(path)
    assert (len(recordings.names), recordings.rate) == (3000, 8000)
    assert recordings.names[0] == "recordings/0_george_0.wav"
    assert all(0 < waveform.abs().max() <= 1 for waveform in recordings.waveforms)
