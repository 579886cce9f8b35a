"""A clock that goes by the processor: on a busy machine a budget of a minute is then a minute's work.

What has one thread and never waits takes as long by it as by the clock on the wall of a machine that does nothing else.
"""

from __future__ import annotations

import resource
import sys
import time

READERS = ("meden.deadline", "autogluon.core", "autogluon.tabular")
"""What keeps to a limit by ``time.time`` or ``time.perf_counter``, and must be imported later."""


def cpu_seconds() -> float:
    """Return what this process and those that it has ended have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def go_by_the_processor() -> None:
    """Let ``time.time`` and ``time.perf_counter`` count the processor's seconds, in this process and its forks.

    Raises:
        RuntimeError: if something has taken the other clock already.
    """
    if late := [name for name in READERS if name in sys.modules]:
        raise RuntimeError(f"the clock must be set before {', '.join(late)} is imported")
    began, counted = time.time(), time.perf_counter()
    time.time = lambda: began + cpu_seconds()
    time.perf_counter = lambda: counted + cpu_seconds()
