"""The report of a file of results, as Markdown, and its critical-difference diagrams.

Legend: ``T`` tables, ``M`` methods; scores are (T, M), higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from common.lines import Line
from contest import ranks
from contest.data import FILES, TABLES, TEST_SHARE
from contest.diagram import diagram

SCORES: dict[str, tuple[str, ...]] = {
    "balanced accuracy, or R2": ("balanced_accuracy", "r2"),
    "balanced accuracy": ("balanced_accuracy",),
    "log loss, share less than that of the classes' shares": ("log_loss_gain",),
    "ROC AUC": ("roc_auc",),
    "accuracy": ("accuracy",),
    "R2": ("r2",),
}
"""What is compared: the metric of classes or numbers; higher is better, 1 is best."""
MAIN = next(iter(SCORES))
FLOOR = -1.0
"""The worst that a score is taken for: R2 and the gain in log loss have no end below, and one table must not decide."""
RATIO = TEST_SHARE / (1 - TEST_SHARE)
STARVED = 0.5
"""CPU seconds a second of a limit, below which a fit says more of the machine than of the method."""
TOOK = ["cpu_seconds", "megabytes", "load"]
USUAL = "meden usual"
"""What the search is held against; it is in no ranking."""


def write_report(lines: Sequence[Line], path: Path, methods: Sequence[str] | None = None) -> str:
    """Return the report, and write it and its diagrams beside the file of results.

    Args:
        lines: all that is known.
        path: of the file; the report ends in ``.md``, the diagrams in ``.svg``.
        methods: those that are compared; None are all.
    """
    known = [line for line in lines if methods is None or line["method"] in methods]
    if not known:
        return "nothing measured yet"
    frame = pd.DataFrame(known)
    frame = frame.reindex(columns=frame.columns.union(TOOK, sort=False))  # where all have failed
    text = []
    for limit in sorted(set(frame["limit"]) - {0.0}) or [0.0]:
        part = frame[frame["limit"].isin([0.0, limit])]
        within = f", limit {limit:g} s" if limit else ""
        for told, head in ((False, "as their makers set them"), (True, "told what is measured")):
            for title in SCORES:
                scores = per_split(part, title, told)
                ranked = scores.drop(columns=[name for name in scores if name.startswith(USUAL)])
                if title != MAIN and told and SCORES[title] == ("r2",):
                    continue  # nobody is told of R2
                text += [f"\n## {title}: {head}{within}\n", *compared(ranked, title == MAIN)]
                if title == MAIN:
                    text += bought(scores, part, told)
                    name = f"{path.stem}-{'told' if told else 'as-set'}{f'-{limit:g}s' if limit else ''}.svg"
                    if (drawn := drawing(ranked, f"{title}: {head}{within}")) is not None:
                        (path.parent / name).write_text(drawn)
                        text.append(f"\nCritical differences: {name}")
    text += ["\n## What it took\n", *spent(frame), *failures(frame)]
    told_all = "\n".join(text).strip() + "\n"
    path.with_suffix(".md").write_text(told_all)
    return told_all


def per_split(frame: pd.DataFrame, title: str, told: bool) -> pd.DataFrame:
    """Return the scores of each table and split, (T x S, M): told a metric where a method can be, else its default."""
    parts = []
    for metric in SCORES[title]:
        if metric not in frame:
            continue
        rows = frame[[TABLES[table].numbers == (metric == "r2") for table in frame["table"]]]
        wanted = metric.removesuffix("_gain")
        keys = ["table", "split", "method"]
        rows = rows[rows["told"].isin(["", wanted] if told else [""])].sort_values(
            "told", kind="stable"
        )  # the default comes first
        parts.append(rows.drop_duplicates(keys, keep="last").set_index(keys)[metric])
    made = pd.concat(parts).clip(lower=FLOOR) if parts else pd.Series(dtype=float)
    if made.empty:
        return pd.DataFrame()
    wide = made.to_frame("score").reset_index().pivot(index=["table", "split"], columns="method", values="score")
    done = made.to_frame("score").assign(there=1).reset_index()
    there = done.pivot(index=["table", "split"], columns="method", values="there").notna()
    return wide.where(wide.notna() | ~there, -np.inf)  # NaN is not measured, minus infinity has failed


def complete(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over splits on the tables that all have, (T, M); NaN where one has failed.

    Only tables of files count, and only methods with at least half of the tables that the busiest has.
    """
    if scores.empty:
        return scores
    real = scores[scores.index.get_level_values("table").isin(FILES)]
    counts = real.notna().groupby(level="table").any().sum()
    kept = real[counts.index[counts >= counts.max() / 2]].dropna()
    return kept.groupby(level="table").mean().replace(-np.inf, np.nan)


def compared(scores: pd.DataFrame, with_tables: bool) -> list[str]:
    """Return the lines of one comparison."""
    if scores.empty:
        return ["nothing measured yet"]
    text = [*by_table(scores), ""] if with_tables else []
    means = complete(scores)
    if means.shape[0] < 2 or means.shape[1] < 2:
        return [*text, "fewer than two tables that two methods have"]
    if left_out := sorted(set(scores) - set(means)):
        text.append(f"Not ranked, too few tables yet: {', '.join(left_out)}.\n")
    found, places = ranks.mean_ranks(means), ranks.ranks_of(means)
    text += [f"Ranks over {len(means)} tables, 95 % by bootstrap over tables:\n"]
    text += ["| | mean rank | first | last | mean score |", "| --- | --- | --- | --- | --- |"]
    for name, rank in found.items():
        first, last = ((places[name] == edge).sum() for edge in (places.min(axis=1), places.max(axis=1)))
        text.append(f"| {name} | {rank} | {first} | {last} | {means[name].mean():.4f} |")
    if means.shape[1] > 2:
        statistic, p_value = ranks.friedman(means)
        text.append(f"\nFriedman: {statistic:.2f}, p = {p_value:.2g}; ")
        text[-1] += f"Nemenyi's critical difference {ranks.critical_difference(means.shape[1], len(means)):.2f}"
    return text + paired(means)


def by_table(scores: pd.DataFrame) -> list[str]:
    """Return a row a table: mean ± half of the 95 % interval over splits, the best in bold."""
    text = [f"| | {' | '.join(scores)} |", "|" + " --- |" * (1 + scores.shape[1])]
    for table in [name for name in TABLES if name in scores.index.get_level_values("table")]:
        rows = scores.loc[table]
        means = rows.mean().replace(-np.inf, np.nan)
        cells = []
        for name in scores:
            values = rows[name].dropna().to_numpy()
            if len(values) == 0 or not np.isfinite(values).all():
                cells.append("failed" if len(values) else "")
                continue
            told = ranks.over_splits(values, RATIO)
            cell = f"{told.mean:.3f}" if means[name] < means.max() else f"**{told.mean:.3f}**"
            cells.append(cell if np.isnan(told.low) else f"{cell} ± {told.high - told.mean:.3f}")
        text.append(f"| {table} | {' | '.join(cells)} |")
    return text


def paired(means: pd.DataFrame) -> list[str]:
    """Return the differences of each method of meden to all others, over tables."""
    p_values, text = ranks.wilcoxon_holm(means), []
    for own in [name for name in means if name.startswith("meden")]:
        text += [
            f"\n{own} minus each, 95 % by Student over tables; p by Wilcoxon, by Holm for all pairs:\n",
            "| | difference | ahead | level | behind | p |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for other in [name for name in means if name != own]:
            differences = (means[own] - means[other]).dropna()
            p_value = p_values.get((own, other), p_values.get((other, own), np.nan))
            signs = np.sign(differences)
            counts = " | ".join(str(int((signs == sign).sum())) for sign in (1, 0, -1))
            text.append(f"| {other} | {ranks.over_tables(differences.to_numpy())} | {counts} | {p_value:.2g} |")
    return text


def bought(scores: pd.DataFrame, frame: pd.DataFrame, told: bool) -> list[str]:
    """Return what the search buys: chosen minus the usual configuration alone, paired over tables and splits."""
    text = []
    seconds = frame[frame["told"].isin(["", "balanced_accuracy"] if told else [""])].sort_values("told", kind="stable")
    keys = ["table", "split", "method"]
    took = seconds.drop_duplicates(keys, keep="last").pivot(index=keys[:2], columns="method", values="seconds")
    for usual in [name for name in scores if name.startswith(USUAL)]:
        chosen = "meden" + usual.removeprefix(USUAL)
        if chosen not in scores:
            continue
        both = scores[[chosen, usual]].dropna()
        both = both[both.index.get_level_values("table").isin(FILES) & np.isfinite(both).all(axis=1)]
        if both.empty:
            continue
        difference = both[chosen] - both[usual]
        minutes = (took[chosen] - took[usual]).reindex(both.index) / 60
        per_table = difference.groupby(level="table").mean()
        more = minutes.groupby(level="table").mean()
        text += [
            f"\nWhat the search buys, {chosen} minus {usual}, {len(both)} splits of {len(per_table)} tables, "
            "95 % by Student over tables:\n",
            f"- {ranks.over_tables(per_table.to_numpy())}, ahead on {int((per_table > 0).sum())}, "
            f"behind on {int((per_table < 0).sum())}",
            f"- for {more.mean():.2f} minutes more on average: {ranks.ratio(per_table.to_numpy(), more.to_numpy())} a "
            "minute, by bootstrap over tables"
            if more.mean() > 0
            else "- in no more time",
            "- largest: " + ", ".join(f"{name} {value:+.3f}" for name, value in extremes(per_table)),
        ]
    return text


def extremes(values: pd.Series) -> list[tuple[str, float]]:
    ordered = values.sort_values()
    kept = ordered if len(ordered) <= 6 else pd.concat([ordered.iloc[:3], ordered.iloc[-3:]])
    return [(str(name), float(value)) for name, value in kept.items()]


def drawing(scores: pd.DataFrame, title: str) -> str | None:
    """Return the diagram of a comparison; None of fewer than three methods or tables."""
    means = complete(scores)
    if means.shape[0] < 3 or means.shape[1] < 3:
        return None
    found = ranks.mean_ranks(means)
    groups = ranks.level_groups(list(found), ranks.wilcoxon_holm(means))
    return diagram(title, found, groups, ranks.critical_difference(means.shape[1], len(means)))


def spent(frame: pd.DataFrame) -> list[str]:
    """Return a row a method: what it took, and how many fits with a limit had less than half of a core."""
    text = ["| | fits | failed | seconds | longest | CPU seconds | MB | load | version |", "|" + " --- |" * 9]
    for (method, limit), rows in frame.groupby(["method", "limit"]):
        name = f"{method}, {limit:g} s" if limit else method
        cells = [
            len(rows),
            (rows["note"] != "").sum(),
            f"{rows['seconds'].mean():.1f}",
            f"{rows['seconds'].max():.1f}",
            *(f"{rows[column].agg(how):.0f}" for column, how in (("cpu_seconds", "mean"), ("megabytes", "max"))),
            f"{np.mean([np.mean(load) for load in rows['load'] if isinstance(load, list)] or [np.nan]):.1f}",
            int((rows["cpu_seconds"] < STARVED * rows["seconds"]).sum()) if limit else "",
            ", ".join(sorted(set(rows["version"]))),
        ]
        text.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return text


def failures(frame: pd.DataFrame) -> list[str]:
    bad = frame[frame["note"] != ""]
    told = [
        f"- {r.method} on {r.table}, split {r.split}, told {r.told or 'nothing'}: {r.note}" for r in bad.itertuples()
    ]
    return ["\nFailed:\n", *told] if told else []
