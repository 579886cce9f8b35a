"""Data that know their rows: what leaks is caught with the row, what is honest passes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

import meden
from meden import InputError
from meden.search import Leak

from .loops import NUM, OPTIONS, X, Y, epoch_of, net, plain

FRAME = pd.DataFrame(X.numpy(), columns=list("abcd")).assign(kind=np.where(Y == 0, "x", "y"), y=Y.numpy())


def scored(job, model, x):
    model.eval()
    with job.scoring():
        return model(x[job.score])


def trained(job, x, y, model=None):
    """Train for an epoch on plain rows, and report."""
    model = model or net()
    epoch_of(model, torch.optim.SGD(model.parameters(), lr=0.01), x, y)
    job.report(1, 0.5)
    return model


# --- six leaks


def scaler_on_everything(job):
    x = job.watch(X)
    StandardScaler().fit(x)


def trains_on_everything(job):
    loader = DataLoader(job.watch(TensorDataset(X, Y)), batch_size=16, shuffle=True)
    for x, y in loader:
        trained(job, x, y)


def stops_by_the_scored_rows(job):
    x = job.watch(X)
    model = trained(job, x[job.fit], Y[job.fit])
    model(x[job.score])


def scores_each_epoch(job):
    x, model = job.watch(X), net()
    for _ in range(2):
        trained(job, x[job.fit], Y[job.fit], model)
        with job.scoring():
            model(x[job.score])


def target_encoding_of_everything(job):
    job.watch(FRAME).groupby("kind")["y"].mean()


CARRIED = net()


def carries_weights_from_fold_to_fold(job):
    x = job.watch(X)
    return scored(job, trained(job, x[job.fit], Y[job.fit], CARRIED), x)


LEAKS = {
    scaler_on_everything: r"as making one array of them does, among them row \d+ before",
    trains_on_everything: r"must not read row \d+ before job.scoring",
    stops_by_the_scored_rows: r"must not read row \d+ before job.scoring",
    scores_each_epoch: "job.report must be called before job.scoring",
    target_encoding_of_everything: r"\.groupby\(\)",
}


@pytest.mark.parametrize("train", LEAKS, ids=lambda train: train.__name__)
def test_a_leak_is_caught_in_the_first_job(train):
    with pytest.raises(InputError, match=LEAKS[train]) as caught:
        meden.tune(train, **OPTIONS)
    assert "\n" not in str(caught.value)


def test_weights_that_are_carried_on_are_caught_in_the_second_job():
    with pytest.warns(UserWarning, match="fresh weights in each job"):
        study = meden.tune(carries_weights_from_fold_to_fold, **OPTIONS)
    assert study.status == "diverged"  # nothing can be chosen: all but the first job failed
    with pytest.raises(InputError, match="fresh weights"):
        _ = study.choice


def test_weights_that_are_carried_on_are_caught_where_the_optimizer_takes_a_closure():
    model = net()

    def train(job):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

        def closure():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(X[job.fit]), Y[job.fit])
            loss.backward()
            return loss

        optimizer.step(closure)
        job.report(1, 0.5)
        return model(X[job.score])

    with pytest.warns(UserWarning, match="fresh weights in each job"):
        assert meden.tune(train, **OPTIONS).status == "diverged"


def copies_weights_from_fold_to_fold(job):
    x, model = job.watch(X), net()
    if LAST:
        model.load_state_dict(LAST)
    trained(job, x[job.fit], Y[job.fit], model)
    LAST.update({name: value.clone() for name, value in model.state_dict().items()})
    return scored(job, model, x)


LAST: dict = {}


def test_copies_of_weights_are_known_by_their_values():
    with pytest.warns(UserWarning, match="fresh weights in each job"):
        study = meden.tune(copies_weights_from_fold_to_fold, **OPTIONS)
    assert [row.status for row in study.trials[0].rows] == ["completed", "failed", "failed"]


def test_training_while_scoring_is_refused():
    def train(job):
        job.report(1, 0.5)
        with job.scoring(), torch.enable_grad():
            return trained(job, X[job.score], Y[job.score])

    with pytest.raises(InputError, match=r"must be called before|must not train in"):
        meden.tune(train, **OPTIONS)


# --- six honest loops


def scaler_on_the_fitting_rows(job):
    x = job.watch(X)
    scaler = StandardScaler().fit(x[job.fit])
    model = trained(job, torch.as_tensor(scaler.transform(x[job.fit])).float(), Y[job.fit])
    with job.scoring():
        return model.eval()(torch.as_tensor(scaler.transform(x[job.score])).float())


def loaders_of_subsets(job):
    data, model = job.watch(TensorDataset(X, Y)), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for x, y in DataLoader(Subset(data, job.fit), batch_size=32, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    stop = [nn.functional.cross_entropy(model(x), y).item() for x, y in DataLoader(Subset(data, job.stop))]
    job.report(1, np.mean(stop))
    model.eval()
    with job.scoring():
        return torch.cat([model(x) for x, _ in DataLoader(Subset(data, job.score), batch_size=50)])


def encoding_of_the_fitting_rows(job):
    frame = job.watch(FRAME)
    means = frame.iloc[job.fit].groupby("kind")["y"].mean()
    x = torch.tensor(frame["kind"].iloc[job.fit].map(means).tolist())[:, None].float()
    model = trained(job, x.expand(-1, 4), Y[job.fit])
    with job.scoring():
        rows = frame.loc[frame.index[job.score]]
        return model.eval()(torch.tensor(rows["kind"].map(means).tolist())[:, None].float().expand(-1, 4))


def a_model_put_back_to_its_start(job):
    CARRIED.load_state_dict(START)
    x = job.watch(X)
    return scored(job, trained(job, x[job.fit], Y[job.fit], CARRIED), x)


def rows_changed_one_by_one(job):
    x = job.watch(X.double() * 10)
    x = (x / 10).float()
    return scored(job, trained(job, x[job.fit], Y[job.fit]), x)


START = {name: value.clone() for name, value in CARRIED.state_dict().items()}
HONEST = [plain, scaler_on_the_fitting_rows, loaders_of_subsets, encoding_of_the_fitting_rows]
HONEST += [a_model_put_back_to_its_start, rows_changed_one_by_one]


@pytest.mark.parametrize("train", HONEST, ids=lambda train: train.__name__)
def test_an_honest_loop_passes(train):
    assert meden.tune(train, **OPTIONS).status == "ok"


# --- each kind of data


def job_of(num: int = 6) -> meden.Job:
    return meden.Job(params={}, fit=[0, 1], stop=[2], score=[3, 5], num_rows=num)


@pytest.mark.parametrize(
    "data",
    [np.arange(12.0).reshape(6, 2), torch.arange(6), list("abcdef"), pd.Series(range(6), index=list("uvwxyz"))],
    ids=lambda data: type(data).__name__,
)
def test_rows_are_plain_and_scored_ones_come_in_the_end(data):
    job = job_of()
    own = job.watch(data)
    assert len(own) == 6 and "watched" in repr(own)
    read = own.iloc if isinstance(data, pd.Series) else own
    assert str(read[4]) == str(data.iloc[4] if isinstance(data, pd.Series) else data[4])
    for bad in (3, -1, slice(2, 6)):
        with pytest.raises(Leak, match=r"row [35]"):
            _ = read[bad]
    with pytest.raises(Leak):
        list(own)
    with job.scoring():
        assert len(list(own)) == 6
    with pytest.raises(Leak):
        _ = read[3]
    with pytest.raises(InputError, match="once"), job.scoring():
        pass


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.mean(0),
        lambda x: x.sum(),
        lambda x: np.mean(x),
        lambda x: np.concatenate([x, x]),
        lambda x: np.add.reduce(x),
        lambda x: np.asarray(x),
        lambda x: x.T,
        lambda x: x.tolist(),
        lambda x: x.reshape(-1),
        lambda x: x[::-1],
        lambda x: x[np.ones(6, bool)],
        lambda x: x[np.array([True, False, False, True, False, False])],
        lambda x: x[:, 0].max(),
        lambda x: (x - 1).min(),
        lambda x: x[:, None] - x,
        lambda x: x * np.ones((6, 6, 6)),
        lambda x: np.zeros((6, 1)) + x[:, 0],
        lambda x: np.add(x, 0, out=np.zeros((6, 6))),
        lambda x: x.sum(0),
        lambda x: x.sum(axis=-2),
        lambda x: x @ x,
        lambda x: bool(x[:, 0] == x[:, 0]),
    ],
)
def test_what_reads_all_rows_of_an_array_is_refused(read):
    for data in (np.ones((6, 6)), torch.ones(6, 6)):
        with pytest.raises((Leak, TypeError, ValueError, DeprecationWarning)) as caught:  # torch has no reversed slices
            read(job_of().watch(data))
        assert isinstance(caught.value, Leak) or isinstance(data, torch.Tensor)


@pytest.mark.parametrize(
    "read",
    [lambda x: torch.mean(x), lambda x: torch.cat([x, x]), lambda x: torch.stack((x,)), lambda x: torch.add(x, x)],
)
def test_what_torch_reads_is_refused(read):
    with pytest.raises((Leak, TypeError)):
        read(job_of().watch(torch.ones(6, 6)))


def test_an_array_is_read_by_all_kinds_of_indices():
    x = job_of().watch(np.arange(12).reshape(6, 2))
    for key in (
        [0, 1],
        np.array([0, 1]),
        torch.tensor([0, 1]).numpy(),
        range(2),
        slice(0, 2),
        (slice(0, 2), slice(None)),
    ):
        assert np.asarray(x[list(key) if isinstance(key, range) else key]).tolist() == [[0, 1], [2, 3]]
    mask = np.zeros(6, bool)
    mask[:2] = True
    assert x[mask].shape == (2, 2) and x[[0, 1], 1].tolist() == [1, 3] and x.shape == (6, 2)
    assert (x[:, 1] * 2 + 1)[[0, 1]].tolist() == [3, 7] and x[..., 1][[0]].tolist() == [1]
    assert x.sum(axis=1)[[0, 1]].tolist() == [1, 5] and (x @ np.ones((2, 3)))[0].tolist() == [1, 1, 1]
    assert (
        x.take([1], axis=0).tolist() == [[2, 3]] and (-x)[0].tolist() == [0, -1] and x.clip(1, 2)[1].tolist() == [2, 2]
    )
    assert x.astype(np.float32)[job_of().fit].dtype == np.float32
    assert len(x[[]]) == 0


@pytest.mark.parametrize(
    "read",
    [
        lambda f: f.mean(),
        lambda f: f["a"].mean(),
        lambda f: f.a.max(),
        lambda f: f.describe(),
        lambda f: f.to_numpy().sum(),
        lambda f: f.values.std(0),
        lambda f: f.drop(index=["u"]),
        lambda f: f[f["a"] > 0],
        lambda f: f.iloc[:],
        lambda f: f.loc["x"],
        lambda f: f.iloc[3, 0],
        lambda f: f.head(4),
        lambda f: list(f.iterrows()),
        lambda f: f.assign(c=1).a.max(),
        lambda f: pd.DataFrame(np.asarray(f)),
    ],
)
def test_what_reads_all_rows_of_a_table_is_refused(read):
    frame = pd.DataFrame({"a": range(6), "b": range(6)}, index=list("uvwxyz"))
    if read(frame) is not None:
        with pytest.raises(Leak):
            found = read(job_of().watch(frame))
            found.sum()  # what comes back of all rows is watched on


def test_a_table_is_read_by_places_labels_columns_and_masks():
    frame = job_of().watch(pd.DataFrame({"a": range(6), "b": range(6)}, index=list("uvwxyz")))
    assert frame.iloc[[0, 1]]["a"].tolist() == [0, 1] and frame.loc[["u", "v"], "a"].tolist() == [0, 1]
    assert frame[["a"]].iloc[0].tolist() == [0] and list(frame.columns) == ["a", "b"] and frame.shape == (6, 2)
    assert frame[[True, True, False, False, False, False]].shape == (2, 2)
    assert frame.drop(columns=["b"]).take([1]).shape == (1, 1) and frame["a"].loc["v"] == 1


def test_a_tensor_is_changed_row_by_row():
    x = job_of().watch(torch.arange(24.0).reshape(6, 2, 2))
    assert x.permute(0, 2, 1)[0].tolist() == [[0, 2], [1, 3]] and x.mean(dim=(1, 2))[[1]].tolist() == [5.5]
    assert torch.log1p(x)[0, 0, 0] == 0 and x.flatten(1).norm(dim=1)[0] == torch.arange(4.0).norm()
    assert x.index_select(0, torch.tensor([1])).shape == (1, 2, 2) and x.max(2)[0][0].tolist() == [1, 3]
    for read in (lambda: x.permute(1, 0, 2), lambda: x.index_select(1, torch.tensor([0]))[3], lambda: x.max(0)):
        with pytest.raises(Leak):
            read()
    with pytest.raises(InputError, match="must not be modified"):
        x[0] = 1.0


def test_a_table_is_filled_and_mapped_row_by_row():
    frame = job_of().watch(pd.DataFrame({"a": [1, None, 3, 4, 5, 6], "b": list("xyxyxy")}))
    assert frame.a.fillna(0).iloc[[0, 1]].tolist() == [1, 0] and frame.b.map({"x": 0, "y": 1})[0] == 0
    assert frame[["a"]].sum(axis=1).iloc[0] == 1
    for read in (
        lambda: frame.b.map(print),
        lambda: frame[frame.a > 0],
        lambda: frame.set_index("b"),
        lambda: frame.sum(),
    ):
        with pytest.raises(Leak, match=r"row [35]"):
            read()


def test_a_sparse_matrix_is_read_by_rows():
    sparse = pytest.importorskip("scipy.sparse")
    x = job_of().watch(sparse.csr_matrix(np.eye(6)))
    assert x[[0, 1]].shape == (2, 6)
    with pytest.raises(Leak):
        _ = x[2:5]


def test_a_dataset_hides_what_it_holds_and_reaches_workers():
    data = job_of().watch(TensorDataset(torch.arange(6), torch.arange(6)))
    with pytest.raises(Leak):
        data.tensors[0].sum()
    assert data.tensors[0][[0, 1]].tolist() == [0, 1]
    data._data.classes = ["x", "y"]
    assert data.classes == ["x", "y"]  # of no row
    again = pickle.loads(pickle.dumps(data))
    assert again[0] == (0, 0)
    with pytest.raises(Leak, match="row 5"):
        again.__getitems__([0, 5])


def test_tuples_and_mappings_are_watched_part_by_part():
    x, parts = job_of().watch((np.arange(6), {"y": torch.arange(6)}))
    for part in (x, parts["y"]):
        with pytest.raises(Leak):
            _ = part[3]


def test_datasets_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    data = job_of().watch(datasets.Dataset.from_dict({"text": list("abcdef"), "label": [0, 1] * 3}))
    assert data[0]["text"] == "a" and data[[0, 1]]["label"] == [0, 1] and data.column_names == ["text", "label"]
    assert len(data.select([0, 4])) == 2 and data.with_format("torch")[0]["label"].item() == 0
    assert data["text"][1] == "b" and list(data.select(range(2))["text"]) == ["a", "b"]
    for read in (
        lambda: data[3],
        lambda: data[2:5],
        lambda: data.select([5]),
        lambda: list(data["text"]),
        lambda: data.map(lambda row: row),
        lambda: data.remove_columns("label")[5],
        lambda: data.to_pandas(),
        lambda: data.train_test_split(),
    ):
        with pytest.raises(Leak):
            read()


def test_what_has_no_numbered_rows_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    for data in (Stream(), iter([1]), 3, None, torch.tensor(1.0)):
        with pytest.raises(InputError, match="indexable rows"):
            job_of().watch(data)
    with pytest.raises(InputError, match="the 6 rows of the study, got 150"):
        job_of().watch(X)
    assert NUM == 150
