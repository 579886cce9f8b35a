"""Strengths shown in the reader's own units."""

import pytest

import meden
from meden.penalties import L1, L2, ElasticNet, MaxNorm
from meden.report import units_section

RECIPE = meden.Recipe(
    regularizers=[
        meden.Regularizer(L2(0.01), coupling="proximal"),
        meden.Regularizer(L1(0.002)),
        meden.Regularizer(ElasticNet(0.1, 0.5)),
        meden.Regularizer(MaxNorm(3.0)),
    ]
)


def test_strengths_by_label_and_sentences_where_there_is_no_number():
    told = RECIPE.strengths_in("sklearn.Ridge", n=100)
    assert told["L2(weights)"] == pytest.approx(1.0)  # alpha = n * strength
    assert "no counterpart" in told["MaxNorm(weights)"]
    assert isinstance(told["L1(weights)"], str)  # Ridge has no L1
    assert RECIPE.strengths_in("keras.L2")["L2(weights)"] == pytest.approx(0.005)
    assert isinstance(RECIPE.strengths_in("sklearn.Ridge")["L2(weights)"], str)  # needs n, and says so


def test_the_section_lists_them_and_refuses_an_unknown_tool():
    rows = units_section(RECIPE, "sklearn.Lasso").table.rows
    assert [row.values[0] for row in rows] == list(RECIPE.strengths_in("sklearn.Lasso"))
    with pytest.raises(meden.InputError, match="tool must be one of"):
        units_section(RECIPE, "sklearn.Rigde")
