"""Depth and time schedules by tables of their values."""

import pytest

from meden._checks import InputError
from meden.noise import schedules as s

TABLE = [
    # p(k) = 1 - 1 / (1 + exp(alpha (k - 1))), computed by hand: e = 2.718281828
    (s.logistic_depth(1.0, 4), [0.5, 0.7310585786, 0.8807970780, 0.9525741268]),
    (s.logistic_depth(0.5, 3), [0.5, 0.6224593312, 0.7310585786]),
    (s.logistic_depth(-1.0, 2), [0.5, 0.2689414214]),
    (s.logistic_depth(0.0, 3), [0.5, 0.5, 0.5]),
    (s.constant_depth(0.3, 3), [0.3, 0.3, 0.3]),
    (s.linear_depth(0.4, 4), [0.1, 0.2, 0.3, 0.4]),
    (s.funnel_depth(0.4, 4), [0.4, 0.3, 0.2, 0.1]),
    (s.diamond_depth(0.6, 5), [0.2, 0.4, 0.6, 0.4, 0.2]),
    (s.diamond_depth(0.4, 4), [0.2, 0.4, 0.4, 0.2]),
    (s.diamond_depth(0.4, 1), [0.4]),
    ([s.early_phase(t, 0.4) for t in (0, 0.39, 0.4, 1)], [1, 1, 0, 0]),
    ([s.late_phase(t, 0.4) for t in (0, 0.39, 0.4, 1)], [0, 0, 1, 1]),
    ([s.linear_ramp(t) for t in (0, 0.25, 1)], [0, 0.25, 1]),
    ([s.cosine_ramp(t) for t in (0, 0.25, 0.5, 1)], [0, 0.1464466094, 0.5, 1]),
]


@pytest.mark.parametrize(("got", "expected"), TABLE)
def test_values(got: list[float], expected: list[float]) -> None:
    assert got == pytest.approx(expected, abs=1e-10)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="num_layers"):
        s.linear_depth(0.3, 0)
    with pytest.raises(InputError, match="t must be"):
        s.cosine_ramp(1.5)
    with pytest.raises(InputError, match="alpha"):
        s.logistic_depth(float("inf"), 2)
