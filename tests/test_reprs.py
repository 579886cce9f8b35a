"""What objects show of themselves: a line, a notebook's table, and of a study a few lines; whatever names they hold."""

import dataclasses
import functools
import importlib
import pkgutil
import re
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import meden
from meden._shown import MOST, Shown, as_table, cut, text
from meden.data import Fold
from meden.data.sources import TensorSource
from meden.run import Ensemble
from meden.search.alternative import Alternative
from meden.search.comparison import Comparison
from meden.study import Results
from meden.tabular.mixture import Mixture, Part
from tests.report.studies import EVIL, SPACE, study

HOSTILE = EVIL + "\n\x1b[2J\u202e$x^2$ &amp; " + 300 * "long"
UNLIKE = ("array(", "tensor(", "dtype=", "object at 0x")


@functools.cache
def some_study() -> meden.Study:
    return study(diverged=(3,), target=HOSTILE, labels=(EVIL, "bad"))


@functools.cache
def some_run() -> meden.Run:
    found = some_study()
    recipe = meden.Recipe(epochs=2, regularizers=[meden.Regularizer(meden.penalties.L1(1e-3), on=["*.weight"])])
    member = meden.Member(recipe, found.folds[0])
    return meden.fit_many(meden.models.MLP, [member], found.dataset)[0]


def unfinished(*, complete: int) -> meden.Study:
    found = study(4, target=HOSTILE)
    rows = [row for trial in found.trials[complete:] for row in trial.rows[:2]]
    return dataclasses.replace(found, trials=found.trials[:complete], incomplete=rows, num_missing=9)


def attached(num_steps: int = 0) -> tuple[meden.Handle, torch.nn.Module]:
    model = torch.nn.Sequential()
    model.add_module(EVIL.replace(".", "") + "\n", torch.nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = [meden.penalties.L1(torch.tensor(1e-3)), meden.penalties.PullTo(meden.penalties.L2(1e-2))]
    handle = meden.regularize(optimizer, model, [meden.Regularizer(penalty) for penalty in penalties])
    for _ in range(num_steps):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return handle, model


def audited() -> meden.Audit:
    handle, model = attached()
    return meden.audit(model, handle.optimizer, [handle])


def compared(status: Any = "ok") -> Comparison:
    numbers = np.array([0.3, 0.4, 0.5])
    others = numbers + np.array([0.01, 0.02, 0.05]) if status == "ok" else np.full(3, np.nan)
    first = Alternative("plain", meden.Recipe(), {}, numbers, numbers, numbers, "ok", "")
    other = Alternative(HOSTILE, meden.Recipe(), {}, others, others, others, status, "" if status == "ok" else HOSTILE)
    return Comparison("accuracy", (first, other), num_seeds=1, overlap=0.5)


def diverged_run() -> meden.Run:
    return dataclasses.replace(some_run(), status="diverged", reason=HOSTILE, best_epoch=0, history=meden.History())


def images() -> meden.Dataset:
    return meden.as_dataset((np.zeros((6, 1, 4, 4)), np.arange(6.0)))


def predictions() -> Any:
    return some_run().predict(pd.DataFrame({"x": [0.0, 1.0], EVIL: [0.0, 1.0]}))


def mixed() -> Mixture:
    part = Part(HOSTILE, "linear", 0.36500000000000005, 0.41508)
    return Mixture(parts=(part,) * 9, models=(), weights=(0.1, 0.9))


OBJECTS = {
    "study": some_study,
    "study, all diverged": lambda: study(3, diverged=(0, 1, 2), reason=HOSTILE),
    "study, unfinished": lambda: unfinished(complete=2),
    "study, nothing complete": lambda: unfinished(complete=0),
    "study, one configuration": lambda: study(1, target=HOSTILE),
    "study, odd values": lambda: study(4, space={"make": meden.Choice(HOSTILE, None, 0.1)}, make_model=MAKER),
    "study, many names": lambda: study(9, space={f"name_{i}": SPACE["l2"] for i in range(30)}, make_model=MAKER),
    "study, numbers": lambda: study(3, task="regression"),
    "results": lambda: Results(**{f.name: getattr(some_study(), f.name) for f in dataclasses.fields(Results)}),
    "trial": lambda: some_study().best,
    "trial, diverged": lambda: study(3, diverged=(1,), reason=HOSTILE).trials[1],
    "row": lambda: some_study().best.rows[0],
    "row, diverged": lambda: study(3, diverged=(1,), reason=HOSTILE).trials[1].rows[0],
    "summary": lambda: some_study().data,
    "fold": lambda: some_study().folds[0],
    "fold, empty": lambda: Fold(np.arange(3), np.arange(0), np.arange(3)),
    "data set": lambda: some_study().dataset,
    "data set, arrays": images,
    "data set, digits": lambda: meden.as_dataset("digits"),
    "data set, groups": lambda: meden.as_dataset((np.zeros((4, 2)), np.arange(4.0)), groups=[HOSTILE, "b", "c", "d"]),
    "table": lambda: some_study().dataset.inputs,
    "arrays": lambda: images().inputs,
    "target": lambda: some_study().dataset.y,
    "encoder": lambda: some_run().encoder,
    "encoder of columns": lambda: some_run().encoder.inputs,
    "encoder of arrays": lambda: images().fit_encoder(range(6)),
    "predictions": predictions,
    "run": some_run,
    "run, diverged": diverged_run,
    "run, not scored": lambda: dataclasses.replace(some_run(), held_out=None, encoder=None, model_name=HOSTILE),
    "held out": lambda: some_run().held_out,
    "ensemble": lambda: Ensemble(runs=(some_run(),) * 40),
    "ensemble, diverged": lambda: Ensemble(runs=(some_run(), diverged_run())),
    "ensemble, empty": lambda: Ensemble(runs=()),
    "history": lambda: some_run().history,
    "history, empty": meden.History,
    "record": lambda: some_run().history[-1],
    "member": lambda: meden.Member(meden.Recipe(), some_study().folds[0], start=some_run().model.state_dict()),
    "handle": lambda: attached()[0],
    "handle, stepped": lambda: attached(3)[0],
    "bound": lambda: attached()[0].bound[1],
    "source": lambda: TensorSource(torch.zeros(5, 2), torch.zeros(5)),
    "audit": audited,
    "diagnosis": lambda: meden.diagnose(some_study()),
    "diagnosis, nothing": lambda: meden.Diagnosis((), 0),
    "score": lambda: meden.study.Score(0.78670884, 0.7611, 0.8123, 0.9, 0.7867, "accuracy"),
    "mixture": mixed,
    "part of a mixture": lambda: mixed().parts[0],
    "finding": lambda: meden.diagnose(some_study()).findings[0],
    "comparison": compared,
    "comparison, diverged": lambda: compared("diverged"),
    "alternative": lambda: compared().alternatives[1],
}


def MAKER(num_inputs: int, num_outputs: int, **_: Any) -> torch.nn.Module:
    return meden.models.MLP(num_inputs, num_outputs)


class Cells(HTMLParser):
    """Reads a table, and refuses all but a table."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("table", "caption", "tbody", "tr", "th", "td"), tag
        assert {name for name, _ in attrs} <= {"class", "style", "colspan"}
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


@pytest.fixture(params=OBJECTS)
def shown(request: pytest.FixtureRequest) -> Any:
    return OBJECTS[request.param]()


def test_a_line_is_short_and_a_line(shown: Any) -> None:
    line = repr(shown)
    assert line.startswith(f"{type(shown).__name__}(") and line.endswith(")")
    assert len(line) < 200 and line.isprintable()
    assert not any(part in line for part in UNLIKE)


def test_a_table_is_a_table_whatever_it_holds(shown: Any) -> None:
    rows = Cells(shown._repr_html_()).rows
    assert 0 < len(rows) <= MOST + 1
    for row in rows[:MOST]:
        assert len(row) == 2 and all(row)
        assert all(cell.isprintable() and len(cell) <= 600 for cell in row)
        assert not any(part in cell for cell in row for part in UNLIKE)


def test_nothing_is_trained_drawn_or_read(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    monkeypatch.setattr("meden.study.selection.corrected_score", refuse)
    monkeypatch.setattr("meden.study.study.fit_many", refuse)
    monkeypatch.setattr("torch.nn.Module.__call__", refuse)
    random = torch.random.get_rng_state()
    assert repr(shown) == repr(shown) and str(shown) and shown._repr_html_()
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.parametrize("name", [name for name in OBJECTS if name.startswith(("study", "results"))])
def test_a_study_prints_what_was_chosen_and_what_it_is_worth(name: str) -> None:
    found = OBJECTS[name]()
    assert len(str(found)) < 2000
    lines = dict(line.split(maxsplit=1) for line in str(found).replace("best and one_se", "both").splitlines()[1:])
    assert lines["status"].startswith(found.status)
    assert lines["configurations"].split(",")[0] == str(len(found.trials))
    if found.usable:
        for trial in (found.one_se, found.best):
            assert f"{found.decided_by(trial):.4g} (uncorrected)" in str(found)
            assert f"{next(iter(trial.params))}=" in str(found)
    else:
        assert "uncorrected" not in str(found) and cut(found.reason, 150)[:-3] in str(found)


def test_a_corrected_score_is_printed_once_it_was_asked_for() -> None:
    found = study(5)
    assert "corrected for" not in str(found)
    told = (
        f"{found.score.estimate:.4g}, {found.score.low:.4g} to {found.score.high:.4g} (90%), corrected for the choice"
    )
    assert told in str(found) and told in found._repr_html_()


def test_one_choice_is_said_once() -> None:
    found = study(1)
    assert found.best is found.one_se
    assert str(found).count("uncorrected") == 1 and "best and one_se" in str(found)


def test_all_scores_of_a_hostile_study_still_fit() -> None:
    found = study(6, target=HOSTILE, space={HOSTILE: SPACE["l2"]}, make_model=MAKER)
    for metric in ("loss", "accuracy", "balanced_accuracy"):
        for which in ("best", "one_se"):
            found.score_of(metric, which)
    assert str(found).count("corrected for the choice") == 6
    assert len(str(found)) < 2000


def test_a_study_of_64_configurations_is_shown_at_once() -> None:
    found = study(64)
    repr(study(2))
    start = time.perf_counter()
    repr(found), found._repr_html_(), str(found)
    assert time.perf_counter() - start < 0.1  # 5 ms on a machine that is idle


def test_what_prints_a_table_still_does() -> None:
    for found, words in (
        (compared(), "difference"),
        (audited(), "what acts on it"),
        (OBJECTS["diagnosis"](), "gap_left:"),
    ):
        assert words in str(found) and str(found) != repr(found)


def test_a_long_table_says_how_much_is_left_out() -> None:
    rows = Cells(as_table("T", [(f"row {i}", i) for i in range(MOST + 12)])).rows
    assert len(rows) == MOST + 1 and rows[-1] == ["and 12 more"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float64(0.25), "0.25"),
        (np.int64(123456), "123456"),
        (torch.tensor(0.5, requires_grad=True), "0.5"),
        (np.zeros((2, 3)), "float64 (2, 3)"),
        (torch.zeros(4), "float32 (4,)"),
        (pd.Series([1, 2]), "int64 (2,)"),
        ({"a": np.zeros(9), "b": [1.0, None, True]}, "a=float64 (9,), b=1, None, True"),
        (set(), "none"),
        (b"bytes", "b'bytes'"),
        (np.datetime64("2020-01-01"), "datetime.date(2020, 1, 1)"),
        (meden.Regularizer(meden.penalties.L1(torch.ones(3))).penalty, "L1(strength=float32 (3,))"),
    ],
)
def test_values_are_told_in_short(value: Any, told: str) -> None:
    assert text(value) == told


@pytest.mark.parametrize(
    "value", ["", "a\nb", "\x1b[0m", "\u202eevil", "\ud800", "naïve 中文 ±", "x" * 1000, "\n" * 50]
)
def test_what_does_not_print_is_written_out(value: str) -> None:
    found = cut(value, 40)
    assert found.isprintable() and len(found) <= 40
    found.encode()
    assert found == value or not (value.isprintable() and len(value) <= 40)


def test_no_public_class_shows_its_arrays() -> None:
    rooms = [
        importlib.import_module(info.name) for info in pkgutil.iter_modules(meden.__path__, "meden.") if info.ispkg
    ]
    kinds = {name: kind for room in rooms for name, kind in vars(room).items() if isinstance(kind, type)}
    holds = re.compile("Array|Tensor|Values|Rows|Parameter")
    found = {name: dataclasses.fields(kind) for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}
    with_arrays = {name for name, fields in found.items() if any(holds.search(str(field.type)) for field in fields)}
    assert {"Fold", "Predictions", "TensorSource"} <= with_arrays
    assert {name for name in with_arrays if not issubclass(kinds[name], Shown)} == set()
