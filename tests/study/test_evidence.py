"""What a diagnosis of a search goes by: whether more regularisation was in its reach."""

import dataclasses

import pytest

from meden.space import Choice, LogUniform, Maybe, Uniform
from meden.study.evidence import evidence_of, more_in_reach
from tests.report.studies import any_network, study


@pytest.mark.parametrize(
    ("space", "params", "more"),
    [
        ({"l2": LogUniform(1e-4, 1.0)}, {"l2": 0.01}, True),
        ({"l2": LogUniform(1e-4, 1.0)}, {"l2": 0.99}, False),  # at its end: what is best may lie beyond
        ({"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0, 0.5)}, {"l2": 1.0, "dropout": 0.1}, True),
        ({"weight_decay": Maybe(LogUniform(0.1, 10))}, {"weight_decay": None}, True),
        ({"lr": LogUniform(1e-4, 1.0)}, {"lr": 0.01}, False),  # nothing that regularises was searched
        ({"width": Choice(8, 16)}, {"width": 8}, False),
    ],
)
def test_more_is_in_reach_below_the_ends_of_what_regularises(space, params, more):
    made = study(2, space=space, make_model=any_network)
    trial = dataclasses.replace(made.choice, params=params)
    assert more_in_reach(made, trial) == more
    assert evidence_of(dataclasses.replace(made, trials=[dataclasses.replace(trial, number=0)])).more_in_reach == more
