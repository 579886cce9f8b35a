"""The tool that compares two checkouts: the same code gives the same bits, and a difference of one bit is found."""

import copy
import math
from pathlib import Path

import pytest
from tools import same_bits, train_cases

from tests.contracts import POPULATIONS

ROOT = Path(__file__).parents[1]


def test_every_recipe_of_the_table_goes_through_every_entry_point():
    wanted = {f"{entry}: {case}" for entry in ("fit", "fit_many", "tune") for case in POPULATIONS}
    assert wanted <= train_cases.cases().keys()


def test_one_bit_of_one_weight_is_found():
    (old,) = train_cases.train("fit_many: sgd").values()
    (again,) = train_cases.train("fit_many: sgd").values()
    assert same_bits.verdict(old, again) is None
    name = "member 2: weights 1.bias"
    doctored = copy.deepcopy(old)
    doctored[name][-1] = math.nextafter(old[name][-1], math.inf)
    assert same_bits.verdict(old, doctored) == f"{name}, {old[name][-1]!r} / {doctored[name][-1]!r}"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": [math.nan, 1.0]}, {"a": [math.nan, 1.0]}, None),
        ({"a": [0.0]}, {"a": [-0.0]}, "a, 0.0 / -0.0"),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, "a, 1 / 2 values"),
        ({"a": [1.0], "b": [1.0]}, {"a": [1.0]}, "b, only in the old"),
        ({"a": [1.0]}, {"a": [1.0], "b": [1.0]}, "b, only in the new"),
        ({"error": ["KeyError: 'x'"]}, {"error": ["KeyError: 'x'"]}, "not trained, KeyError: 'x'"),
    ],
)
def test_what_differs_is_told(old, new, found):
    assert same_bits.verdict(old, new) == found


def test_a_process_of_its_own_gives_the_same_bits():
    there = same_bits.train("NEW_CHECKOUT", ROOT, "fit: sgd")
    here = train_cases.train("fit: sgd")
    assert there.keys() == here.keys()
    assert same_bits.verdict(here["fit: sgd"], there["fit: sgd"]) is None


def test_a_line_for_each_case_and_the_exit_status(capsys, monkeypatch):
    old = {"fit: a": {"lr": [0.1]}, "fit: b": {"lr": [0.1]}}
    new = {"fit: a": {"lr": [0.1]}, "fit: b": {"lr": [0.2]}}
    monkeypatch.setattr(same_bits, "numbers_of", lambda *_: (old, new))
    assert same_bits.main(["old", "new"]) == 1
    assert capsys.readouterr().out == "same: fit: a\nDIFFERENT: fit: b: lr, 0.1 / 0.2\nsame: 1 of 2\n"
    new["fit: b"] = old["fit: b"]
    assert same_bits.main(["old", "new"]) == 0
    assert capsys.readouterr().out.endswith("same: 2 of 2\n")


def test_a_folder_that_is_no_checkout_is_one_line(capsys, tmp_path):
    assert same_bits.main([str(ROOT), str(tmp_path)]) == 2
    wanted = "NEW_CHECKOUT must be a checkout of meden, with src/meden/__init__.py, got"
    assert capsys.readouterr().err == f"same_bits.py: {wanted} {str(tmp_path)!r}\n"
