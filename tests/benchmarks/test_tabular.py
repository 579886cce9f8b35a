"""The benchmark of tables: its statistics against hand-computed ones, its fits, its file."""

import importlib
import json
import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_iris

from meden.recipe import Recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module", autouse=True)
def found():
    """Let the parts of the benchmark be found, as they are where it is started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield


def part(name):
    return importlib.import_module(f"contest.{name}")


@pytest.fixture
def benchmark():
    return importlib.import_module("tabular")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with two small tables under the names of larger ones, with texts and missing cells."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    x, y = load_iris(return_X_y=True, as_frame=True)
    x = x.assign(place=random.choice(["here", "there"], len(x)))
    x.iloc[3, 0] = x.iloc[5, 4] = None
    for name, target in (("vehicle", y.map(dict(enumerate("abc")))), ("boston", x.iloc[:, 3] + 0.1 * y)):
        (folder / name).mkdir()
        x.assign(answer=target).to_csv(folder / name / f"{name}.csv", index=False)
    return folder


SCORES = pd.DataFrame(
    {"a": [0.9, 0.8, 0.7, 0.6], "b": [0.8, 0.8, 0.75, 0.5], "c": [0.7, 0.6, 0.65, math.nan]}, index=list("stuv")
)
RANKS = [[1, 2, 3], [1.5, 1.5, 3], [2, 1, 3], [1, 2, 3]]


def test_ranks_are_those_by_hand_and_what_failed_is_last():
    ranks = part("ranks")
    assert ranks.ranks_of(SCORES).to_numpy().tolist() == RANKS
    found = ranks.mean_ranks(SCORES)
    assert {name: rank.mean for name, rank in found.items()} == {"a": 5.5 / 4, "b": 6.5 / 4, "c": 3.0}
    assert (found["c"].low, found["c"].high) == (3.0, 3.0) and 1 <= found["a"].low < 5.5 / 4 < found["a"].high <= 2


def test_friedman_is_demsars_formula_with_its_correction_of_ties():
    ranks = part("ranks")
    statistic, p_value = ranks.friedman(SCORES)
    n, k = 4, 3
    plain = (
        12
        * n
        / (k * (k + 1))
        * (sum((sum(column) / n) ** 2 for column in zip(*RANKS, strict=True)) - k * (k + 1) ** 2 / 4)
    )
    ties = 1 - (2**3 - 2) / (n * k * (k**2 - 1))
    assert statistic == pytest.approx(plain / ties) and p_value == pytest.approx(stats.chi2.sf(plain / ties, k - 1))


@pytest.mark.parametrize(("num_methods", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_nemenyis_quantiles_are_those_of_demsars_table_5(num_methods, quantile):
    expected = quantile * math.sqrt(num_methods * (num_methods + 1) / (6 * 14))
    assert part("ranks").critical_difference(num_methods, 14) == pytest.approx(expected, abs=1e-3)


def test_p_values_are_wilcoxons_stepped_up_by_holm():
    ranks = part("ranks")
    random = np.random.default_rng(1)
    base = random.normal(size=12)
    scores = pd.DataFrame({"a": base, "b": base - 0.3 + 0.3 * random.normal(size=12), "c": base - 1})
    told = ranks.wilcoxon_holm(scores)
    raw = {pair: stats.wilcoxon(scores[pair[0]], scores[pair[1]]).pvalue for pair in told}
    ordered, highest = sorted(raw, key=raw.get), 0.0
    for place, pair in enumerate(ordered):
        highest = max(highest, min(1.0, (3 - place) * raw[pair]))
        assert told[pair] == pytest.approx(highest)
    assert told["a", "c"] == pytest.approx(3 * 2 / 2**12), "all twelve on one side, exactly"
    assert ranks.wilcoxon_holm(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]})) == {("a", "b"): 1.0}


def test_a_bar_is_over_neighbours_of_which_no_pair_differs():
    p_values = {("a", "b"): 0.3, ("a", "c"): 0.01, ("b", "c"): 0.2, ("c", "d"): 0.04, ("b", "d"): 0.5, ("a", "d"): 0.01}
    assert part("ranks").level_groups(list("abcd"), p_values) == [["a", "b"], ["b", "c"]]


def test_intervals_are_students_and_splits_are_corrected_for_shared_rows():
    ranks = part("ranks")
    values = np.array([0.1, 0.4, 0.25, 0.3])
    plain = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    told = ranks.over_tables(values)
    assert (told.low, told.high) == pytest.approx(plain)
    shared = ranks.over_splits(values, 1 / 3)
    widened = math.sqrt((1 / 4 + 1 / 3) / (1 / 4))
    assert shared.high - shared.mean == pytest.approx(widened * (told.high - told.mean))
    assert math.isnan(ranks.over_splits(values[:1], 1 / 3).low)


def line(table, split, method, score, **others):
    metric = "r2" if table == "boston" else "balanced_accuracy"
    made = {"table": table, "split": split, "method": method, "told": "", "limit": 0.0, metric: score, "note": ""}
    return made | {"seconds": 1.0, "cpu_seconds": 1.0, "megabytes": 9, "load": [0.0, 0.0], "version": "1"} | others


def made_up():
    """Return lines of four tables, in which meden has ranks 1, 2, 2, 1, and one of a fifth that others lack."""
    scores = {
        "sonar": ([0.9, 0.8], [0.8, 0.7], [0.7, 0.6]),
        "vehicle": ([0.5, 0.5], [0.6, 0.6], [0.4, 0.4]),
        "anneal": ([0.7, 0.9], [0.9, 0.8], [0.1, 0.2]),
        "boston": ([0.9, 0.9], [0.5, -7.0], [0.6, 0.6]),
    }
    for table, of_methods in scores.items():
        for method, of_splits in zip(("meden", "CatBoost", "ridge"), of_methods, strict=True):
            yield from (line(table, split, method, score) for split, score in enumerate(of_splits))
        for split, score in enumerate(of_methods[0]):
            yield line(table, split, "meden usual", score - 0.02 * (1 + (table == "sonar")), seconds=0.5)
    for split in (0, 1):
        yield line("sonar", split, "CatBoost", 0.95, told="balanced_accuracy")
    yield line("spambase", 0, "meden", 0.1)


def test_the_report_says_what_was_made_up(tmp_path):
    report = part("report")
    text = report.write_report(list(made_up()), tmp_path / "r.jsonl")
    assert (tmp_path / "r.md").read_text() == text
    as_set, told = text.split("## balanced accuracy, or R2: told what is measured")
    assert "Ranks over 4 tables" in as_set
    assert "| meden | 1.500 (1.000 to 2.000) | 2 | 0 | 0.7625 |" in as_set
    assert "| CatBoost | 1.750 (" in as_set and "| ridge | 2.750 (" in as_set
    floored = np.array([0.1, -0.1, -0.05, 0.9 - (0.5 + report.FLOOR) / 2])
    mean, (low, high) = floored.mean(), stats.t.interval(0.95, 3, floored.mean(), stats.sem(floored))
    p_value = min(1.0, 3 * stats.wilcoxon(floored).pvalue)
    assert f"| CatBoost | {mean:.3f} ({low:.3f} to {high:.3f}) | 2 | 0 | 2 | {p_value:.2g} |" in as_set
    assert (
        "| sonar | 0.750 ± " in as_set and "**0.850** ± " in as_set and "meden usual |" not in as_set.split("What")[0]
    )
    assert "| spambase |  | **0.100** |  |" in as_set, "told, but not ranked"

    bought = as_set.split("What the search buys")[1]
    gains = np.array([0.04, 0.02, 0.02, 0.02])
    low, high = stats.t.interval(0.95, 3, gains.mean(), stats.sem(gains))
    assert f"- {gains.mean():.3f} ({low:.3f} to {high:.3f}), ahead on 4, behind on 0" in bought
    assert "on average: 3.000 (2.400 to 4.200) a minute" in bought, "0.02 to 0.04 for half a second each"

    assert "| sonar | **0.950** ± 0.000 | 0.850 ± " in told, "who was told counts by that, the others by their defaults"


def test_a_diagram_is_whole_and_orders_methods_by_rank(tmp_path):
    part("report").write_report(list(made_up()), tmp_path / "r.jsonl")
    root = ElementTree.fromstring((tmp_path / "r-as-set.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    labels = [text.text for text in root.iter(f"{space}text")]
    assert {"meden 1.50", "CatBoost 1.75", "ridge 2.75"} <= set(labels) and (tmp_path / "r-told.svg").exists()
    at = {float(line.get("x1")) for line in root.iter(f"{space}line") if line.get("x1") == line.get("x2")}
    assert {190 + 380 * share for share in (0.25, 0.375, 0.875)} <= at, "where they belong between 1 and 3"
    bars = [line for line in root.iter(f"{space}line") if line.get("stroke-width") == "4"]
    assert len(bars) == 1, "of four tables none can differ"


def test_a_failure_ranks_last_and_is_told(tmp_path):
    lines = [
        line(*key) for table in ("sonar", "vehicle") for key in ((table, 0, "meden", 0.6), (table, 0, "ridge", 0.5))
    ]
    lines += [line("sonar", 0, "CatBoost", 0.9), line("vehicle", 0, "CatBoost", math.nan, note="KeyError: it broke")]
    text = part("report").write_report(lines, tmp_path / "r.jsonl")
    assert "| CatBoost | 2.000 (1.000 to 3.000) | 1 | 1 |" in text and "failed |" in text
    assert "CatBoost on vehicle, split 0, told nothing: KeyError: it broke" in text
    assert part("report").write_report([], tmp_path / "r.jsonl") == "nothing measured yet"


def test_scores_are_those_of_the_definitions():
    truth, classes = pd.Series(["a", "a", "b", "c"]), ["a", "b", "c"]
    told = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    shares = pd.Series({"a": 0.5, "c": 0.25, "b": 0.25})
    found = part("scores").of_classes(truth, np.array(["a", "b", "b", "c"]), told, classes, shares)
    loss = -np.log([0.7, 0.2, 0.8, 1.0]).mean()
    assert found["accuracy"] == 0.75 and found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["log_loss"] == pytest.approx(loss, abs=1e-6)
    assert found["log_loss_gain"] == pytest.approx(1 - loss / (1.5 * math.log(2)), abs=1e-6)
    assert found["roc_auc"] == pytest.approx(1.0) and np.isfinite(
        part("scores").of_classes(truth, np.array(["a"] * 4), np.eye(3)[[1, 0, 2, 0]], classes, shares)["log_loss"]
    )
    numbers = part("scores").of_numbers(pd.Series([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    assert numbers == pytest.approx({"r2": 0.5, "rmse": math.sqrt(1 / 3)})


def test_probabilities_are_of_classes_sorted_as_text():
    class Counted:
        classes_ = np.array([9, 10, 2])

    told = np.array([[0.1, 0.2, 0.7]])
    assert part("measure").in_order(Counted(), told).tolist() == [[0.2, 0.7, 0.1]]
    assert part("measure").in_order(object(), told).tolist() == told.tolist()


def test_tables_that_are_made_are_as_they_say():
    data = part("data")
    x, y = data.pairs(4000)
    matter = [name for name in x if name.startswith("matters")]
    assert x.shape == (4000, 500) and len(matter) == 20 and 0.45 < (y == "yes").mean() < 0.55
    pd.testing.assert_frame_equal(x, data.pairs(4000)[0])
    sign = np.where(y == "yes", 1.0, -1.0)
    products = {(a, b): abs(float((x[a] * x[b] * sign).mean())) for k, a in enumerate(matter) for b in matter[:k]}
    strongest = sorted(products, key=products.get)[-10:]
    assert len({name for pair in strongest for name in pair}) == 20, "ten pairs of columns that all differ"
    x, y = data.rows(1000)
    assert x.shape == (1000, 20) and set(x.dtypes) == {np.dtype("float32")} and set(y) == {"yes", "no"}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real tables (MEDEN_DATA)")
def test_real_tables_are_all_there_without_names_of_rows_or_answers():
    data = part("data")
    assert {path.name for path in DATA.iterdir()} >= set(data.FILES) and len(data.FILES) == 25
    assert len(data.read(DATA, "mice_protein")[0].columns) == 77
    for name in ("prostate_esl", "sonar", "anneal"):
        rows = data.split(DATA, name, 0)
        few = len(rows.inputs) + len(rows.new) < 300
        assert data.TABLES[name].splits == (10 if few else 3)
        assert pd.api.types.is_numeric_dtype(rows.targets) == data.TABLES[name].numbers


def test_the_processors_clock_counts_work_and_not_waiting(monkeypatch):
    clock = part("clock")
    monkeypatch.setattr(clock, "READERS", ("json",))
    with pytest.raises(RuntimeError, match="before json is imported"):
        clock.go_by_the_processor()
    monkeypatch.setattr(clock, "READERS", ())
    for name in ("time", "perf_counter"):
        monkeypatch.setattr(time, name, getattr(time, name))  # put back afterwards
    clock.go_by_the_processor()
    before, began, after = time.process_time(), time.time(), time.process_time()
    while time.process_time() - after < 0.1:
        pass
    at_least = time.process_time() - after
    went = time.time() - began
    assert at_least <= went + 1e-6 and went <= time.process_time() - before + 1e-6


@pytest.fixture
def small(data, tmp_path):
    out = tmp_path / "lines.jsonl"
    start = ["--data", str(data), "--tables", "vehicle", "boston", "--splits", "0", "--limits", "60", "--out", str(out)]
    return start, out


def test_meden_and_another_are_fitted_told_and_not_and_a_second_start_adds_nothing(benchmark, small, monkeypatch):
    start, out = small
    methods = part("methods")
    quick = partial(methods.meden, budget=1, cv=2, recipe=Recipe(optimizer="adam", lr=0.04, epochs=30))
    monkeypatch.setitem(methods.METHODS, "meden", methods.own(quick, budget=True))
    start += ["--methods", "meden", "ridge", "--revision", "now"]
    text = benchmark.main(start)
    lines = [json.loads(told) for told in out.read_text().splitlines()]
    assert len(lines) == 2 * 3 and not any(told["note"] for told in lines), [told["note"] for told in lines]
    assert {told["method"] for told in lines} == {"meden@now", "ridge"}
    assert {told["told"] for told in lines if told["table"] == "boston"} == {""}
    assert {told["limit"] for told in lines if told["method"] == "meden@now"} == {60.0}
    for told in lines:
        score = told["r2"] if told["table"] == "boston" else min(told["balanced_accuracy"], told["roc_auc"])
        assert score > 0.8 and told["cpu_seconds"] > 0 and told["megabytes"] > 50 and told["version"]
    assert "| meden@now | " in text and "Ranks over 2 tables" in text

    whole = out.read_text()
    assert benchmark.main(start) == text == benchmark.main([*start, "--report"]) and out.read_text() == whole
    out.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    benchmark.main(start)
    assert len(out.read_text().splitlines()) == 6


def test_what_fails_or_takes_too_long_is_a_line(benchmark, small, monkeypatch):
    start, out = small
    methods = part("methods")

    def broken(*_):
        raise KeyError("it\nbroke")

    def slow(*_):
        time.sleep(60)

    def gone(*_):
        os._exit(3)

    for name, fit in (("ridge", broken), ("lasso", slow), ("MLP grid", gone)):
        monkeypatch.setitem(methods.METHODS, name, methods.of_scikit_learn(fit))
    arguments = [*start, "--tables", "boston", "--methods", "ridge", "lasso", "MLP grid", "--patience", "3"]
    began = time.perf_counter()
    text = benchmark.main(arguments)
    assert time.perf_counter() - began < 30
    notes = [json.loads(told)["note"] for told in out.read_text().splitlines()]
    assert notes == ["KeyError: 'it\\nbroke'", "longer than 3 s", "its process ended with 3"]
    assert all(note in text for note in notes)


def test_a_table_that_is_not_there_is_said_before_anything_runs(benchmark, small, capsys):
    start, out = small
    with pytest.raises(SystemExit):
        benchmark.main([*start, "--tables", "sonar", "--methods", "ridge"])
    assert "--data must be a folder with a folder for each table" in capsys.readouterr().err and not out.exists()


def test_told_of_balance_classes_count_alike(data):
    """A rare class that overlaps: told, methods find more of it; the metric's name reaches meden as what it takes."""
    methods = part("methods")
    random = np.random.default_rng(0)
    y = pd.Series(np.where(random.random(600) < 0.1, "rare", "usual"))
    x = pd.DataFrame({"x": random.normal(size=600) + 1.0 * (y == "rare"), "place": random.choice(["u", "v"], 600)})
    for name in ("ridge", "lasso", "HistGradientBoosting"):
        found = [
            (
                np.ravel(methods.METHODS[name].fit(x, y, methods.Task(numbers=False, told=told)).predict(x)) == "rare"
            ).mean()
            for told in ("", "balanced_accuracy")
        ]
        assert found[0] < 0.15 < found[1], name


def test_levels_fill_and_forget_what_they_have_not_seen():
    prepare = part("prepare")
    rows = pd.DataFrame({"n": [1.0, None, 3.0, 9.0], "t": ["a", None, "b", "a"], "many": list("wxyz")})
    levels = prepare.Levels(most=4, medians=True).fit(rows)
    new = pd.DataFrame({"n": [None, 2.0], "t": ["c", "b"], "many": ["w", "w"]})
    made = levels.transform(new)
    assert made["n"].tolist() == [3.0, 2.0] and made["t"].tolist() == ["missing", "b"] and list(made) == ["n", "t"]
    assert list(made["t"].cat.categories) == ["a", "b", "missing"]
    assert levels.set_params(kind="string").transform(rows)["t"].tolist() == ["a", "missing", "b", "a"]


@pytest.mark.parametrize(("name", "package"), [("CatBoost", "catboost"), ("RealMLP-TD", "pytabkit")])
@pytest.mark.slow
def test_others_take_texts_and_missing_cells(data, name, package):
    pytest.importorskip(package)
    methods, scores = part("methods"), part("scores")
    rows = part("data").split(data, "vehicle", 0)
    task = methods.Task(numbers=False, told="balanced_accuracy")
    with part("measure").quiet(1):
        model = methods.METHODS[name].fit(rows.inputs, rows.targets, task)
        labels, told = np.ravel(model.predict(rows.new)), np.asarray(model.predict_proba(rows.new))
    shares = rows.targets.value_counts(normalize=True)
    assert scores.of_classes(rows.truth, labels, told, sorted(shares.index), shares)["balanced_accuracy"] > 0.8
