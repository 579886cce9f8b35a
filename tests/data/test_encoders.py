"""Encoders: fitted on the fitting rows alone, exact after JSON, the same as scikit-learn's where that has one."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from meden._checks import InputError
from meden.data import Dataset, Encoder, as_dataset, read_table
from meden.data.fitted import robust_scaling, standardisation

N = 60


def table() -> pd.DataFrame:
    """One column of every kind, some values missing."""
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, N), unit="D")
    frame = pd.DataFrame(
        {
            "size": rng.normal(5.0, 3.0, N),
            "count": rng.integers(0, 9, N),
            "pet": rng.choice(["cat", "dog", "emu"], N),
            "open": rng.random(N) < 0.5,
            "sold": days,
            "seen": days.strftime("%Y-%m-%dT12:30:00Z"),
            "mixed": pd.Series([1, "one"] * (N // 2), dtype=object),
            "grade": pd.Categorical(rng.choice([1, 2, 3], N)),
            "price": rng.normal(100.0, 20.0, N),
        }
    )
    for column in ("size", "pet", "sold", "seen", "mixed"):
        frame.loc[rng.choice(N, 6, replace=False), column] = None
    return frame


def encoded(data: Dataset, rows: Any = None) -> tuple[Encoder, torch.Tensor]:
    rows = np.arange(data.num_rows) if rows is None else rows
    encoder = data.fit_encoder(rows)
    return encoder, data.features(encoder, rows)


def one_column(values: Any, rows: Any = None) -> tuple[Encoder, torch.Tensor]:
    return encoded(as_dataset(pd.DataFrame({"c": values, "y": np.arange(len(values)) / 3}), target="y"), rows)


def test_numbers_equal_scikit_learn() -> None:
    values = table()[["size"]].to_numpy()
    _, inputs = one_column(values[:, 0])
    imputed = SimpleImputer(strategy="median", add_indicator=True).fit_transform(values)
    scaled = StandardScaler().fit_transform(imputed[:, :1])
    np.testing.assert_allclose(inputs.numpy(), np.column_stack([scaled, imputed[:, 1]]), rtol=1e-6, atol=1e-7)


def test_levels_equal_scikit_learn() -> None:
    pets = table()["pet"].astype(object)
    encoder, inputs = one_column(pets)
    filled = pets.where(pets.notna(), "~missing").to_numpy()[:, None]  # sorts last, as our indicator stands
    np.testing.assert_array_equal(inputs.numpy(), OneHotEncoder(sparse_output=False).fit_transform(filled))
    assert encoder.input_names == ("c=cat", "c=dog", "c=emu", "c is missing")


def test_numeric_target_is_standardised_and_returned() -> None:
    data = as_dataset(table(), target="price")
    rows = np.arange(0, N, 2)
    encoder = data.fit_encoder(rows)
    scaler = StandardScaler().fit(data.labels[rows, None])
    everything = np.arange(N)
    expected = scaler.transform(data.labels[:, None])[:, 0]
    np.testing.assert_allclose(data.targets(encoder, everything).numpy(), expected, rtol=1e-5, atol=1e-6)
    back = encoder.decode(data.targets(encoder, everything).double()[:, None]).values
    np.testing.assert_allclose(back, data.labels, rtol=1e-6)


def scramble(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Change every value of some rows, beyond what the others hold; kinds stay."""
    changed = frame.copy()
    changed.loc[rows, "size"] = 1e12
    changed.loc[rows, "count"] = -7_000
    changed.loc[rows, "pet"] = [f"leak{i}" for i in range(len(rows))]
    changed.loc[rows, "open"] = True
    changed.loc[rows, "sold"] = pd.Timestamp("1999-09-09")
    changed.loc[rows, "seen"] = None
    changed.loc[rows, "mixed"] = "leaked"
    changed["grade"] = changed["grade"].cat.add_categories([99])
    changed.loc[rows, "grade"] = 99
    changed.loc[rows, "price"] = -1e9
    return changed


@pytest.mark.parametrize("seed", range(5))
def test_held_out_rows_never_touch_the_encoder(seed: int) -> None:
    rows = np.random.default_rng(seed).permutation(N)
    fit, held_out = np.sort(rows[:40]), np.sort(rows[40:])
    clean, marked = table(), scramble(table(), held_out)
    first, second = (as_dataset(frame, target="price") for frame in (clean, marked))
    encoder = first.fit_encoder(fit)
    assert encoder == second.fit_encoder(fit)
    assert torch.equal(first.features(encoder, fit), second.features(encoder, fit))
    assert encoder != second.fit_encoder(held_out)  # the scrambling can be seen by one that looks


def test_features_have_no_nan_whatever_the_fitting_rows() -> None:
    data = as_dataset(table(), target="price")
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 10):
        encoder = data.fit_encoder(rng.choice(N, size, replace=False))
        inputs = data.features(encoder, np.arange(N))
        assert inputs.shape == (N, encoder.num_inputs) == (N, len(encoder.input_names))
        assert inputs.dtype == torch.float32
        assert bool(torch.isfinite(inputs).all())
        assert bool(torch.isfinite(data.targets(encoder, np.arange(N))).all())


@pytest.mark.parametrize("values", [[0.1] * 7 + [5.0], [None] * 7 + [5.0], [1e300] * 7 + [-1e300], [0] * 7 + [5]])
def test_columns_constant_or_missing_in_the_fit_contribute_zeros(values: list[Any]) -> None:
    data = as_dataset(pd.DataFrame({"c": values, "d": range(8), "y": np.arange(8) / 3}), target="y")
    encoder = data.fit_encoder(range(7))
    column = encoder.input_names.index("c")
    assert data.features(encoder, np.arange(8))[:, column].tolist() == [0.0] * 8


def test_very_large_numbers_do_not_overflow() -> None:
    _, inputs = one_column([1e300, -1e300, 2e300, 0.0])
    np.testing.assert_allclose(inputs[:, 0].numpy(), StandardScaler().fit_transform([[1], [-1], [2], [0]])[:, 0], 1e-6)


def test_rare_levels_share_one_input_and_many_are_capped() -> None:
    values = [f"l{i:03d}" for i in range(60)] * 2 + ["l000", "once"]
    encoder, inputs = one_column(values)
    assert encoder.num_inputs == 51
    assert encoder.input_names[-1] == "c is other"
    assert inputs.sum(dim=1).tolist() == [1.0] * len(values)
    assert int(inputs[:, -1].sum()) == 2 * 10 + 1


def test_identifiers_are_warned_about_and_contribute_nothing() -> None:
    frame = pd.DataFrame({"id": [f"row{i}" for i in range(40)], "a": range(40), "y": ["u", "v"] * 20})
    with pytest.warns(UserWarning, match=r"column 'id' holds 40 different strings.*drop the column"):
        data = as_dataset(frame, target="y")
    assert data.fit_encoder(range(40)).input_names == ("a",)
    assert as_dataset(frame, target="y", drop=["id"]).feature_names == ("a",)


def test_dates_have_a_day_and_phases() -> None:
    start = pd.Timestamp("2024-01-01")
    encoder, inputs = one_column(pd.Series([start + pd.Timedelta(days=d) for d in range(28)]))
    assert encoder.input_names == ("c", "c year sin", "c year cos", "c week sin", "c week cos")
    np.testing.assert_allclose(inputs[:7, 3:], inputs[7:14, 3:], atol=1e-4)  # a week later, the same weekday
    np.testing.assert_allclose((inputs[:, 3:] ** 2).sum(dim=1), 1.0, rtol=1e-5)
    hours, _ = one_column(pd.Series([start + pd.Timedelta(hours=h) for h in range(28)]))
    assert hours.input_names[-2:] == ("c day sin", "c day cos")


def test_dates_read_alike_from_strings_datetimes_and_zones() -> None:
    moments = pd.Series(pd.to_datetime(["2024-02-29 12:30", "2023-07-01 00:00", "2024-02-29 13:30"]))
    ways = [moments, moments.dt.strftime("%Y-%m-%dT%H:%M"), moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")]
    first, *others = [one_column(way)[1] for way in ways]
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("values", [["2024-13-01", "2024-01-01"], ["2024-1-1", "x"], ["20240101", "b"]])
def test_strings_that_are_no_dates_stay_strings(values: list[str]) -> None:
    encoder, _ = one_column(values * 2)
    assert encoder.text_columns == ("c",)


def test_round_trip_is_exact() -> None:
    data = as_dataset(table(), target="price")
    encoder = data.fit_encoder(np.arange(0, N, 3))
    copy = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert copy == encoder
    rows = np.arange(N)
    assert torch.equal(data.features(copy, rows), data.features(encoder, rows))
    assert torch.equal(data.targets(copy, rows), data.targets(encoder, rows))


@pytest.mark.parametrize("labels", [["a", "b"] * 4, [True, False] * 4, [1, 2] * 4, [0.5, 1.5] * 4])
def test_round_trip_keeps_labels_and_arrays(labels: list[Any]) -> None:
    data = as_dataset((np.eye(8), labels), task="classification")
    encoder = data.fit_encoder(range(8))
    copy = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert copy == encoder
    told = copy.decode(torch.nn.functional.one_hot(torch.tensor(data.labels)).float())
    assert told.values.tolist() == labels


@pytest.mark.parametrize("form", [{}, {"inputs": {"kind": "x"}}, {"inputs": {"kind": "table", "columns": [1]}}, []])
def test_a_broken_form_is_refused(form: Any) -> None:
    with pytest.raises(InputError, match="must be a dictionary from to_dict"):
        Encoder.from_dict(form)


def test_new_rows_equal_known_rows(tmp_path: Any) -> None:
    frame = table()
    data = as_dataset(frame, target="price")
    encoder, inputs = encoded(data)
    shuffled = frame.drop(columns="price")[::-1].assign(unasked=1).iloc[:, ::-1]
    assert torch.equal(encoder.transform_frame(shuffled).flip(0), inputs)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    again = read_table(tmp_path / "rows.csv", as_text=encoder.text_columns)
    assert torch.equal(encoder.transform_frame(again), inputs)


@pytest.mark.parametrize("row", range(0, N, 7))
def test_a_row_alone_is_encoded_as_in_company(row: int) -> None:
    frame = table()
    encoder, inputs = encoded(as_dataset(frame, target="price"))
    alone = encoder.transform_frame(frame.iloc[[row]].astype(object))
    assert torch.equal(alone, inputs[[row]])


def test_unseen_levels_warn_with_column_and_values() -> None:
    frame = table()
    encoder, _ = encoded(as_dataset(frame, target="price"))
    new = frame.head(3).copy()
    new["pet"] = ["yak", "cat", "gnu"]
    with pytest.warns(UserWarning, match=r"column 'pet': 'gnu', 'yak' never or too rarely seen in training") as caught:
        inputs = encoder.transform_frame(new)
    assert len(caught) == 1
    pets = [i for i, name in enumerate(encoder.input_names) if name.startswith("pet")]
    assert inputs[0, pets].count_nonzero() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform_frame(new.assign(pet=[None, "cat", "dog"]))


BAD_ROWS: list[tuple[str, Any, str]] = [
    ("size", ["1", "big", "2"], "column 'size' must hold numbers, got 'big' (row 1)"),
    ("size", [1.0, np.inf, 2.0], "column 'size' must hold numbers, got 'inf' (row 1)"),
    ("open", ["true", "perhaps", "false"], "column 'open' must hold booleans, got 'perhaps'"),
    ("sold", ["2024-01-01", "soon", None], "column 'sold' must hold dates, got 'soon'"),
    ("sold", [1, 2, 3], "column 'sold' must hold dates, got"),
]


@pytest.mark.parametrize(("column", "values", "said"), BAD_ROWS)
def test_new_values_of_another_kind(column: str, values: Any, said: str) -> None:
    encoder, _ = encoded(as_dataset(table(), target="price"))
    with pytest.raises(InputError) as caught:
        encoder.transform_frame(table().head(3).assign(**{column: values}))
    assert said in str(caught.value)


def test_new_rows_without_a_column_or_any_row() -> None:
    encoder, _ = encoded(as_dataset(table(), target="price"))
    with pytest.raises(InputError, match="lacks 'size'; did you mean 'sizes'"):
        encoder.transform_frame(table().rename(columns={"size": "sizes"}))
    with pytest.raises(InputError, match="must have rows"):
        encoder.transform_frame(table().head(0))


def test_new_rows_for_arrays() -> None:
    data = as_dataset((np.eye(3), [1.5, 2.5, 3.5]))
    encoder = data.fit_encoder(range(3))
    frame = pd.DataFrame(np.eye(3), columns=["x2", "x0", "x1"])
    assert encoder.transform_frame(frame).tolist() == np.eye(3)[:, [1, 2, 0]].tolist()
    with pytest.raises(InputError, match="lacks 'x1'"):
        encoder.transform_frame(frame.drop(columns="x1"))
    images = as_dataset((np.ones((2, 1, 2, 2)), [1.5, 2.5])).fit_encoder([0])
    with pytest.raises(InputError, match="pass the model a tensor"):
        images.transform_frame(frame)


BAD_TABLES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"a": [None, None], "b": [np.nan] * 2}, {}, "got only empty cells in 'a', 'b'; drop them"),
    ({"a": [1.0, np.inf]}, {}, "column 'a' must hold finite values, got 1 infinite of 2"),
    ({"a": [[1], [2]]}, {}, "column 'a' must hold numbers, strings, booleans or dates"),
    ({"a": [1j, 2j]}, {}, "column 'a' must hold numbers, strings, booleans or dates"),
    ({"a": pd.to_timedelta([1, 2])}, {}, "column 'a' must hold numbers, strings, booleans or dates"),
    ({}, {}, "at least one column besides the target"),
    ({"a": [1, 2]}, {"drop": ["a"]}, "at least one column besides the target"),
    ({"a": [1, 2]}, {"drop": "a"}, "drop must be a list"),
    (
        {"size": [1, 2]},
        {"drop": ["sise"]},
        "drop must be a column of the table (size), got 'sise'; did you mean 'size'?",
    ),
    ({"a": [1, 2]}, {"groups": "b"}, "groups must be a column"),
    ({"a": [1, 2]}, {"groups": [1]}, "one label per row (2), got 1"),
    ({"a": [1, 2]}, {"groups": [1, None]}, "a label in every row, got 1 missing"),
    ({"a": [1, 2]}, {"target": "yy"}, "target must be a column of the table (a, y), got 'yy'; did you mean 'y'?"),
    ({"a": [1, 2]}, {"target": None}, "target, the column to predict, must be a column of the table (a, y), got none"),
]


@pytest.mark.parametrize(("columns", "settings", "said"), BAD_TABLES)
def test_bad_tables(columns: dict[str, Any], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        as_dataset(pd.DataFrame({**columns, "y": ["u", "v"]}), **{"target": "y", **settings})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_column_names_are_strings_and_differ() -> None:
    assert as_dataset(pd.DataFrame({0: [1, 2], 1: ["u", "v"]}), target="1").feature_names == ("0",)
    with pytest.raises(InputError, match="duplicates of 'a'"):
        as_dataset(pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]), target="y")
    with pytest.raises(InputError, match="data must be a name"):
        as_dataset(7)


def test_content_hash_sees_every_value_and_no_way_of_holding_it() -> None:
    frame = table()
    base = as_dataset(frame, target="price").content_hash()
    assert base == as_dataset(frame.copy().set_index(np.arange(N) + 5), target="price").content_hash()
    assert base == as_dataset(frame.astype({"pet": object, "count": "Int64"}), target="price").content_hash()
    changes: dict[str, Any] = {"size": 1.0, "count": 77, "pet": "owl", "open": None, "sold": None, "price": 3.0}
    for column, value in changes.items():
        changed = frame.astype({"open": object})
        changed.loc[3, column] = value
        assert as_dataset(changed, target="price").content_hash() != base, column
    assert as_dataset(frame, target="price", groups=np.arange(N)).content_hash() != base
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert as_dataset((x, [1, 2, 1, 2])).content_hash() != as_dataset((x + 1, [1, 2, 1, 2])).content_hash()


def test_some_rows_of_a_dataset_keep_its_classes() -> None:
    data = as_dataset((np.eye(6), ["a", "b", "c"] * 2), groups=[5, 5, 6, 6, 7, 7])
    part = data.take([3, 4])
    assert part.classes == data.classes
    assert part.labels.tolist() == [0, 1]
    assert part.groups is not None
    assert part.groups.tolist() == [1, 2]
    assert torch.equal(part.features(part.fit_encoder([0]), [0, 1]), torch.eye(6)[[3, 4]])


def test_whole_numbers_among_strings_read_alike_as_integers_and_floats() -> None:
    """A file gives 1 as integer, or as float once the column has a missing value."""
    encoder, _ = one_column(pd.Categorical([1, 2, 1, 2]))
    rows = [encoder.transform_frame(pd.DataFrame({"c": given})) for given in ([1, 2], [1.0, 2.0], ["1", "2"])]
    assert rows[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert all(torch.equal(rows[0], other) for other in rows)


@pytest.mark.parametrize("scaling", [standardisation, robust_scaling])
@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-301])
def test_numbers_that_differ_by_less_than_has_a_reciprocal_are_constant(scaling: Any, size: float) -> None:
    assert scaling(np.array([0.0, size, 0.0, size]))[1] == 0.0
    assert np.isfinite(scaling(np.array([0.0, 1e-290, 0.0, 1e-290]))[1])
