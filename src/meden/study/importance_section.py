"""What mattered, as a section of the report: bars of what each name explains, and how flat the best region is."""

from __future__ import annotations

import math
from typing import Any

from meden.language import Own
from meden.report import Section
from meden.report.charts import HELD_OUT, OTHER, TRAIN, axis_title, chart, label, lines
from meden.report.document import Chart, Key
from meden.study.flat_region import flat_region
from meden.study.importance import TITLES, Importances, importance_of
from meden.study.results import Results

COLOURS = {"loss": HELD_OUT, "gap": TRAIN}
BAR, FRAME, LEAST = 46, 70, 200
"""Height of a name's bars, of the axis below them, and of a chart at least, in pixels."""


def importance_section(results: Results) -> Section:
    """Return what each name explains of the held-out loss and of its gap, and what is as good as the best.

    Args:
        results: of a search, finished or not; where shares cannot be told, the sentences say why.
    """
    explained, region = [importance_of(results, "loss")], flat_region(results)
    if any(math.isfinite(trial.train_loss) for trial in results.trials):  # a training function may not tell it
        explained.append(importance_of(results, "gap"))
    shown = [one for one in explained if one.shares]
    text = [region.sentence, region.ranges_sentence, *(one.sentence for one in explained)]
    if shown:
        text.append(
            "Shares of the ranks of the configurations over the search ranges, by a random forest (fANOVA); the "
            "lines reach from the lowest to the highest share of any single fold."
        )
    keys = [Key(TITLES[one.of].lower(), "■", COLOURS[one.of]) for one in shown]
    keys += [Key("range over the folds", "▬", OTHER)] * bool(shown)
    charts = (importance_chart(shown),) if shown else ()
    return Section(title="What mattered", text=tuple(filter(None, text)), keys=tuple(keys), charts=charts)


def importance_chart(explained: list[Importances]) -> Chart:
    """Return horizontal bars, a group for each name, the most important on top.

    Args:
        explained: with shares, one at least; the first decides the order of the names.
    """
    names = [one.name for one in explained[0].shares]
    return chart(
        "Share of which configurations do better, and overfit less" if len(explained) > 1 else TITLES[explained[0].of],
        [_bars(one, names) for one in explained],
        x=axis_title("explained by the name alone, %") | {"range": [0, 100]},
        y={
            "autorange": "reversed",
            "type": "category",
            "tickvals": names,
            "ticktext": [label(Own(n), 30) for n in names],
        },
        height=max(LEAST, FRAME + BAR * len(names)),
    )


def _bars(explained: Importances, names: list[str]) -> dict[str, Any]:
    by_name = {one.name: one for one in explained.shares}
    shares = [by_name[name] for name in names]
    return {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [100 * one.share for one in shares],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (one.high - one.share) for one in shares],
            "arrayminus": [100 * (one.share - one.low) for one in shares],
            "color": COLOURS[explained.of],
            "thickness": 2,
            "width": 4,
        },
        "marker": {"color": COLOURS[explained.of], "opacity": 0.45},
        "hovertext": [
            lines(
                label(one.name),
                TITLES[explained.of],
                f"{100 * one.share:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f} %)",
            )
            for one in shares
        ],
        "hoverinfo": "text",
    }
