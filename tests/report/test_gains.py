import math

from meden.report.gains import Gain, gains_chart, gains_keys
from tests.report.drawn import GAINS


def test_each_model_has_its_line_its_interval_and_its_number() -> None:
    made = gains_chart("t", GAINS, x_title="nats")
    placed = {
        made.layout["yaxis"]["ticktext"][y]: (x, x - below, x + above, text)
        for trace in made.data
        for x, y, below, above, text in zip(
            trace["x"],
            trace["y"],
            trace["error_x"]["arrayminus"],
            trace["error_x"]["array"],
            trace["text"],
            strict=True,
        )
    }
    wanted = {g.name: (g.value, g.low, g.high) for g in GAINS if math.isfinite(g.value)}
    assert placed.keys() == wanted.keys()
    for name, (x, low, high, text) in placed.items():
        assert [round(v, 9) for v in (x, low, high)] == list(wanted[name]) and float(text) == x
    low, high = made.layout["yaxis"]["range"]
    assert low > high, "the first is on top"


def test_the_line_goes_down_at_the_reference_alone() -> None:
    [line] = gains_chart("t", GAINS, x_title="nats").layout["shapes"]
    assert line["x0"] == line["x1"] == 0.5
    assert not gains_chart("t", [Gain("plain", math.nan, role="reference")], x_title="nats").layout["shapes"]


def test_no_result_is_named_and_an_unknown_interval_draws_no_bar() -> None:
    made = gains_chart("t", [Gain("trees", math.nan), Gain("<b>", 1.0, -math.inf, 2.0)], x_title="nats")
    assert made.layout["yaxis"]["ticktext"] == ["trees (no result)", "&lt;b&gt;"]
    [trace] = made.data
    assert (trace["error_x"]["arrayminus"], trace["error_x"]["array"]) == ([0.0], [1.0])
    assert "interval unknown" in trace["hovertext"][0]


def test_the_legend_names_what_is_there() -> None:
    assert [key.name for key in gains_keys(GAINS[:1], "90 % interval")] == ["another model", "90 % interval"]
    assert len(gains_keys(GAINS, "90 % interval")) == 4
