"""The networks for tables, by name, and the form in which each takes a table."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from meden.data import Dataset
from meden.data.tables import Table, is_numeric
from meden.member import ModelMaker
from meden.models import MLP, Linear, TabularNet

NETWORKS: Mapping[str, ModelMaker] = {"tabular": TabularNet, "mlp": MLP, "linear": Linear}
MOST_EMBEDDED = 100
"""Tables with more numbers are wide enough without embeddings, which would take most of the time."""


def network(model: str, dataset: Dataset) -> ModelMaker:
    """Return what makes a network for a table.

    Example:
        >>> from meden.data import as_dataset
        >>> network("tabular", as_dataset("iris")).keywords
        {'num_numbers': 4, 'num_targets': None}
    """
    if model != "tabular":
        return NETWORKS[model]
    assert isinstance(dataset.inputs, Table)
    num_numbers = sum(is_numeric(kind) for kind in dataset.inputs.kinds.values())
    num_numbers = num_numbers if num_numbers <= MOST_EMBEDDED else 0
    several = dataset.task == "classification" and dataset.labels.ndim == 2
    num_targets = dataset.labels.shape[1] if several else None
    return functools.partial(TabularNet, num_numbers=num_numbers, num_targets=num_targets)


def scaled_for(model: str, dataset: Dataset) -> Dataset:
    """Return a table with its numbers to be scaled as a network wants them: robustly for ``"tabular"``."""
    assert isinstance(dataset.inputs, Table)
    return dataclasses.replace(dataset, inputs=dataclasses.replace(dataset.inputs, robust=model == "tabular"))
