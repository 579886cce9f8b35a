"""Where a configuration lies at the end of a range that was searched, so that what is best may lie beyond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meden.diagnosis import EdgeOfRange
from meden.report.numbers import number
from meden.space.dimensions import Choice, Dimension, IntUniform, LogUniform, Maybe, Uniform
from meden.study.results import Results, Trial

EDGE = 0.05
"""Share of a range, at either side, that is its end."""
DECADE = 10.0
"""A range on a logarithmic scale is widened by this factor."""


def edges_of(results: Results, trial: Trial) -> Iterator[EdgeOfRange]:
    """Return the searched names whose value lies at an end of its range, in the order of the space.

    Options of a choice have no order, and what is off has no place in a range.
    """
    for name, dimension in results.space.items():
        inner, value = _ordered(dimension), trial.params[name]
        if inner is None or value is None or not isinstance(value, (int, float)):
            continue
        place = inner.position(value)
        if EDGE < place < 1 - EDGE:
            continue
        upper = place >= 0.5
        wider = _wider(inner, upper)
        yield EdgeOfRange(
            name=name,
            value=number(value),
            end="upper" if upper else "lower",
            low=number(inner.at(0.0)),
            high=number(inner.at(1.0)),
            wider="off:" * isinstance(dimension, Maybe) * bool(wider) + wider,
        )


def written(dimension: Dimension) -> str:
    """Return a dimension as ``--search`` takes it.

    Example:
        >>> written(Maybe(LogUniform(1e-4, 1.0))), written(Choice(64, 128))
        ('off:0.0001:1:log', '64,128')
    """
    if isinstance(dimension, Maybe):
        return f"off:{written(dimension.inner)}"
    if isinstance(dimension, Choice):
        return ",".join("none" if option is None else str(option) for option in dimension.options)
    kind = {LogUniform: ":log", IntUniform: ":int"}.get(type(dimension), "")
    return f"{dimension.low:.6g}:{dimension.high:.6g}{kind}"


def _ordered(dimension: Dimension) -> Any:
    inner = dimension.inner if isinstance(dimension, Maybe) else dimension
    return None if isinstance(inner, Choice) else inner


def _wider(inner: LogUniform | Uniform | IntUniform, upper: bool) -> str:
    """Return a range with one end moved out; what begins at 0, or ends at 1, goes no further there."""
    wider: LogUniform | Uniform | IntUniform
    if isinstance(inner, LogUniform):
        wider = LogUniform(inner.low, inner.high * DECADE) if upper else LogUniform(inner.low / DECADE, inner.high)
    elif isinstance(inner, IntUniform):
        wider = IntUniform(inner.low, 2 * inner.high) if upper else IntUniform(max(1, inner.low // 2), inner.high)
    elif upper:  # shares, such as probabilities to drop, stay below 1
        wider = Uniform(inner.low, 2 * inner.high - inner.low if inner.high > 1 else (1 + inner.high) / 2)
    else:
        further = 2 * inner.low - inner.high
        wider = Uniform(further if inner.low < 0 else max(0.0, further), inner.high)
    return "" if wider == inner else written(wider)
