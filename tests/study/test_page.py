import dataclasses
from pathlib import Path

import numpy as np
import pytest

import meden
from meden.report import Column, ReportTable, Section, TableRow
from meden.report.numbers import number, percent
from meden.space import Choice, LogUniform, Maybe, Uniform
from meden.study import Results
from meden.study.page import study_report
from tests.report.studies import EVIL, SPACE, any_network, study
from tests.report.test_page import Tags


def text_of(made: meden.Study, tmp_path: Path, **options: object) -> str:
    return Tags(study_report(made, tmp_path / "report.html", **options).read_text(encoding="utf-8")).text  # type: ignore[arg-type]


def test_headline_holds_both_choices_and_what_the_choice_is_worth(tmp_path: Path) -> None:
    made = study(40, diverged=(3,), num_folds=5)
    text, chosen, best = text_of(made, tmp_path), made.one_se, made.best
    assert chosen is not best, "the study should show the harder case"
    for told in (f"The choice is configuration {chosen.number};", f"configuration {best.number} (l2 = ",
                 f"l2 = {number(chosen.params['l2'])}", number(made.score.estimate), number(made.score.naive),
                 percent(made.score_of().estimate), f"{percent(made.score_of().naive)}, uncorrected",
                 number(chosen.loss - chosen.train_loss),
                 "40 configurations, 5 folds, 1 seed: 200 fits; 1 configuration diverged"):  # fmt: skip
        assert told in text


def test_training_loss_is_that_of_the_kept_epochs() -> None:
    trial = study().trials[0]
    assert np.isclose(trial.train_loss, np.mean([row.train_loss[row.best_epoch - 1] for row in trial.rows]))
    assert np.isnan(study(diverged=(0,)).trials[0].train_loss)


def test_table_is_best_first_and_diverged_last_with_its_reason(tmp_path: Path) -> None:
    made = study(9, diverged=(0, 4), reason=EVIL)
    page = study_report(made, tmp_path / "report.html").read_text(encoding="utf-8")
    rows = page[page.index("<tbody>") : page.index("</tbody>")].split("<tr")[1:]
    numbers = [int(row.split('data-value="')[1].split('"')[0]) for row in rows]
    assert numbers[:7] == made.table()["configuration"].tolist()[:7]
    assert set(numbers[7:]) == {0, 4} and all("diverged: &lt;script&gt;" in row for row in rows[7:])
    assert numbers[0] == made.best.number and 'class="b' in rows[0]


@pytest.mark.parametrize(
    "made",
    [study(1), study(1, task="regression", stop_split=False), study(3, diverged=(0, 1, 2)), study(2, diverged=(0,)),
     study(8, space={"l1": Maybe(LogUniform(1e-4, 1.0)), "jitter": Maybe(Uniform(0.1, 0.5))}),
     study(1, space={"l1": Maybe(LogUniform(1e-4, 1.0))}),
     study(4, space={"norm": Choice("batch", "layer", None), "depth": Choice(1, 2)}, make_model=any_network),
     study(5, epochs=1)],
    ids=["one", "regression", "all diverged", "one left", "some off", "all off", "nothing numeric", "one epoch"],
)  # fmt: skip
def test_unusual_studies_have_reports(made: meden.Study, tmp_path: Path) -> None:
    assert "All configurations" in text_of(made, tmp_path)


def test_regression_is_told_in_the_units_of_the_target(tmp_path: Path) -> None:
    made = study(task="regression")
    text = text_of(made, tmp_path)
    worth = made.score_of("mse").estimate
    assert f"Expected mse of the choice{number(worth)}" in text and "standardised target" in text
    assert f"root {number(worth**0.5)} in units of the target" in text


def test_extra_sections_come_right_after_the_headline(tmp_path: Path) -> None:
    table = ReportTable((Column("setup", numeric=False), Column("gap")), (TableRow(("plain <b>", 0.25)),))
    extra = Section(title="Plain against chosen", text=("Ten repeated splits.",), table=table)
    text = text_of(study(), tmp_path, extra=[extra])
    assert text.index("Plain against chosen") < text.index("Score against strength")
    assert "plain <b>" in text


def test_results_alone_have_a_report(tmp_path: Path) -> None:
    made = study()
    alone = Results(**{field.name: getattr(made, field.name) for field in dataclasses.fields(Results)})
    assert "What stands out" in study_report(alone, tmp_path / "alone.html").read_text()
    assert (
        study_report(alone, tmp_path / "report.html").read_text() == made.report(tmp_path / "report.html").read_text()
    )


def test_two_hundred_configurations_fit(tmp_path: Path) -> None:
    path = study_report(study(200), tmp_path / "report.html")
    assert path.stat().st_size < 6.5e6


def test_the_report_of_a_real_search(tmp_path: Path) -> None:
    made = meden.tune(
        meden.models.MLP, "iris", {"l2": SPACE["l2"]}, folds=2, budget=2, strategy="grid", recipe=meden.Recipe(epochs=2)
    )
    assert made.report(tmp_path / "report.html").exists()
