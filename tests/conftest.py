"""Tests run on one thread: their nets are small, and results must not depend on how work was divided."""

import torch

torch.set_num_threads(1)
