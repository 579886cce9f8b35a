from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from meden.language import Own, translated
from meden.language.catalogue import Catalogue, width

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def words() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", ROOT / "tools" / "words.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_translated_that_nobody_says(words) -> None:
    assert words.stale(words.catalogue()) == []
    assert words.stale(["{} must be a dragon, got {}"]) == ["{} must be a dragon, got {}"]
    assert words.stale(["Baseline rows fold network columns"]) != []


def test_help_rules_and_page_are_translated_whole(words) -> None:
    known = words.catalogue()
    assert [text for text in (*words.commands_say(), *words.rules_say(), *words.page_says()) if text not in known] == []
    assert len(words.page_says()) > 5


def test_templates_of_the_sources(words) -> None:
    source = "f\"{a} of {plural(b, 'row')}{' or more' if c else ''}\""
    tree = __import__("ast").parse(source, mode="eval").body
    assert words.templates(tree, {}) == ["{} of {} or more", "{} of {}"]


def test_holes_agree_and_no_chinese_is_missing(words) -> None:
    for text, chinese in words.catalogue().items():
        holes = re.findall(r"\{(\d*)(?::[tn])?\}", chinese)
        num = text.count("{}")
        assert all(holes) or not any(holes), text
        assert not num or {int(hole or place) for place, hole in enumerate(holes)} <= set(range(num)), text
        assert num or not holes, text
        if not any(holes):
            assert len(holes) == num, text


def test_chinese_has_its_own_punctuation(words) -> None:
    inside = re.compile(r"[\u4e00-\u9fff][,;?!](?![\w{])|[\u4e00-\u9fff]\(")
    spaces = re.compile(r"[\u4e00-\u9fff](?=[A-Za-z])|(?<=[A-Za-z])[\u4e00-\u9fff]|[\u4e00-\u9fff] [\u4e00-\u9fff]")
    shown = {text: re.sub(r"\{\d*(:[tn])?\}|<.*?>|`[^`]*`", "", chinese) for text, chinese in words.catalogue().items()}
    assert [chinese for chinese in shown.values() if inside.search(chinese)] == []
    assert [chinese for chinese in shown.values() if spaces.search(chinese)] == []


ENTRIES = {
    "{} rows": "{:n} 行",
    "kept {} of {}": "{1} 中的 {0:t}",
    "all": "全部",
    "loss": "损失",
    "{} stays": "{} 留下",
    "how long": "多久",
    "{}: it {}": "{0}：它{1:t}",
    "{} ({} to {})": "{0:t}（{1:n} 至 {2:n}）",
    "{} ({})": "{0:t}（{1}）",
    "warning {}: {}": "警告 {0}：{1:t}",
    "{} of {} and many others wait": "{1} 中的 {0} 在等",
    "train": "训练",
    "held-out": "留出",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all", "全部"),
        ("All", "全部"),
        ("All.", "全部。"),
        ("kept all of x", "x 中的全部"),
        ("kept 1,000 rows of x", "x 中的 1,000 行"),
        ("loss stays", "loss 留下"),  # a name
        ("  all\nof it\n3 rows", "  全部\nof it\n3 行"),
        ("Kept all of 'a. B'. How long. Nobody knows.", "'a. B' 中的全部。多久。Nobody knows."),
        ("loss\nkept all of x", "损失\nx 中的全部"),
        ("loss\nall stays", "损失\nall 留下"),
        ("rows", "rows"),
        ("many rows", "many rows"),
        ("", ""),
        ("loss (1 to 2e-05)", "损失（1 至 2e-05）"),
        ("x: it loss, y, all", "x：它损失，y，全部"),
        ("loss, all", "loss, all"),  # a list that nothing says is meden's own
        ("loss; all", "损失；全部"),
        ("warning late: 2 of 3 and many others wait", "警告 late：3 中的 2 在等"),
        ("x: it 'a' (3), 'b' (4)", "x：它 'a'（3），'b'（4）"),
        ("loss     train  held-out", "损失     训练   留出"),
        ("loss     train  0.4", "loss     train  0.4"),
    ],
)
def test_what_is_known_is_shown_in_chinese(text, shown) -> None:
    assert Catalogue(ENTRIES).of(text) == shown


def test_heads_stay_above_their_columns() -> None:
    shown = Catalogue(ENTRIES).of("loss     train  held-out")
    assert width(shown[: shown.index("训练")]) == len("loss     ")


@pytest.mark.parametrize(
    ("english", "shown"),
    [
        (
            "warning contradictory_labels: 2 rows have a copy with a different target: rows 60 and 61.",
            "警告 contradictory_labels：2 行有目标不同的副本：第 60 和 61 行。",
        ),
        (
            "error empty_column: Column 'nothing' has no value in any row.",
            "错误 empty_column：列 'nothing' 在所有行里都没有值。",
        ),
        ("columns 'a', 'b' have no value in any row", "列 'a', 'b' 在所有行里都没有值"),
        ("info constant_column: Column 'x' has only one value.", "提示 constant_column：列 'x' 只有一个值。"),
        ("3 rows of 120 have no group: nothing in rows 1, 2 and 3", "120 行中有 3 行没有分组：第 1, 2 和 3 行是空的"),
        ("rows 60 and 61, rows 70, 71 and 72 and more", "第 60 和 61 行，第 70, 71 和 72 行等"),
    ],
)
def test_findings_keep_what_they_name(chinese, english, shown) -> None:
    assert translated(english) == shown


def test_names_of_the_users_are_never_translated(chinese) -> None:
    assert translated("loss") == "损失"
    assert translated(Own("loss")) == "loss"


def test_english_does_not_open_the_catalogue(monkeypatch) -> None:
    monkeypatch.setenv("MEDEN_LANG", "en")
    monkeypatch.setattr("meden.language.catalogue._chinese", lambda: pytest.fail("the catalogue was opened"))
    assert translated("loss") == "loss"


def test_many_names_take_no_time() -> None:
    text = "kept " + ", ".join(f"'a{i}. B; c'" for i in range(1_000)) + " of no one"
    assert Catalogue(ENTRIES).of(text).startswith("no one 中的 'a0. B; c', 'a1. B; c'")
    assert Catalogue(ENTRIES).of("'" * 5_000 + " of (to " * 500) != ""
