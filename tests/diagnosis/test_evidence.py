"""Curves from histories, curves that do not fit, and the lines of commands."""

import math
import shlex

import pytest

from meden._checks import InputError
from meden.diagnosis import Curve, Evidence, Plan, diagnose, of_history, source_of
from meden.history import History, Record


def record(epoch, train, valid, penalty=0.0):
    return Record(
        epoch=epoch,
        step=epoch,
        train={"loss": train},
        valid=None if valid is None else {"loss": valid},
        penalties={"L2": penalty},
        lr=0.1,
        num_zeros=0,
        weight_norm=1.0,
        seconds=0.0,
    )


def test_histories_become_curves():
    made = of_history(History((record(1, 1.0, 1.1, 0.3), record(2, 0.5, 0.9, 0.2))), kept=1)
    assert (made.train, made.held_out, made.penalties) == ([1.0, 0.5], [1.1, 0.9], 0.3) and made.train_loss == 1.0
    assert of_history(History((record(1, 1.0, None),))).held_out == ()
    assert diagnose(History((record(1, 1.0, None), record(2, math.nan, None)))).findings[0].code == "diverged"


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"train": []}, "train must hold the loss of at least one epoch, got none"),
        ({"train": [1.0], "held_out": [1.0, 2.0]}, r"held_out must have as many epochs as train \(1\), got 2"),
        ({"train": [1.0], "kept": 2}, "kept must be an epoch from 1 to 1, got 2"),
    ],
)
def test_curves_that_do_not_fit_are_refused(known, told):
    with pytest.raises(InputError, match=told):
        Curve(**known)


def test_commands_name_the_data_that_are_known():
    origin = {"groups": "patient", "drop": ["id", "name"], "na": ["?"], "task": "classification"}
    source = source_of("MLP", "my data.csv", "price", origin)
    words = [
        "meden",
        "tune",
        "my data.csv",
        "--target",
        "price",
        "--groups",
        "patient",
        "--drop",
        "id",
        "--drop",
        "name",
        "--na",
        "?",
        "--task",
        "classification",
    ]
    assert shlex.split(Evidence((), source=source).command("tune")) == [*words, "--model", "mlp"]
    assert source_of("TabularNet", "wine", None) == "wine"
    assert source_of("TabularNet", None, "y") == Evidence(()).source  # what is not known has a place to put it
    assert source_of(None, "data.csv", "y") == source_of("Decoder", "book.txt", None) == ""
    assert Evidence((), source="").command("tune") == ""
    assert Evidence((), plan=Plan(lr=0.02), source="wine").with_rate(0.1) == "meden fit wine --set lr=0.002"
