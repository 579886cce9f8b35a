"""New rows: each is answered, or said to have no answer; what lies far from the fit is clipped, and said."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import meden
from meden._checks import InputError
from meden.data import Encoder, as_dataset, read_table
from meden.data.fitted import FAR, NumberColumn
from meden.member import encode_folds

N = 60
QUICK = meden.Recipe(epochs=2, batch_size="full")


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 100, N), unit="D")
    return pd.DataFrame(
        {
            "size": rng.normal(2.0, 1.0, N),
            "count": rng.integers(0, 9, N),
            "pet": rng.choice(["cat", "dog"], N),
            "open": rng.random(N) < 0.5,
            "sold": days,
            "y": rng.choice(["no", "yes"], N),
        }
    )


def fitted(frame: pd.DataFrame | None = None) -> meden.Run:
    return meden.fit_many(meden.models.MLP, [meden.Member(QUICK)], as_dataset(_or_table(frame), target="y"))[0]


def on_arrays() -> meden.Run:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(N, 3)).astype(np.float32), rng.choice(["no", "yes"], N)
    return meden.fit_many(meden.models.MLP, [meden.Member(QUICK)], data)[0]


def _or_table(frame: pd.DataFrame | None) -> pd.DataFrame:
    return table() if frame is None else frame


def new_rows(**cells: Any) -> pd.DataFrame:
    """Four rows, of which the third has other cells."""
    frame = table().drop(columns="y").head(4).astype(object)
    for name, cell in cells.items():
        frame.loc[2, name] = cell
    return frame


UNREADABLE: list[tuple[str, Any]] = [
    ("size", "abc"),
    ("size", np.inf),
    ("size", -np.inf),
    ("size", 1e39),
    ("size", -1e300),
    ("count", "seven"),
    ("open", "perhaps"),
    ("sold", "soon"),
]


@pytest.mark.parametrize(("column", "cell"), UNREADABLE)
def test_a_cell_that_no_encoder_takes_leaves_its_row_without_an_answer(column: str, cell: Any) -> None:
    run, given = fitted(), new_rows(**{column: cell})
    with pytest.raises(InputError, match=rf"1 of 4 rows cannot be predicted: column '{column}'.*\(row 2\)") as caught:
        run.predict(given)
    assert "\n" not in str(caught.value) and "--on-missing empty" in str(caught.value)
    with pytest.warns(UserWarning, match=rf"left empty: 1 of 4 rows cannot be predicted: column '{column}'"):
        found = run.predict(given, on_missing="empty")
    answered = np.array([0, 1, 3])
    alone = run.predict(given.iloc[answered])
    assert found.values[answered].tolist() == alone.values.tolist()
    np.testing.assert_allclose(found.probabilities[answered], alone.probabilities, rtol=1e-6)
    assert found.values[2] is None and np.isnan(found.probabilities[2]).all()
    assert found.frame().iloc[2].isna().all()


def test_rows_of_one_reason_are_named_together() -> None:
    given = new_rows()
    given["size"], given.loc[0, "count"] = "abc", "x"
    with pytest.raises(InputError, match=r"4 of 4 rows cannot be predicted: .*'abc' \(rows 0, 1, 2 and 1 more\)"):
        fitted().predict(given)


def test_missing_cells_are_imputed_and_said_where_the_fit_had_none() -> None:
    seen = table()
    seen.loc[5, "size"] = np.nan
    run = fitted(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.predict(new_rows(size=np.nan)).values[2] in ("no", "yes")
    for cell in (np.nan, None, "", "NA", " "):
        with pytest.warns(
            UserWarning, match="column 'count': 1 of 4 rows have no value.*no training row was missing one"
        ):
            assert run.predict(new_rows(count=cell)).values[2] in ("no", "yes")
    with pytest.warns(UserWarning, match="column 'pet': 1 of 4 rows have no value, no level"):
        run.predict(new_rows(pet=None))
    with pytest.warns(UserWarning, match="column 'sold': 1 of 4 rows have no value, the median"):
        run.predict(new_rows(sold=None))
    with pytest.warns(UserWarning, match="column 'size': 4 of 4 rows have no value, the median is used instead$"):
        run.predict(new_rows().assign(size=np.nan))


def test_other_columns_order_and_types_change_nothing() -> None:
    run, plain = fitted(), new_rows()
    expected = run.predict(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (
            plain[plain.columns[::-1]],
            plain.assign(more="x", y="yes"),
            plain.assign(y=np.nan),
            plain.astype({"count": float}),
            plain.astype({"count": "Int64"}),
            plain.set_index(pd.Index([7, 7, 7, 7])),
        ):
            np.testing.assert_array_equal(run.predict(other).probabilities, expected.probabilities)
    half = run.predict(new_rows(count=2.5)).probabilities[2]
    assert not np.array_equal(half, run.predict(new_rows(count=2)).probabilities[2])
    with pytest.raises(InputError, match="lacks 'size'"):
        run.predict(plain.drop(columns="size"))


@pytest.mark.parametrize("num_runs", [1, 3])
def test_outputs_that_are_not_finite_are_no_answers(num_runs: int) -> None:
    folds = meden.data.make_folds(as_dataset(table(), target="y"), 3, seed=0)
    data = as_dataset(table(), target="y")
    runs = meden.fit_many(meden.models.MLP, [meden.Member(QUICK, fold) for fold in folds[:num_runs]], data)
    told = meden.run.Ensemble(runs=tuple(runs)) if num_runs > 1 else runs[0]
    with torch.no_grad():
        next(runs[-1].model.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match=r"4 of 4 rows cannot be predicted: the model's output is not finite"):
        told.predict(new_rows())
    with pytest.warns(UserWarning, match="left empty: 4 of 4"):
        found = told.predict(new_rows(), on_missing="empty")
    assert found.values.tolist() == [None] * 4 and np.isnan(found.probabilities).all()


def test_numbers_of_a_regression_are_empty_as_nan() -> None:
    frame = table().assign(y=np.linspace(0, 1, N) ** 2)
    run = fitted(frame)
    with pytest.warns(UserWarning, match="left empty"):
        found = run.predict(new_rows(size="abc"), on_missing="empty")
    assert np.isnan(found.values).tolist() == [False, False, True, False]


def test_on_missing_is_checked() -> None:
    with pytest.raises(InputError, match="on_missing must be one of error, empty, got 'drop'"):
        fitted().predict(new_rows(), on_missing="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("factor", [30.0, -30.0, 1e3, 1e6, 1e12])
def test_numbers_far_outside_are_bounded_and_said(robust: bool, factor: float) -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, N)
    column = NumberColumn.fit("size", values, robust=robust)
    low, high = column.limits
    assert low == pytest.approx(values.min() - FAR * np.ptp(values))
    given = np.array([values[0], np.nan, factor])
    said = column.remarks(given)["far"]
    assert f"1 of 3 rows lie far outside the training range {values.min():.4g} to {values.max():.4g}" in said
    assert f"(up to {factor:.4g}), clipped" in said
    bound = 3.0 if robust else max(abs(column.encode(np.array([low, high]))[:, 0]))
    assert abs(column.encode(given)[2, 0]) <= bound
    assert "far" not in column.remarks(np.array([low, high, *values]))


def test_numbers_within_the_limits_are_not_moved() -> None:
    values = np.random.default_rng(0).normal(size=N)
    column = NumberColumn.fit("size", values)
    given = np.linspace(*column.limits, 50)
    np.testing.assert_array_equal(column.encode(given)[:, 0], (given - column.center) * column.scale)


def test_a_column_in_another_unit_is_said_once_by_an_ensemble() -> None:
    data = as_dataset(table(), target="y")
    folds = meden.data.make_folds(data, 3, seed=0)
    runs = meden.fit_many(meden.models.MLP, [meden.Member(QUICK, fold) for fold in folds], data)
    with pytest.warns(UserWarning) as caught:
        meden.run.Ensemble(runs=tuple(runs)).predict(table().assign(size=table()["size"] * 1000))
    assert len(caught) == 1 and "'size'" in str(caught[0].message) and "clipped" in str(caught[0].message)


def test_days_far_away_are_said_as_dates() -> None:
    with pytest.warns(UserWarning, match=r"column 'sold': 1 of 4 .* 2024-01-0\d to 2024-04-0\d \(up to 2099-01-01\)"):
        fitted().predict(new_rows(sold=pd.Timestamp("2099-01-01")))


def test_constant_columns_say_nothing_for_they_count_nothing() -> None:
    column = NumberColumn.fit("size", np.full(9, 5.0))
    assert column.remarks(np.array([1e6])) == {} and column.encode(np.array([1e6])).tolist() == [[0.0]]


ARRAY_CELLS = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("cell", ARRAY_CELLS)
@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, lambda x: pd.DataFrame(x, columns=["x0", "x1", "x2"])])
def test_arrays_with_numbers_that_are_not_finite(cell: float, form: Any) -> None:
    run, x = on_arrays(), np.random.default_rng(1).normal(size=(5, 3))
    expected = run.predict(form(x))
    x[3, 1] = cell
    with pytest.raises(
        InputError, match=r"1 of 5 rows cannot be predicted: input x1 must be a finite number.*\(row 3\)"
    ):
        run.predict(form(x))
    with pytest.warns(UserWarning, match="left empty: 1 of 5"):
        found = run.predict(form(x), on_missing="empty")
    assert found.values[3] is None and np.isnan(found.probabilities[3]).all()
    np.testing.assert_array_equal(found.probabilities[[0, 1, 2, 4]], expected.probabilities[[0, 1, 2, 4]])


def test_arrays_far_outside_are_said_and_taken_as_they_are() -> None:
    run, x = on_arrays(), np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    x[1, 2] = 4500.0
    with pytest.warns(UserWarning, match=r"inputs: 1 of 5 rows lie far.*\(up to 4500\), taken as they are"):
        found = run.predict(x)
    outputs = run.model(torch.from_numpy(x)).detach().double().softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities, outputs, rtol=1e-6)


def test_arrays_of_another_shape_get_a_line() -> None:
    run = on_arrays()
    for rows, said in (
        (np.ones((2, 4)), r"shape \(n, 3\)"),
        (np.ones(3), "rows must be a table"),
        (np.ones((0, 3)), "must have rows"),
        (np.array([["a", "b", "c"]]), "must hold numbers"),
    ):
        with pytest.raises(InputError, match=said):
            run.predict(rows)
    with pytest.raises(InputError, match="must be a table with the columns used in training, got ndarray"):
        fitted().predict(np.ones((2, 5)))


def test_tokens_that_are_not_whole_are_refused() -> None:
    encoder = as_dataset((np.arange(12).reshape(4, 3), [0, 1, 0, 1])).fit_encoder(range(4))
    found = encoder.transform(pd.DataFrame([[1, 2, 3], [1, 2.5, 3]], columns=["x0", "x1", "x2"]))
    assert found.x.dtype == torch.int64 and list(found.refused) == [1] and "whole" in found.refused[1]


def test_folds_of_arrays_share_memory_and_know_their_own_range() -> None:
    x = np.arange(8.0)[:, None].astype(np.float32)
    folds = [meden.data.Fold(np.arange(4), np.arange(4, 6), np.arange(6, 8))]
    folds.append(meden.data.Fold(np.arange(4, 8), np.arange(2), np.arange(2, 4)))
    shares = encode_folds(as_dataset((x, x[:, 0] / 3)), folds)
    assert [shares[fold].encoder.inputs.high for fold in folds] == [3.0, 7.0]  # type: ignore[union-attr]
    assert shares[folds[0]].x is shares[folds[1]].x
    assert all(share.together[0] is shares[folds[0]].x for share in shares.values())


@pytest.mark.parametrize("make", [fitted, on_arrays])
def test_ranges_survive_a_file_and_files_without_them_are_read(make: Any, tmp_path: Path) -> None:
    run = make()
    run.save(tmp_path)
    kept = meden.load_run(tmp_path)
    assert kept.encoder is not None and kept.encoder.to_dict() == run.encoder.to_dict()
    fields = json.loads(json.dumps(run.encoder.to_dict()))
    for part in (fields["inputs"], *fields["inputs"].get("columns", ())):
        for name in ("low", "high"):
            part.pop(name, None)
    assert Encoder.from_dict(fields).to_dict() != run.encoder.to_dict()


class Wanting(nn.Module):
    """Answers with NaN where the first input is above 2."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(num_inputs, num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.where(x[:, :1] > 2, torch.nan, 0.0)


def test_one_row_of_which_the_model_makes_nan_is_left_empty_alone() -> None:
    x = np.random.default_rng(0).uniform(size=(N, 2)).astype(np.float32)
    run = meden.fit_many(Wanting, [meden.Member(QUICK)], (x, x[:, 0] > 0.5))[0]
    with pytest.warns(UserWarning, match="1 of 2 rows cannot be predicted: the model's output is not finite .row 1"):
        found = run.predict(np.array([[0.1, 0.2], [2.5, 0.2]]), on_missing="empty")
    assert found.values[0] in (False, True) and found.values[1] is None


def test_encodings_of_folds_lie_behind_each_other_and_are_held_once() -> None:
    frame = pd.DataFrame({"a": np.arange(8.0), "b": list("uuvvuuvv"), "y": np.arange(8.0)})
    rows = np.arange(8)
    folds = [meden.data.Fold(rows[:4], rows[4:6], rows[6:]), meden.data.Fold(rows[4:], rows[:2], rows[2:4])]
    dataset = as_dataset(frame, target="y")
    shares = encode_folds(dataset, [*folds, None])
    x, y = shares[None].together
    assert len(x) == len(y) == 24
    for fold, share in shares.items():
        encoder = dataset.fit_encoder(rows if fold is None else fold.fit)
        assert torch.equal(share.x, dataset.features(encoder, rows)) and torch.equal(
            share.y, dataset.targets(encoder, rows)
        )
        assert share.x.data_ptr() == x[share.first].data_ptr() and share.y.data_ptr() == y[share.first].data_ptr()


LINES = {
    "units under the header": ["cm,pieces,,,", *["1.5,2,cat,True,2024-01-02"] * 3],
    "errors throughout": ["err,err,err,err,err", "1.5,2,cat,True,2024-01-02", "1,2,dog,False,2024-01-02"],
    "that repeat the header": ["1.5,2,cat,True,2024-01-02", "size,count,pet,open,sold", "1,2,dog,True,2024-01-02"],
    "a total": [*["1.5,2,cat,True,2024-01-02"] * 3, "Total,,,,"],
    "one word": [*["1.5,2,cat,True,2024-01-02"] * 3, "z,,,,"],
    "nothing, with commas": [*["1.5,2,cat,True,2024-01-02"] * 3, ",,,,"],
    "a blank line between": ["1.5,2,cat,True,2024-01-02", "", "1,2,dog,True,2024-01-02"],
    "a comment": ["1.5,2,cat,True,2024-01-02", "# 3,2,dog", "#9,2,dog,True,2024-01-02"],
    "one line": [",,,,"],
}


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n"], ids=["none", "one", "three", "windows"])
def test_each_line_under_the_header_of_a_file_is_a_row(tmp_path: Path, lines: list[str], end: str) -> None:
    run = fitted()
    assert run.encoder is not None
    for before in ("", "# of 2024\n", "sep=,\n"):
        (tmp_path / "rows.csv").write_text(before + "\n".join(["size,count,pet,open,sold", *lines]) + end, newline="")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = read_table(tmp_path / "rows.csv", as_text=run.encoder.text_columns, new_rows=True)
            found = run.predict(rows, on_missing="empty").values.tolist()
        readable = [line.startswith("1") for line in lines]
        assert [label is not None for label in found] == readable


def test_a_row_that_holds_nothing_has_an_answer_only_where_the_fit_may_have_had_such_rows() -> None:
    empty = pd.DataFrame({name: [None, None] for name in ("size", "count", "pet", "open", "sold")})
    with pytest.raises(InputError, match=r"2 of 2 rows cannot be predicted: all cells are empty \(rows 0, 1\)"):
        fitted().predict(empty)
    seen = table()
    seen.loc[5, "size"] = np.nan
    alone = fitted(seen[["size", "y"]])
    with pytest.warns(UserWarning, match="'size': 2 of 2 rows have no value, the median is used instead$"):
        assert set(alone.predict(empty).values) <= {"no", "yes"}


def test_new_rows_are_read_by_another_decimal_mark_or_other_words_for_nothing() -> None:
    run = fitted()
    assert run.encoder is not None
    given = new_rows(size="1.234,5").astype({"size": str})
    given.loc[0, "size"] = "fehlt"
    with pytest.raises(InputError, match="2 of 4 rows cannot be predicted"):
        run.encoder.transform_frame(given)
    with pytest.warns(UserWarning, match="'size': 1 of 4 rows"):
        found = run.encoder.reading_as(",", ["fehlt"]).transform(given.assign(size=["fehlt", "1,5", "1.234,5", "2"]))
        plain = run.encoder.transform_frame(given.assign(size=[np.nan, 1.5, 1234.5, 2]))
    assert not found.refused
    torch.testing.assert_close(found.x, plain)
