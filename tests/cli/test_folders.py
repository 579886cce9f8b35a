"""A folder is filled if it is new, or holds what meden left of a beginning; a name alone makes no file meden's own."""

import pytest

from meden import InputError
from meden._files import write_json
from meden.cli.folders import UNFINISHED, check_new_folder, check_study_folder, filling

OWN = {
    "study.json": [b'{"mine": 1}', b"not json", b'{\n "format": "3.0",\n "mine": 1}'],
    "study.safetensors": [b"MINE", b"\x10\0\0\0\0\0\0\0{'mine': 1}     "],
    "ledger.jsonl": [b"my own ledger without an end of line", b'{"my": "own"}\n', b'{"my'],
    "history.json.part": [b"precious", b'{\n "format": "3.0"'],
    "study.json.part": [b"precious"],
    "notes.part": [b"precious"],
    "thesis.lock": [b""],
    "ledger.lock": [b"precious"],
    "run.json": [b"", b"precious"],
}
LEFT = {
    "study.json": [b"", b'{\n "form', b'{\n "format": "3.0",\n "data": {'],
    "study.safetensors": [b"", b"\x90\0\0", b'\x90\0\0\0\0\0\0\0{"labels":{"dty'],
    "ledger.jsonl": [b"", b'{"for', b'{"format": "3.0", "identity": {'],
    "study.json.part": [b"", b'{\n "format": "3.0",\n "data": {'],
    "model.safetensors.part": [b""],
    "ledger.lock": [b""],
    "ledger.pid": [b"12 on here", b""],
    "unfinished.part": [b""],
}
PAIRS = [(name, content) for name, contents in OWN.items() for content in contents]


@pytest.mark.parametrize("check", [check_new_folder, check_study_folder])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("name, content", PAIRS)
def test_what_a_person_wrote_is_left_as_it_is(tmp_path, name, content, marked, check):
    (tmp_path / name).write_bytes(content)
    if marked:
        (tmp_path / UNFINISHED).touch()
    with pytest.raises(InputError, match=r"\S+ must be"):
        check("--out", tmp_path)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name, content", [(name, content) for name, each in LEFT.items() for content in each])
def test_what_was_left_of_a_beginning_is_nothing(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    check_new_folder("--out", tmp_path)


def test_a_mark_names_what_is_being_filled(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), filling(folder):
        (folder / "recipe.yaml").write_text("lr: 1\n")
        (folder / "model.safetensors.part").write_text("torn")
        raise KeyboardInterrupt
    check_new_folder("--out", folder)
    (folder / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="which is not empty"):
        check_new_folder("--out", folder)


@pytest.mark.parametrize("names", ["run.json", 3, ["thesis.docx"], [["run.json"]]])
def test_a_mark_that_was_changed_names_nothing_else(tmp_path, names):
    write_json(tmp_path / UNFINISHED, {"filling": names})
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="which is not empty"):
        check_new_folder("--out", tmp_path)
