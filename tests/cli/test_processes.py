"""What trains is one process: several that torchrun starts would write one folder."""

from pathlib import Path

import pytest

from meden.cli.app import ALONE, COMMANDS, main


def table(folder: Path) -> Path:
    path = folder / "table.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_train_are_refused(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    data = table(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = {"demo": [], "resume": [str(tmp_path)], "tune": [str(data), "--target", "y"]}
    status = main([command, *(arguments.get(command, arguments["tune"]) if command in ALONE else ["--help"])])
    told = capsys.readouterr().err
    if command in ALONE:
        assert status == 2 and told.startswith(
            f"error: meden {command} must be started as a single process, got WORLD_SIZE=2"
        )
        assert list(tmp_path.iterdir()) == [data]
    else:
        assert status == 0


@pytest.mark.parametrize("processes", ["1", ""])
def test_one_process_is_none_of_several(processes, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert main(["tune", "nothing.csv", "--target", "y"]) == 2
    assert "WORLD_SIZE" not in capsys.readouterr().err
