"""Tests run on one thread and from one seed: nets are small, and results must not depend on how work was divided.

Keras runs on torch. What is shown is English, whoever runs them.
"""

import os

import numpy as np
import pytest
import torch

os.environ["KERAS_BACKEND"] = "torch"  # before anything imports Keras
os.environ["MEDEN_LANG"] = "en"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that tests start: threads of several wait for each other
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test and every example of a docstring with the same random numbers; MEDEN_TEST_SEED has others."""
    seed = int(os.environ.get("MEDEN_TEST_SEED", "0"))
    torch.manual_seed(seed)
    np.random.seed(seed)
