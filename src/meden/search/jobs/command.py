"""Training by a command: a shell script, or a program in any language, that speaks lines of JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError
from meden.job_files import ANSWER, KINDS, LOG, PARTS, REFUSED, REPLIES, SAID, TOLD, VARIABLE
from meden.progress import LOST
from meden.search.jobs.child import Child
from meden.search.jobs.job import Job

REPORTED = ("epoch", "stop_loss", "train_loss")
OURS = re.compile(rf'\s*{{\s*"({"|".join(("epoch", REFUSED, *KINDS))})"\s*:')
"""How a line begins that is a message, or was meant to be one."""
WORDS = re.compile(r"[\s=;&|<>()'\"]+")
WRITTEN = re.compile(r">+\s*\S+")
"""Files that a shell writes say nothing of the code."""
PLAIN = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)
"""Words that need no quotes in a shell."""
ENDING = 200
"""Letters of the log's last line that are told."""


class Command:
    """A training function that runs a command: ``meden.tune(Command("bash train.sh {lr}"), rows=..., space=...)``.

    ``{lr}`` stands for the parameter ``lr``, in JSON's way of writing where it is no text; other braces, and ``${lr}``,
    are left alone. There is no shell unless the command is one (``bash -c``).

    The command finds in its environment ``MEDEN_JOB``, the path of a ``job.json`` with ``params``, ``seed``, ``fold``,
    ``configuration``, ``epochs``, ``num_rows``, ``rows`` (files of the row numbers ``fit``, ``stop`` and ``score``, one
    a line, from 0) and ``checkpoint_dir``; and ``MEDEN_SEED``, ``MEDEN_FOLD`` and ``MEDEN_EPOCHS``. It prints, each on
    a line of its own::

        {"epoch": 3, "stop_loss": 0.52, "train_loss": 0.4}    after each epoch (train_loss if it likes)
        {"probabilities": "scored.npy"}                       in the end

    The answer is one of ``losses``, ``logits``, ``probabilities`` and ``predictions`` of the rows ``score``, as for
    :class:`meden.Job`: numbers, or a file of them (``.npy``, ``.csv``, ``.txt``) that is read once the command has
    ended. After a report a line such as ``{"epoch": 3, "stop": false}`` is added to ``replies.jsonl`` beside
    ``job.json``; the command waits for it, and stops if it says so. ``meden job`` does all this from a shell,
    :class:`meden.job_files.JobFiles` from Python. Other lines, and what goes to standard error, are kept in
    ``log.txt`` of the job's folder.

    A command that fails, is killed, speaks nonsense or ends without an answer loses its job; the study goes on. Its
    processes end with the search, however that ends. Which rows it reads cannot be watched.

    Args:
        command: words, or one text that is split as a shell does.
        cwd: folder to run in; None is the present one.

    Raises:
        InputError: if there is no such program or folder; or where there are no named pipes (Windows).

    Example:
        >>> import meden
        >>> script = '''
        ... for epoch in 1 2 3; do meden job report $epoch 0.$((9 - epoch)) || break; done
        ... meden job rows score | sed "s/.*/$1/" > scored.txt
        ... meden job score scored.txt --as losses'''
        >>> train = Command(["bash", "-c", script, "train", "{loss}"])
        >>> space = {"loss": meden.Uniform(0, 1)}  # meden.tune(train, rows=100, space=space)
    """

    def __init__(self, command: str | Sequence[str], *, cwd: Path | str | None = None) -> None:
        self.command, self.cwd = _words(command), Path(cwd or ".").absolute()
        if not hasattr(os, "mkfifo"):
            raise InputError("command needs named pipes, which this system does not support")
        if not self.cwd.is_dir():
            raise InputError(f"cwd must be a folder, got {str(self.cwd)!r}")
        program = self.command[0]
        if "{" not in program and shutil.which(self.cwd / program if "/" in program else program) is None:
            raise InputError(f"command must begin with an executable program, got {program!r}")

    def __str__(self) -> str:
        return " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in self.command)

    def __repr__(self) -> str:
        return f"Command({str(self)!r})"

    def __call__(self, job: Job) -> dict[str, Any] | None:
        """Run the command for a job.

        Returns:
            Its answer; None if the job was lost before, in a race or by a loss that is not finite.

        Raises:
            InputError: saying what went wrong, in one line.
        """
        with _told(job) as environment, _child(self, job, environment) as child:
            answer = None
            for line in filter(None, child.lines()):
                message = _message(line)
                if message is None:
                    _add(job.folder / LOG, line)
                elif answer is not None:
                    raise InputError(f"command must submit its results once, at the end, got {line:.80} after them")
                elif "epoch" in message:
                    stop = job.report(**message)
                    _add(job.folder / REPLIES, json.dumps({"epoch": message["epoch"], "stop": stop}))
                else:
                    answer = message
            if job.ending is not None and job.ending.status in LOST:
                return None
            if child.status:
                raise InputError(f"command ended with {_ended(child.status)}{_last_line(job)}")
            if answer is None:
                raise InputError(f"command must end by printing one of {', '.join(KINDS)}, got none{_last_line(job)}")
            if not len(job.history) and job.contest is not None:
                raise InputError(
                    "command must report every epoch in a race, but never did; racing=False turns racing off"
                )
            return {kind: self._values(values) for kind, values in answer.items()}

    def words(self, params: Mapping[str, Any]) -> list[str]:
        """Return program and arguments with the parameters put in.

        Example:
            >>> Command("awk '{print}' {rate} ${rate} --lr={rate}").words({"rate": 1e-5})
            ['awk', '{print}', '1e-05', '${rate}', '--lr=1e-05']
        """
        names = "|".join(map(re.escape, params)) or "(?!)"
        place = re.compile(rf"(?<!\$){{({names})}}")
        return [place.sub(lambda found: _text(params[found[1]]), word) for word in self.command]

    def contents(self) -> str:
        """Return a hash of the command, and of the files that it names and that are there."""
        digest = hashlib.sha256(repr(self.command).encode())
        names = dict.fromkeys(name for word in self.command for name in WORDS.split(WRITTEN.sub(" ", word)))
        for name in names:
            path = self.cwd / name
            if name and os.path.isfile(path):  # False for what is too long to be a name
                with open(path, "rb") as file:
                    digest.update(f"{name}: {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()

    def _values(self, values: Any) -> Any:
        """Return the numbers of an answer, from their file if it names one."""
        if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):  # as R writes one text
            values = values[0]
        return _read(self.cwd / values) if isinstance(values, str) else values


def _words(command: Any) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command) if isinstance(command, str) else command)
    except (TypeError, ValueError) as error:
        raise InputError(f"command must be a string or a list of strings, got {command!r:.80}: {error}") from None
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        raise InputError(f"command must be a string or a list of strings, got {command!r:.80}")
    return words


def _child(command: Command, job: Job, environment: Mapping[str, str]) -> Child:
    return Child(
        command.words(job.params),
        cwd=command.cwd,
        environment=environment,
        said=job.folder / SAID,
        log=job.folder / LOG,
    )


@contextmanager
def _told(job: Job) -> Iterator[dict[str, str]]:
    """Write what a job is told while the body runs, and give the environment that says where it is."""
    folder = job.folder.absolute()
    rows = {part: folder / f"{part}.txt" for part in PARTS}
    told = {name: getattr(job, name) for name in ("params", "seed", "fold", "configuration", "epochs", "num_rows")}
    told |= {"rows": {part: str(path) for part, path in rows.items()}}
    told |= {"checkpoint_dir": str(job.checkpoint_dir.absolute())}
    try:
        for part, path in rows.items():
            path.write_text("".join(f"{row}\n" for row in getattr(job, part).tolist()), encoding="ascii")
        (folder / REPLIES).write_text("", encoding="utf-8")
        (folder / TOLD).write_text(json.dumps(told, default=str), encoding="utf-8")
        own = {"SEED": job.seed, "FOLD": job.fold, "EPOCHS": job.epochs}
        environment = dict(os.environ) | {f"MEDEN_{name}": str(value) for name, value in own.items()}
        path_of_meden = filter(None, (environment.get("PATH"), sysconfig.get_path("scripts")))
        yield environment | {VARIABLE: str(folder / TOLD), "PATH": os.pathsep.join(path_of_meden)}
    finally:
        for path in (*rows.values(), folder / TOLD, folder / REPLIES, *folder.glob(f"{ANSWER}.*")):
            path.unlink(missing_ok=True)
        if (folder / LOG).exists() and not (folder / LOG).stat().st_size:
            (folder / LOG).unlink()


def _message(line: str) -> dict[str, Any] | None:
    """Return what a line says to the search; None if it is none of its business.

    Raises:
        InputError: if it was meant to be a message and is none.
    """
    if not line.lstrip().startswith("{"):
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        if OURS.match(line):
            raise InputError(f"command must print lines of JSON, got {line:.80}") from None
        return None
    if "epoch" in said:
        if unknown := [name for name in said if name not in REPORTED]:
            raise InputError(f"command must report only {', '.join(REPORTED)}, got {unknown[0]!r}")
        return {name: _single(value) for name, value in said.items()}
    if REFUSED in said:
        raise InputError(f"{said[REFUSED]}")
    if not said.keys() & set(KINDS):
        return None
    if len(said) > 1:
        raise InputError(f"command must submit one of {', '.join(KINDS)}, got {', '.join(said)}")
    return said  # type: ignore[no-any-return]


def _single(value: Any) -> Any:
    """Return what a list of one holds: R writes numbers so."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _read(path: Path) -> NDArray[Any]:
    """Return the numbers of a file (n,) or (n, C)."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
        if path.suffix not in (".csv", ".txt"):
            raise InputError(f"command must submit a .npy, .csv or .txt file, got {str(path)!r}")
        lines = [line for line in path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines() if line.strip()]
        named = path.suffix == ".csv" and lines and not _is_number(lines[0].split()[0])
        values = np.array([[float(cell) for cell in line.split()] for line in lines[bool(named) :]])
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"command must submit a file of numbers, got {str(path)!r}: {error}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ended(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _last_line(job: Job) -> str:
    """Return how the log of a job ends, to be added to a message."""
    try:
        lines = (job.folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; the last line of its log: {last[-ENDING:]}" if last else ""


def _add(path: Path, line: str) -> None:
    with open(path, "a", encoding="utf-8", errors="replace") as file:
        file.write(f"{line}\n")
