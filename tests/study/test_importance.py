"""Shares against losses whose causes are known; what cannot be told is said, and never raised."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

import meden
from meden._checks import InputError
from meden.space import Choice, IntUniform, LogUniform, Maybe, Uniform, cocktail
from meden.space.names import Space
from meden.study import Results, Study
from meden.study.importance import FEWEST, importance_of
from meden.study.results import make_trial
from tests.report.studies import any_network, study

NAMES: Space = {
    "lr": LogUniform(1e-5, 1e-1),
    "dropout": Uniform(0.0, 0.6),
    "width": IntUniform(8, 64),
    "norm": Choice("batch", "layer", None),
    "mixup": Maybe(LogUniform(0.05, 1.0)),
}
LossOf = Callable[[dict[str, Any], np.random.Generator], float]


def searched(
    loss_of: LossOf,
    space: Space = NAMES,
    *,
    num: int = 64,
    num_folds: int = 2,
    noise: float = 0.0,
    train: float | None = None,
    seeds: int = 1,
) -> Study:
    """A random search whose held-out losses are those given, plus noise of each fold."""
    frame = study(1, space=space, num_folds=num_folds, make_model=any_network)
    random, trials = np.random.default_rng(7), []
    for number in range(num):
        params = {name: dimension.at(random.random()) for name, dimension in space.items()}
        rows = []
        for row in frame.trials[0].rows:
            for seed in range(seeds):
                loss = loss_of(params, random) + noise * random.normal()
                kept = loss if train is None else train
                rows.append(
                    dataclasses.replace(
                        row, configuration=number, seed=seed, params=params, losses=np.full_like(row.losses, loss),
                        train_loss=[kept] * row.num_epochs,
                    )
                )  # fmt: skip
        trials.append(make_trial(number, params, rows, space))
    return dataclasses.replace(frame, trials=trials)


def on(value: float | None) -> float:
    return 1.0 if value is None else value


@pytest.mark.parametrize(
    ("name", "loss_of"),
    [
        ("lr", lambda p, _: abs(math.log10(p["lr"]) + 3)),
        ("dropout", lambda p, _: p["dropout"]),
        ("width", lambda p, _: p["width"] / 64),
        ("norm", lambda p, _: {"batch": 0.2, "layer": 0.9, None: 0.5}[p["norm"]]),
        ("mixup", lambda p, _: 1.0 - math.log(on(p["mixup"]))),
        ("lr", lambda p, _: math.exp(math.exp(2 * abs(math.log10(p["lr"]) + 3)))),
    ],
    ids=["a bowl in the logarithm", "a slope", "a whole number", "an option", "how much", "a long tail"],
)
def test_a_loss_that_depends_on_one_name_is_explained_by_it(name: str, loss_of: LossOf) -> None:
    found = importance_of(searched(loss_of))
    assert found.status == "ok" and found.shares[0].name == name
    assert found.shares[0].share > 0.9 and found.predicted > 0.7
    assert sum(one.share for one in found.shares[1:]) < 0.1


def test_a_low_learning_rate_counts_by_its_decades() -> None:
    """Of the range of numbers, what is below 1e-3 is a hundredth; it is half of what was searched."""
    found = importance_of(searched(lambda p, _: float(p["lr"] < 1e-3)))
    assert found.shares[0].name == "lr" and found.shares[0].share > 0.9


def test_shares_of_a_sum_are_those_of_the_variances_of_its_ranks() -> None:
    space = {name: Uniform(0.0, 1.0) for name in ("lr", "dropout", "label_smoothing")}
    found = importance_of(searched(lambda p, _: 2 * p["lr"] + p["dropout"], space, num=100))
    shares = {one.name: one.share for one in found.shares}
    steps = np.arange(200) + 0.5
    ranks = rankdata(2 * steps[:, None] + steps)
    table = ranks.reshape(200, 200)
    truth = [table.mean(axis=axis).var() / ranks.var() for axis in (1, 0)]
    assert [shares["lr"], shares["dropout"], shares["label_smoothing"]] == pytest.approx([*truth, 0.0], abs=0.08)


def test_held_out_loss_and_gap_are_explained_apart() -> None:
    frame = searched(lambda p, _: p["dropout"], train=0.0)
    trials = [
        dataclasses.replace(
            trial, rows=tuple(dataclasses.replace(row, train_loss=[trial.loss - trial.params["width"]] * 99)
                              for row in trial.rows)
        )
        for trial in frame.trials
    ]  # fmt: skip
    made = dataclasses.replace(frame, trials=trials)
    assert importance_of(made, "loss").shares[0].name == "dropout"
    assert importance_of(made, "gap").shares[0].name == "width"


def test_the_interval_holds_the_share_and_grows_with_the_noise_of_folds() -> None:
    def width(noise: float) -> float:
        first = importance_of(searched(lambda p, _: p["dropout"] + p["lr"], noise=noise)).shares[0]
        assert 0 <= first.low <= first.share <= first.high <= 1
        return first.high - first.low

    assert width(0.0) == 0.0 < 0.02 < width(0.1)


def test_the_same_results_say_the_same_and_the_order_falls() -> None:
    made = searched(lambda p, _: p["dropout"] + p["width"] / 99, noise=0.05, seeds=2)
    found = importance_of(made)
    assert found == importance_of(dataclasses.replace(made))
    shares = [one.share for one in found.shares]
    assert shares == sorted(shares, reverse=True) and len(shares) == len(NAMES)
    assert 0 <= found.rest < 1


def test_the_cocktail_and_many_configurations_are_judged() -> None:
    space = cocktail("classification", meden.models.MLP)
    made = searched(lambda p, _: p["dropout"], space, num=260)
    found = importance_of(made)
    assert found.shares[0].name == "dropout" and found.num_configurations == 260


@pytest.mark.parametrize(
    ("made", "status", "told"),
    [
        (searched(lambda p, _: p["lr"], num=FEWEST - 1), "few", f"{FEWEST - 1} configurations finished"),
        (study(0), "few", "0 configurations finished"),
        (study(30, diverged=tuple(range(28))), "few", "2 configurations finished"),
        (searched(lambda *_: 0.5), "constant", "the same for all 64"),
        (searched(lambda p, _: 0.5 * (1 + 1e-8 * p["dropout"])), "constant", "the same for all 64"),
        (searched(lambda _, random: random.normal()), "noise", "predict 0 %"),
    ],
    ids=["few", "none", "diverged", "constant", "rounding", "noise"],
)
def test_what_cannot_be_told_has_a_reason_and_no_numbers(made: Results, status: str, told: str) -> None:
    for of in ("loss", "gap"):
        found = importance_of(made, of)
        if of == "loss":
            assert found.status == status and told in found.reason and found.reason in found.sentence
        assert found.shares == () and math.isnan(found.rest)


def test_a_training_loss_that_is_not_known_is_left_out_of_the_gap() -> None:
    made = searched(lambda p, _: p["dropout"], train=math.nan)
    assert importance_of(made, "loss").status == "ok" and importance_of(made, "gap").status == "few"


def test_tiny_and_huge_losses_are_judged_alike() -> None:
    shares = [importance_of(searched(lambda p, _, f=f: f * p["dropout"])).shares for f in (1e-30, 1e30)]  # type: ignore[misc]
    assert shares[0] == shares[1] and shares[0]


def test_one_name_with_one_option_explains_nothing() -> None:
    made = searched(lambda p, _: p["dropout"], {"dropout": NAMES["dropout"], "norm": Choice("batch")})
    assert [(one.name, one.share) for one in importance_of(made).shares][1] == ("norm", 0.0)


def test_the_sentence_names_shares_and_cautions() -> None:
    found = importance_of(searched(lambda p, _: 3 * p["dropout"] + p["width"] / 64, num=FEWEST))
    assert found.status == "rough" and f"{FEWEST} configurations finished" in found.sentence
    assert found.sentence.startswith("Held-out loss: dropout explains ")
    assert importance_of(searched(lambda p, _: p["dropout"])).sentence.count("roughly") == 0


def test_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="of must be one of"):
        importance_of(study(1), "accuracy")  # type: ignore[arg-type]
