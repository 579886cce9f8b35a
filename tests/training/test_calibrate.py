"""Temperature scaling of runs: what changes, what does not, and what it does on real rows."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng
from torch import nn

import meden
from meden import EarlyStopping, Member, Recipe
from meden._checks import InputError
from meden.data import as_dataset, make_folds
from meden.diagnosis import calibration_error, estimate_error
from meden.models import MLP, TabularNet
from meden.run import load_run
from meden.training.calibrate import by_stop_rows, check_calibrates
from meden.training.fit_many import fit_many

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))
LONG = Recipe(epochs=30, lr=0.01)


def table(num: int = 1600) -> pd.DataFrame:
    draws = default_rng(0)
    frame = pd.DataFrame(draws.standard_normal((num, 6)), columns=list("abcdef"))
    return frame.assign(y=np.where(frame.a + 1.5 * draws.standard_normal(num) > 0, "yes", "no"))


@pytest.fixture(scope="module")
def trained():
    dataset = as_dataset(table(), target="y")
    fold = make_folds(dataset, 2, seed=0)[0]
    return dataset, fold, fit_many(MLP, [Member(LONG, fold)], dataset)[0]


def test_probabilities_get_closer_to_frequencies_on_other_rows(trained):
    dataset, fold, run = trained
    after = by_stop_rows(run, dataset, fold)
    before, now = (estimate_error(one.evidence().answers) for one in (run, after))
    assert before.interval[0] > 0.1 > now.estimate and after.held_out.loss < run.held_out.loss
    codes = [[f.code for f in meden.diagnose(one, select=["calibration"]).findings] for one in (run, after)]
    assert codes == [["miscalibrated"], []]


def test_what_is_kept_of_scored_rows_is_what_the_model_says_of_them(trained):
    dataset, fold, run = trained
    after = by_stop_rows(run, dataset, fold)
    told = after.predict(table().iloc[fold.score].drop(columns="y")).probabilities
    np.testing.assert_allclose(after.held_out.outputs, told, atol=1e-5)
    truth = dataset.labels[fold.score]
    np.testing.assert_allclose(after.held_out.losses, -np.log(told[np.arange(len(truth)), truth]), rtol=1e-3, atol=1e-5)
    assert np.array_equal(after.held_out.scores, run.held_out.scores)  # which class comes first is the same
    assert after.history is run.history and "logits divided afterwards by" in after.reason


def test_rows_of_a_table_and_pairs_give_the_same(trained, tmp_path):
    dataset, fold, run = trained
    rows = table().iloc[fold.stop]
    made = [meden.calibrate(run, rows), meden.calibrate(run, (rows.drop(columns="y"), rows["y"]))]
    for one in made:
        for name, tensor in by_stop_rows(run, dataset, fold).model.state_dict().items():
            assert torch.equal(one.model.state_dict()[name], tensor)
    made[0].save(tmp_path)
    again = load_run(tmp_path)
    assert np.array_equal(again.predict(rows).probabilities, made[0].predict(rows).probabilities)


def test_tensors_and_layers_that_end_side_by_side():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] + torch.randn(300, generator=torch.Generator().manual_seed(1)) > 0).long()
    for model in (nn.Linear(4, 2), MLP(4, 2, skip=True), MLP(4, 2, batch_norm=True, dropout=0.3), TabularNet(4, 2)):
        run = meden.fit(model, train=(x[:100], y[:100]), recipe=LONG.replace(epochs=20))
        before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        after = meden.calibrate(run, (x[100:], y[100:]))
        ratio = run.model(x) / after.model(x)
        assert (ratio - ratio[0, 0]).abs().max() < 1e-3 * ratio[0, 0]
        assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x).tanh()


def test_what_has_no_temperature_is_refused(trained):
    _, _, run = trained
    x, y = torch.randn(20, 4), torch.randint(0, 2, (20,))
    plain = meden.fit(nn.Linear(4, 2), train=(x, y), recipe=Recipe(epochs=1))
    numbers = fit_many(MLP, [Member(Recipe(epochs=1))], as_dataset("diabetes"))[0]
    lost = meden.fit(nn.Linear(4, 2), train=(x, y), recipe=Recipe(epochs=2, optimizer="sgd", lr=1e38))
    squashed = meden.fit(Squashed(), train=(x, y), recipe=Recipe(epochs=1))
    for subject, data, told in (
        (numbers, table(), "must be a classifier"),
        (lost, (x, y), "can predict, got one that diverged"),
        (plain, (x, y.float()), "whole numbers"),
        (squashed, (x, y), "ends in linear layers"),
        (run, table().drop(columns="y"), "must be a column of the table .* got 'y'"),
        (run, 3, "must be a table, or a pair"),
        (run, (table().drop(columns="y"), table()["y"][:5]), "one target per row, got 5 targets and 1600"),
        (run, (table().drop(columns="y")[:5], table()["y"]), "one target per row, got 1600 targets and 5"),
        (run, (table().drop(columns="y")[:0], table()["y"][:0]), "must have rows"),
        (plain, (x, y + 5), "must hold rows with one of 2 classes|class"),
        ([run], table(), "must be one trained run, got list"),
        (None, table(), "must be one trained run, got NoneType"),
    ):
        with pytest.raises(InputError, match=told):
            meden.calibrate(subject, data)


def test_a_run_of_weighted_rows_keeps_no_scores_that_it_cannot_tell(trained):
    dataset, fold, run = trained
    weighted = replace(run, held_out=replace(run.held_out, losses=2 * run.held_out.losses))
    assert by_stop_rows(weighted, dataset, fold).held_out is None


def test_a_network_that_is_too_sure_of_credit_is_calmed():
    """1,000 real rows: a network trained for long, before and after, on the rows that only score."""
    path = DATA / "credit_g" / "credit_g.csv"
    if not path.is_file():
        pytest.skip("needs the real tables (MEDEN_DATA)")
    dataset = as_dataset(path, target="class")
    fold = make_folds(dataset, 5, seed=0)[0]
    run = fit_many(MLP, [Member(Recipe(epochs=60, lr=3e-3), fold)], dataset)[0]
    after = by_stop_rows(run, dataset, fold)
    told = [one.evidence().answers for one in (run, after)]
    errors = [calibration_error(one.sure, one.right) for one in told]
    assert errors[0] > 0.2 and errors[1] < errors[0] / 2 and after.held_out.loss < 0.7 < run.held_out.loss


def test_stopping_early_needs_no_temperature():
    dataset = as_dataset("breast_cancer")
    fold = make_folds(dataset, 3, seed=0)[0]
    recipe = Recipe(epochs=60, early_stopping=EarlyStopping(patience=5))
    run = fit_many(MLP, [Member(recipe, fold)], dataset)[0]
    assert "miscalibrated" not in [f.code for f in meden.diagnose(run).findings]


def test_whether_a_model_can_be_calibrated_is_known_before_training():
    x = torch.randn(2, 4)
    check_calibrates(TabularNet(4, 2), x)  # its last layer is zero at first
    with pytest.raises(InputError, match="ends in linear layers"):
        check_calibrates(Squashed(), x)


def test_losses_before_and_behind_a_temperature_are_not_compared(trained, tmp_path):
    dataset, fold, run = trained
    after = by_stop_rows(run, dataset, fold)
    assert after.temperature > 1 and run.evidence().curves[0].scored is not None
    assert after.evidence().curves[0].scored is None and "uncalibrated train loss" in str(after)
    after.save(tmp_path)
    assert load_run(tmp_path).temperature == after.temperature


def test_few_rows_that_are_all_right_leave_a_run_as_it_is(trained):
    _, fold, run = trained
    told = run.predict(table().iloc[fold.stop].drop(columns="y")).values == table().y.iloc[fold.stop]
    rows = table().iloc[fold.stop][np.asarray(told)][:40]
    after = meden.calibrate(run, rows)
    assert after.temperature == 1.0 and "logits unchanged" in after.reason and "40 rows, which are few" in after.reason
