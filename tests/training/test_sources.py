"""The same rows give the same run, wherever they come from; and no row is read that is not the member's own."""

import functools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.checkpoint import model_tensors
from meden.data import DatasetSource, Fold, Part, TokenFile
from meden.models import MLP, CausalTransformer
from meden.penalties import L1
from tests.training.test_one import Killed

NUM = 90
RNG = np.random.default_rng(0)
X = RNG.normal(size=(NUM, 2, 4, 4)).astype("float32")
Y = (X[:, 0].sum((1, 2)) > 0) + (X[:, 1, 0, 0] > 0).astype("int64")
FIT, STOP, SCORE = np.arange(0, 60), np.arange(60, 75), np.arange(75, 90)
RECIPE = meden.Recipe(
    lr=0.01,
    epochs=5,
    batch_size=16,
    dropout=0.2,
    regularizers=[meden.Regularizer(L1(1e-3))],
    early_stopping={"patience": 2},
    averaging="ema",
)


class Files:
    """A map-style data set of a folder of npy files, which counts who was read where."""

    def __init__(self, folder):
        self.folder, self.names = Path(folder), sorted(path.name for path in Path(folder).glob("*.npy"))

    def __len__(self):
        return len(self.names)

    def __getitem__(self, row):
        with open(self.folder / f"read-{os.getpid()}.txt", "a") as file:  # workers are processes of their own
            file.write(f"{row}\n")
        return np.load(self.folder / self.names[row]), int(Y[row])

    def was_read(self):
        told = [path.read_text().split() for path in self.folder.glob("read-*.txt")]
        return {int(row) for rows in told for row in rows}


@pytest.fixture
def files(tmp_path):
    for row, x in enumerate(X):
        np.save(tmp_path / f"{row:05d}.npy", x)
    return Files(tmp_path)


def net(num_outputs=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(16, num_outputs)
    )


def in_memory(rows):
    return torch.from_numpy(X[rows]), torch.from_numpy(Y[rows])


def assert_same(run, other):
    for name in ("train.loss", "valid.loss", "train.accuracy", "lr", "weight_norm", "num_zeros", "step"):
        assert run.history.column(name) == other.history.column(name), name
    assert (run.status, run.reason, run.best_epoch, run.best_step) == (
        other.status,
        other.reason,
        other.best_epoch,
        other.best_step,
    )
    theirs = model_tensors(other.model)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model_tensors(run.model).items())


@pytest.mark.parametrize("eval_rows", [None, 10])
def test_files_read_by_workers_give_the_run_of_tensors_and_no_held_out_row_is_read(files, eval_rows):
    source, recipe = DatasetSource(files, num_workers=2), RECIPE.replace(eval_rows=eval_rows)
    run = meden.fit(net(), Part(source, FIT), Part(source, STOP), recipe, seed=3)
    assert_same(run, meden.fit(net(), in_memory(FIT), in_memory(STOP), recipe, seed=3))
    assert files.was_read() == {*FIT, *STOP}


def test_a_dataset_is_a_source_as_it_is(files):
    recipe = RECIPE.replace(early_stopping=None, epochs=2)
    assert_same(meden.fit(net(), files, recipe=recipe), meden.fit(net(), in_memory(range(NUM)), recipe=recipe))


class Augmented:
    """Rows whose noise is drawn from torch's global generator."""

    def __len__(self):
        return 20

    def __getitem__(self, row):
        return torch.from_numpy(X[row]) + torch.randn(2, 4, 4), int(Y[row])


def test_noise_of_a_dataset_is_another_in_each_epoch_and_the_same_for_any_workers():
    recipe = meden.Recipe(epochs=3, batch_size=8)
    runs = [meden.fit(net(), DatasetSource(Augmented(), num_workers=num), recipe=recipe) for num in (0, 2)]
    assert_same(*runs)
    source, drawn = DatasetSource(Augmented()), []
    inner = source.read
    source.read = lambda parts, seed=0: drawn.append(seed) or inner(parts, seed)
    meden.fit(net(), source, recipe=recipe)
    assert len(set(drawn[-6::2])) == 3 and len(set(drawn[-5::2])) == 1  # three epochs, and their evaluations


@pytest.mark.parametrize("steps", [2, 6, 9])
def test_noise_of_a_dataset_is_another_in_each_pass_however_long_an_epoch_is(steps):
    recipe = meden.Recipe(batch_size=8, epochs=6)  # 20 rows are 3 steps a pass
    plain = meden.fit(net(), DatasetSource(Augmented()), recipe=recipe)
    run = meden.fit(net(), DatasetSource(Augmented()), recipe=recipe.replace(epochs=18 // steps, steps_per_epoch=steps))
    ours, theirs = model_tensors(run.model), model_tensors(plain.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("at", [1, 3])
def test_killed_and_resumed_from_files_equals_uninterrupted(files, tmp_path, at):
    def kill(record):
        if record.epoch == at:
            raise Killed

    source, path = DatasetSource(files, num_workers=2), tmp_path / "run.safetensors"
    parts = Part(source, FIT), Part(source, STOP)
    whole = meden.fit(net(), *parts, RECIPE)
    with pytest.raises(Killed):
        meden.fit(net(), *parts, RECIPE, checkpoint=path, on_epoch=kill)
    resumed = meden.fit(net(seed=9), *parts, RECIPE, checkpoint=path)
    assert_same(whole, resumed)
    assert_same(whole, meden.fit(net(seed=8), *parts, RECIPE, checkpoint=path))  # it had ended


def test_a_token_file_gives_the_run_of_its_windows_as_tensors(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 20, 401).cumsum() % 20
    tokens.astype("uint16").tofile(tmp_path / "tokens.bin")
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 9)[::8]
    x, y = torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(windows[:, 1:].copy())
    source = TokenFile(tmp_path / "tokens.bin", context=8)
    recipe = meden.Recipe(epochs=3, batch_size=16, lr=0.01, dropout=0.1)

    def model():
        torch.manual_seed(0)
        return CausalTransformer(8, 20, width=16, num_heads=2)

    run = meden.fit(model(), Part(source, np.arange(40)), Part(source, np.arange(40, 50)), recipe)
    assert_same(run, meden.fit(model(), (x[:40], y[:40]), (x[40:], y[40:]), recipe))
    losses = run.history.column("train.loss")
    assert losses[-1] < losses[0] < np.log(20) + 0.5


MEMBERS = [
    meden.Member(RECIPE.replace(lr=lr), Fold(fit=FIT, stop=STOP, score=SCORE), model_args={"num_outputs": 3})
    for lr in (0.01, 0.02)
]


def test_members_are_trained_one_by_one_as_in_memory_and_the_reason_is_told_once(files):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = meden.fit_many(net, MEMBERS, files)
    assert [str(warning.message) for warning in told] == [
        "models are trained one by one, since the rows of a Dataset are read on demand"
    ]
    for run, other in zip(runs, meden.fit_many(net, MEMBERS, in_memory(range(NUM)), chunk=1), strict=True):
        np.testing.assert_allclose(run.history.column("valid.loss"), other.history.column("valid.loss"), rtol=1e-4)
        np.testing.assert_allclose(run.held_out.losses, other.held_out.losses, rtol=1e-3, atol=1e-5)
        assert run.model_args == {"num_outputs": 3} and run.held_out.losses.shape == (len(SCORE),)


def test_rows_that_score_are_read_after_training_alone(files):
    read_at = []
    with pytest.warns(UserWarning, match="one by one"):
        meden.fit_many(net, MEMBERS[:1], files, on_epoch=lambda *_: read_at.append(files.was_read()))
    assert set.union(*read_at) == {*FIT, *STOP} and files.was_read() == set(range(NUM))


@pytest.mark.filterwarnings("ignore:models are trained one by one")
def test_a_model_of_ours_is_loaded_by_its_name(files, tmp_path):
    (run,) = meden.fit_many(functools.partial(MLP, width=7), MEMBERS[:1], files)
    run.save(tmp_path)
    loaded = meden.load_run(tmp_path)
    assert loaded.model_name == "MLP" and loaded.model_args == {"width": 7, "num_inputs": 32, "num_outputs": 3}
    with torch.no_grad():
        assert torch.equal(loaded.model(torch.from_numpy(X)), run.model(torch.from_numpy(X)))


@pytest.mark.filterwarnings("ignore:models are trained one by one")
@pytest.mark.parametrize("lr", [0.01, 1e30])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_fold_that_scores_no_rows_has_no_held_out_result(in_memory, lr):
    fold, recipe = Fold(FIT, STOP, STOP[:0]), meden.Recipe(optimizer="sgd", lr=lr, epochs=1)
    members = [meden.Member(recipe, fold, seed, {"num_outputs": 3}) for seed in range(2)]
    data = (X, Y) if in_memory else torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    for run in meden.fit_many(MLP, members, data):
        assert run.held_out is None and (run.failure == "") == (lr < 1)


@pytest.mark.parametrize(("name", "value"), [("chunk", 2), ("memory", 1e9)])
def test_what_stacks_need_is_refused_for_rows_that_are_read_as_needed(files, name, value):
    with pytest.raises(meden.InputError, match=f"{name} must be None for a Dataset, .* one by one, got {value!r}"):
        meden.fit_many(net, MEMBERS, files, **{name: value})


def test_a_race_of_members_whose_rows_are_read_as_needed(files):
    with pytest.warns(UserWarning, match="one by one"):
        runs = meden.fit_many(net, MEMBERS, files, rungs=[2], judge=lambda *_: [1])
    assert runs[1].status == "dropped" and len(runs[1].history) == 2 and np.isnan(runs[1].held_out.losses).all()
    assert runs[0].status != "dropped"


class Shapes:
    """Rows of images, of which one is larger, and one has a class too many."""

    def __len__(self):
        return 60

    def __getitem__(self, row):
        return torch.zeros(2, 5 if row == 50 else 4, 4), 7 if row == 30 else 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Shapes(), r"items of the Dataset must have one shape and type, got x .* in item 50|in item 50 and"),
        (Part(DatasetSource(Shapes()), np.arange(40)), "train y must be classes 0 to 2, got 0 to 7"),
        (iter([]), "train must be a pair .*, a Dataset or a source of rows, got list_iterator"),
        ({"x": X, "y": Y}, "train must be a pair .* got dict"),
    ],
)
def test_bad_rows_cost_one_line(rows, message):
    with pytest.raises(meden.InputError, match=message) as caught:
        meden.fit(net(), rows, recipe=meden.Recipe(epochs=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_args": {}}, "model_args must hold num_outputs, the number of classes of a Dataset"),
        ({"fold": Fold(fit=FIT + 60, stop=STOP, score=SCORE)}, "member fold must hold rows 0 to 89"),
        (
            {"fold": Fold(fit=FIT, stop=STOP[:0], score=SCORE)},
            "must have a stop split for a recipe with early_stopping",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:models are trained one by one")
def test_bad_members_cost_one_line(files, change, message):
    member = meden.Member(RECIPE, **({"fold": MEMBERS[0].fold, "model_args": {"num_outputs": 3}} | change))
    with pytest.raises(meden.InputError, match=message):
        meden.fit_many(lambda num_outputs: net(num_outputs), [member], files)


MEASURE = """
import resource, sys
import numpy as np, torch, meden
from torch import nn
from meden.data import DatasetSource

class Files:
    def __init__(self, folder, num):
        self.folder, self.num = folder, num
    def __len__(self):
        return self.num
    def __getitem__(self, row):
        return np.load(f"{self.folder}/{row % 200}.npy"), row % 2

torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
source = DatasetSource(Files(sys.argv[1], int(sys.argv[2])), num_workers=2)
recipe = meden.Recipe(epochs=1, batch_size=64)
meden.fit(model, source, source, recipe)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kilobytes(folder, num_rows):
    """Return the largest memory of a process that trains on so many rows of 12 kB each, and evaluates them twice."""
    command = [sys.executable, "-c", MEASURE, str(folder), str(num_rows)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    for row in range(200):
        np.save(tmp_path / f"{row}.npy", np.random.default_rng(row).normal(size=(3, 32, 32)).astype("float32"))
    few, many = (peak_kilobytes(tmp_path, num) for num in (3_000, 9_000))
    assert many - few < 20_000  # the rows between them are 72 MB


class Drifting:
    """Noise from a generator that no seed reaches: its rows are others at each reading."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __len__(self):
        return 24

    def __getitem__(self, row):
        return torch.full((3,), float(row)) + float(self.generator.normal()), row % 2


@pytest.mark.filterwarnings("ignore:item 0 of the Dataset")
def test_a_checkpoint_of_rows_that_drift_is_gone_on_with(tmp_path):
    def kill(record):
        if record.epoch == 1:
            raise KeyboardInterrupt

    recipe, path = meden.Recipe(epochs=3), tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        meden.fit(nn.Linear(3, 2), Drifting(), recipe=recipe, checkpoint=path, on_epoch=kill)
    assert len(meden.fit(nn.Linear(3, 2), Drifting(), recipe=recipe, checkpoint=path).history) == 3
