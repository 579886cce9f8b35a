"""The example of a loop of one's own runs from end to end, and goes on from its folder."""

import importlib.util
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "any_trainer.py"


def test_it_ends_with_a_verdict_and_is_read_again(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("any_trainer", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    given = ["--epochs", "3", "--budget", "2", "--study", str(tmp_path)]
    study = example.main(given)
    assert len(study.trials) == 2 and study.score_of("accuracy").estimate > 0.5
    again = example.main(given)
    assert again.table().equals(study.table())
    assert capsys.readouterr().out.count(str(study.verdict)) == 2
