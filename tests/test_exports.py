"""The public surface is a list; this test guards it."""

import meden

PUBLIC = {
    "Activity", "Audit", "Averager", "Averaging", "Choice", "Comparison", "Dataset", "Diagnosis", "EarlyStopping",
    "FromData", "Handle", "History", "InputError", "IntUniform", "LogUniform", "Maybe", "Member", "Recipe",
    "Record", "Regularizer", "Run", "Schedule", "Sharpness", "Strength", "StrengthSchedule", "Study", "Uniform",
    "as_dataset", "audit", "augment", "compare", "convert", "diagnose", "fit", "fit_many", "load_run", "load_study",
    "models", "noise", "penalties", "record_activity", "regularize", "tune",
}  # fmt: skip


def test_all_is_what_is_public_and_sorted() -> None:
    assert set(meden.__all__) == PUBLIC
    assert meden.__all__ == sorted(meden.__all__)


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in meden.__all__:
        assert getattr(meden, name).__doc__, name


def test_functions_of_the_design_are_functions() -> None:
    for name in ("audit", "compare", "convert", "diagnose", "fit", "fit_many", "load_study", "regularize", "tune"):
        assert callable(getattr(meden, name)), name
