"""A search for those who cannot hand over a function: jobs are asked for, and their answers told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from meden._checks import InputError
from meden._randomness import put_back, seed_all
from meden.search.jobs import HandOver, Job
from meden.search.tune import tune
from meden.study.study import Study

DAEMON = "meden-asking"


class _Left(BaseException):
    """The one who asked has gone; the job that is out is not over."""


class Asking:
    """Ask-and-tell interface of a search: ask for a job, train, tell the results of its scored rows; one job at a time.

    Use it in a ``with`` statement. It is :func:`meden.tune` of a training function otherwise: the same ledger, races
    and choice. A loop that is left before the end goes on, with the same ``study_dir``, at the job that was out.

    Args:
        rows: labels or numbers (n,) of all rows, or how many there are.
        space: names to dimensions.
        **options: as for :func:`meden.tune`, but for ``jobs``, which is 1.

    Example:
        >>> import meden, numpy as np
        >>> with Asking(rows=12, space={"lr": meden.Uniform(0, 1)}, folds=2, budget=2) as asking:
        ...     for job in asking:
        ...         _ = job.report(1, job.params["lr"])
        ...         asking.tell(job, np.full(len(job.score), job.params["lr"]))
        >>> len(asking.study.trials)
        2
    """

    def __init__(self, *, rows: Any, space: Any, **options: Any) -> None:
        if options.get("jobs", 1) != 1 or options.get("workers") is not None:
            raise InputError(f"jobs must be 1 when jobs are asked for one by one, got {options.get('jobs')!r}")
        self._arguments = {"rows": rows, "space": space, **options}
        self._hand_over = HandOver()
        self._thread: threading.Thread | None = None
        self._out: Job | None = None
        self._study: Study | None = None
        self._error: BaseException | None = None
        self._around = ExitStack()

    def __enter__(self) -> Asking:
        self._around.enter_context(put_back())
        self._thread = threading.Thread(target=self._search, name=DAEMON, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._hand_over.answers.put(_Left())
            self._thread.join()
        self._around.close()

    def __iter__(self) -> Iterator[Job]:
        """Yield jobs until the search has ended."""
        while (job := self.ask()) is not None:
            yield job

    def ask(self) -> Job | None:
        """Return the next job, with the global generators seeded for it; None once the search has ended.

        Raises:
            InputError: if the search cannot begin or go on, or the last job was not told of.
        """
        if self._thread is None:
            raise InputError("Asking must be used in a with statement: with Asking(...) as asking")
        if self._out is not None:
            raise InputError(f"tell must be called before the next ask: {_named(self._out)} has not been told")
        if self._error is not None:
            raise self._error
        if self._study is not None:
            return None
        got = self._hand_over.jobs.get()
        if isinstance(got, BaseException):
            self._error = got
            raise got
        self._out = got
        if got is not None:
            seed_all(got.seed)
        return got

    def tell(self, job: Job, answer: Any) -> None:
        """Tell what came of a job's scored rows: what a training function returns, or the error that it raised.

        Raises:
            InputError: if the job is not the one that is out.
        """
        if job is not self._out:
            raise InputError(f"tell must be given the job that was asked for last, got {_named(job)}")
        self._out = None
        self._hand_over.answers.put(answer)

    @property
    def study(self) -> Study:
        """The study, once the search has ended.

        Raises:
            InputError: before.
        """
        if self._study is None:
            raise InputError("study is available once ask() has returned None, and the search has not ended")
        return self._study

    def _search(self) -> None:
        try:
            self._study = tune(self._hand_over, **self._arguments)
            self._hand_over.jobs.put(None)
        except _Left:
            pass
        except BaseException as error:
            self._hand_over.jobs.put(error)


def _named(job: Any) -> str:
    return f"configuration {job.configuration}, fold {job.fold}" if isinstance(job, Job) else repr(job)[:60]
