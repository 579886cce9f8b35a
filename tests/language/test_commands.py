"""What commands show in Chinese, and that programs and files see nothing of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from meden.cli import app
from meden.language.catalogue import width
from tests.language.english import english

HELP = [[], *([name] for name in app.COMMANDS), *(["job", name] for name in ("params", "param", "rows", "report"))]
FIT = ("fit", "wine.csv", "--target", "loss", "--task", "classification", "--model", "mlp", "--set", "epochs=6")
TUNE = ("tune", "iris", "--model", "linear", "--budget", "2", "--folds", "2", "--epochs-budget", "400")


@pytest.fixture
def table(folder: Path) -> Path:
    """A table whose columns are called like words of meden's own."""
    frame = load_wine(as_frame=True).frame.iloc[:, [0, 6, 9, 12, 13]]
    frame.columns = ["rows", "fold", "held-out loss", "best", "loss"]
    frame.to_csv(folder / "wine.csv", index=False)
    return folder / "wine.csv"


def test_it_finds_english() -> None:
    assert english("选择：no such folder") == ["no such folder"]
    assert english("`no such folder` 损失 lr 0.1, depth 2\n预测：meden predict s rows.csv -o p.csv") == []


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_is_chinese_and_has_all_its_lines(chinese, meden, arguments) -> None:
    ended = meden(*arguments, "--help")
    assert ended.status == 0
    assert english(re.sub(r"(?m)^ {2,}(meden|for|runs|--|lr=).*$|用法：.*", "", ended.out)) == []
    assert re.search("用法：", ended.out) and "选项" in ended.out
    cut = [line for line in ended.out.splitlines() if "…" in line and "://" not in line]
    assert cut == []  # rich cuts what has no space in it
    boxes = [line for line in ended.out.splitlines() if line.startswith(("│", "╭", "╰"))]
    assert {width(line) for line in boxes if line.startswith("│")} <= {80}


def test_a_study_from_the_search_to_its_predictions(chinese, meden, folder) -> None:
    shown = [meden(*TUNE, "--out", "s")]
    shown += [meden(*words) for words in (["diagnose", "s"], ["report", "s", "--format", "md", "--out", "s.md"])]
    assert [ended.status for ended in shown] == [0, 0, 0], shown
    for ended in shown:
        assert english(ended.out + ended.err) == []
    assert "所选：" in shown[0].out and "在新数据上的预期：" in shown[0].out
    page = (folder / "s.md").read_text(encoding="utf-8")
    assert english(re.sub(r"(?m)^- \*\*(搜索内容|模型.*|生成工具|训练环境)\*\*.*$|\\", "", page)) == []


def test_columns_keep_their_names(chinese, meden, table, folder) -> None:
    fitted = meden(*FIT, "--out", "f")
    assert fitted.status == 0, fitted
    assert "分类任务，目标 'loss'，" in fitted.err
    assert re.search(r"│ loss（目标） +│ 数字", fitted.err)
    assert "rows 至 best (4)" in fitted.err
    checked = meden("check", "wine.csv", "--target", "loss", "--report", "check.md")
    assert "按 'loss' 排序" in checked.out
    page = (folder / "check.md").read_text(encoding="utf-8")
    for name in ("rows", "fold", "held-out loss", "best"):
        assert re.search(rf"(?m)^\| {name} \|", page), name
    assert "- **目标**: loss" in page
    told = meden("predict", "f", "wine.csv", "-o", "p.csv")
    assert "178 条预测：p.csv" in told.out
    assert next(iter(pd.read_csv("p.csv"))) == "prediction"
    scored = meden("evaluate", "f", "wine.csv")
    assert english(scored.out) == []
    assert "'loss' 的 178 行" in scored.out


@pytest.mark.parametrize("arguments", [(*FIT, "--out", "f"), ("check", "wine.csv", "--target", "loss")])
def test_tables_are_aligned(chinese, meden, table, arguments) -> None:
    ended = meden(*arguments)
    rows = [line for line in ended.err.splitlines() if line.startswith(("│", "┃", "┏", "└"))]
    assert len(rows) > 4
    assert len({width(line) for line in rows}) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], None),
        (["tunee"], "没有命令 'tunee'。是不是想写 'tune'？"),
        (["tune"], "缺少参数"),
        (["tune", "iris", "--foo"], "没有选项 --foo"),
        (["tune", "iris", "--budget", "x"], "'--budget' 的值无效：必须是整数，实际为 'x'"),
        (["tune", "iris", "--folds", "1"], "folds 必须是不小于 2 的整数"),
        (["tune", "iris", "--budget", "0"], "budget 必须是"),
        (
            ["tune", "iris", "--preset", "bset"],
            "--preset 必须是 fast, good, best 之一，实际为 'bset'；是不是想写 'best'？",
        ),
        (["tune", "nothing.csv"], "file 必须存在"),
        (["tune", "iris", "--target", "los"], "必须是表中的列"),
        (["tune", "iris", "--search", "l2"], "--search 必须写作"),
        (["tune", "iris", "--with"], "没有选项 --with"),
        (["fit", "iris", "--set", "learning_rate=1"], "--set name 必须是 l1, l2"),
        (["fit", "iris", "--set", "lr=-1"], "Recipe lr 必须大于 0，实际为 -1"),
        (["predict", "nowhere", "x.csv", "-o", "p.csv"], "没有这个文件夹"),
        (["evaluate", "nowhere", "x.csv"], "没有这个文件夹"),
        (["resume", "nowhere"], "folder 里必须是搜索"),
        (["report", "nowhere"], "必须是"),
        (["diagnose", "nowhere"], "没有这个文件或文件夹"),
        (["convert", "1", "--from", "sklearn.Ridge", "--to", "torch.SGD"], "必须给出 n"),
        (["convert", "1", "--from", "sklearn.Rigde", "--to", "torch.SGD", "--n", "9"], "必须是"),
        (["audit", "nope"], "function 必须写作"),
        (["job", "params"], "必须由搜索所运行的命令来调用"),
        (["compare", "iris", "--with", "x"], "--with 必须写作"),
        (["learning-curve", "nowhere"], "必须是"),
        (["select", "iris", "--rate", "2"], "必须是"),
        (["check", "iris", "--select", "nothing"], "必须是代码或类别"),
        (["new", "."], "必须是"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_line_of_chinese(chinese, meden, folder, arguments, told) -> None:
    (folder / "file").touch()
    ended = meden(*arguments)
    if told is None:
        assert ended.status == 0
        return
    assert ended.status == 2, ended
    assert ended.err.startswith("错误：")
    assert ended.err.count("\n") == 1
    assert told in ended.err
    assert english(re.sub(r"[a-z0-9]+\.[A-Za-z0-9]+", "", ended.err)) == []


def test_programs_see_no_language(monkeypatch, meden, table, folder) -> None:
    seen = {}
    for language in ("en", "zh"):
        monkeypatch.setenv("MEDEN_LANG", language)
        for out in ("f", "s"):
            if (folder / out).exists():
                (folder / out).rename(folder / f"{out}-en")
        shown = [meden(*FIT, "--out", "f", "--json"), meden(*TUNE, "--out", "s", "--json")]
        shown += [meden("check", "wine.csv", "--target", "loss", "--json"), meden("diagnose", "f", "--json")]
        shown += [meden("diagnose", "--list", "--json"), meden("evaluate", "f", "wine.csv", "--json")]
        shown += [meden("compare", "iris", "--folds", "2", "--model", "linear", "--json")]
        assert all(json.loads(ended.out) for ended in shown)
        seen[language] = [re.sub(r'"seconds\w*": [\d.e-]+', "", ended.out) for ended in shown]
    assert seen["zh"] == seen["en"]
    for name in ("recipe.yaml", "study.json", "run.json"):
        for path in folder.glob(f"[fs]/{name}"):
            ours, theirs = (
                re.sub(r'"seconds": [\d.e-]+', "", p.read_text())
                for p in (path, folder / f"{path.parent.name}-en" / name)
            )
            assert not re.search("[\u4e00-\u9fff]", ours), path
            assert len(ours) == len(theirs) or ours == theirs


def test_a_comparison_has_heads_above_its_columns(chinese, meden, folder) -> None:
    ended = meden("compare", "iris", "--folds", "2", "--model", "linear")
    assert ended.status == 0, ended
    assert english(ended.out + ended.err) == []
    lines = ended.out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("损失  "))
    assert re.fullmatch(r"损失 +训练 +留出 +差值", lines[place])
    assert width(lines[place].partition("训练")[0]) == len(re.match(r"none +", lines[place + 1])[0])
