"""A study is never a mixture in silence: other labels, versions or code of the model do not go on with it."""

import functools
import importlib
import json
import re
import sys

import pytest
import torch
from torch import nn

import meden
from meden import InputError
from meden.cli import app
from meden.models import MLP
from meden.search import identity
from meden.study.ledger import LEDGER, read_rows
from tests.forgery import rewrite_ledger

PLAIN = meden.Recipe(epochs=1, batch_size="full")
NET = """
from torch import nn

SCALE = 1.0

class Net(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 3), scale

    def forward(self, x):
        # plain
        return self.layer(x) * self.scale * 1.0

def make():
    return Net(SCALE)
"""
CHANGES = {
    "forward": ("* 1.0", "* 2.0"),
    "a constant": ("SCALE = 1.0", "SCALE = 2.0"),
    "the function": ("Net(SCALE)", "Net(SCALE * 2)"),
}


def tuned(folder, make_model=MLP, budget=2, **changes):
    options = {"folds": 2, "strategy": "random", "recipe": PLAIN, "space": {"l2": meden.LogUniform(1e-3, 1.0)}}
    options |= {"baselines": False}
    return meden.tune(make_model, "iris", budget=budget, study_dir=folder, **options | changes)


def compared(folder, **changes):
    alternatives = {"none": None, "L2": {"l2": 0.1}}
    return meden.compare(MLP, "iris", alternatives, folds=2, recipe=PLAIN, study_dir=folder, **changes)


def walked(folder, **changes):
    return meden.path(MLP, "iris", strengths=[0.01, 1.0], folds=2, recipe=PLAIN, study_dir=folder, **changes)


def other_torch(monkeypatch):
    plain = identity.version
    monkeypatch.setattr(identity, "version", lambda name: "9.9.0" if name == "torch" else plain(name))


def shortened(path):
    """Leave the first two rows."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))


@pytest.mark.parametrize("search", [tuned, compared, walked])
def test_another_version_goes_on_when_it_is_allowed_to(tmp_path, monkeypatch, search):
    search(tmp_path)
    shortened(tmp_path / LEDGER)
    other_torch(monkeypatch)
    refusal = (
        r"must be resumed with the versions that started it, meden \S+ and torch \S+, got meden \S+ and torch 9\.9\.0, "
        r"whose numbers may differ; allow_version=True \(--allow-version\) resumes it anyway"
    )
    with pytest.raises(InputError, match=refusal):
        search(tmp_path)
    assert len(read_rows(tmp_path / LEDGER).rows) == 2
    search(tmp_path, allow_version=True)
    by = [row.versions for row in read_rows(tmp_path / LEDGER).rows.values()]
    assert by[:2] == [None, None] and len(by) > 2
    assert {versions["torch"] for versions in by[2:]} == {"9.9.0"}


def test_a_study_says_that_versions_are_mixed(tmp_path, monkeypatch, capsys):
    made = tuned(tmp_path / "study")
    assert made.mixed == ""
    assert "Versions are mixed" not in made.report(tmp_path / "plain.html").read_text()
    shortened(tmp_path / "study" / LEDGER)
    other_torch(monkeypatch)
    found = tuned(tmp_path / "study", allow_version=True)
    assert re.match(r"2 of 4 fits were trained with meden \S+ and torch 9\.9\.0, not with", found.mixed)
    assert found.mixed == meden.load_study(tmp_path / "study").mixed
    assert "Versions are mixed: 2 of 4 fits" in found.report(tmp_path / "mixed.html").read_text()
    assert app.main(["report", str(tmp_path / "study"), "-o", str(tmp_path / "cli.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mixed_versions"] == found.mixed


def without_batching(header):
    """What was written while the last batch of an epoch was as short as it came."""
    return header | {"identity": {name: value for name, value in header["identity"].items() if name != "batching"}}


@pytest.mark.parametrize("search", [tuned, compared, walked])
def test_rows_that_were_cut_otherwise_are_not_mixed_in(tmp_path, search):
    search(tmp_path)
    shortened(tmp_path / LEDGER)
    rewrite_ledger(tmp_path / LEDGER, without_batching)
    for allow in (False, True):
        with pytest.raises(
            InputError, match="must be empty or hold this same study, got one with different batching; ch"
        ):
            search(tmp_path, allow_version=allow)
    assert len(read_rows(tmp_path / LEDGER).rows) == 2


def test_reading_asks_for_no_version(tmp_path, monkeypatch):
    made = tuned(tmp_path)
    other_torch(monkeypatch)
    assert meden.load_study(tmp_path).table().equals(made.table())
    with pytest.raises(InputError, match="versions"):
        tuned(tmp_path)
    assert tuned(tmp_path, allow_version=True).table().equals(made.table())
    assert meden.load_study(tmp_path).status == "ok"


@pytest.mark.parametrize("change", CHANGES)
def test_changed_code_of_the_model_is_said(tmp_path, monkeypatch, change):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def module(text):
        (tmp_path / "own_net.py").write_text(text)
        sys.modules.pop("own_net", None)
        importlib.invalidate_caches()
        return importlib.import_module("own_net")

    made = tuned(tmp_path / "study", module(NET).make)
    again = tuned(tmp_path / "study", module(NET.replace("# plain", "# as it was\n")).make)
    assert again.table().equals(made.table())
    changed = module(NET.replace(*CHANGES[change])).make
    for allow in (False, True):
        with pytest.raises(
            InputError, match="must be resumed with the code that started it, but the model's code may have"
        ):
            tuned(tmp_path / "study", changed, allow_version=allow)
    assert meden.load_study(tmp_path / "study", make_model=changed).table().equals(made.table())


def test_values_that_a_function_holds_are_its_code(tmp_path):
    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.layer, self.scale = nn.Linear(4, 3), scale

        def forward(self, x):
            return self.layer(x) * self.scale

    def maker(scale):
        return lambda: Scaled(scale)

    tuned(tmp_path / "closure", maker(1.0))
    tuned(tmp_path / "closure", maker(1.0))
    with pytest.raises(InputError, match="the model's code may have changed"):
        tuned(tmp_path / "closure", maker(2.0))
    tuned(tmp_path / "partial", functools.partial(Scaled, scale=1.0))
    with pytest.raises(InputError, match="the model's code may have changed"):
        tuned(tmp_path / "partial", functools.partial(Scaled, scale=2.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (functools.partial(int, 8), functools.partial(int, 16)),
        (functools.partial(int, base=[1, 2]), functools.partial(int, base=[1, 3])),
        (functools.partial(int, base={"a": (1, 2)}), functools.partial(int, base={"a": (1, 3)})),
        (functools.partial(int, base=tuned), functools.partial(int, base=other_torch)),
    ],
    ids=["by place", "a list", "a mapping", "a function"],
)
def test_all_that_a_partial_function_fixes_is_its_code(one, other):
    first, again, second = (identity.Models.of(make, ()).code for make in (one, functools.partial(one), other))
    assert first == again != second


def test_the_order_of_labels_is_part_of_it():
    data = meden.as_dataset("iris")
    folds = meden.data.make_folds(data, 2, seed=0)
    other = meden.data.make_folds(data, 2, seed=1)
    first, second = identity.identity_of(data, folds), identity.identity_of(data, other)
    assert first["classes"] == ["setosa", "versicolor", "virginica"]
    assert first["splits"] != second["splits"] and first["versions"]["torch"] == torch.__version__
