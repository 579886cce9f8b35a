"""What needs an extra says which, in one line, where it is not installed; nothing else of meden needs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest

from tests.packaging.built import ROOT

SEARCH = "meden.tune(meden.models.MLP, 'iris', {'l2': meden.LogUniform(1e-4, 1.0)}, budget=1, folds=2"
CASES = {
    "hf": ("transformers", "import meden.integrations.huggingface"),
    "lightning": ("lightning pytorch_lightning", "import meden.integrations.lightning"),
    "keras": ("keras", "import meden.integrations.keras; meden.integrations.keras.as_module(object())"),
    "skorch": ("skorch", "import meden.integrations.skorch"),
    "ray": ("ray", SEARCH + ", backend='ray')"),
    "image": ("kornia", "meden.augment.Color().check(torch.zeros(1, 3, 4, 4), 'classification')"),
    "trackers": ("tensorboard torch.utils.tensorboard", SEARCH + ", study_dir='s', trackers=['tensorboard'])"),
    "postgres": ("psycopg psycopg2", SEARCH + ", study_dir='s', storage='postgresql+psycopg://a@localhost/b')"),
}
"""By extra, the modules that are not there, and what asks for them."""
PROGRAM = """
import json, sys
cases = json.loads(sys.argv[1])
for missing, _ in cases.values():
    sys.modules.update(dict.fromkeys(missing.split()))  # None: not to be imported
import torch, meden
told = {}
for extra, (_, program) in cases.items():
    try:
        exec(program)
    except Exception as error:
        told[extra] = [isinstance(error, meden.InputError), str(error)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(CASES)]
    folder = tmp_path_factory.mktemp("none")
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, tuple[bool, str]] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("extra", CASES)
def test_a_missing_extra_is_told_in_one_line(told: dict[str, tuple[bool, str]], extra: str) -> None:
    is_input_error, message = told[extra]
    assert is_input_error and message.endswith(f"pip install 'meden[{extra}]'") and "\n" not in message


def test_every_extra_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for_ourselves = {"bench", "autogluon", "docs", "hf-example", "dev"}
    assert set(project["optional-dependencies"]) - for_ourselves == set(CASES)
