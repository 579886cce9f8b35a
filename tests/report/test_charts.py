import dataclasses
import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from meden.report.charts import CHOSEN, chart, scatter
from meden.report.curves import EpochCurve, against_chart, curves_chart, highest, line_chart, mean_curve
from meden.report.document import Chart
from meden.report.scores import Axis, Point, gap_chart, gap_keys, score_chart, score_keys
from tests.report.drawn import BETTER, CURVES, POINTS, STRENGTHS, charts

NAN = math.nan


def points(losses: list[float]) -> list[Point]:
    best = min(loss for loss in losses if loss == loss)
    return [Point(str(i), loss, 0.01, loss - 0.1, "both" if loss == best else "") for i, loss in enumerate(losses)]


def by_symbol(traces: list[dict], symbol: str) -> list[tuple[float, float]]:
    found = [t for t in traces if t["marker"]["symbol"] == symbol]
    return [(x, y) for t in found for x, y in zip(t["x"], t["y"], strict=True) if y is not None]


def test_every_configuration_is_somewhere() -> None:
    losses = [0.5, 0.4, 0.45, 0.41, 0.47, 900.0, NAN]
    strengths = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    made = score_chart(Axis("l2", "log", strengths), points(losses), unit="nats", connected=True)
    assert by_symbol(made.data, "circle") == list(zip(strengths[:5], losses[:5], strict=True))
    top = made.layout["yaxis"]["range"][1]
    [(x_beyond, y_beyond)], [(x_bad, _)] = by_symbol(made.data, "triangle-up"), by_symbol(made.data, "x-thin")
    assert (x_beyond, x_bad) == (10.0, 100.0)
    assert 0.5 < y_beyond <= top < 5
    assert by_symbol(made.data, "star") == by_symbol(made.data, "diamond-open") == [(1e-3, 0.4)]
    [band] = made.layout["shapes"]
    assert np.allclose([band["y0"], band["y1"]], [0.39, 0.41])
    names = [key.name for key in score_keys(points(losses))]
    assert "diverged" in names and "held-out loss beyond the axis" in names
    assert len(score_keys(points(losses[:5]))) == len(names) - 2


def test_points_are_sorted_along_the_axis_with_their_own_text() -> None:
    made = score_chart(Axis("p", "linear", (0.3, 0.1)), points([1.0, 2.0]), unit="nats", connected=False)
    [held_out] = [t for t in made.data if t["marker"]["symbol"] == "circle"]
    assert held_out["x"] == [0.1, 0.3] and held_out["y"] == [2.0, 1.0]
    assert held_out["hovertext"][0].startswith("1<br>held-out loss 2")


def test_categories_with_the_same_beginning_stay_apart() -> None:
    names = ("a long name that ends in 1", "a long name that ends in 2")
    made = score_chart(Axis("c", "category", names), points([1.0, 2.0]), unit="nats", connected=False)
    assert [x for x, _ in by_symbol(made.data, "circle")] == [0, 1]
    assert len(made.layout["xaxis"]["ticktext"]) == 2


def test_unknown_errors_draw_no_bar_and_no_band() -> None:
    one = [Point("a", 1.0, math.inf, 0.5, "both")]
    made = score_chart(Axis("l2", "log", (0.1,)), one, unit="nats", connected=True)
    assert not made.layout.get("shapes")
    [held_out] = [t for t in made.data if t["marker"]["symbol"] == "circle"]
    assert held_out["error_y"]["array"] == [0.0]


def test_mean_is_numpys_while_half_go_on() -> None:
    curves = np.random.default_rng(0).normal(size=(4, 6))
    ragged = [curves[0], curves[1][:4], curves[2][:2], curves[3]]
    wanted = [*curves[:, :2].mean(0), *curves[[0, 1, 3], 2:4].mean(0), *curves[[0, 3], 4:].mean(0)]
    assert np.allclose(mean_curve([list(c) for c in ragged]), wanted)


def test_kept_epoch_is_marked_and_missing_curves_do_not_matter() -> None:
    curves = [
        EpochCurve("a", [3.0, 2.0, 1.0], [3.0, 1.5, 2.0], 2),
        EpochCurve("b", [], [], 0),
        EpochCurve("c", [NAN, 2.0], [], 9),
    ]
    made = curves_chart("t", curves, y_title="loss", top=highest(curves))
    [kept] = [t for t in made.data if t["mode"] == "markers"]
    assert (kept["x"], kept["y"]) == ([2], [1.5])


def test_an_explosion_does_not_flatten_the_rest() -> None:
    assert highest([EpochCurve("a", [1.0, 2.0, 1e9], [], 1)]) == 3.0
    assert highest([EpochCurve("a", [1.0, 2.0], [], 1)]) == 2.0


@pytest.mark.parametrize("made", charts().values(), ids=charts())
def test_plotly_knows_every_setting(made: Chart) -> None:
    go.Figure(made.data, made.layout)
    assert {trace["type"] for trace in made.data} <= {"scatter", "bar", "pie"}, "what the basic bundle draws"
    json.dumps([made.data, made.layout], allow_nan=False)


def test_plotly_would_have_told() -> None:
    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure([scatter(x=[1], y=[1], mood="happy")])


def test_numbers_of_any_kind_become_plain_and_traces_without_points_are_left_out() -> None:
    columns = np.array([1.0, np.nan, 1e-300]), np.arange(3)
    made = chart("t", [scatter(x=[], y=[]), scatter(x=columns[0], y=columns[1])], x={}, y={"range": (np.float32(1), 2)})
    [trace] = made.data
    assert trace["x"] == [1.0, None, 1e-300] and trace["y"] == [0, 1, 2] and made.layout["yaxis"]["range"] == [1.0, 2]


def test_plain_and_chosen_share_their_axes_and_each_gap_is_shaded() -> None:
    made = against_chart("t", CURVES, BETTER, y_title="loss", top=highest(CURVES))
    plain_train, plain, chosen_train, chosen = made.data
    assert plain_train["y"] == [2.5, 1.5, 1.0] and plain["y"] == [3.0, 2.5, 3.25]
    assert chosen_train["y"] == BETTER[0].train and chosen["y"] == BETTER[0].held_out
    assert plain["fill"] == chosen["fill"] == "tonexty" and "fill" not in plain_train
    assert chosen["line"]["color"] == CHOSEN != plain["line"]["color"]


def test_without_training_curves_nothing_is_shaded() -> None:
    made = against_chart("t", [], [EpochCurve("a", [], [1.0, 0.5], 2)], y_title="loss", top=1.0)
    [line] = made.data
    assert line["y"] == [1.0, 0.5] and "fill" not in line


def test_gaps_are_held_out_less_training_and_the_choice_is_never_beyond() -> None:
    made = gap_chart(STRENGTHS, POINTS, unit="nats", connected=False)
    held = [(x, round(y, 9)) for x, y in by_symbol(made.data, "circle")]
    assert held == [(0.001, 0.2), (0.002, 0.05), (0.005, 0.01)]
    assert [x for x, _ in by_symbol(made.data, "triangle-up")] == [0.01]
    assert [x for x, _ in by_symbol(made.data, "x-thin")] == [0.02]
    assert [key.name for key in gap_keys(POINTS)][-2:] == ["gap beyond the axis", "diverged"]
    wild = [dataclasses.replace(p, mark="both" if p.name == "d" else "") for p in POINTS]
    [(_, top)] = by_symbol(gap_chart(STRENGTHS, wild, unit="nats", connected=False).data, "star")
    assert top < gap_chart(STRENGTHS, wild, unit="nats", connected=False).layout["yaxis"]["range"][1]


@pytest.mark.parametrize(
    ("strengths", "wanted"),
    [
        ((5e-4, 1e-2), ["0.0005", "0.001", "0.002", "0.005", "0.01"]),
        ((0.9, 3.0), ["1", "2"]),
        ((1e-6, 1.0), None),
        ((1.2, 1.3), None),
    ],
)
def test_short_logarithmic_axes_have_round_ticks(strengths: tuple[float, float], wanted: list[str] | None) -> None:
    made = score_chart(Axis("lr", "log", strengths), points([1.0, 2.0]), unit="nats", connected=False)
    assert made.layout["xaxis"].get("ticktext") == wanted


def test_long_curves_are_thinned_and_keep_their_epochs() -> None:
    values = [1 / (1 + epoch) for epoch in range(1, 1201)]
    made = line_chart("t", {"loss": values}, (CHOSEN,), y_title="loss")
    [line] = made.data
    assert (line["x0"], line["dx"]) == (1, 3) and len(line["y"]) == 400
    assert np.allclose(line["y"], values[::3], rtol=1e-5) and made.layout["xaxis"]["range"][1] > 1200
