"""Learning curves of a study: plain against chosen, or a few configurations where there is no plain network."""

from __future__ import annotations

import math
from collections.abc import Iterable

from meden.report import Section
from meden.report import curves as learning
from meden.study.ledger import Row
from meden.study.page_text import params_text, unit_of
from meden.study.results import Results, Trial

PLAIN = "plain"


def curves_section(results: Results) -> Section:
    """Return the learning curves of the choice, on the same axes as those of the plain network where there is one."""
    plain = next((trial for trial in results.baselines if trial.baseline == PLAIN and trial.status == "ok"), None)
    return _several(results) if plain is None else _against(results, plain)


def learning_curves(rows: Iterable[Row]) -> list[learning.EpochCurve]:
    """Return the curves of fits, one for each fold and seed."""
    return [
        learning.EpochCurve(f"fold {row.fold}, seed {row.seed}", row.train_loss, row.stop_loss, row.best_epoch)
        for row in rows
    ]


def _against(results: Results, plain: Trial) -> Section:
    """Return plain and chosen on one pair of axes, their gaps shaded."""
    first, second = learning_curves(plain.rows), learning_curves(results.choice.rows)
    chart = learning.against_chart(
        f"Plain against chosen ({params_text(results.choice.params)})",
        first,
        second,
        y_title=_y_title(results),
        top=learning.highest([*first, *second]),
    )
    stopped = any(curve.held_out for curve in first)
    text = (
        "Means over the folds, as long as at least half of them are still training. The plain network is the "
        "chosen one without any regularisation, trained to the end. "
        + ("The held-out rows are those of the stop splits, which only decide when to stop." * stopped)
        + ("No rows were held out during training, so there is no held-out curve." * (not stopped)),
    )
    keys = learning.against_keys() if stopped else learning.against_keys()[1::2]
    return Section(title="Learning curves", text=text, keys=keys, charts=(chart,))


def _several(results: Results) -> Section:
    """Return those of the choice, the best and the least regularised configuration, each on its own axes."""
    usable = [trial for trial in results.trials if math.isfinite(trial.loss)]
    loosest = min(usable, key=lambda trial: trial.simplicity)
    shown: dict[int, tuple[str, Trial]] = {}
    for role, trial in (("Chosen", results.choice), ("Best", results.best), ("Least regularised", loosest)):
        earlier = f"{shown[trial.number][0]}, {role.lower()}" if trial.number in shown else role
        shown[trial.number] = (earlier, trial)
    curves = {role: learning_curves(trial.rows) for role, trial in shown.values()}
    top = learning.highest([curve for several in curves.values() for curve in several])
    titles = {role: f"{role}: {params_text(trial.params)}" for role, trial in shown.values()}
    charts = [
        learning.curves_chart(titles[role], several, y_title=_y_title(results), top=top)
        for role, several in curves.items()
    ]
    stopped = any(curve.held_out for several in curves.values() for curve in several)
    text = (
        "One thin line per fold, with their mean in bold as long as at least half of the folds are still training. "
        "All charts have the same axes, so that they can be compared.",
    )
    keys = learning.KEYS if stopped else learning.KEYS[::2]
    return Section(title="Learning curves", text=text, keys=keys, charts=tuple(charts))


def _y_title(results: Results) -> str:
    return f"loss ({unit_of(results)})"
