"""Tokens: how many are hidden, in which runs, and that padding is never touched."""

from __future__ import annotations

import pytest
import torch

from meden._checks import InputError
from meden.augment import SpanMask, TokenDrop, TokenSwap, span_mask, token_drop, token_swap
from meden.noise import Draws, stream

N, T = 4000, 12


def draws() -> Draws:
    return Draws(stream("text"), torch.tensor(0))


def texts() -> torch.Tensor:
    """Every token another one; rows of 2 to 12, padding in front of every third row."""
    numbers = torch.arange(2, 2 + N * T).reshape(N, T) * (torch.arange(T) < (torch.arange(N) % 11 + 2)[:, None])
    numbers[::3] = numbers[::3].flip(1)
    return numbers


CHANGES = {
    "drop": lambda x, p: token_drop(x, draws(), p=p),
    "span": lambda x, p: span_mask(x, draws(), p=p, span=3),
    "swap": lambda x, p: token_swap(x, draws(), p=p),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_padding_is_never_touched_and_never_comes_in(change: str, p: float) -> None:
    x = texts()
    assert torch.equal(CHANGES[change](x, p) == 0, x == 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("span", [1, 2, 4, 20])
def test_each_place_is_hidden_with_the_same_probability(p: float, span: int) -> None:
    x = texts()
    for hidden in (token_drop(x, draws(), p=p), span_mask(x, draws(), p=p, span=span)):
        assert ((hidden == x) | (hidden == 1)).all()
        for place in range(T):
            real = x[:, place] != 0
            share = (hidden[real, place] == 1).double().mean().item()
            assert share == pytest.approx(p, abs=5 * (p * (1 - p) / int(real.sum())) ** 0.5)


def test_hidden_spans_are_as_long_as_told() -> None:
    hidden = span_mask(torch.full((N, 60), 7), draws(), p=0.05, span=4) == 1
    inner = hidden[:, 8:-8]
    begins = inner[:, 1:] & ~inner[:, :-1]
    lengths = torch.stack([hidden[:, 9 + k : 9 + k + begins.shape[1]][begins] for k in range(4)])
    assert lengths.all()
    lonely = token_drop(torch.full((N, 60), 7), draws(), p=0.05) == 1
    assert (lonely[:, 1:] & lonely[:, :-1]).double().mean() < 0.01 < (hidden[:, 1:] & hidden[:, :-1]).double().mean()


def test_swaps_are_of_neighbours_and_as_frequent_as_told() -> None:
    x = torch.arange(2, 2 + N * T).reshape(N, T)
    moved = token_swap(x, draws(), p=0.3) - x
    assert set(moved.unique().tolist()) == {-1, 0, 1}
    assert torch.equal((x + moved).sort(1).values, x)
    first = moved[:, :-1] == 1
    assert torch.equal(first, moved[:, 1:] == -1)
    for place in range(T - 1):  # half of the rows have a pair that begins here
        assert first[:, place].double().mean().item() == pytest.approx(0.15, abs=5 * (0.15 * 0.85 / N) ** 0.5)


def test_with_probability_one_every_whole_pair_swaps() -> None:
    x = torch.tensor([[5, 6, 7, 8, 0, 0]]).expand(200, 6)
    assert {tuple(row.tolist()) for row in token_swap(x, draws(), p=1.0)} == {(6, 5, 8, 7, 0, 0), (5, 7, 6, 8, 0, 0)}


@pytest.mark.parametrize("augmentation", [TokenDrop(), SpanMask(), TokenSwap()])
def test_what_are_no_tokens_is_refused(augmentation) -> None:
    with pytest.raises(InputError, match=r"must hold token numbers \(integers\) for \w+, got float32"):
        augmentation.check(torch.zeros(4, 5), "classification")
    with pytest.raises(InputError, match=r"must have shape \(n, T\)"):
        augmentation.check(torch.zeros(4, 5, 6, dtype=torch.int64), "classification")


def test_a_span_has_a_length() -> None:
    with pytest.raises(InputError, match="SpanMask span must be a whole number of at least 1, got 0"):
        SpanMask(span=0)
