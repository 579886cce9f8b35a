"""Where a search runs: in this process, in several, or on a Ray cluster."""

from meden.workers.workers import Backend, Workers, train

__all__ = ["Backend", "Workers", "train"]
