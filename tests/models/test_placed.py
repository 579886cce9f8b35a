"""Models on a device that is asked for: the same models, by the same name, and one line for a device that is absent."""

import functools
import inspect
import pickle

import pytest
import torch

import meden
from meden import InputError
from meden.cli.app import main
from meden.cli.training_file import TRAINING
from meden.cli.tune_command import go_on
from meden.models import MLP
from meden.models.named import check_size, fixed_arguments, model_name
from meden.models.placed import Placed, placed
from meden.study.model_reference import ModelReference

MAKER = functools.partial(MLP, depth=1)


def test_files_say_nothing_of_the_device():
    there = Placed(MAKER, "cuda")
    assert (model_name(there), fixed_arguments(there)) == ("MLP", {"depth": 1})
    assert ModelReference.of(there) == ModelReference.of(MAKER)
    assert inspect.signature(there) == inspect.signature(MAKER)
    assert model_name(pickle.loads(pickle.dumps(there))) == "MLP"
    check_size(there, {"num_inputs": 2, "num_outputs": 1}, MLP(2, 1, depth=1).state_dict())


def test_ones_own_model_keeps_its_name():
    def own(width=3):
        return torch.nn.Linear(2, width)

    assert model_name(Placed(own, "cuda")) is None
    assert ModelReference.of(Placed(own, "cuda")).text == ModelReference.of(own).text


def test_weights_are_those_of_the_cpu():
    torch.manual_seed(0)
    there = Placed(MAKER, "cpu")(num_inputs=2, num_outputs=1)
    torch.manual_seed(0)
    for one, other in zip(there.parameters(), MAKER(num_inputs=2, num_outputs=1).parameters(), strict=True):
        assert torch.equal(one, other)
    assert placed(MAKER, "cpu") is MAKER


@pytest.mark.parametrize(
    "device", ["cuda:99", "gpu", "", "meta", "hpu", "mps", "cpu:x", "cpu:7", None, 0, torch.device("meta")], ids=repr
)
def test_absent_devices(device):
    with pytest.raises(InputError, match=r"device must be a device of this machine \(cpu"):
        placed(MAKER, device)


def test_a_device_of_torchs_is_taken_too():
    assert placed(MAKER, torch.device("cpu")) is MAKER


def test_a_gpu_that_is_here_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placed(MAKER, "cuda:1") == Placed(MAKER, "cuda:1")
    assert placed(MAKER, torch.device("cuda", 0)) == Placed(MAKER, "cuda:0")
    with pytest.raises(InputError, match=r"\(cpu, cuda, cuda:0, cuda:1\), got 'cuda:2'"):
        placed(MAKER, "cuda:2")


def test_one_that_was_made_elsewhere_says_that_its_device_is_absent():
    with pytest.raises(InputError, match="device must be a device of this machine"):
        Placed(MAKER, "cuda:99")(num_inputs=2, num_outputs=1)


def test_an_estimator_says_so_first():
    from meden.integrations.sklearn import MLPClassifierCV

    with pytest.raises(InputError, match="device must be a device of this machine"):
        MLPClassifierCV(device="cuda:99").fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])


def test_a_study_made_elsewhere_opens_here(tmp_path):
    data, space = "iris", {"lr": meden.LogUniform(1e-3, 1e-1)}
    made = meden.tune(
        Placed(MAKER, "cpu"), data, space, folds=2, budget=2, recipe=meden.Recipe(epochs=2), study_dir=tmp_path
    )
    assert not [file for file in tmp_path.rglob("*.json*") if "device" in file.read_text()]
    loaded = meden.load_study(tmp_path)
    assert loaded.model == ModelReference.of(MAKER) == made.model
    assert loaded.refit().model.state_dict().keys() == MAKER(num_inputs=4, num_outputs=3).state_dict().keys()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["tune", "iris", "--device", "nonsense"], "--device must be a device of this machine (cpu), got 'nonsense'"),
        (["tune", "iris", "--device", "cuda", "--backend", "ray"], "--device must be cpu with --backend ray"),
        (["compare", "iris", "--device", "cuda:9"], "--device must be a device of this machine (cpu), got 'cuda:9'"),
        (["select", "iris", "--device", "cuda:9"], "--device must be a device of this machine (cpu), got 'cuda:9'"),
        (["learning-curve", "iris", "--device", ""], "--device must be a device of this machine (cpu), got ''"),
        (["resume", "none", "--device", "hpu"], "--device must be a device of this machine (cpu), got 'hpu'"),
    ],
    ids=str,
)
def test_commands_say_so_first(given, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_what_goes_on_goes_on_there():
    assert go_on(Placed(MAKER, "cuda"), "runs/study") == "meden resume runs/study --device cuda"
    assert go_on(MAKER, "runs/study") == "meden resume runs/study"


def test_a_training_or_a_command_that_goes_on_takes_no_device(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (tmp_path / TRAINING).write_text("{}")
    assert main(["resume", str(tmp_path), "--device", "cuda"]) == 2
    assert "--device must not be given for the training in" in " ".join(capsys.readouterr().err.split())
    assert [file.name for file in tmp_path.iterdir()] == [TRAINING]
    tune = ["tune", "iris", "--command", "true {lr}", "--search", "lr=1e-4:1:log", "--out", str(tmp_path / "study")]
    assert main([*tune, "--device", "cuda"]) == 2
    assert "--device must not be given with --command" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "study").exists()
