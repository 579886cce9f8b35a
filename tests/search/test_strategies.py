"""Proposals: a function of seed and scores, so that a search can be replayed; grids of the size that fits."""

import math
import statistics
import tracemalloc

import numpy as np
import pytest
from scipy.stats import qmc

from meden import Choice, InputError, IntUniform, LogUniform, Uniform
from meden.search.settings import CV, Limits
from meden.search.strategies import STRATEGIES, Proposals
from meden.space.dimensions import Maybe

SPACE = {
    "l2": LogUniform(1e-4, 1.0),
    "l1": Maybe(LogUniform(1e-4, 1.0)),
    "dropout": Uniform(0, 0.5),
    "depth": IntUniform(1, 3),
    "kind": Choice("a", "b"),
}


def replay(strategy, *, seed=0, scores=lambda p: p["dropout"], budget=20):
    proposals = Proposals(SPACE, strategy, budget=budget, seed=seed)
    asked = []
    while batch := proposals.ask():
        asked += batch
        proposals.tell([scores(params) for params in batch])
    return asked


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_and_scores_give_the_same_proposals(strategy):
    first = replay(strategy, budget=17)
    assert first == replay(strategy, budget=17)
    assert len(first) == 17 if strategy != "grid" else len(first) <= 17
    for params in first:
        assert all(0 <= SPACE[name].position(value) <= 1 for name, value in params.items())


@pytest.mark.parametrize("strategy", ["tpe", "sobol", "random"])
def test_another_seed_gives_others(strategy):
    assert replay(strategy, budget=4) != replay(strategy, budget=4, seed=1)


def test_a_strategy_that_learns_depends_on_the_scores_and_diverged_ones_are_the_worst():
    first, second = replay("tpe", budget=32), replay("tpe", budget=32, scores=lambda _: math.inf)
    assert first[:16] == second[:16] and first[16:] != second[16:]


def test_tpe_goes_to_where_scores_are_low():
    early, late = (replay("tpe", budget=48)[part] for part in (slice(16), slice(32, 48)))
    assert sum(p["dropout"] for p in late) < 0.7 * sum(p["dropout"] for p in early)


@pytest.mark.parametrize(
    ("space", "budget", "size"),
    [
        ({"a": Uniform(0, 1)}, 7, 7),
        ({"a": Uniform(0, 1), "b": LogUniform(1, 2)}, 17, 16),
        ({"a": Uniform(0, 1), "b": IntUniform(1, 2)}, 9, 8),
        ({"a": Choice(1, 2, 3), "b": Choice(1, 2)}, 100, 6),
        ({"a": Choice(1, 2, 3), "b": Choice(1, 2)}, 4, 4),
    ],
)
def test_a_grid_is_as_full_as_the_budget_allows(space, budget, size):
    points = Proposals(space, "grid", budget=budget, seed=0).ask()
    assert len(points) == size == len({tuple(p.items()) for p in points})


def test_a_grid_holds_the_ends():
    points = Proposals({"l2": LogUniform(1e-4, 1.0)}, "grid", budget=5, seed=0).ask()
    assert [p["l2"] for p in points] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_may_be_off_is_off_about_half_the_time(strategy):
    off = [params["l1"] is None for params in Proposals(SPACE, strategy, budget=48, seed=0).ask()]
    assert 0.25 < statistics.fmean(off) < 0.75


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_off_gets_no_strength_and_optuna_knows_what_was_tried(strategy):
    proposals = Proposals(SPACE, strategy, budget=16, seed=0)
    asked = proposals.ask()
    proposals.tell([0.0] * len(asked))
    for params, trial in zip(asked, proposals._study.trials, strict=True):
        known = {name: value for name, value in params.items() if value is not None}
        assert trial.params == known | {"l1 is on": params["l1"] is not None}


def test_tpe_learns_to_switch_off_and_how_strong_what_is_on_should_be():
    def score(params):
        return 1.0 if params["l1"] is None else abs(math.log10(params["l1"]) + 3)

    late = replay("tpe", budget=64, scores=score)[40:]
    on = [params["l1"] for params in late if params["l1"] is not None]
    assert len(on) > 0.6 * len(late) and statistics.median(abs(math.log10(value) + 3) for value in on) < 0.6
    late = replay("tpe", budget=64, scores=lambda p: 1.0 if p["l1"] else 0.0)[40:]
    assert statistics.fmean(params["l1"] is None for params in late) > 0.7


def test_sobol_fills_the_space_more_evenly_than_chance():
    space = {"lr": Uniform(0, 1), "dropout": Uniform(0, 1), "l1": Maybe(Uniform(0, 1))}

    def spread(strategy, seed):
        points = Proposals(space, strategy, budget=32, seed=seed).ask()
        return qmc.discrepancy(np.array([[p["lr"], p["dropout"]] for p in points])), [p["l1"] is None for p in points]

    for seed in range(3):
        assert spread("sobol", seed)[0] < 0.5 * spread("random", seed)[0]
        assert sum(spread("sobol", seed)[1]) == 16


@pytest.mark.parametrize("strategy", ["tpe", "gp", "sobol", "random"])
def test_where_shapes_are_many_four_configurations_share_one(strategy):
    space = {"lr": LogUniform(1e-3, 1), "width": IntUniform(1, 1000), "depth": Choice(1, 2), "l1": SPACE["l1"]}
    points = Proposals(space, strategy, budget=14, seed=0).ask()
    shapes = [(params["width"], params["depth"]) for params in points]
    assert [shape == shapes[place - place % 4] for place, shape in enumerate(shapes)] == [True] * 14
    assert len(set(shapes)) == 4 and len({params["lr"] for params in points}) == 14
    few = Proposals(space | {"width": Choice(1, 2)}, strategy, budget=14, seed=0).ask()
    shapes = [(params["width"], params["depth"]) for params in few]
    assert any(shape != shapes[place - place % 4] for place, shape in enumerate(shapes))


def test_fewer_may_be_asked_for():
    proposals = Proposals(SPACE, "tpe", budget=20, seed=0)
    assert [len(proposals.ask(most)) for most in (3, None, 0, 1)] == [3, 16, 0, 1]


USUAL = {"l2": 0.01, "l1": None, "dropout": 0.25, "depth": 2, "kind": "b"}
OTHER = USUAL | {"l1": 0.5, "depth": 3}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_first_points_come_first_and_then_what_the_strategy_would_propose(strategy):
    points = Proposals(SPACE, strategy, budget=14, seed=0, first=[USUAL, OTHER]).ask()
    assert points[:2] == [USUAL, OTHER] and all(list(point) == list(SPACE) for point in points)
    alone = Proposals(SPACE, strategy, budget=12, seed=0)
    assert len(points) == 2 + alone.budget
    if strategy in ("sobol", "grid"):
        assert points[2:] == alone.ask()


def test_a_strategy_that_learns_is_told_of_the_first_points():
    asked = []
    for score in (0.0, 9.0):
        proposals = Proposals(SPACE, "tpe", budget=33, seed=0, first=[OTHER])
        batch = proposals.ask()
        proposals.tell([score, *(params["dropout"] for params in batch[1:])])
        asked.append(proposals.ask())
    assert asked[0] != asked[1]


def test_first_points_may_be_all_there_is():
    proposals = Proposals(SPACE, "sobol", budget=1, seed=0, first=[USUAL])
    assert proposals.ask() == [USUAL] and proposals.ask() == []
    fewer = Proposals(SPACE, "sobol", budget=1, seed=0, first=[USUAL, OTHER])
    assert fewer.ask() == [USUAL] and fewer.ask() == [], "others wait for a larger budget"


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ([USUAL | {"dropuot": 0.1}], "first must name what is searched .*got 'dropuot'; did you mean 'dropout'"),
        ([{"l2": 0.01}], "first must give a value for every name of the space, got none for 'l1'"),
        ([USUAL, USUAL | {"l2": 2.0}], r"first must lie in the space: 'l2' in LogUniform\(.*\), got 2.0"),
        ([USUAL | {"l2": math.nan}], "got nan"),
        ([USUAL | {"l2": None}], "'l2' in .*, got None"),
        ([USUAL | {"l1": 5.0}], "'l1' in Maybe.*, got 5.0"),
        ([USUAL | {"dropout": "0.1"}], "got '0.1'"),
        ([USUAL | {"depth": 2.0}], "'depth' in IntUniform.*, got 2.0"),
        ([USUAL | {"depth": True}], "got True"),
        ([USUAL | {"kind": "c"}], r"'kind' in Choice\('a', 'b'\), got 'c'"),
        (USUAL, "first must be a list of points"),
        ([["l2"]], "first must be a list of points"),
    ],
)
def test_first_points_outside_of_the_space_are_refused(first, message):
    with pytest.raises(InputError, match=message):
        Proposals(SPACE, "random", budget=2, seed=0, first=first)


@pytest.mark.parametrize("strategy", ["sobol", "grid", "random"])
def test_points_are_made_when_they_are_asked_for(strategy):
    space = {"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0.0, 0.5), "width": IntUniform(8, 4096)}
    tracemalloc.start()
    proposals = Proposals(space, strategy, budget=1_000_000, seed=0)
    points = proposals.ask(20) + proposals.ask(3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(points) == 23 and peak < 30e6
    assert len(Proposals(space, strategy, budget=20, seed=0).ask()) <= 20


def test_sobol_points_are_those_of_the_sequence():
    space = {"l1": Uniform(0.0, 1.0), "l2": Uniform(0.0, 1.0)}
    points = Proposals(space, "sobol", budget=50, seed=3).ask()
    wanted = qmc.Sobol(2, rng=np.random.default_rng(3)).random_base2(6)[:50]
    assert [[point["l1"], point["l2"]] for point in points] == wanted.tolist()


@pytest.mark.parametrize("name, value", [("budget", 1_000_001), ("budget", 10**30), ("seeds", 1001), ("seeds", 10**9)])
def test_counts_end_somewhere(name, value):
    with pytest.raises(InputError, match=rf"{name} must be a whole number in \[1, "):
        (Limits if name == "budget" else CV)(**{name: value})
