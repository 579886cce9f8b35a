"""The global generators of Python, numpy and torch: seeded for a while, and put back."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_TURN = threading.RLock()
"""They are one for all threads."""


def seed_all(seed: int) -> None:
    """Seed all of them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    for generator in _of_devices():
        generator.manual_seed(seed)


@contextmanager
def own_randomness(seed: int | None = None) -> Iterator[None]:
    """Leave their states as they were; other threads that ask for it wait.

    Args:
        seed: that they begin with; None begins where they are.

    Example:
        >>> before = torch.get_rng_state()
        >>> with own_randomness(seed=0):
        ...     first = random.random(), float(np.random.rand()), float(torch.rand(()))
        >>> with own_randomness(seed=0):
        ...     again = random.random(), float(np.random.rand()), float(torch.rand(()))
        >>> first == again, torch.equal(before, torch.get_rng_state())
        (True, True)
    """
    with _TURN, put_back():
        if seed is not None:
            seed_all(seed)
        yield


@contextmanager
def put_back() -> Iterator[None]:
    """Leave their states as they were, without keeping other threads from them: somebody's code may use many."""
    python, numbers = random.getstate(), np.random.get_state()
    generators = [torch.default_generator, *_of_devices()]
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def drawn_from() -> bytes:
    """Return bytes that change when something is drawn from one of them."""
    _, keys, *places = np.random.get_state()
    numbers = [np.asarray(keys).tobytes(), repr((random.getstate(), places)).encode()]
    return b"".join([*numbers, *(g.get_state().numpy().tobytes() for g in (torch.default_generator, *_of_devices()))])


def _of_devices() -> tuple[torch.Generator, ...]:
    """Return those of GPUs, once they are in use."""
    return tuple(torch.cuda.default_generators) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
