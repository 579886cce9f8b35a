"""The public surface is a list; this test guards it."""

import ast
from pathlib import Path

import pytest

import meden

PUBLIC = {
    "Activity", "Audit", "Averager", "Averaging", "Check", "Choice", "Comparison", "Dataset", "Diagnosis",
    "EarlyStopping", "Evaluation", "FromData", "Handle", "History", "InputError", "IntUniform", "Job",
    "LearningCurve", "LogUniform", "Maybe", "Member", "Memorisation", "ModelGroups", "Path", "Recipe", "Record",
    "Regularizer", "Run", "Scale", "Schedule", "Sharding", "Sharpness", "Strength", "StrengthSchedule", "Study",
    "Uniform", "as_dataset", "audit", "augment", "calibrate", "check", "compact", "compare", "convert", "diagnose",
    "edits", "evaluate", "fit", "fit_many", "groups_of", "layerwise_factors", "learning_curve", "load_run",
    "load_study", "memorisation", "models", "noise", "path", "penalties", "record_activity", "regularize", "transfer",
    "tune",
}  # fmt: skip


def test_all_is_what_is_public_and_sorted() -> None:
    assert set(meden.__all__) == set(dir(meden)) == PUBLIC
    assert meden.__all__ == sorted(meden.__all__)


def test_type_checkers_see_what_is_loaded() -> None:
    stub = ast.parse(Path(meden.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    places = {name.name: (node.module, name.name) for node in imports for name in node.names}
    (listed,) = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]
    rooms = {name: "meden" if name == room else f"meden.{room}" for name, room in meden._ROOMS.items()}
    assert places == {name: (room, name) for name, room in rooms.items()}
    assert listed == meden.__all__


def test_a_room_or_file_never_hides_a_public_name() -> None:
    files = {path.stem for path in Path(meden.__file__).parent.iterdir()}
    assert {name for name in files & PUBLIC if meden._ROOMS[name] != name} == set()


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in meden.__all__:
        assert getattr(meden, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'meden' has no attribute 'nothing'"):
        _ = meden.nothing


def test_functions_of_the_design_are_functions() -> None:
    for name in (
        "audit",
        "check",
        "compare",
        "convert",
        "diagnose",
        "evaluate",
        "fit",
        "fit_many",
        "load_study",
        "regularize",
        "tune",
    ):
        assert callable(getattr(meden, name)), name
