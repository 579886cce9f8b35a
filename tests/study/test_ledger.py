"""The ledger: one writer at a time, nothing lost on a full disk or to a kill, one line where it cannot be written."""

import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from meden import InputError
from meden.study.ledger import Key, Ledger, Row

IDENTITY = {"data": "abc", "seed": 0}


def row(number: int, num_scored: int = 3) -> Row:
    losses = np.linspace(0.1, number + 1, num_scored, dtype=np.float32)
    return Row(
        configuration=number,
        fold=0,
        seed=0,
        params={"l2": 0.1 / 3},
        status="completed",
        reason="",
        best_epoch=1,
        best_step=2,
        num_epochs=3,
        seconds=0.5,
        train_loss=[1 / 3, 0.1],
        stop_loss=[],
        losses=losses,
        scores=np.array([1, np.nan, 0], dtype=np.float32),
        outputs=np.linspace(0, 1, 2 * num_scored, dtype=np.float32 if number else np.float64).reshape(num_scored, 2),
    )


def keys(path):
    with Ledger(path, IDENTITY) as ledger:
        return [key.configuration for key in ledger.rows]


def test_rows_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "deep" / "folder" / "ledger"
    with Ledger(path, IDENTITY) as ledger:
        ledger.append(row(0))
        ledger.append(row(1))
    with Ledger(path, IDENTITY) as again:
        both = [again.rows[Key(number, 0, 0)] for number in (0, 1)]
    for number, found in enumerate(both):
        for name, value in vars(row(number)).items():
            np.testing.assert_array_equal(getattr(found, name), value)
        assert found.outputs.dtype == row(number).outputs.dtype


def test_a_baseline_is_beside_the_configuration_of_its_number(tmp_path):
    plain = dataclasses.replace(row(0), baseline="plain")
    with Ledger(tmp_path / "ledger", IDENTITY) as ledger:
        ledger.append(row(0))
        ledger.append(plain)
    with Ledger(tmp_path / "ledger", IDENTITY) as again:
        assert list(again.rows) == [Key(0, 0, 0), Key(0, 0, 0, "plain")]
        assert again.rows[plain.key].baseline == "plain" and not again.rows[Key(0, 0, 0)].baseline


def test_a_row_is_on_the_disk_as_soon_as_it_is_appended(tmp_path):
    with Ledger(tmp_path / "ledger", IDENTITY) as ledger:
        for number in range(3):
            ledger.append(row(number))
            assert len((tmp_path / "ledger").read_bytes().splitlines()) == 2 + number


def test_the_second_to_come_is_told_that_the_folder_is_in_use(tmp_path):
    with Ledger(tmp_path / "ledger", IDENTITY) as first:
        first.append(row(0))
        with pytest.raises(InputError, match=r"must not be in use, got '.*': another search is"):
            Ledger(tmp_path / "ledger", IDENTITY)
        first.append(row(1))
    assert keys(tmp_path / "ledger") == [0, 1]


def test_a_refused_ledger_is_left_unlocked(tmp_path):
    with Ledger(tmp_path / "ledger", IDENTITY) as ledger:
        ledger.append(row(0))
    with pytest.raises(InputError, match="got one with different seed"):
        Ledger(tmp_path / "ledger", IDENTITY | {"seed": 1})
    assert keys(tmp_path / "ledger") == [0]


HOLDER = """
import os, sys, time
from pathlib import Path
from meden.study.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), {})
print("locked", flush=True)
time.sleep(60)
"""


def test_a_process_that_writes_is_named_and_leaves_no_lock_behind_when_it_is_killed(tmp_path):
    path = tmp_path / "ledger"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match=rf"another search is writing to it \(process {holder.pid} on .+\); wait"):
            Ledger(path, {})
        assert sorted(tmp_path.iterdir()) == before
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Ledger(path, {}).close()


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_process_that_ends_while_it_is_asked_for_has_no_name(tmp_path, monkeypatch, asked_first):
    """The holder's file goes away between two looks at it, or before the first."""
    path = tmp_path / "ledger"
    with contextlib.closing(Ledger(path, {})):
        (tmp_path / "ledger.pid").unlink()
        if asked_first:
            monkeypatch.setattr(Path, "exists", lambda _: True)
        with pytest.raises(InputError, match="another search is writing to it; wait"):
            Ledger(path, {})


@contextmanager
def full_disk(num_bytes: int):
    """No file can become longer than that: a write is cut short, and the next one fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing(tmp_path):
    path = tmp_path / "ledger"
    with Ledger(path, IDENTITY) as ledger:
        ledger.append(row(0))
        room = path.stat().st_size + 20
        with full_disk(room):
            for _ in range(2):
                with pytest.raises(OSError, match="finished work is safe; free some disk space, and continue"):
                    ledger.append(row(1))
        assert Key(1, 0, 0) not in ledger.rows
        assert path.stat().st_size == room, "the failed write was torn"
    assert keys(path) == [0]
    with Ledger(path, IDENTITY) as ledger:
        ledger.append(row(1))
    assert keys(path) == [0, 1]
    assert path.read_bytes().count(b"\n") == 3


def test_room_that_is_made_while_it_runs_is_used(tmp_path):
    with Ledger(tmp_path / "ledger", IDENTITY) as ledger:
        with full_disk(10), pytest.raises(OSError, match="free some disk space"):
            ledger.append(row(0))
        ledger.append(row(0))
    assert keys(tmp_path / "ledger") == [0]


def test_folders_that_cannot_be_written_are_refused_at_the_door(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "study"):
        with pytest.raises(InputError, match=r"study_dir must be a writable folder, got '.*': \w+"):
            Ledger(folder / "ledger", IDENTITY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folders_are_refused_at_the_door(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        Ledger(tmp_path / "ledger", IDENTITY)


def test_a_line_torn_anywhere_costs_that_line_only(tmp_path):
    path = tmp_path / "ledger"
    with Ledger(path, IDENTITY) as ledger:
        for number in range(3):
            ledger.append(row(number))
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in [*range(0, len(whole), 97), *ends, *(end - 1 for end in ends)]:
        path.write_bytes(whole[:cut])
        kept = max(0, sum(end <= cut for end in ends) - 1)
        with Ledger(path, IDENTITY) as ledger:
            assert len(ledger.rows) == kept
            for number in range(kept, 3):
                ledger.append(row(number))
        assert path.read_bytes() == whole
