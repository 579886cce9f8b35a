"""Rows that have a twin, by coincidence or not, against brute force and planted copies."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from meden._checks import InputError
from meden.diagnosis.duplicates import MOST_COPIES, _neighbours, comparable, equal_rows, twins


def table(num, seed, columns=6):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.standard_normal((num, columns)) @ rng.standard_normal((columns, columns)))
    return frame.assign(kind=rng.choice(list("abc"), num), count=rng.poisson(3, num)).rename(columns=str)


def jittered(frame, seed, size=1e-3):
    """Return rows whose measurements were moved by a thousandth of their spread."""
    rng = np.random.default_rng(seed)
    floats = frame.select_dtypes("float")
    return frame.assign(**(floats + size * floats.std().to_numpy() * rng.standard_normal(floats.shape)))


@pytest.mark.parametrize("seed", range(5))
def test_planted_copies_are_found_inside_and_across_and_nothing_else_is(seed):
    rows = table(300, seed)
    exact, near = rows.iloc[:7], jittered(rows.iloc[20:29], seed)
    copies = pd.concat([exact, near])
    across = twins(copies, rows)
    assert across.rows.tolist() == list(range(16)) and across.exact.tolist() == [True] * 7 + [False] * 9
    assert across.twins.tolist() == [*range(7), *range(20, 29)]
    inside = twins(pd.concat([rows, copies]))
    assert inside.rows.tolist() == [*range(7), *range(20, 29), *range(300, 316)]
    assert inside.twins.tolist() == [*range(300, 316), *range(7), *range(20, 29)]
    assert len(twins(rows)) == len(twins(rows.iloc[:100], rows.iloc[100:])) == 0


def test_the_rows_of_iris_that_are_known_to_be_equal():
    """They are one pair beside 19 that differ in a single column, by tenths of a centimetre: a tie, and no copy."""
    iris = load_iris(as_frame=True).data
    equal = equal_rows(comparable(iris))
    assert equal.repeated.tolist() == [101, 142] and not equal.copies and len(twins(iris)) == 0
    one_differs = np.triu((iris.to_numpy()[:, None] != iris.to_numpy()).sum(-1) == 1)
    assert one_differs.sum() == 19


def test_equal_rows_of_coarse_columns_that_depend_on_each_other_are_a_coincidence():
    """Were the columns independent, of 80 such tables 20 would have copies."""
    called, independent = 0, 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((rng.integers(100, 600), 2)) @ rng.standard_normal((2, 8))
        rows = pd.DataFrame((latent + 0.3 * rng.standard_normal(latent.shape)).round())
        called += len(twins(rows)) > 0
        shuffled = pd.DataFrame({name: rng.permutation(column) for name, column in rows.items()})
        independent += rows.duplicated().any() and not shuffled.duplicated().any()
    assert called <= 1 and independent >= 20


def test_more_rows_than_are_asked_and_near_rows_that_come_again():
    rows = table(300, 0)
    near = jittered(rows.iloc[20:22], 0)
    found = twins(pd.concat([near, near]), rows)
    assert found.rows.tolist() == [0, 1, 2, 3] and found.twins.tolist() == [20, 21, 20, 21] and not found.exact.any()


def test_equal_rows_of_a_few_answers_are_a_coincidence():
    rng = np.random.default_rng(0)
    answers = pd.DataFrame(rng.choice(["yes", "no"], (500, 3)))
    assert answers.duplicated().sum() > 400 and len(twins(answers)) == 0
    many = pd.DataFrame(rng.choice(["yes", "no"], (500, 40)))
    assert twins(pd.concat([many, many.iloc[:3]])).rows.tolist() == [0, 1, 2, 500, 501, 502]


def test_equal_rows_of_a_few_measurements_are_none_even_where_there_are_few_rows():
    x = pd.DataFrame(np.random.default_rng(0).standard_normal((20, 3)))
    assert len(twins(x, x)) == 20 and len(twins(x[:10], x[10:])) == 0
    assert len(twins(x.round(0), x.round(0))) < 10  # of coarse ones most might be


def test_a_column_that_numbers_the_rows_hides_no_twin():
    rows = table(100, 0)
    doubled = pd.concat([rows, rows.iloc[:4]], ignore_index=True)
    for names in (range(104), [f"row {k}" for k in range(104)]):
        assert len(twins(doubled.assign(id=list(names)))) == 8


def test_missing_cells_and_texts():
    rows = table(100, 0).mask(np.random.default_rng(0).random((100, 8)) < 0.3)
    assert len(twins(rows)) == 0 and len(twins(pd.concat([rows, rows.iloc[5:8]]))) == 6
    texts = pd.DataFrame({"text": [f"a sentence that is long enough, the {k}th of them" for k in [*range(50), 7]]})
    assert twins(texts).rows.tolist() == [7, 50]


def test_neighbours_agree_with_brute_force():
    x = np.random.default_rng(0).standard_normal((60, 3))
    every, num = np.arange(60), MOST_COPIES + 1
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    distances, found = _neighbours(x, every, every)
    assert np.allclose(distances, np.sort(apart)[:, 1 : num + 1]) and (found == np.argsort(apart)[:, 1 : num + 1]).all()
    distances, found = _neighbours(x, every[:20], every[20:])
    assert np.allclose(distances, np.sort(apart[:20, 20:])[:, :num])
    assert (found == 20 + np.argsort(apart[:20, 20:])[:, :num]).all()


def test_clean_tables_are_hardly_ever_called():
    """Correlated, skewed and mixed columns: of 300 such tables 2 were."""
    called = 0
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        num, columns = int(rng.integers(100, 600)), int(rng.integers(1, 10))
        frame = table(num, seed, columns)
        if seed % 3 == 0:
            frame = frame.assign(**np.exp(frame.select_dtypes("float").clip(-5, 5)))
        called += len(twins(frame)) > 0
    assert called <= 1


def test_parts_of_other_columns_are_refused():
    rows = table(20, 0)
    with pytest.raises(InputError, match="among must have the columns of part"):
        twins(rows, rows.drop(columns="kind"))
    assert len(twins(rows.iloc[:1])) == len(twins(rows[[]])) == 0
