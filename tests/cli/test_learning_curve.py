"""``meden learning-curve``: of a study, of a table; what it prints and writes, and how it goes on."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

QUICK = ("--sizes", "10,20,40,60", "--folds", "3", "--recipe", "quick.yaml")


@pytest.fixture(autouse=True)
def _quick(folder: Path) -> None:
    (folder / "quick.yaml").write_text("lr: 0.01\nepochs: 4\nbatch_size: 32\n")


def test_a_table_a_page_and_going_on(meden: Command) -> None:
    command = ("learning-curve", "iris", *QUICK, "--set", "l2=0.01", "--plain", "--seeds", "2", "--out", "curve")
    ended = meden(*command, "--report", "curve.md")
    assert ended.status == 0, ended.err
    assert "With 60 training rows the loss is 0." in ended.out and "plain" in ended.out
    assert "Regularisation" in ended.out and "150 rows, 4 features" in ended.err
    assert Path("curve.md").read_text().startswith("# Would more rows help?")
    page = Path("curve/report.html").read_text()
    assert "meden learning-curve iris --plain --sizes 10,20,40,60" in page and "l2" in page
    again = meden(*command, "--json")
    found = json.loads(again.out)
    assert found["rows"] == [10, 20, 40, 60] and (found["folds"], found["seeds"]) == (3, 2)
    assert set(found["curves"]) == {"chosen", "plain"} and found["same"] == "steps"
    assert found["sentences"][0]["text"] in " ".join(ended.out.split())
    other = meden(*command, "--seed", "1")
    assert other.status == 2 and "must be empty or hold this same study" in " ".join(other.err.split())


def test_a_study(meden: Command) -> None:
    search = ("--search", "l2=1e-3:1:log", "--strategy", "random", "--budget", "2", "--model", "mlp")
    assert meden("tune", "iris", *search, "--folds", "3", "--recipe", "quick.yaml", "--out", "study").status == 0
    ended = meden("learning-curve", "study", "--sizes", "10,20,40,60", "--report", "curve.html", "--json")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    assert found["gain"]["confidence"] == 0.9 and list(found["curves"]) == ["chosen"], "that of the study"
    assert "Would more rows help?" in Path("curve.html").read_text()
    for given, said in (
        (("--report", "curve.html"), "--report must be a new file (or give --force)"),
        (("--target", "y"), "--target must not be given for a study, which fixes it, got 'study'"),
        (("--set", "l2=1"), "--set must not be given for a study"),
        (("--which", "worst"), "--which must be one of one_se, best"),
        (("--out", "study"), "--out must be a new or empty folder"),
        (("--rows", "quick.yaml"), "quick.yaml"),
    ):
        refused = meden("learning-curve", "study", *given)
        assert refused.status == 2 and said in " ".join(refused.err.split()), refused.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("iris", "--sizes", "10,a"), "--sizes must be integers separated by commas, such as 100,200,400, got '10,a'"),
        (("iris", "--sizes", "40,20"), "sizes must increase, got [40, 20]"),
        (("iris", "--sizes", "20,400"), "sizes must be at most 102, the fitting rows of the smallest fold"),
        (("iris", "--same", "time"), "--same must be one of steps, epochs"),
        (("iris", "--which", "best"), "--which must not be given for a table: it is an option for a study, got 'iris'"),
        (("iris", "--model", "big"), "--model must be one of tabular, mlp"),
        (("iris", "--seeds", "0"), "seeds must be"),
        (("iris", "--set", "widht=3"), "did you mean 'width'"),
        ((".",), "STUDY_OR_DATA must be the folder of a study or a table, got the folder '.'"),
        (("nothing.csv", "-t", "y"), "nothing.csv"),
    ],
)
def test_bad_input_is_one_line(meden: Command, given: tuple[str, ...], said: str) -> None:
    ended = meden("learning-curve", *given)
    assert ended.status == 2 and said in " ".join(ended.err.split()), ended.err
    assert ended.err.count("error:") == 1 and "Traceback" not in ended.err
