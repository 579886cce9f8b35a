"""The command that a report shows is the one that was given, and makes the same again."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meden.report.markdown import literal
from meden.study import load_study
from tests.cli.conftest import Command
from tests.report.reading import codes_of

QUICK = ("--folds", "2", "--budget", "2", "--search", "l2=1e-4:1:log", "--search", "dropout=0:0.5", "--no-baselines")


@pytest.fixture(autouse=True)
def mixed(folder: Path) -> None:
    random = np.random.default_rng(0)
    age = random.normal(size=60)
    kind = random.choice(["a", "b"], size=60)
    pd.DataFrame({"age": age, "kind": kind, "price": 3 * age}).to_csv("mixed.csv", index=False)


@pytest.fixture
def recipe(folder: Path) -> Path:
    Path("my recipe.yaml").write_text("epochs: 2\n")
    return Path("my recipe.yaml")


def test_a_study_is_made_again_by_its_command(meden: Command, recipe: Path) -> None:
    command = ("tune", "mixed.csv", "-t", "price", "--model", "mlp", "--recipe", str(recipe), *QUICK, "--json")
    assert meden(*command, "-o", "first").status == 0
    shown = codes_of(Path("first/report.html").read_text())
    given = shlex.split(shown["Command"])
    assert given[:3] == ["meden", "tune", "mixed.csv"] and "--no-baselines" in given and "--json" not in given
    assert given.count("--search") == 2 and "my recipe.yaml" in given and "--seed" not in given
    assert shown["recipe.yaml"] == Path("first/recipe.yaml").read_text()
    Path("first").rename("before")
    assert meden(*given[1:]).status == 0
    assert load_study("first").table().equals(load_study("before").table())


def test_a_comparison_is_made_again_by_its_command(meden: Command, recipe: Path) -> None:
    options = ("--folds", "2", "--recipe", str(recipe), "-w", "L2: l2=0.1", "-w", "a 'b': dropout=0.2, lr=0.01")
    first = meden("compare", "mixed.csv", "--target", "price", *options, "-o", "compared")
    given = shlex.split(codes_of(Path("compared/report.html").read_text())["Command"])
    assert given[:3] == ["meden", "compare", "mixed.csv"] and given.count("--with") == 2
    Path("compared").rename("before")
    assert meden(*given[1:]).out == first.out


def test_a_comparison_has_its_verdict_in_every_form(meden: Command, recipe: Path) -> None:
    command = ("compare", "mixed.csv", "-t", "price", "--folds", "2", "--recipe", str(recipe), "-w", "L2: l2=0.1")
    found = json.loads(meden(*command, "-o", "a", "--format", "md", "--json").out)["verdict"]["sentences"]
    terminal, page = meden(*command).out, Path("a/report.md").read_text()
    assert found and all(sentence["text"] in terminal for sentence in found)
    assert all(literal(sentence["text"]) in page for sentence in found) and "## The recipe of each" in page
    assert "--format must be one of html, md, got 'pdf'" in meden(*command, "--format", "pdf").err
