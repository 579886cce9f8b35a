"""What is missing or damaged beside a good ledger is made again, and nothing that a person wrote is lost."""

import shutil
from pathlib import Path

import pytest

import meden as package
from meden import Recipe
from meden.cli import app

SEARCH = "--recipe quick.yaml --model linear --folds 2 --budget 2 --strategy random --search l2=1e-3:1:log"
TUNE = f"tune iris {SEARCH} --out study"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Recipe(epochs=1, batch_size="full").save(folder / "quick.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert app.main(TUNE.split()) == 0
    return folder


def values(folder: Path):
    run = package.load_run(folder)
    return package.load_study(folder).table().to_csv(), [t.tolist() for t in run.model.state_dict().values()]


def remove(path: Path) -> None:
    path.unlink()


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path: Path) -> None:
    path.write_bytes(b"# mine\n" + path.read_bytes())


RESULTS = ("run.json", "model.safetensors", "history.json", "recipe.yaml", "report.html")
DESCRIPTION = ("study.json", "study.safetensors")


@pytest.mark.parametrize("harm", [remove, tear, change], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", RESULTS + DESCRIPTION)
def test_what_is_harmed_is_made_again(made, tmp_path, monkeypatch, capsys, name, harm):
    folder = Path(shutil.copytree(made, tmp_path / "here"))
    monkeypatch.chdir(folder)
    harm(folder / "study" / name)
    if name in DESCRIPTION:
        assert app.main(["resume", "study"]) == 2
        told = capsys.readouterr().err.strip()
        assert name in told and "\n" not in told
        assert app.main(TUNE.split()) == 0
    else:
        assert app.main(["resume", "study"]) == 0
    assert values(folder / "study") == values(made / "study")
    assert (folder / "study" / "report.html").read_text().rstrip().endswith("</html>")
    kept = folder / "study" / "recipe.before.yaml"
    assert kept.exists() and kept.read_text().startswith("# mine") if (name, harm) == ("recipe.yaml", change) else True


@pytest.mark.parametrize("left", ["", '{"format": "3.0", "ident', None])
def test_what_a_full_disk_left_of_a_beginning_is_no_obstacle(made, tmp_path, monkeypatch, left):
    folder = Path(shutil.copytree(made, tmp_path / "here"))
    monkeypatch.chdir(folder)
    settings = (folder / "study" / "study.json").read_bytes(), (folder / "study" / "study.safetensors").read_bytes()
    shutil.rmtree(folder / "study")
    (folder / "study").mkdir()
    (folder / "study" / "model.safetensors.part").touch()
    if left is None:  # settings without a ledger
        for name, content in zip(DESCRIPTION, settings, strict=True):
            (folder / "study" / name).write_bytes(content)
        assert app.main(["resume", "study"]) == 0
    else:
        (folder / "study" / "ledger.jsonl").write_text(left)
        assert app.main(TUNE.split()) == 0
    assert values(folder / "study") == values(made / "study")
    assert app.main(TUNE.split()) == 2, "a finished study is not written over"


def test_a_folder_with_a_persons_files_is_not_filled(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    (tmp_path / "recipe.yaml").write_text("lr: 1\n")
    for command in (f"fit iris --out {tmp_path}", f"{TUNE.rpartition(' ')[0]} {tmp_path}"):
        assert app.main(command.split()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
