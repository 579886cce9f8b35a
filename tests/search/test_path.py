"""Paths: the lasso's own on a linear model, and which inputs and units of a network stay."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, lasso_path

import meden
from meden import InputError, Recipe
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.penalties import L1, L2, GroupLasso, GroupMCP, HierarchicalLasso, Nuclear
from meden.search.engine import Search

linear = functools.partial(MLP, depth=0)
EXACT = Recipe(optimizer="sgd", lr=0.2, momentum=0.5, batch_size="full", steps_per_epoch=25, epochs=8)
QUICK = Recipe(optimizer="adam", lr=0.01, batch_size=32, epochs=20)


def rows(seed: int, num: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, size)).astype(np.float32)


@pytest.fixture(scope="module")
def lasso():
    x = rows(0, 80, 6)
    y = (x @ np.array([3.0, -2.0, 1.0, 0.3, 0.0, 0.0]) + 0.5 * rows(1, 80, 1)[:, 0]).astype(np.float32)
    data = as_dataset((x, y))
    return data, meden.path(linear, data, L1, num=8, folds=2, epochs=4, recipe=EXACT)


@pytest.fixture(scope="module")
def nonlinear():
    """The first three of eight inputs matter, one of them by its size alone."""
    x = rows(2, 240, 8)
    y = (2 * x[:, 0] + np.abs(x[:, 1]) * 2 + x[:, 2] + 0.2 * rows(3, 240, 1)[:, 0]).astype(np.float32)
    return x, y


def test_a_linear_path_is_that_of_scikit_learn_in_each_fold(lasso):
    data, found = lasso
    x, y = data.inputs.x.double().numpy(), data.labels
    strengths = [point.strength for point in found.points]
    for number, fold in enumerate(make_folds(data, 2, seed=0, stop_fraction=0.0)):
        centred = x[fold.fit] - x[fold.fit].mean(0), y[fold.fit] - y[fold.fit].mean()
        _, coefficients, _ = lasso_path(*centred, alphas=strengths, tol=1e-12, max_iter=100_000)
        for point, expected in zip(found.points, coefficients.T, strict=True):
            weight = found.runs(point.strength)[number].model[-1].weight.detach().numpy()[0]
            np.testing.assert_allclose(weight, expected, atol=1e-6)
            assert point.kept[number] == {f"x{place}" for place in np.flatnonzero(expected)}
            np.testing.assert_allclose(point.norms[number], np.abs(expected), atol=1e-6)


def test_the_largest_strength_is_the_one_of_scikit_learn_in_the_fold_that_needs_the_most(lasso):
    data, found = lasso
    x, y = data.inputs.x.double().numpy(), data.labels
    folds = make_folds(data, 2, seed=0, stop_fraction=0.0)
    centred = [(x[f.fit] - x[f.fit].mean(0), y[f.fit] - y[f.fit].mean()) for f in folds]
    largest = max(lasso_path(*pair, alphas=2, eps=0.1)[0][0] for pair in centred)
    assert found.points[0].strength == pytest.approx(largest, rel=3e-5)
    assert not found.notes and found.points[0].num_kept == 0 < found.points[1].num_kept
    assert found.points[-1].strength == pytest.approx(largest / 1000, rel=3e-5)


@pytest.mark.parametrize("start", ["empty", "both"])
def test_where_the_objective_is_convex_the_start_does_not_matter(lasso, start):
    data, up = lasso
    strengths = [point.strength for point in up.points]
    found = meden.path(linear, data, L1, strengths=strengths, folds=2, start=start, epochs=4, recipe=EXACT)
    assert [point.strength for point in found.points] == strengths
    for one, other in zip(found.points, up.points, strict=True):
        np.testing.assert_allclose(one.norms, other.norms, atol=3e-6)
        assert one.kept == other.kept and one.gap < 1e-5


def test_choice_support_and_refit_of_a_network(nonlinear):
    x, y = nonlinear
    found = meden.path(MLP, (x, y), num=10, folds=3, seeds=2, recipe=QUICK)
    best, chosen = found.best, found.one_se
    assert best.loss == min(point.loss for point in found.points) and chosen.num_kept <= best.num_kept
    assert len(chosen.losses) == len(chosen.kept) == 6
    assert set(found.ranking()[:3]) == {"x0", "x1", "x2"} == set(found.support(num=3))
    assert found.points[0].num_kept == 0 and found.dense.num_kept == 8
    assert found.support("best", share=1.0) == tuple(
        name for name in found.names if all(name in kept for kept in best.kept)
    )
    run = found.refit(support=found.support(num=3))
    first = run.model[1].weight
    assert not first[:, 3:].any() and first[:, :3].all()
    assert (run.predict(x).values - y).std() < 0.5
    assert run.num_rows == 240


def test_a_refit_shrinks_nothing_that_stays():
    x = rows(4, 120, 5)
    y = (x @ np.array([2.0, -1.0, 0.5, 0.0, 0.0]) + 0.3 * rows(5, 120, 1)[:, 0]).astype(np.float32)
    found = meden.path(linear, (x, y), num=6, folds=2, epochs=2, recipe=EXACT)
    run = found.refit(support=("x0", "x2"))
    plain = LinearRegression().fit(x[:, [0, 2]], y)
    weight = run.model[-1].weight.detach().numpy()[0]
    np.testing.assert_allclose(weight[[0, 2]], plain.coef_, atol=1e-5)
    assert not weight[[1, 3, 4]].any()


def test_a_column_of_a_table_stays_or_leaves_with_all_its_inputs():
    random = np.random.default_rng(6)
    table = pd.DataFrame(
        {"a": random.normal(size=200), "colour": random.choice(["r", "g", "b"], 200), "b": random.normal(size=200)}
    )
    table["y"] = table["colour"].map({"r": 0.0, "g": 2.0, "b": -2.0}) + 0.3 * random.normal(size=200)
    found = meden.path(MLP, table, target="y", num=8, folds=2, recipe=QUICK)
    assert found.names == ("a", "b", "colour") or set(found.names) == {"a", "b", "colour"}
    assert found.ranking()[0] == "colour"
    run = found.refit(support=["colour"])
    kept = [name == "colour" for name in run.encoder.input_columns]
    assert torch.equal(run.model[1].weight.any(dim=0), torch.tensor(kept)) and sum(kept) == 3


@pytest.mark.parametrize("penalty", [GroupMCP(1.0, gamma=5.0), HierarchicalLasso, HierarchicalLasso(1.0, bound=1.0)])
def test_other_penalties_of_groups_find_the_same_inputs(nonlinear, penalty):
    x, y = nonlinear
    found = meden.path(functools.partial(MLP, skip=True), (x, y), penalty, num=8, folds=2, recipe=QUICK)
    assert found.points[0].num_kept == 0 and set(found.ranking()[:3]) == {"x0", "x1", "x2"}
    model = found.runs(found.points[2].strength)[0].model[1]
    left = ~(model.skip.weight.any(dim=0) | model.layers[0].weight.any(dim=0))
    assert {f"x{place}" for place in torch.nonzero(left)[:, 0].tolist()} == set(found.names) - found.points[2].kept[0]
    if isinstance(penalty, HierarchicalLasso):
        most = penalty.bound * model.skip.weight.norm(dim=0) * (1 + 1e-5)
        assert (model.layers[0].weight.abs() <= most).all()


def test_units_leave_too_and_a_strength_that_leaves_some_is_said(nonlinear):
    make = functools.partial(MLP, width=12, depth=1)
    told = []
    found = meden.path(make, nonlinear, kind="units", num=5, ratio=0.01, folds=2, recipe=QUICK, on_progress=told.append)
    assert len(found.names) == 12 and found.points[0].num_kept == 0 < found.points[-1].num_kept
    assert any("the path was extended to" in note for note in found.notes)
    assert len(found.points) > 5 and told[-1].num_fits == told[-1].max_fits == 2 * (len(found.points) + 1)
    assert all(progress.num_fits <= progress.max_fits for progress in told)


def test_too_few_strengths_are_said():
    found = meden.path(MLP, "iris", strengths=[1e-5, 1e-4], folds=2, epochs=1, recipe=QUICK.replace(epochs=2))
    assert len(found.points) == 4 and "are left at 0.01: give larger strengths" in found.notes[-1]


def test_a_path_that_diverged_is_told():
    recipe = Recipe(optimizer="sgd", lr=1e20, batch_size="full", epochs=2)
    found = meden.path(linear, "diabetes", strengths=[0.1, 0.01], folds=2, recipe=recipe)
    assert np.isnan(found.points[0].losses).all() and np.isinf(found.points[0].objectives).all()
    assert "diverged at every strength" in repr(found)
    with pytest.raises(InputError, match="got runs that diverged at every one"):
        found.support()
    with pytest.raises(InputError, match=r"recipe must train without the penalty.* lower its lr"):
        meden.path(linear, "diabetes", num=2, folds=2, recipe=recipe)


@pytest.mark.parametrize("kind", ["inputs", "units"])
def test_inputs_that_do_not_vary_are_refused(kind, monkeypatch):
    monkeypatch.setattr(Search, "run", lambda _: pytest.fail("trained"))
    arrays = np.full((40, 3), 2, np.float32), rows(7, 40, 1)[:, 0]
    table = pd.DataFrame({"a": np.ones(40), "s": "x", "y": arrays[1]})
    for data, target in ((arrays, None), (table, "y")):
        with pytest.raises(InputError, match="data must have inputs that vary"):
            meden.path(MLP, data, target=target, kind=kind, num=3, folds=2, recipe=QUICK)


def test_a_constant_input_is_kept_nowhere():
    x = rows(8, 60, 4)
    table = pd.DataFrame({"a": x[:, 0], "one": 1.0, "word": "x", "b": x[:, 1], "y": x[:, 0] + x[:, 1]})
    x[:, 2] = 3.0
    for data, target, constant in ((table, "y", {"one", "word"}), ((x, x[:, 0] + x[:, 1]), None, {"x2"})):
        found = meden.path(MLP, data, target=target, num=3, folds=2, recipe=QUICK)
        kept = {name for point in (*found.points, found.dense) for own in point.kept for name in own}
        assert kept == set(found.names) - constant and constant <= set(found.names)
        assert not constant & set(found.ranking()[: -len(constant)])


def test_a_page_that_cannot_be_written_is_refused_in_one_line(lasso, tmp_path):
    _, found = lasso
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"path must be a writable file, got '.*page.html'"):
        found.report(tmp_path / "file" / "page.html")


def test_a_path_goes_on_where_it_was_cut_off(tmp_path):
    options = {"num": 4, "folds": 2, "epochs": 2, "recipe": QUICK.replace(epochs=3)}
    whole = meden.path(MLP, "iris", study_dir=tmp_path / "one", **options)
    ledger = tmp_path / "one" / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:6]))
    again = meden.path(MLP, "iris", study_dir=tmp_path / "one", **options)
    for one, other in zip(whole.points, again.points, strict=True):
        assert one.strength == other.strength and one.kept == other.kept
        assert one.norms.tobytes() == other.norms.tobytes() and one.losses.tobytes() == other.losses.tobytes()


def test_the_page_draws_worth_and_norms(lasso, tmp_path):
    _, found = lasso
    page = found.report(tmp_path / "path.html").read_text(encoding="utf-8")
    assert "Number of inputs against held-out loss" in page and "Norm of each of the inputs" in page
    text = found.report(tmp_path / "path.md", format="md").read_text(encoding="utf-8")
    assert f"{len(found.support())} of 6 inputs stay" in text and "| x0 | 1.000 |" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"penalty": "l1"}, "penalty must be one of meden.penalties, such as GroupLasso, got 'l1'"),
        ({"penalty": L2}, "penalty must produce exact zeros on a path, such as L1 or GroupLasso, got L2"),
        ({"penalty": Nuclear(1.0)}, "penalty must act on numbers or on rows .* got Nuclear"),
        ({"penalty": GroupLasso(1.0, dim=1)}, "penalty must have the groups of the path, 'inputs', got dim=1"),
        ({"penalty": HierarchicalLasso}, "make_model must return a network with a layer named skip"),
        ({"kind": "columns"}, "kind must be one of units, filters, heads, inputs"),
        ({"kind": "heads"}, "kind must be one for which MLP has removable groups, got 'heads'"),
        ({"start": "warm"}, "start must be one of dense, empty, both"),
        ({"num": 1}, "num must be a whole number of at least 2"),
        ({"ratio": 1.0}, "ratio must be .* got 1.0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"strengths": [-1.0, 1.0]}, "strengths must be a finite number above 0, got -1"),
        ({"strengths": ["big", 1.0]}, "strengths must be a number above 0, got 'big'"),
        ({"strengths": [0.1]}, "strengths must be two or more numbers, got 1"),
        ({"strengths": [0.1, 0.1]}, "strengths must differ, got only 0.1"),
        ({"recipe": "adam"}, "recipe must be a meden.Recipe or None, got 'adam'"),
        ({"recipe": Recipe(early_stopping=meden.EarlyStopping())}, "set early_stopping=None"),
        ({"folds": 1}, "folds must be a whole number of at least 2, got 1"),
        ({"stop_fraction": 0.2}, "stop_fraction must be 0 on a path"),
        ({"jobs": 0}, "jobs must be a whole number of at least 1, got 0"),
        ({"budget": 3}, "there is no argument 'budget'"),
    ],
)
def test_wrong_input_is_refused_in_one_line(options, told):
    with pytest.raises(InputError, match=told) as caught:
        meden.path(MLP, "iris", **options)
    assert "\n" not in str(caught.value)


def test_wrong_questions_are_refused(lasso):
    _, found = lasso
    for ask, told in (
        (lambda: found.at("worst"), "at must be a strength, 'one_se' or 'best', got 'worst'"),
        (lambda: found.at(-1.0), "at must be"),
        (lambda: found.support(num=7), "num must be"),
        (lambda: found.support(share=0.0), "share must be"),
        (lambda: found.refit(support=["x9"]), "support must be names of the 6 inputs, got 'x9'"),
    ):
        with pytest.raises(InputError, match=told):
            ask()
