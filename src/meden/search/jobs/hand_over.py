"""A training function that trains nothing itself: what it is called with is given to somebody in another thread."""

from __future__ import annotations

import queue
from typing import Any

from meden.search.jobs.job import Job


class HandOver:
    """A training function that hands its job to somebody else, and returns what they tell of it."""

    def __init__(self) -> None:
        self.__module__, self.__qualname__ = "meden.search", "Asking"  # what a study names
        self.jobs: queue.SimpleQueue[Job | BaseException | None] = queue.SimpleQueue()
        """Jobs; None once the search has ended; what it raised."""
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, job: Job) -> Any:
        """Wait for an answer; one that is an error is raised."""
        self.jobs.put(job)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer
