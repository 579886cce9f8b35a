"""What people keep of their trainings by hand, and what is no log."""

import math

import numpy as np
import pandas as pd
import pytest

from meden._checks import InputError
from meden.diagnosis import diagnose
from meden.logs import read_logs
from meden.logs.columns import find_columns

TRAIN, VALID = [0.9, 0.6, 0.5], [1.0, 0.8, 0.9]
NAMES = [
    ("train", "valid"),
    ("loss", "val_loss"),
    ("train_loss", "valid_loss"),
    ("train_loss", "eval_loss"),
    ("Loss/train", "Loss/val"),
    ("trainLoss", "valLoss"),
    ("train/loss", "validation/loss"),
    ("training loss", "held-out loss"),
    ("train_nll", "test_nll"),
    ("loss", "eval/loss"),
    ("train-mse", "dev-mse"),
    ("training_loss", "validation_loss"),
]


def curves(log):
    (one,) = read_logs(log)
    return one.history.column("train.loss"), one.history.column("valid.loss")


def assert_curves(log, train, valid):
    assert np.allclose(curves(log), (train, valid), rtol=1e-12)


@pytest.mark.parametrize(("train", "valid"), NAMES)
def test_names_as_people_use_them_in_all_forms(train, valid, tmp_path):
    lists = {train: TRAIN, valid: VALID, "accuracy": [0.1, 0.2, 0.3], "lr": [0.1] * 3}
    frame = pd.DataFrame(lists)
    frame.to_csv(tmp_path / "log.csv", index=False)
    rows = frame.to_dict("records")
    for form in (lists, {k: np.array(v) for k, v in lists.items()}, rows, frame, tmp_path / "log.csv"):
        assert curves(form) == (TRAIN, VALID)
        assert read_logs(form)[0].history.column("lr") == [0.1] * 3


def test_several_training_losses_belong_to_each_evaluation():
    assert_curves({"train": [1.0, 0.8, 0.6, 0.5], "valid": [1.0, 0.9]}, [0.9, 0.55], [1.0, 0.9])
    assert curves({"train": TRAIN, "valid": VALID, "test": []}) == (TRAIN, VALID)
    with pytest.raises(
        InputError, match="lists of the same length, or multiples of the shortest, got train 3, valid 2"
    ):
        read_logs({"train": TRAIN, "valid": [1.0, 0.9]})


def test_rows_of_training_and_of_evaluation_may_alternate():
    nan = math.nan
    frame = pd.DataFrame(
        {
            "step": [10, 20, 20, 30, 30, 40],
            "train_loss": [1.0, 0.8, nan, 0.6, nan, 0.1],
            "val_loss": [nan, nan, 1.1, nan, 0.9, nan],
        }
    )
    assert_curves(frame, [0.9, 0.6], [1.1, 0.9])
    empty = pd.DataFrame({"step": [15.0, nan], "train_loss": [nan] * 2, "val_loss": [nan] * 2})
    assert_curves(pd.concat([frame[:1], empty, frame[1:]]), [0.9, 0.6], [1.1, 0.9])


def test_an_evaluation_before_any_training_is_left_out():
    rows = [{"step": 0, "val_loss": 2.3}, {"step": 1, "loss": 1.0}, {"step": 1, "val_loss": 1.1}]
    assert curves(rows) == ([1.0], [1.1])


@pytest.mark.parametrize("form", ["lists", "rows", "frame", "csv"])
def test_a_training_loss_that_is_not_a_number_is_kept(form, tmp_path):
    lists = {"epoch": [1, 2, 3], "loss": [0.9, 0.8, math.nan], "val_loss": [1.0, 0.9, math.nan]}
    frame = pd.DataFrame(lists)
    frame.to_csv(tmp_path / "log.csv", index=False, na_rep="nan")
    given = {"lists": lists, "rows": frame.to_dict("records"), "frame": frame, "csv": tmp_path / "log.csv"}[form]
    train, valid = curves(given)
    assert train[:2] == [0.9, 0.8] and math.isnan(train[2]) and math.isnan(valid[2])
    after = [{"loss": 1.0, "val_loss": 1.0}, {"loss": math.nan}]
    assert math.isnan(curves(after)[0][1])


def test_training_rows_that_were_evaluated_are_in_evaluation_mode():
    for name in ("eval_train_loss", "eval/train_loss"):
        (log,) = read_logs({"loss": TRAIN, name: [0.5, 0.4, 0.3], "val_loss": VALID})
        assert log.history.column("train.loss") == [0.5, 0.4, 0.3] and not log.as_logged
    (log,) = read_logs({"train/loss": TRAIN, "train/val_loss": VALID})
    assert log.history.column("valid.loss") == VALID and log.as_logged


def test_a_loss_that_was_looked_at_once_is_apart():
    (log,) = read_logs([*({"loss": a, "val_loss": b} for a, b in zip(TRAIN, VALID, strict=True)), {"test_loss": 0.7}])
    assert log.scored == 0.7 and log.history.column("valid.loss") == VALID
    assert read_logs({"loss": TRAIN, "val_loss": VALID, "test_loss": VALID})[0].scored is None


def test_a_list_of_logs_is_a_run_each():
    fold = {"loss": TRAIN, "val_loss": VALID}
    assert len(read_logs([fold, pd.DataFrame(fold), fold])) == 3


def test_columns_are_named_where_their_names_do_not_tell():
    frame = pd.DataFrame({"a": TRAIN, "b": VALID})
    (log,) = read_logs(frame, train="a", valid="b")
    assert log.history.column("valid.loss") == VALID
    several = {"train/box_loss": TRAIN, "train/cls_loss": VALID, "val/box_loss": VALID, "val/cls_loss": VALID}
    with pytest.raises(
        InputError, match=r"^valid must be given when several losses of log qualify \(val/box_loss, val/cls_loss\)"
    ):
        read_logs(several)
    (log,) = read_logs(several, train="train/cls_loss", valid="val/box_loss")
    assert log.history.column("train.loss") == VALID
    whole = several | {"loss": TRAIN, "val_loss": VALID}
    assert find_columns([dict.fromkeys(whole, 1.0)], "log").train == "loss"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ({"loss": TRAIN}, r"log must have a column of held-out losses .* got loss; name the two with --train COLUMN"),
        ({"val_loss": TRAIN}, "log must have a column of training losses"),
        (
            {"a": TRAIN, "b": VALID},
            "log must have a column of training losses .* and one of held-out losses .* got a, b",
        ),
        ({"acc": TRAIN, "val_acc": VALID}, "log must have a column of training losses .* got acc, val_acc"),
        ({}, "log must hold at least one epoch, got none"),
        ([], "log must hold at least one epoch, got none"),
        ({"loss": [], "val_loss": []}, "log must hold at least one epoch, got none"),
        (pd.DataFrame(), "log must hold at least one epoch, got none"),
        ([0.9, 0.8], "log must be a list of dictionaries, one per row, got 0.9 in it"),
        (3, "log must be lists by name, a list of dictionaries"),
        ({"loss": 0.9, "val_loss": 1.0}, "log must hold a list of numbers for each name, got loss=0.9"),
        ({"loss": ["low"], "val_loss": [1.0]}, "log must hold losses that are numbers in loss, got 'low'"),
        ({"loss": [True], "val_loss": [1.0]}, "log must hold losses that are numbers in loss, got True"),
        ([{"val_loss": 1.0, "step": 1}, {"loss": 1.0, "step": 2}], "log must hold training losses before its first"),
        ("nowhere.csv", "path must be an existing file or folder, got 'nowhere.csv'"),
    ],
)
def test_what_is_no_log_is_told_in_one_line(log, message):
    with pytest.raises(InputError, match=f"^{message}") as told:
        read_logs(log)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("step", ["step", "epoch", "trainer/global_step"])
def test_steps_that_go_back_are_refused(step):
    log = {step: [1, 3, 2], "loss": TRAIN, "val_loss": VALID}
    with pytest.raises(
        InputError, match=f"^log must not decrease in {step}, got 2 after 3 in row 3: separate the runs"
    ):
        read_logs(log)
    with pytest.raises(InputError, match=f"^log must have finite numbers in {step}, got nan in row 2"):
        read_logs(log | {step: [1, math.nan, 2]})


def test_columns_that_are_not_there_are_refused():
    with pytest.raises(
        InputError, match=r"^valid must be a column of log \(loss, val_loss\), got 'valloss'; did you mean"
    ):
        read_logs({"loss": TRAIN, "val_loss": VALID}, valid="valloss")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\xff", "path must be a csv file"),
        (b"", "path must be a csv file"),
        (b"just a text\nof two lines\n", "path must be a csv file with at least two columns"),
        (b"city,price\nParis,3\n", "log.csv must have a column of training losses .* got city, price"),
        (b"loss,val_loss\n", "log.csv must hold at least one epoch, got none"),
        (b'a,b\n"c,d\n', "path must be a csv file|log.csv must"),
    ],
)
def test_a_file_that_is_no_log_is_told_in_one_line(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"^{message}") as told:
        read_logs("log.csv", name="log.csv")
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"path must be a folder with metrics.csv, trainer_state.json or event files"):
        read_logs(tmp_path)


def test_what_others_log_under_our_names_does_no_harm():
    row = {"weight_norm": "x", "num_zeros": math.nan, "seconds": "3 s", "penalty/a": "b", "lr": "warm", "step": 2}
    (log,) = read_logs([row | {"loss": 1.0, "val_loss": 1.0}])
    (record,) = log.history
    assert record.weight_norm is record.num_zeros is None and record.penalties == {} and record.step == 2
    assert math.isnan(record.lr) and math.isnan(record.seconds)
    assert not read_logs([{"loss": 1.0, "val_loss": 1.0, "weight_norm": math.inf}])[0].history[0].is_finite()


GAPS = [math.nan, 1.0, math.nan, 0.9, math.nan]
"""Held-out losses of every second epoch."""


def test_a_held_out_loss_that_is_nan_between_others_was_not_evaluated(tmp_path):
    lists = {"loss": [1.0, 0.8, 0.6, 0.4, 0.3], "val_loss": GAPS}
    frame = pd.DataFrame(lists)
    frame.to_csv(tmp_path / "log.csv", index=False, na_rep="")
    for form in (lists, frame, frame.to_dict("records"), tmp_path / "log.csv"):
        assert_curves(form, [0.9, 0.5], [1.0, 0.9])
        assert "diverged" not in [finding.code for finding in diagnose(form).findings]


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ([1.0, 0.8, 0.6, 0.4], [1.0, 0.9, math.nan, math.nan]),  # nothing finite comes after
        ([1.0, 0.8, math.nan, 0.4], [1.0, 0.9, math.nan, 0.8]),  # the training loss is lost too
        ([1.0, 0.8, 0.6, 0.4], [1.0, math.inf, 0.9, 0.8]),
    ],
)
def test_held_out_losses_that_are_lost_are_told(train, valid):
    assert diagnose({"loss": train, "val_loss": valid}).findings[0].code == "diverged"


def test_two_columns_of_one_name_are_refused(tmp_path):
    frame = pd.DataFrame([[0.9, 1.0, 1.1]] * 3, columns=["loss", "val_loss", "val_loss"])
    frame.to_csv(tmp_path / "log.csv", index=False)
    for form in (frame, tmp_path / "log.csv"):
        with pytest.raises(InputError, match="unique column names, got two of 'val_loss'"):
            read_logs(form)
    frame.set_axis(["loss", "val_loss", "val_loss.1"], axis=1).to_csv(tmp_path / "log.csv", index=False)
    assert curves(tmp_path / "log.csv") == ([0.9] * 3, [1.0] * 3)


def test_one_column_is_not_both_losses():
    with pytest.raises(InputError, match="train and valid must be two columns of log, got 'loss' for both"):
        read_logs({"loss": TRAIN, "val_loss": VALID}, train="loss", valid="loss")


def test_commands_take_the_learning_rate_from_the_log_or_give_none():
    jumps = {"loss": [1.0 + 0.5 * (place % 2) for place in range(20)], "val_loss": [1.2] * 20}
    for rates, wanted in (({"lr": [0.02] * 10 + [0.03] * 10}, "--set lr=0.003 --set schedule=cosine"), ({}, None)):
        command = {f.code: f.command for f in diagnose(jumps | rates).findings}["unstable"]
        assert command == "meden fit data.csv --target y " + (wanted or "--set schedule=cosine")
    (diverged,) = diagnose({"loss": [1.0, math.nan], "val_loss": [1.0, math.nan]}).findings
    assert "lr=" not in diverged.command
