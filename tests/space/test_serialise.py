"""Spaces as plain values: JSON and back gives the same space."""

import json

import pytest

from meden import Choice, InputError, IntUniform, LogUniform, Maybe, Uniform
from meden.space.serialise import space_from_dict, space_to_dict

SPACE = {
    "l1": LogUniform(1e-7, 1 / 3),
    "dropout": Uniform(0, 0.7),
    "depth": IntUniform(0, 4),
    "norm": Choice("batch", None, True, 3, 0.1),
    "l2": Maybe(LogUniform(1e-5, 1.0)),
    "jitter": Maybe(Uniform(0.1, 0.5)),
}


def test_a_space_comes_back_from_a_file():
    found = space_from_dict(json.loads(json.dumps(space_to_dict(SPACE))))
    assert found == SPACE and {k: repr(v) for k, v in found.items()} == {k: repr(v) for k, v in SPACE.items()}


def test_what_a_newer_version_adds_to_a_dimension_is_ignored():
    fields = space_to_dict(SPACE)
    fields["l1"]["step"] = 0.5
    assert space_from_dict(fields) == SPACE


def test_an_unknown_dimension_is_refused():
    with pytest.raises(InputError, match="kind of a dimension must be one of LogUniform"):
        space_from_dict({"x": {"kind": "Uniforn", "low": 0, "high": 1}})
