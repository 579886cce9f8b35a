"""What a model on an accelerator gives is what it gives on the CPU, up to rounding: every way into the library.

Without one the tests skip; MEDEN_TEST_ACCELERATOR=cpu runs them on the CPU, to try the tests themselves.
"""

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.cli.app import main
from meden.data import make_folds
from meden.integrations.sklearn import MLPClassifierCV
from meden.models import Decoder
from meden.optim import Averaging, Sharpness, bind, refresh_batch_norm
from meden.penalties import L1, L2, ActivityL1, GroupLasso, GroupMCP, MaxNorm, Nuclear, Orthogonality
from meden.speed import matmul_rate, peak_memory, work_of
from meden.training import stacks
from meden.training.fit_many import fit_stacks
from meden.training.many import chunks
from meden.training.many.population import Population
from tests.contracts import PENALTIES

THERE = os.environ.get("MEDEN_TEST_ACCELERATOR", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(THERE == "cuda" and not torch.cuda.is_available(), reason="needs an accelerator"),
]
HERE = "cpu"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 8)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)


def net(where=HERE, *, width=16, outputs=2, seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, outputs)
    return nn.Sequential(*layers).double().to(where)


def maker(where):
    def make_model(width=16):
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2)).double().to(where)

    return make_model


def assert_same_tensors(one, other, *, rtol=1e-6):
    one, other = (model.state_dict() if isinstance(model, nn.Module) else model for model in (one, other))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name].cpu(), tensor.cpu(), rtol=rtol, atol=rtol / 10, msg=name)


def assert_same_runs(one, other):
    assert (one.status, one.best_step) == (other.status, other.best_step)
    assert_same_tensors(one.model, other.model)
    for field in ("train", "valid"):
        for mine, its in zip(one.history, other.history, strict=True):
            theirs = getattr(its, field)
            for name, value in (getattr(mine, field) or {}).items():
                assert theirs[name] == pytest.approx(value, rel=1e-3, abs=1e-4), (field, name)


RECIPES = {
    "usual": meden.Recipe(epochs=4, lr=0.01),
    "lasso": meden.Recipe(optimizer="adam", epochs=4, lr=0.01, regularizers=[meden.Regularizer(L1(0.01))]),
    "groups": meden.Recipe(
        epochs=4,
        lr=0.01,
        regularizers=[meden.Regularizer(GroupLasso(0.05, dim=1), on="0.weight"), meden.Regularizer(L2(0.01))],
    ),
    "momentum": meden.Recipe(
        optimizer="sgd", momentum=0.9, lr=0.05, epochs=4, schedule={"kind": "cosine", "warmup_epochs": 1}, clip_norm=1.0
    ),
    "averaging": meden.Recipe(epochs=4, lr=0.01, averaging=Averaging()),
    "sharpness": meden.Recipe(epochs=4, lr=0.01, sharpness=Sharpness(rho=0.05)),
    "augmented": meden.Recipe(epochs=4, lr=0.01, augment=[meden.augment.Mixup(alpha=0.3), meden.augment.Jitter(0.1)]),
    "rdrop": meden.Recipe(epochs=4, lr=0.01, rdrop=1.0),
    "activity": meden.Recipe(epochs=4, lr=0.01, activity=[meden.Activity(ActivityL1(1e-3), on="2")]),
    "stopping": meden.Recipe(epochs=12, lr=0.03, early_stopping=meden.EarlyStopping(patience=2)),
    "full batch": meden.Recipe(epochs=4, lr=0.01, batch_size="full", dropout=0.4),
    "rmsprop": meden.Recipe(optimizer="rmsprop", epochs=4, lr=0.003, regularizers=[meden.Regularizer(MaxNorm(1.0))]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_fit(name):
    valid = (X[200:], Y[200:])
    runs = [meden.fit(net(where), (X[:200], Y[:200]), valid, RECIPES[name], seed=3) for where in (HERE, THERE)]
    assert_same_runs(*runs)
    assert next(runs[1].model.parameters()).device.type == THERE


def test_rows_that_are_there_already():
    run = meden.fit(
        net(THERE), (torch.tensor(X, device=THERE).double(), torch.tensor(Y, device=THERE)), recipe=RECIPES["lasso"]
    )
    assert_same_runs(meden.fit(net(), (X, Y), recipe=RECIPES["lasso"]), run)


def test_rows_of_a_dataset():
    rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    assert_same_runs(*(meden.fit(net(where), rows, recipe=RECIPES["usual"]) for where in (HERE, THERE)))


def test_a_checkpoint_goes_on(tmp_path):
    whole = meden.fit(net(THERE), (X, Y), recipe=RECIPES["averaging"], seed=1)

    def stop(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meden.fit(net(THERE), (X, Y), recipe=RECIPES["averaging"], seed=1, checkpoint=tmp_path / "c", on_epoch=stop)
    again = meden.fit(net(THERE), (X, Y), recipe=RECIPES["averaging"], seed=1, checkpoint=tmp_path / "c")
    assert_same_tensors(whole.model, again.model, rtol=0)


def test_a_population_is_each_alone():
    recipes = [RECIPES[name].replace(dropout=p) for name in ("lasso", "momentum", "averaging") for p in (0.0, 0.3, 0.5)]
    folds = make_folds(meden.as_dataset((X, Y)), 3, seed=0)
    members = [meden.Member(recipe, fold) for recipe in recipes for fold in folds]
    for one, other in zip(*(meden.fit_many(maker(where), members, (X, Y)) for where in (HERE, THERE)), strict=True):
        assert_same_runs(one, other)


def test_stacks_of_a_race_that_merge(monkeypatch):
    merges = []
    take_over = Population.take_over

    def spied(self, other):
        merges.append(self.epoch)
        take_over(self, other)

    monkeypatch.setattr(Population, "take_over", spied)
    monkeypatch.setattr(stacks, "MERGING_PAYS", 0)
    monkeypatch.setitem(chunks.STEADY_CHUNKS, THERE, (4, 4))
    recipe = RECIPES["lasso"].replace(averaging=Averaging(), epochs=6)
    members = [meden.Member(recipe.replace(lr=0.002 * (1 + i)), seed=i) for i in range(8)]
    raced = {}
    losers = {"rungs": [2], "judge": lambda *_: (1, 2, 3, 5, 6)}
    fit_stacks(maker(THERE), members, (X, Y), [list(range(8))], on_run=raced.__setitem__, **losers)
    assert merges == [2]
    for number, run in enumerate(meden.fit_many(maker(HERE), members, (X, Y))):
        if number in (0, 4, 7):
            assert_same_runs(run, raced[number])


def test_larger_members_of_a_population():
    members = [meden.Member(meden.Recipe(lr=lr, epochs=2), None, seed) for lr in (1e-3, 3e-3) for seed in range(3)]
    here, there = (
        meden.fit_many(lambda where=where: maker(where)(width=9000), members, (X, Y)) for where in (HERE, THERE)
    )
    for one, other in zip(here, there, strict=True):
        assert_same_runs(one, other)


def test_a_network_of_filters_in_a_population():
    def make(where):
        return (
            nn.Sequential(
                nn.Conv2d(1, 4, 3),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(16, 2),
            )
            .double()
            .to(where)
        )

    images = RNG.normal(size=(120, 1, 8, 8)).astype(np.float32)
    members = [meden.Member(meden.Recipe(epochs=2, lr=lr), None, seed) for lr in (1e-3, 3e-3) for seed in (0, 1)]
    here, there = (
        meden.fit_many(lambda where=where: make(where), members, (images, Y[:120])) for where in (HERE, THERE)
    )
    for one, other in zip(here, there, strict=True):
        assert_same_runs(one, other)


SPACE = {"lr": meden.LogUniform(1e-3, 1e-1), "l1": meden.LogUniform(1e-5, 1e-2), "width": meden.Choice(8, 16)}


def test_a_search_its_study_and_what_it_trains(tmp_path):
    given = {"folds": 3, "budget": 5, "recipe": meden.Recipe(epochs=4), "seed": 2}
    here = meden.tune(maker(HERE), (X, Y), SPACE, **given)
    there = meden.tune(maker(THERE), (X, Y), SPACE, study_dir=tmp_path / "study", keep_models=True, **given)
    scores = [[trial.score for trial in study.trials] for study in (here, there)]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)
    assert here.choice.params == there.choice.params
    run, other = here.refit(), there.refit()
    assert_same_runs(run, other)
    np.testing.assert_allclose(run.predict(X).probabilities, other.predict(X).probabilities, rtol=1e-3, atol=1e-4)
    other.save(tmp_path / "run")
    loaded = meden.load_run(tmp_path / "run", maker(HERE))  # where there is no accelerator
    np.testing.assert_allclose(loaded.predict(X).probabilities, run.predict(X).probabilities, rtol=1e-3, atol=1e-4)
    assert len(there.fold_models().runs) == 3
    there.report(tmp_path / "report.html")


@pytest.mark.parametrize("how", [{"racing": True}, {"jobs": 2}, {"time_limit": 5.0}], ids=str)
def test_ways_to_search(how):
    given = {"folds": 3, "budget": 4, "recipe": meden.Recipe(epochs=4)}
    study = meden.tune(maker(THERE), (X, Y), SPACE, **given, **how)
    assert study.usable
    if "time_limit" not in how:
        here = meden.tune(maker(HERE), (X, Y), SPACE, **given, **how)
        assert [t.params for t in here.trials] == [t.params for t in study.trials]


def test_a_comparison_and_a_curve():
    ways = {"none": meden.Recipe(epochs=3), "L2": meden.Recipe(epochs=3, regularizers=[meden.Regularizer(L2(0.1))])}
    here, there = (meden.compare(maker(where), (X, Y), ways, folds=3) for where in (HERE, THERE))
    assert [a.name for a in here.alternatives] == [a.name for a in there.alternatives]
    np.testing.assert_allclose(here.table()["loss"], there.table()["loss"], rtol=1e-3)
    curve = meden.learning_curve(maker(THERE), (X, Y), meden.Recipe(epochs=2), folds=3)
    assert np.isfinite(curve.table().select_dtypes("number").to_numpy()[:, 0]).all()


def test_a_path_of_inputs():
    here, there = (
        meden.path(maker(where), (X, Y), num=4, folds=2, recipe=meden.Recipe(epochs=4, lr=0.01))
        for where in (HERE, THERE)
    )
    assert [p.num_kept for p in here.points] == [p.num_kept for p in there.points]


@pytest.mark.parametrize("case", [case for case in PENALTIES if len(case.shape) == 2], ids=str)
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW], ids=lambda make: make.__name__)
def test_penalties_in_a_loop_of_ones_own(case, make):
    def trained(where):
        torch.manual_seed(0)
        model = nn.Linear(case.shape[1], case.shape[0]).double().to(where)
        optimizer = make(model.parameters(), lr=0.05, weight_decay=0.0)
        penalty = case.make(0.3)
        meden.regularize(optimizer, model, [meden.Regularizer(penalty, on="weight")])
        x = torch.randn(20, case.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(where)
        for _ in range(5):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        return model

    try:
        here = trained(HERE)
    except meden.InputError:
        pytest.skip("has no proximal step")
    there = trained(THERE)
    assert_same_tensors(here, there, rtol=1e-8)
    assert torch.equal(here.weight == 0, there.weight.cpu() == 0)


@pytest.mark.parametrize("coupling", ["proximal", "gradient", "loss", "decoupled"])
@pytest.mark.parametrize("settings", [{}, {"foreach": True}, {"fused": True}, {"capturable": True}], ids=str)
def test_couplings_and_kernels(coupling, settings):
    if "capturable" in settings and THERE == "cpu":
        pytest.skip("of accelerators alone")

    def trained(where):
        model = net(where)
        given = {} if where == "cpu" and "capturable" in settings else settings
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0, **given)
        penalty = L2(0.1) if coupling == "decoupled" else L1(0.01)
        regularizer = meden.Regularizer(penalty, coupling=coupling)
        bound = bind(model, [regularizer], adaptive=True)
        if coupling != "loss":
            meden.regularize(optimizer, model, [regularizer])
        x, y = torch.tensor(X).double().to(where), torch.tensor(Y).to(where)
        model.eval()
        for _ in range(6):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            if coupling == "loss":
                loss = loss + bound[0].value()
            loss.backward()
            optimizer.step()
        return model

    # torch corrects moments in single precision there, if the step may be captured
    assert_same_tensors(trained(HERE), trained(THERE), rtol=1e-3 if "capturable" in settings else 1e-7)


@pytest.mark.skipif(THERE == "cpu", reason="of accelerators alone")
def test_mixed_precision_with_steps_that_are_skipped():
    model = net(THERE).float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = meden.regularize(optimizer, model, [meden.Regularizer(L1(0.05))])
    scaler = torch.amp.GradScaler(init_scale=2.0**40)
    x, y = torch.tensor(X, device=THERE), torch.tensor(Y, device=THERE)
    skipped, before = 0, [p.detach().clone() for p in model.parameters()]
    for _ in range(40):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() < scale:
            skipped += 1
            assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
        before = [p.detach().clone() for p in model.parameters()]
    assert skipped > 0
    assert (model[0].weight == 0).any()
    handle.remove()


def test_a_decoder():
    torch.manual_seed(0)
    model = Decoder(16, 17, width=32, depth=2, num_heads=4).double()
    tokens = torch.tensor(RNG.integers(0, 17, size=(64, 17)))
    recipe = meden.Recipe(epochs=2, batch_size=8, regularizers=[meden.Regularizer(L2(0.1), coupling="decoupled")])
    rows = tokens[:, :-1], tokens[:, 1:]
    runs = [meden.fit(copy.deepcopy(model).to(where), rows, recipe=recipe) for where in (HERE, THERE)]
    assert_same_runs(*runs)


@pytest.mark.skipif(THERE == "cpu", reason="of accelerators alone")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_of_a_sharded_training(strategy, tmp_path):
    sharding = meden.Sharding(strategy=strategy)
    run = meden.fit(net(THERE), (X, Y), recipe=RECIPES["lasso"], sharding=sharding, checkpoint=tmp_path / "c")
    assert_same_runs(meden.fit(net(), (X, Y), recipe=RECIPES["lasso"]), run)


def test_a_smaller_model():
    model = net(THERE)
    with torch.no_grad():
        model[0].weight[:6] = 0
        model[4].weight[:, 8:10] = 0
    x = torch.tensor(X, device=THERE).double()
    small = meden.compact(model.eval(), x[:4]).model
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(small(x), model(x), rtol=1e-4, atol=1e-5)


def test_groups_and_what_makes_them_zero():
    here, there = (
        meden.groups_of(net(where), torch.tensor(X[:2], device=where).double(), kind="units") for where in (HERE, THERE)
    )
    assert str(here) == str(there)
    model = net(THERE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    units = meden.groups_of(model, torch.tensor(X[:2], device=THERE).double(), kind="units")
    meden.regularize(optimizer, model, [meden.Regularizer(GroupMCP(0.2), groups=units)])
    x, y = torch.tensor(X, device=THERE).double(), torch.tensor(Y, device=THERE)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_what_is_said_of_a_run():
    run = meden.fit(net(THERE), (X[:200], Y[:200]), (X[200:], Y[200:]), RECIPES["usual"])
    meden.diagnose(run)
    held = meden.calibrate(run, (X[200:], Y[200:]))
    assert torch.isfinite(held.model(torch.tensor(X, device=THERE).double())).all()
    meden.memorisation(run, seen=(X[:200], Y[:200]), unseen=(X[200:], Y[200:]))
    refresh_batch_norm(run.model, torch.tensor(X, device=THERE).double(), batch_size=32)


@pytest.mark.parametrize(
    "layer", [meden.noise.Dropout(0.3), meden.noise.GaussianNoise(0.3)], ids=lambda n: type(n).__name__
)
def test_noise(layer):
    x = torch.ones(5, 7)
    torch.testing.assert_close(copy.deepcopy(layer).to(THERE)(x.to(THERE)).cpu(), copy.deepcopy(layer)(x))


def test_matrices():
    for penalty in (Nuclear(0.1), Orthogonality(0.1)):
        w = torch.tensor(X[:20])
        assert float(penalty.value(w.to(THERE))) == pytest.approx(float(penalty.value(w)), rel=1e-4)


def test_how_fast_the_machine_is():
    assert matmul_rate(THERE) > 0
    assert peak_memory(THERE) > 0
    assert work_of(net(THERE), torch.tensor(X[:4], device=THERE).double()) is not None


def test_an_estimator():
    given = {"budget": 2, "cv": 2, "recipe": meden.Recipe(epochs=4), "families": ("network",), "random_state": 0}
    here, there = (MLPClassifierCV(device=where, **given).fit(X, Y) for where in (HERE, THERE))
    np.testing.assert_allclose(here.predict_proba(X), there.predict_proba(X), atol=1e-3)
    assert all(param.device.type == HERE for run in there.runs_ for param in run.model.parameters())
    selected = MLPClassifierCV(device=THERE, select="inputs", budget=1, cv=2, random_state=0).fit(X[:, :3], Y)
    assert selected.support_.any()


def test_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("tune", "iris", "--budget", "2", "--preset", "fast", "--out", "study", "--device", THERE)
    run("resume", "study", "--budget", "3", "--device", THERE)
    run("compare", "iris", "--folds", "2", "--with", "L2: l2=0.1", "--device", THERE)
    run("learning-curve", "study", "--sizes", "40,60,80", "--device", THERE)
    run("fit", "iris", "--out", "one")
    assert np.isfinite(meden.load_run("one").held_out.scores).all()


def run(*arguments):
    assert main(arguments) == 0, arguments
