import dataclasses
from pathlib import Path

import pytest
import torch

import meden
from meden.report import run_report
from meden.report.recipes import recipe_text


def record(epoch: int, *, held_out: bool = True) -> meden.Record:
    train = {"loss": 1 / epoch, "accuracy": 1 - 0.5 / epoch}
    valid = {"loss": 1.25 / epoch, "accuracy": 0.875} if held_out else None
    return meden.Record(epoch=epoch, step=9 * epoch, train=train, valid=valid, penalties={"<i>L1</i>": 0.5},
                        lr=0.1, num_zeros=epoch, weight_norm=2.0, seconds=1.5)  # fmt: skip


@pytest.fixture
def run() -> meden.Run:
    history = meden.History(tuple(record(epoch) for epoch in (1, 2, 3)))
    recipe = meden.Recipe(epochs=3, regularizers=[meden.Regularizer(meden.penalties.L1(1e-3))])
    return meden.Run(model=torch.nn.Linear(2, 2), recipe=recipe, history=history, status="completed",
                     reason="all 3 epochs", best_step=18, best_epoch=2, seed=7)  # fmt: skip


def test_numbers_are_those_of_the_kept_epoch(run: meden.Run, tmp_path: Path) -> None:
    page = run_report(run, tmp_path / "run.html").read_text()
    assert "the state after epoch 2 was kept: held-out loss 0.625, 0.125 above the training loss" in page
    assert "87.5 %" in page and "training 75.0 %" in page and "strength: 0.001" in page


def test_groups_that_span_tensors_are_counted(run: meden.Run, tmp_path: Path) -> None:
    counted = [dataclasses.replace(own, num_zero_groups={"<b>(units)": 4 * own.epoch}) for own in run.history]
    with_groups = dataclasses.replace(run, history=meden.History(tuple(counted)))
    page = run_report(with_groups, tmp_path / "run.html").read_text()
    assert "groups of &lt;b&gt;(units)" in page and "8 zero" in page and "Groups that are zero" in page
    assert "<b>(units)" not in page
    assert "Groups that are zero" not in run_report(run, tmp_path / "other.html").read_text()


def test_without_held_out_rows_it_says_so(run: meden.Run, tmp_path: Path) -> None:
    history = meden.History(tuple(record(epoch, held_out=False) for epoch in (1, 2)))
    page = run_report(dataclasses.replace(run, history=history), tmp_path / "run.html").read_text()
    assert "No rows were held out" in page


def test_a_diverged_run_leads_with_its_reason(run: meden.Run, tmp_path: Path) -> None:
    bad = dataclasses.replace(run, status="diverged", reason="loss was not finite", history=meden.History())
    assert "The run diverged: loss was not finite." in run_report(bad, tmp_path / "run.html").read_text()


def test_recipe_text_loads_as_the_same_recipe(run: meden.Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_text(run.recipe))
    assert meden.Recipe.load(tmp_path / "recipe.yaml") == run.recipe
    (tmp_path / "recipe.yaml").write_text(recipe_text(meden.Recipe()))
    assert meden.Recipe.load(tmp_path / "recipe.yaml") == meden.Recipe()


def test_a_recipe_no_file_can_hold_is_still_told() -> None:
    recipe = meden.Recipe(regularizers=[meden.Regularizer(meden.penalties.L1(1e-3), on=torch.nn.Linear)])
    assert recipe_text(recipe).startswith("# cannot be written as YAML: ")
