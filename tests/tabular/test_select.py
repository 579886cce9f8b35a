"""Planted columns are found, noise is said to be noise, and a column leaves as a whole."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import meden
from meden import InputError
from meden.data import Dataset, as_dataset
from meden.penalties import L2
from meden.search import CV
from meden.search.engine import Search
from meden.tabular import select as selecting
from meden.tabular import setup
from meden.tabular.defaults import DEFAULTS
from meden.tabular.select import kept_by_fold, select_inputs
from meden.tabular.selection import InputSelection
from meden.tabular.selection_page import selection_report
from meden.training.fit_many import _Work

QUICK = meden.Recipe(optimizer="adam", lr=0.03, epochs=40, batch_size=64)
MATTER = {"age", "pet"}


def planted(*, says: bool, num_rows: int = 240) -> Dataset:
    """Two columns that matter, numbers and strings of four levels, some cells missing; and five that do not."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"noise {i}": random.normal(size=num_rows) for i in range(4)})
    frame["age"] = random.normal(40, 10, size=num_rows)
    frame["pet"] = random.choice(["ant", "cat", "dog", "emu"], size=num_rows)
    frame["colour"] = random.choice(["red", "blue", "green"], size=num_rows)
    frame["y"] = random.normal(size=num_rows) * 0.3
    if says:
        frame["y"] += (frame["age"] - 40) / 10 + frame["pet"].map({"ant": -1.5, "cat": 1.5, "dog": 0.7, "emu": -0.7})
    frame.loc[::10, "age"], frame.loc[5::12, "pet"] = np.nan, None
    return as_dataset(frame, target="y")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What is kept is worth something after fewer epochs, too."""
    usual = DEFAULTS["tabular"]
    short = {**DEFAULTS, "tabular": dataclasses.replace(usual, recipe=usual.recipe.replace(epochs=30))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "DEFAULTS", short)
        patch.setattr(_Work, "_chunk", lambda *_: 1)  # a stack's trace would take longest
        yield


@pytest.fixture(scope="module")
def found() -> InputSelection:
    recipe = QUICK.replace(epochs=20, lr=0.06)
    return select_inputs(planted(says=True), model="linear", num=8, recipe=recipe, cv=CV(folds=4), rate=0.3)


def test_planted_columns_are_found_by_their_names(found: InputSelection) -> None:
    assert set(found.kept) >= MATTER and len(found.kept) < len(found.names)
    assert set(found.told_from_noise) == MATTER
    first, second, *others = found.columns
    assert {first.name, second.name} == MATTER and first.frequency.share == second.frequency.share == 1
    assert all(column.norm < second.norm for column in others)
    assert found.score("kept").estimate > 0.6 > 0.1 > found.score("none").estimate
    assert found.gain("none").low > 0 and abs(found.gain("all").estimate) < 0.2
    said = str(found)
    assert f"{len(found.kept)} of 7 columns survive" in said and "2 columns stand out from 28 noise columns" in said


def test_a_column_leaves_as_a_whole(found: InputSelection) -> None:
    for number, run in enumerate(found.path.runs("one_se")):
        encoder = run.encoder
        assert encoder is not None
        zero = (run.model.state_dict()["1.weight"] == 0).all(dim=0).tolist()
        kept = {name for name, closed in zip(encoder.input_columns, zero, strict=True) if not closed}
        assert kept == set(found.path.one_se.kept[number])
        assert len(set(zip(encoder.input_columns, zero, strict=True))) == 7, "all inputs of a column alike"


def test_a_fold_has_no_part_in_the_choice_of_its_strength(found: InputSelection) -> None:
    sparse, dense = found.path.points[0], found.path.points[-1]
    fewer, more = (tuple(frozenset({name}) for _ in range(6)) for name in ("age", "pet"))
    better = np.array([-1.0, -1.0, 0.1, 0.1, 0.1, 0.1])  # with more columns, in two of six folds
    points = (
        dataclasses.replace(sparse, losses=np.zeros(6), kept=fewer),
        dataclasses.replace(dense, losses=better, kept=tuple(own | {"age"} for own in more)),
    )
    kept = kept_by_fold(dataclasses.replace(found.path, points=points, num_seeds=1))
    assert [len(own) for (own,) in kept] == [1, 1, 2, 2, 2, 2], "one of the two alone is within its standard error"


def test_the_page_names_the_columns(found: InputSelection, tmp_path: Path) -> None:
    page = selection_report(found, tmp_path / "page.html", command="meden select x.csv").read_text()
    assert all(name in page for name in found.names) and "How often each column is kept" in page
    assert "Norm of the weights of each column" in page and "meden select x.csv" in page
    text = selection_report(found, tmp_path / "page.md", format="md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| age"))
    table = text[text.index("## All strengths") :]
    assert table.count("\n|") == 2 + len(found.path.points) + 1, "heads, a rule, all strengths and none"
    assert row.split(" | ")[1:3] == ["yes", "1.000"]


def test_what_was_out_of_the_ordinary_is_said_everywhere(found: InputSelection, tmp_path: Path) -> None:
    noted = dataclasses.replace(found, path=dataclasses.replace(found.path, notes=("the path went on",)))
    assert "Note on the path: the path went on." in str(noted) and noted.to_dict()["notes"] == ["the path went on"]
    assert "Note on the path: the path went on." in selection_report(noted, tmp_path / "page.html").read_text()


def test_columns_that_are_no_better_than_none_are_said_first(found: InputSelection) -> None:
    assert str(found).startswith(f"{len(found.kept)} of 7 columns survive")
    results = {**found.results, "kept": {"r2": np.array([-0.1, -0.2, 0.1, -0.2])}}
    results["none"] = {"r2": np.full(4, -0.01)}
    worse = dataclasses.replace(found, results=results)
    assert worse.sentences[0].startswith("The columns that survive are no better than none on held-out rows: R2 -0.09")
    results["kept"] = {"r2": np.array([-0.1, 0.2, 0.1, -0.1])}
    assert "are not shown to be better than none" in dataclasses.replace(found, results=results).sentences[0]


@pytest.mark.parametrize(("copies", "said"), [(5, False), (2, True), (1, True), (0, False)])
def test_what_can_never_be_told_is_said(found: InputSelection, copies: int, said: bool) -> None:
    few = dataclasses.replace(found, copies=copies, rate=0.2)
    assert few.to_dict()["fewest_told"] == {5: 1, 2: 3, 1: 5, 0: None}[copies]
    assert (f"fewer than {few.fewest_told} columns can never stand out" in str(few)) == said
    assert ("Gaussian copula" in str(few)) == bool(copies)


def test_plain_values_say_it_all(found: InputSelection) -> None:
    plain = found.to_dict()
    assert (
        plain["kept"] == list(found.kept)
        and plain["noise_columns"] == 28
        and set(plain["scores"])
        == {
            "all",
            "kept",
            "none",
        }
    )
    columns = pd.DataFrame(plain["columns"]).set_index("name")
    assert (columns.low <= columns.frequency).all() and (columns.frequency <= columns.high).all()
    assert columns.false_discovery_rate[list(MATTER)].max() <= 0.3 < columns.false_discovery_rate.drop(MATTER).min()


def test_noise_alone_is_said_to_be_noise() -> None:
    found = select_inputs(planted(says=False), model="linear", num=4, recipe=QUICK, cv=CV(folds=2))
    assert found.kept == found.told_from_noise == ()
    assert "None of 7 columns survives" in str(found) and "No column stands out from 35 noise columns" in str(found)
    assert abs(found.score("kept").estimate - found.score("none").estimate) < 0.15


def test_going_on_gives_the_same_without_training_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "model": "linear",
        "num": 3,
        "recipe": QUICK.replace(epochs=5),
        "cv": CV(folds=2),
        "study_dir": tmp_path,
    }
    first = select_inputs(as_dataset("iris"), **settings)
    rows = {part: (tmp_path / part / "ledger.jsonl").read_bytes() for part in ("path", "noise")}
    again = select_inputs(as_dataset("iris"), **settings)
    assert again.to_dict() == first.to_dict()
    assert {part: (tmp_path / part / "ledger.jsonl").read_bytes() for part in rows} == rows
    with pytest.raises(InputError, match="study_dir"):
        select_inputs(as_dataset("wine"), **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"penalty": L2}, "penalty must produce exact zeros"),
        ({"model": "forest"}, "model must be one of mlp, skip, linear"),
        ({"num": 1}, "num must be"),
        ({"rate": 0.0}, "rate must be"),
        ({"recipe": meden.Recipe(early_stopping=meden.EarlyStopping(patience=2))}, "set early_stopping=None"),
        ({"cv": CV(folds=3, stop_fraction=0.0)}, "stop_fraction must be above 0"),
    ],
)
def test_bad_input_costs_no_compute(settings: dict, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "fit_many", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(Search, "run", lambda _: pytest.fail("trained"))
    with pytest.raises(InputError, match=said) as error:
        select_inputs(as_dataset("iris"), **settings)
    assert "\n" not in str(error.value)


def test_arrays_have_no_columns_to_select() -> None:
    with pytest.raises(InputError, match="must be a table with columns"):
        select_inputs(as_dataset((np.zeros((9, 2)), np.arange(9.0))))
