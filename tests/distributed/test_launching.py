"""Processes that are started together end together, and the one that failed is named. They import no torch: quick."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from meden._checks import InputError
from meden.distributed import launching
from meden.distributed.launching import Lost, launch

pytestmark = pytest.mark.distributed

HEAD = "import os, signal, sys, time; from pathlib import Path; rank = int(os.environ['RANK']);"


def command(body: str) -> list[str]:
    return [sys.executable, "-S", "-c", HEAD + body]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_each_finds_its_place(tmp_path: Path) -> None:
    names = "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT OMP_NUM_THREADS"
    launch(
        command(f"Path({str(tmp_path)!r}, str(rank)).write_text(' '.join(os.environ[n] for n in {names.split()}))"), 3
    )
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [one[:4] for one in told] == [[str(rank), str(rank), "3", "127.0.0.1"] for rank in range(3)]
    assert len({one[4] for one in told}) == 1 and int(told[0][4]) > 0


@pytest.mark.parametrize(
    ("body", "rank", "status", "told"),
    [
        ("sys.exit(3 if rank == 1 else time.sleep(60))", 1, 3, "the process of rank 1 ended with status 3; the"),
        (
            "os.kill(os.getpid(), signal.SIGKILL) if rank == 2 else time.sleep(60)",
            2,
            -9,
            "rank 2 was killed by SIGK",
        ),
        # those that it took along fail before the launcher looks
        ("(time.sleep(0.03), os.kill(os.getpid(), 9)) if rank == 1 else sys.exit(1)", 1, -9, "rank 1 was killed"),
        # one that does not heed SIGTERM
        (
            "signal.signal(15, lambda *_: 0); sys.exit(4) if rank == 0 else [time.sleep(9) for _ in range(9)]",
            0,
            4,
            "rank 0",
        ),
    ],
)
def test_one_that_fails_is_named_and_the_others_stop(
    tmp_path: Path, body: str, rank: int, status: int, told: str
) -> None:
    note = f"Path({str(tmp_path)!r}, str(rank)).write_text(str(os.getpid()));"
    started = time.monotonic()
    with pytest.raises(Lost, match=told) as lost:
        launch(command(note + body), 3)
    assert (lost.value.rank, lost.value.status) == (rank, status)
    assert time.monotonic() - started < 10
    assert all(gone(int(path.read_text())) for path in tmp_path.iterdir())


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port must be free, got {port}") as refused:
            launch(command("sys.exit(1)"), 2, port=port)
    assert "\n" not in str(refused.value)


def test_a_port_of_its_own(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch(command(f"Path({str(tmp_path)!r}, 'port').write_text(os.environ['MASTER_PORT'])"), 1, port=port)
    assert (tmp_path / "port").read_text() == str(port)


@pytest.mark.parametrize(("arguments", "told"), [((0, 0), "num_processes"), ((2, 70_000), "port"), ((2, -1), "port")])
def test_bad_numbers(arguments: tuple[int, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        launch(command("pass"), arguments[0], port=arguments[1])


def test_no_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    with pytest.raises(InputError, match=r"torch must be built with torch\.distributed and gloo"):
        launch(command("pass"), 2)


WAITS = (
    "signal.signal(15, lambda *_: sys.exit({status})); Path('{folder}', str(rank)).touch(); time.sleep(30); sys.exit(9)"
)


def when_started(folder: Path, act) -> threading.Thread:
    def wait() -> None:
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("status", [0, 5])
def test_sigterm_is_passed_on(tmp_path: Path, status: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = when_started(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    if status:
        with pytest.raises(Lost, match="ended with status 5"):
            launch(command(WAITS.format(status=status, folder=tmp_path)), 2)
    else:
        launch(command(WAITS.format(status=status, folder=tmp_path)), 2)
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_ends_them(tmp_path: Path) -> None:
    """In a terminal all processes of the foreground get the signal; here the first alone does, and asks the others."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # is ignored in tests that run in the background
    try:
        thread = when_started(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            launch(command(WAITS.format(status=0, folder=tmp_path)), 2)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < launching.GRACE
