"""Search of any training function: the same engine, ledger, races, choice, resume and workers as for networks."""

import os
import threading

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn.functional import cross_entropy

import meden
from meden import InputError
from meden.data.rows import as_rows
from meden.search.jobs.answers import held_out_of
from meden.search.jobs.job import BEST, CHECKPOINT, REPORTS
from meden.space.names import configure
from meden.study.ledger import LEDGER

from .loops import NUM, OPTIONS, RECIPE, SPACE, X, Y, epoch_of, net, plain


def rows_of(study):
    return [row for trial in study.trials for row in trial.rows]


def same(one, other):
    for a, b in zip(rows_of(one), rows_of(other), strict=True):
        assert a.params == b.params and a.status == b.status and a.best_epoch == b.best_epoch
        for name in ("losses", "scores", "outputs", "train_loss", "stop_loss"):
            assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), (a.key, name)


def test_a_study_of_a_function_is_like_any_other(tmp_path):
    study = meden.tune(plain, study_dir=tmp_path / "s", **OPTIONS)
    assert study.status == "ok" and study.metric == "accuracy" and len(study.trials) == 3
    assert 0 < study.score_of("accuracy").estimate <= 1
    assert study.score_of("roc_auc").estimate > 0.5  # any metric of the probabilities
    row = study.trials[0].rows[0]
    assert 1 <= row.best_epoch == row.num_epochs == len(row.stop_loss) == len(row.train_loss) <= 6
    loaded = meden.load_study(tmp_path / "s")
    same(study, loaded)
    assert loaded.table().equals(study.table()) and loaded.verdict == study.verdict
    page = study.report(tmp_path / "report.html").read_text()
    assert "plain" in page and "job" in page
    with pytest.raises(InputError, match="training function"):
        study.refit()


def test_the_same_call_goes_on_and_workers_change_nothing(tmp_path):
    whole = meden.tune(plain, study_dir=tmp_path / "a", **OPTIONS)
    two = meden.tune(plain, study_dir=tmp_path / "b", jobs=2, **OPTIONS)
    same(whole, two)
    lines = (tmp_path / "a" / LEDGER).read_bytes().splitlines(keepends=True)
    for kept in (1, 4, len(lines) - 1):
        folder = tmp_path / f"cut{kept}"
        folder.mkdir()
        for name in ("study.json", "study.safetensors"):
            (folder / name).write_bytes((tmp_path / "a" / name).read_bytes())
        (folder / LEDGER).write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        same(whole, meden.tune(plain, study_dir=folder, **OPTIONS))


def test_a_function_may_do_what_it_likes_with_its_job_and_its_surroundings():
    def careless(job):
        torch.set_default_dtype(torch.float64 if job.configuration % 2 else torch.float32)
        np.random.shuffle(job.fit), job.params.clear(), os.chdir("/")
        draws = torch.rand(2)
        assert draws.dtype == (torch.float64 if job.configuration % 2 else torch.float32)
        job.report(1, float(X[job.fit[:3].copy()].mean()))
        return np.full(len(job.score), float(draws.mean()))

    here = os.getcwd()
    one, two = (meden.tune(careless, jobs=jobs, **OPTIONS) for jobs in (1, 2))
    same(one, two)
    assert os.getcwd() == here and torch.get_default_dtype() == torch.float32
    with pytest.raises(InputError, match="SystemExit"):
        meden.tune(lambda _: os.sys.exit(3), **OPTIONS)


def test_another_function_or_other_rows_are_another_study(tmp_path):
    meden.tune(plain, study_dir=tmp_path, **OPTIONS)
    with pytest.raises(InputError, match="code may have changed"):
        meden.tune(lambda job: plain(job), study_dir=tmp_path, **OPTIONS)
    with pytest.raises(InputError, match="different data"):
        meden.tune(plain, study_dir=tmp_path, **{**OPTIONS, "rows": Y.flip(0)})


def test_a_function_that_wraps_our_trainer_gives_the_table_of_its_networks():
    base, data = meden.Recipe(epochs=4, batch_size=32), (X.numpy(), Y.numpy())
    shared = {
        "folds": 3,
        "budget": 4,
        "strategy": "random",
        "recipe": base.replace(early_stopping=RECIPE.early_stopping),
    }
    space = {"lr": meden.LogUniform(1e-3, 1e-1), "l2": meden.LogUniform(1e-4, 1.0), "dropout": meden.Uniform(0, 0.5)}
    networks = meden.tune(meden.models.MLP, data, space, baselines=False, **shared)

    def wrapped(job):
        recipe, model_args = configure(shared["recipe"], job.params)
        return meden.fit_many(meden.models.MLP, [job.member(recipe, model_args)], data)[0]

    limits = meden.Recipe(epochs=4, early_stopping=RECIPE.early_stopping)
    study = meden.tune(wrapped, rows=Y, space=space, **{**shared, "recipe": limits})
    assert [t.params for t in study.trials] == [t.params for t in networks.trials]
    ours, theirs = (s.table()[["configuration", "loss", "accuracy", "epochs"]] for s in (study, networks))
    assert ours["configuration"].equals(theirs["configuration"]) and ours["epochs"].equals(theirs["epochs"])
    assert np.allclose(ours["loss"], theirs["loss"], rtol=1e-5) and np.allclose(ours["accuracy"], theirs["accuracy"])


def test_answers_of_every_kind_say_the_same():
    def answering(kind):
        def train(job):
            z = torch.zeros(len(job.score), 3) + torch.arange(3.0)
            job.report(1, 0.5)
            given = {
                "losses": cross_entropy(z, Y[job.score], reduction="none"),
                "logits": z,
                "probabilities": z.softmax(1).numpy(),
            }
            return given[kind] if kind == "losses" else {kind: given[kind]}

        return meden.tune(train, **{**OPTIONS, "budget": 1})

    losses, logits, probabilities = (answering(kind) for kind in ("losses", "logits", "probabilities"))
    assert np.allclose(losses.best.fold_losses, logits.best.fold_losses, rtol=1e-6)
    assert np.allclose(probabilities.best.fold_losses, logits.best.fold_losses, rtol=1e-6)
    assert losses.metric == "loss" and losses.told == "loss" and losses.data.task == "losses"
    assert losses.score_of().metric == "loss" and logits.score_of().metric == "accuracy"


def test_numbers_and_bare_rows():
    target = np.linspace(-1, 1, 40) ** 3

    def predicting(job):
        job.report(1, 0.1)
        return {"predictions": np.full(len(job.score), target[job.fit].mean())}

    study = meden.tune(predicting, rows=target, space=SPACE, folds=4, budget=1)
    own = np.mean([np.mean((target[f.score] - target[f.fit].mean()) ** 2) for f in study.folds])
    assert study.told == "rmse" and study.best.score == pytest.approx(own)
    options = {"rows": 40, "space": SPACE, "folds": 4, "budget": 1, "stop_fraction": 0, "recipe": meden.Recipe()}
    below = meden.tune(lambda job: np.full(len(job.score), -2.0), **options)
    assert below.score.estimate == -2.0  # a log density may be above 0


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda job: np.zeros(len(job.score) - 1), "for the .* scored rows .*got an array of shape"),
        (lambda job: np.zeros((len(job.score), 4)), r"of shape \(n, 3\) for 3 classes"),
        (lambda _: None, "got None"),
        (lambda job: Y[job.score], "must name the meaning of its numbers"),
        (lambda job: {"loss": np.zeros(len(job.score))}, "one of losses, logits"),
        (lambda job: {"probabilities": np.full((len(job.score), 3), 0.5)}, "sum to 1"),
        (lambda job: ["a"] * len(job.score), "numbers for the scored rows"),
        (lambda _: 1 / 0, "ZeroDivisionError"),
        (lambda job: X[job.score.tolist()][:, None].squeeze() @ torch.ones(5), "RuntimeError"),
    ],
)
def test_what_is_no_answer_is_said_in_the_first_job(returned, words):
    with pytest.raises(InputError, match=words) as caught:
        meden.tune(lambda job: (job.report(1, 0.5), returned(job))[1], **OPTIONS)
    assert "\n" not in str(caught.value)


def test_a_lost_job_loses_its_configuration_and_the_study_goes_on(tmp_path):
    def train(job):
        if job.configuration == 1 and job.fold == 1:
            raise MemoryError("no room")
        if job.configuration == 2 and job.fold == 0:
            return np.full(len(job.score), np.nan)
        if job.configuration == 3 and job.fold == 2:
            return np.zeros((len(job.score), 3))
        return plain(job)[:, 0].abs() + 1.0

    with pytest.warns(UserWarning, match="3 of 12 jobs failed"):
        study = meden.tune(train, study_dir=tmp_path, **{**OPTIONS, "budget": 4})
    outcomes = [trial.outcome for trial in study.trials]
    assert outcomes[0] == "ok" and "MemoryError: no room" in outcomes[1]
    assert outcomes[2].startswith("diverged: train must return finite losses, got none for row")
    assert "same kind of result" in outcomes[3]
    assert study.choice.number == 0 and "lost" in study.verdict.kinds
    (trace,) = (tmp_path / "jobs" / "configuration-1").rglob("error.txt")
    assert "no room" in trace.read_text()
    with pytest.warns(UserWarning, match="3 of 12 jobs failed"):
        meden.tune(train, study_dir=tmp_path, **{**OPTIONS, "budget": 4})  # nothing is trained again


def learns(job):
    """Stand for a training whose loss falls to what its rate allows, on folds that differ."""
    noise = np.random.default_rng([job.fold, job.configuration])
    floor = 0.5 + 0.1 * job.fold + 0.2 * abs(np.log10(job.params["lr"]) + 2)
    for epoch in range(1, job.epochs + 1):
        loss = floor + np.exp(-epoch / 10) + noise.normal(scale=0.02)
        if job.report(epoch, loss, loss - 0.1):
            break
    return loss + noise.normal(scale=0.1, size=len(job.score))


def test_a_race_spares_half_of_the_epochs_and_repeats(tmp_path):
    recipe = meden.Recipe(epochs=64, early_stopping=None)
    space = {"lr": meden.LogUniform(1e-5, 1e-1)}
    options = {"rows": NUM, "space": space, "folds": 5, "budget": 32, "strategy": "random", "recipe": recipe}
    raced = meden.tune(learns, racing=True, study_dir=tmp_path / "a", **options)
    whole = meden.tune(learns, **options)
    spent, full = (sum(row.num_epochs for row in rows_of(study)) for study in (raced, whole))
    assert full == 32 * 5 * 64 and spent <= full / 2
    statuses = [trial.status for trial in raced.trials]
    assert statuses[:4] == ["ok"] * 4 and statuses.count("dropped") >= 8
    assert raced.best.number == whole.best.number
    same(raced, meden.tune(learns, racing=True, study_dir=tmp_path / "b", jobs=2, **options))
    lines = (tmp_path / "a" / LEDGER).read_bytes().splitlines(keepends=True)
    (tmp_path / "a" / LEDGER).write_bytes(b"".join(lines[: len(lines) * 2 // 3]))
    same(raced, meden.tune(learns, racing=True, study_dir=tmp_path / "a", **options))
    with pytest.raises(InputError, match="never did"):
        meden.tune(lambda job: np.ones(len(job.score)), racing=True, **options)


def test_a_job_that_was_killed_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    """What was reported before counts on: the run equals one that was never killed."""

    def train(job):
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=job.params["lr"])
        path, first = job.checkpoint_dir / "state.pt", 1
        job.keep_best(model)
        if path.exists():
            state = torch.load(path)
            model.load_state_dict(state["model"]), optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"])
            first = state["epoch"] + 1
            job.resume(state["epoch"])
        for epoch in range(first, job.epochs + 1):
            if job.stopped:
                break
            train_loss = epoch_of(model, optimizer, X[job.fit], Y[job.fit])
            model.eval()
            stop = job.report(epoch, cross_entropy(model(X[job.stop]), Y[job.stop]), train_loss)
            parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(parts | {"rng": torch.get_rng_state()}, path)
            if os.environ.get("MEDEN_TEST_DIES") == f"{job.configuration} {job.fold} {epoch}":
                raise KeyboardInterrupt
            if stop:
                break
        if os.environ.get("MEDEN_TEST_DIES") == f"{job.configuration} {job.fold} scoring":
            raise KeyboardInterrupt
        model.eval()
        with job.scoring():
            return model(X[job.score])

    whole = meden.tune(train, **OPTIONS)
    for configuration, fold, epoch in ((0, 1, 2), (1, 0, 4), (2, 1, "scoring")):
        folder = tmp_path / str(epoch)
        with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
            dying.setenv("MEDEN_TEST_DIES", f"{configuration} {fold} {epoch}")
            meden.tune(train, study_dir=folder, **OPTIONS)
        home = folder / "jobs" / f"configuration-{configuration}" / f"fold-{fold}-seed-0"
        assert {path.name for path in home.iterdir()} >= {CHECKPOINT, REPORTS, BEST}
        assert epoch == "scoring" or len((home / REPORTS).read_text().splitlines()) == epoch
        same(whole, meden.tune(train, study_dir=folder, **OPTIONS))
        assert not home.exists() and not (folder / "jobs").exists()


def test_without_a_stop_split_there_is_nothing_to_report():
    def train(job):
        assert not len(job.stop)
        assert not job.report(1) and not job.report(2, train_loss=0.1)
        return np.ones(len(job.score))

    study = meden.tune(train, rows=NUM, space=SPACE, folds=3, budget=1, stop_fraction=0, recipe=meden.Recipe(epochs=5))
    assert study.best.rows[0].stop_loss == [] and study.best.rows[0].num_epochs == 2
    with pytest.raises(InputError, match="stop_fraction"):
        meden.tune(train, rows=NUM, space=SPACE, folds=3, budget=1, stop_fraction=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rows": 1}, "rows must be a whole number of at least 2"),
        ({"rows": Y[:, None]}, "rows must be labels"),
        ({"rows": "iris"}, "rows must be labels"),
        ({"data": (X, Y)}, "data must be None"),
        ({"space": None}, "space must name at least one"),
        ({"space": {"lr": 0.1}}, "LogUniform"),
        ({"space": {"l2": meden.FromData()}}, "LogUniform"),
        ({"recipe": meden.Recipe(lr=0.1)}, "recipe must set only epochs.*lr=0.1"),
        ({"metric": "rmse"}, "metric must be one of"),
        ({"rows": NUM, "metric": "accuracy"}, "metric must be one of loss"),
        ({"groups": "column"}, "groups must be labels"),
    ],
)
def test_bad_arguments_are_refused_before_a_job(given, words):
    def never(job):
        raise AssertionError

    with pytest.raises(InputError, match=words):
        meden.tune(never, **{**OPTIONS, **given})


def test_a_function_that_never_reports_is_told():
    with pytest.warns(UserWarning, match=r"never called job\.report"):
        meden.tune(lambda job: np.ones(len(job.score)), **{**OPTIONS, "budget": 1})


def test_what_could_be_probabilities_is_told():
    binary = (Y > 0).long()

    def train(job):
        job.report(1, 0.5)
        return np.full(len(job.score), 0.3)

    with pytest.warns(UserWarning, match="taken as losses"):
        meden.tune(train, **{**OPTIONS, "rows": binary, "budget": 1})


def test_log_loss_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    labels, given = random.integers(0, 2, 40), random.uniform(size=40)
    given[:3], labels[:3] = 0.0, 1
    rows, score = as_rows(labels), np.arange(40)
    for answer in ({"probabilities": given}, {"probabilities": np.c_[1 - given, given]}):
        assert held_out_of(answer, rows, score).losses.mean() == pytest.approx(log_loss(labels, given), rel=1e-6)
    logits = random.normal(size=(40, 1)) * 30
    told = held_out_of({"logits": logits}, rows, score)
    assert np.allclose(told.losses, np.logaddexp(0, -np.where(labels == 1, 1, -1) * logits[:, 0]), rtol=1e-6)


def test_a_function_for_other_processes_is_tried_first():
    lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be pickled: TypeError"):
        meden.tune(lambda job: lock.acquire() and job, jobs=2, **OPTIONS)
    with pytest.raises(InputError, match="or rows for a training function"):
        meden.tune(plain, space=SPACE)


def test_a_metric_needs_more_than_losses():
    with pytest.raises(InputError, match="probabilities or predictions for metric 'accuracy', got losses"):
        meden.tune(lambda job: np.ones(len(job.score)), metric="accuracy", **OPTIONS)
