"""The law of a curve: found where it is known, intervals that hold as often as they say, misfits that are told."""

import numpy as np
import pytest
from scipy import optimize, stats

from meden import InputError
from meden.study.power_law import DRAWS, fit_law, noise_of

SIZES = np.geomspace(100, 1600, 8)


def measured(law, seed, *, folds=5, noise=0.01, hard=0.02):
    """Return curves (F, S): noise that falls with the size, and folds that are harder than others."""
    random = np.random.default_rng(seed)
    scatter = noise * (SIZES[0] / SIZES) ** 0.5
    return law(SIZES) + hard * random.normal(size=(folds, 1)) + scatter * random.normal(size=(folds, len(SIZES)))


def with_floor(n):
    return 0.2 + 3 * n**-0.5


def to_zero(n):
    return 2 * n**-0.3


def constant(n):
    return 0.3 + 0 * n


@pytest.mark.parametrize(("law", "form"), [(with_floor, "power"), (to_zero, "power_to_zero"), (constant, "constant")])
def test_the_form_and_its_numbers_are_found(law, form):
    values = measured(law, 0, noise=1e-3, hard=0.0)
    found = fit_law(SIZES, values)
    assert found.form == form and found.weights[form] > 0.5 and sum(found.weights.values()) == pytest.approx(1)
    assert found.misfit > 0.001 and len(found.draws.floor) == len(found.largest) == DRAWS
    if form != "constant":
        assert found.law.exponent == pytest.approx(0.5 if form == "power" else 0.3, abs=0.02)
    np.testing.assert_allclose(found.law.at(SIZES), values.mean(axis=0), atol=2e-3)


def test_it_is_the_weighted_least_squares_of_scipy():
    values = measured(with_floor, 3, noise=0.003)
    found = fit_law(SIZES, values)
    assert found.form == "power"
    n = SIZES[found.begins <= SIZES]
    mean, sd = values.mean(axis=0)[-len(n) :], np.sqrt(found.noise.at(n))
    witness, _ = optimize.curve_fit(lambda n, c, a, b: c + a * n**-b, n, mean, p0=(0.1, 1, 0.4), sigma=sd, maxfev=10000)
    assert [float(part) for part in found.law] == pytest.approx(list(witness), rel=1e-3)


@pytest.mark.parametrize("hard", [0.0, 0.02])
@pytest.mark.parametrize("law", [with_floor, to_zero, constant])
def test_intervals_hold_as_often_as_they_say(law, hard):
    """At twice the rows, of the law itself: 95 % of the time, give or take what 80 curves tell."""
    hits, widths = 0, []
    for seed in range(80):
        found = fit_law(SIZES, measured(law, seed, hard=hard), seed=seed, draws=400)
        low, high = np.quantile(found.draws.at(3200), [0.025, 0.975])
        hits, widths = hits + (low <= law(3200) <= high), [*widths, high - low]
    assert hits >= stats.binom.ppf(0.005, 80, 0.95)
    assert np.median(widths) < 0.12, "and they say something"


def test_they_widen_beyond_what_was_measured():
    found = fit_law(SIZES, measured(with_floor, 0, hard=0.0, noise=0.02))
    width = [np.ptp(np.quantile(found.draws.at(n), [0.025, 0.975])) for n in (1600, 2400, 3200, 6400)]
    assert width == sorted(width) and width[2] > 1.3 * width[0]


def test_a_curve_drawn_is_students_around_the_measured_one():
    """Any linear function of the folds' curves: here the last point, and the fall from the first to the last."""
    values = measured(with_floor, 1)
    found = fit_law(SIZES, values, draws=40_000)
    own = values[:, -1]
    low, high = stats.t.interval(0.95, 4, loc=own.mean(), scale=stats.sem(own))
    assert np.quantile(found.largest, [0.025, 0.975]) == pytest.approx([low, high], abs=0.03 * (high - low))


def test_what_folds_share_is_no_noise():
    found = [noise_of(SIZES, measured(with_floor, seed, noise=0.02, hard=0.2)) for seed in range(60)]
    mean = np.mean([noise.at(SIZES) for noise in found], axis=0)
    np.testing.assert_allclose(mean, 0.02**2 * SIZES[0] / SIZES, rtol=0.35)


def test_no_law_is_said_to_fit_a_curve_that_has_none():
    steps = np.where(SIZES > 400, 0.1, 0.5) + 0.05 * np.sin(np.arange(8))
    assert fit_law(SIZES, measured(lambda _: steps, 0, noise=1e-3)).misfit < 1e-3


def test_losses_below_zero_have_a_floor_below_zero():
    found = fit_law(SIZES, measured(lambda n: with_floor(n) - 1, 0, noise=1e-3))
    assert found.law.floor == pytest.approx(-0.8, abs=0.05)
    with_zero = fit_law(SIZES, measured(lambda n: np.maximum(with_floor(n) - 0.27, 0.0), 0, noise=1e-4, hard=1e-4))
    assert (with_zero.draws.floor >= 0).all()


@pytest.mark.parametrize(
    ("sizes", "values", "said"),
    [
        ([1, 2, 3], np.ones((2, 3)), "sizes must be 4 or more increasing numbers"),
        ([1, 2, 2, 3], np.ones((2, 4)), "sizes must be 4 or more increasing numbers"),
        ([1, 2, 3, 4], np.ones((1, 4)), "values must be finite and have shape .*with at least 2 folds"),
        ([1, 2, 3, 4], np.full((2, 4), np.nan), "values must be finite"),
    ],
)
def test_bad_input(sizes, values, said):
    with pytest.raises(InputError, match=said):
        fit_law(sizes, values)
