"""Tables in which something is wrong, and their healthy twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng


class Case(NamedTuple):
    """One rule's planted table and its healthy twin, with the arguments of both checks."""

    planted: Callable[[], pd.DataFrame]
    healthy: Callable[[], pd.DataFrame]
    arguments: dict[str, str] = {}  # noqa: RUF012 - never changed


def random(seed: int = 0) -> Generator:
    return default_rng(seed)


def clean(num: int = 240, seed: int = 0, classes: bool = True) -> pd.DataFrame:
    """Return measurements, a count and a name, and a target that they tell in part."""
    draw = random(seed)
    x = draw.standard_normal((num, 3))
    frame = pd.DataFrame(x, columns=["length", "width", "weight"])
    frame["count"] = draw.poisson(5, num)
    frame["colour"] = draw.choice(["red", "green", "blue"], num)
    score = x[:, 0] + x[:, 1] + draw.standard_normal(num)
    frame["y"] = np.where(score > 0, "yes", "no") if classes else score
    return frame


def numbers(num: int = 240, seed: int = 0) -> pd.DataFrame:
    return clean(num, seed, classes=False)


def with_column(values: Callable[[pd.DataFrame, Generator], object], base=clean, num: int = 240) -> pd.DataFrame:
    frame = base(num)
    return frame.assign(more=values(frame, random(1)))[[*frame.columns[:-1], "more", "y"]]


def repeated(num: int, noise: float = 0.0, flip: bool = False, base=clean) -> pd.DataFrame:
    """Return a table some rows of which come again, with noise in the numbers or another target."""
    frame = base()
    again = frame.iloc[:num].copy()
    again[["length", "width", "weight"]] += noise * random(2).standard_normal((num, 3))
    if flip:
        again["y"] = np.where(again["y"] == "yes", "no", "yes")
    return pd.concat([frame, again]).sample(frac=1, random_state=0).reset_index(drop=True)


def coarse(num: int = 240) -> pd.DataFrame:
    draw = random()
    frame = pd.DataFrame(draw.integers(0, 3, (num, 4)), columns=list("abcd"))
    return frame.assign(y=draw.choice(["yes", "no"], num))


def split(num_shared: int, noise: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    """Return train and test rows, of which some are copies of train rows, and whose length is moved."""
    frame = clean(480)
    part = np.where(random(3).permutation(480) % 3 == 0, "test", "train")
    train, test = np.flatnonzero(part == "train")[:num_shared], np.flatnonzero(part == "test")[:num_shared]
    columns = [name for name in frame.columns if name != "y"]
    frame.loc[test, columns] = frame.loc[train, columns].to_numpy()
    frame = frame.infer_objects()
    frame.loc[test, ["length", "width"]] += noise * random(4).standard_normal((num_shared, 2))
    frame.loc[part == "test", "length"] += shift
    return frame.assign(part=part)


def in_time(drift: float) -> pd.DataFrame:
    """Return rows of a day each, neighbours alike, whose width moves on."""
    num = 480
    frame, draw = numbers(num), random(5)
    slow = np.convolve(draw.standard_normal(num + 4), np.ones(5) / 5, mode="valid")
    frame["width"] = slow + drift * np.linspace(0, 1, num)
    return frame.assign(day=pd.date_range("2024-01-01", periods=num).strftime("%Y-%m-%d"))[
        ["day", *frame.columns]
    ].sample(frac=1, random_state=0)


def grouped(named: bool) -> pd.DataFrame:
    """Return 40 groups of 6 rows."""
    frame, groups = clean(), np.repeat(np.arange(40), 6)
    visit = random(6).permutation(1000)[:40][groups] if named else random(6).integers(0, 9, 240)
    return frame.assign(patient=groups, visit=visit)


def separable(flipped: int) -> pd.DataFrame:
    """Return three classes far apart, some of whose labels are another's."""
    draw = random(7)
    labels = np.arange(300) % 3
    x = draw.standard_normal((300, 4)) + 6 * np.eye(4)[labels]
    labels[:flipped] = (labels[:flipped] + 1) % 3
    frame = pd.DataFrame(x, columns=list("abcd")).assign(y=np.array(["ant", "bee", "cat"])[labels])
    return frame.sample(frac=1, random_state=0)


def holes(tell: bool) -> pd.DataFrame:
    frame = clean()
    gone = random(8).random((240, 4)) < 0.2
    if tell:
        gone[:, 0] = (frame["y"] == "yes") & (random(9).random(240) < 0.4)
    for place, name in enumerate(["length", "width", "weight", "count"]):
        frame[name] = frame[name].mask(gone[:, place])
    return frame


def texts(odd: list[str]) -> pd.DataFrame:
    frame = clean()
    cells = frame["length"].map("{:.3f}".format)
    cells.iloc[: len(odd)] = odd
    return frame.assign(length=cells)


def rare(num: int) -> pd.DataFrame:
    frame = clean()
    frame.loc[: num - 1, "y"] = "perhaps"
    return frame


def parts(test_only: str) -> pd.DataFrame:
    """Return three classes, one of which is in the test rows alone, or everywhere."""
    frame = clean()
    frame["y"] = random(10).choice(["a", "b", "c"], 240)
    part = np.where(np.arange(240) % 3 == 0, "test", "train")
    frame.loc[(part == "train") & (frame["y"] == test_only), "y"] = "a"
    return frame.assign(part=part)


def torn(whole: bool) -> pd.DataFrame:
    groups = np.repeat(np.arange(40), 6)
    place = groups if whole else np.arange(240)
    return clean().assign(patient=groups, part=np.where(place % 4 == 0, "score", "fit"))


def stopped(num_shared: int) -> pd.DataFrame:
    """Return train, valid and test rows, of which some of the last two are equal."""
    frame = split(0)
    train = np.flatnonzero(frame["part"] == "train")
    frame.loc[train[:100], "part"] = "valid"
    names, test = frame.columns[:-1], np.flatnonzero(frame["part"] == "test")[:num_shared]
    frame.loc[test, names] = frame.loc[train[:num_shared], names].to_numpy()
    return frame.infer_objects()


def past(honest: bool) -> pd.DataFrame:
    """Return a row a day, of which the last or any score."""
    late = np.arange(240) >= 180
    return clean().assign(day=np.arange(240), part=np.where(late if honest else late[::-1], "test", "train"))


def scaled(honest: bool) -> pd.DataFrame:
    frame = split(0)
    fitted = frame if not honest else frame[frame["part"] == "train"]
    names = ["length", "width", "weight"]
    return frame.assign(**(frame[names] - fitted[names].mean()) / fitted[names].std())


def encoded(honest: bool) -> pd.DataFrame:
    """Return a column that holds the mean target of each of 12 shops."""
    frame = numbers().assign(part=np.where(np.arange(240) % 3 == 0, "test", "train"))
    shop = random(11).integers(0, 12, 240)
    known = np.flatnonzero(frame["part"] == "train") if honest else np.arange(240)
    return frame.assign(shop=frame["y"].iloc[known].groupby(shop[known]).mean().to_numpy()[shop])


def cells(column: str, value: object, make: Callable[[], pd.DataFrame] = clean) -> pd.DataFrame:
    """Return a table with something else in three cells of a column."""
    frame = make().astype({column: object})
    frame.loc[[4, 9, 100], column] = value
    return frame.infer_objects()


ordered = {"order": "day"}
both = {"split": "part"}
CASES: dict[str, Case] = {
    "empty_column": Case(
        lambda: with_column(lambda *_: None), lambda: with_column(lambda f, _: f["count"].where(f.index < 9))
    ),
    "unreadable_column": Case(
        lambda: with_column(lambda f, _: [[1]] * len(f)),
        lambda: with_column(lambda f, _: ["[1]", "[2]"] * (len(f) // 2)),
    ),
    "missing_target": Case(lambda: cells("y", None), lambda: cells("y", "perhaps").iloc[:-1]),
    "missing_group": Case(
        lambda: cells("patient", None, lambda: torn(True)), lambda: torn(True), {"groups": "patient"}
    ),
    "unusable_number": Case(lambda: cells("width", np.inf), lambda: cells("width", 1e9)),
    "target_copy": Case(
        lambda: with_column(lambda f, _: f["y"].map({"yes": "Z9", "no": "Q1"})),
        lambda: with_column(
            lambda f, r: np.where(r.random(len(f)) < 0.05, "Q1", f["y"].map({"yes": "Z9", "no": "Q1"}))
        ),
    ),
    "target_determined": Case(
        lambda: with_column(lambda f, r: np.exp(f["y"] / 2) + 1e-4 * r.random(len(f)), numbers, 900),
        lambda: with_column(lambda f, r: np.exp(f["y"] / 2 + 0.2 * r.standard_normal(len(f))), numbers, 900),
    ),
    "strong_column": Case(
        lambda: with_column(lambda f, r: f["y"] + 0.4 * r.standard_normal(len(f)), numbers, 900),
        lambda: with_column(lambda f, r: f["y"] + 1.5 * r.standard_normal(len(f)), numbers, 900),
    ),
    "identifier_column": Case(
        lambda: with_column(lambda f, r: r.permutation(len(f)) + 1000),
        lambda: with_column(lambda f, r: r.integers(1000, 1000 + len(f), len(f))),
    ),
    "order_column": Case(
        lambda: with_column(lambda f, r: np.arange(len(f)) * 0.7 + r.random(len(f))),
        lambda: with_column(lambda f, r: r.random(len(f)) * 200),
    ),
    "group_column": Case(lambda: grouped(True), lambda: grouped(False), {"groups": "patient"}),
    "constant_column": Case(lambda: with_column(lambda *_: 3), lambda: with_column(lambda f, _: f["count"] % 2)),
    "numbers_as_text": Case(lambda: texts(["n.k.", "see note", "1.2.3"]), lambda: texts(["?", "", "7.5"])),
    "duplicate_rows": Case(lambda: repeated(8), lambda: repeated(0)),
    "near_duplicates": Case(lambda: repeated(8, noise=1e-4), lambda: repeated(8, noise=0.5)),
    "contradictory_labels": Case(lambda: repeated(8, flip=True), lambda: repeated(8)),
    "tied_rows": Case(coarse, lambda: repeated(0)),
    "rows_across": Case(lambda: split(6), lambda: split(0), both),
    "stop_rows_scored": Case(lambda: stopped(6), lambda: stopped(0), both),
    "scaled_on_all": Case(lambda: scaled(False), lambda: scaled(True), both),
    "target_encoded_on_all": Case(lambda: encoded(False), lambda: encoded(True), both),
    "later_rows_fit": Case(lambda: past(False), lambda: past(True), {"order": "day", **both}),
    "rare_class": Case(lambda: rare(3), lambda: rare(5)),
    "unseen_class": Case(lambda: parts("c"), lambda: parts("none"), both),
    "groups_torn": Case(lambda: torn(False), lambda: torn(True), {"groups": "patient", **both}),
    "like_neighbours": Case(lambda: numbers().sort_values("length"), lambda: numbers().sort_values("weight")),
    "sorted_by_target": Case(lambda: clean().sort_values("y"), clean),
    "telling_missingness": Case(lambda: holes(True), lambda: holes(False)),
    "label_suspects": Case(lambda: separable(15), lambda: separable(0)),
    "split_drift": Case(lambda: split(0, shift=1.0), lambda: split(0), both),
    "time_drift": Case(lambda: in_time(3.0), lambda: in_time(0.0), ordered),
}
