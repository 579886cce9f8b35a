"""Statistics of the counter-based generator. Every bound is 5 standard errors or more, the draws are fixed."""

import pytest
import torch
from scipy import stats
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from meden.noise.rng import Draws, derive, keep_mask, normal, random_bits, stream, uniform

S, N = 512, 2048  # steps, positions
SHAPE = torch.Size([N])
RATES = [0.1, 0.5, 0.9]
DERIVED = 3190963497838980362  # of ("study", 3, "fold", 0): results of earlier versions depend on it


def standardised(keys: torch.Tensor, steps: torch.Tensor, p: float) -> torch.Tensor:
    """Masks (S, N) with mean 0 and variance 1 if the generator is right."""
    keep = vmap(lambda k, s: keep_mask(k, s, torch.tensor(p), SHAPE))(keys, steps)
    return (keep - (1 - p)) / (p * (1 - p)) ** 0.5


FAMILIES = {
    "steps": (stream("a", 0).expand(S), torch.arange(S)),
    "distant steps": (stream("a", 0).expand(S), torch.arange(S) * 2**16),
    "keys": (torch.stack([stream(k, "site") for k in range(S)]), torch.zeros(S, dtype=torch.int64)),
    "sites": (torch.stack([stream(0, f"layers.{k}") for k in range(S)]), torch.full((S,), 7)),
    "raw neighbouring keys": (2 * torch.arange(S) + 1, torch.arange(S)),
}


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_have_the_right_frequency_and_no_correlation(family: str, p: float) -> None:
    m = standardised(*FAMILIES[family], p)
    assert abs(m.sum().item()) < 5 * (S * N) ** 0.5  # frequency
    draws, places = m @ m.T / N**0.5, m.T @ m / S**0.5
    for gram, size, count in ((draws, N, S), (places, S, N)):
        diagonal = gram.diagonal() / size**0.5
        assert abs(diagonal.mean().item() - 1) < 0.02
        off = gram[~torch.eye(count, dtype=torch.bool)]
        assert off.abs().max() < 9  # of up to 4 million pairs, all p; torch's own generator reaches 6.4
        assert abs(off.var().item() - 1) < 0.05
    totals = m.sum(1) / N**0.5
    assert abs(totals.var().item() - 1) < 5 * (2 / S) ** 0.5


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_products_of_neighbours_vanish(family: str, p: float) -> None:
    m = standardised(*FAMILIES[family], p)
    products = {
        "two positions": m[:, 1:] * m[:, :-1],
        "two draws": m[1:] * m[:-1],
        "three draws": m[2:] * m[1:-1] * m[:-2],
        "four draws": m[3:] * m[2:-1] * m[1:-2] * m[:-3],
        "a square": m[1:, 1:] * m[:-1, :-1] * m[1:, :-1] * m[:-1, 1:],
    }
    for name, product in products.items():
        assert abs(product.mean().item()) < 5 * (product.var().item() / product.numel()) ** 0.5, name


def test_a_generator_without_mixing_would_fail() -> None:
    m = (torch.arange(S)[:, None] * 40503 + torch.arange(N) * 30011) % 65536 < 32768
    m = 2.0 * m - 1
    assert (m @ m.T / N**0.5).fill_diagonal_(0).abs().max() > 9


def test_runs_of_kept_positions_have_the_geometric_distribution() -> None:
    keep = keep_mask(stream(1), torch.tensor(0), torch.tensor(0.5), torch.Size([1 << 18]))
    changes = torch.nonzero(keep[1:] != keep[:-1]).ravel()
    lengths = torch.bincount((changes[1:] - changes[:-1]).clamp(max=10))[1:]
    expected = lengths.sum() * torch.tensor([0.5**k for k in range(1, 10)] + [0.5**9])
    assert stats.chisquare(lengths, expected * (lengths.sum() / expected.sum())).pvalue > 1e-4


@pytest.mark.parametrize("p", [0.0, 1e-9, 1e-7, 1e-5, 0.25 - 1e-8, 0.5 + 6e-8, 0.999, 1 - 6e-8])
def test_a_mask_is_zero_or_one_for_every_p(p: float) -> None:
    keep = keep_mask(stream(1), torch.tensor(3), torch.tensor(p), torch.Size([1 << 20])).double()
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    assert abs((1 - keep).sum().item() - p * 2**20) <= 5 * (p * (1 - p) * 2**20) ** 0.5 + 1e-3


def test_p_zero_keeps_the_lowest_word_of_all() -> None:
    bits = torch.tensor([-(2**31), 0, 2**31 - 2], dtype=torch.int32)
    threshold = torch.tensor(0.0) - (0.5 + 2.0**-24)  # the arithmetic of keep_mask
    assert torch.add(bits, threshold, alpha=-(2.0**32)).clamp_(0, 1).tolist() == [1, 1, 1]


def test_uniform_and_normal_have_their_distributions() -> None:
    shape = torch.Size([1 << 16])
    u = uniform(stream(2), torch.tensor(0), shape)
    assert 0 < u.min() and u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-4
    z = normal(stream(2), torch.tensor(1), shape)
    assert torch.isfinite(z).all()
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-4


def test_alone_mapped_and_traced_give_the_same_bits() -> None:
    keys, steps = torch.stack([stream(k) for k in range(4)]), torch.arange(4)
    shape = torch.Size([3, 5])
    mapped = vmap(lambda k, s: random_bits(k, s, shape))
    together = mapped(keys, steps)
    assert torch.equal(together, torch.stack([random_bits(k, s, shape) for k, s in zip(keys, steps, strict=True)]))
    assert torch.equal(make_fx(mapped)(keys, steps)(keys.flip(0), steps.flip(0)), together.flip(0))
    assert together.dtype == torch.int32


def test_tracing_first_leaves_no_trace_in_the_cache() -> None:
    shape = torch.Size([3, 1237])
    with torch.inference_mode():
        make_fx(lambda k, s: random_bits(k, s, shape), tracing_mode="real")(stream(0), torch.tensor(0))
    assert torch.equal(vmap(lambda k: random_bits(k, torch.tensor(0), shape))(stream(0)[None])[0],
                       random_bits(stream(0), torch.tensor(0), shape))  # fmt: skip


def test_a_word_does_not_depend_on_the_size_drawn() -> None:
    long = random_bits(stream(0), torch.tensor(0), torch.Size([1000]))
    assert torch.equal(long[:10], random_bits(stream(0), torch.tensor(0), torch.Size([2, 5])).ravel())


def test_compiled_gives_the_same_bits() -> None:
    compiled = torch.compile(lambda k, s: random_bits(k, s, torch.Size([33])), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(stream(0), torch.tensor(2)), random_bits(stream(0), torch.tensor(2), torch.Size([33])))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerator_gives_the_same_bits() -> None:
    shape, step = torch.Size([100_003]), torch.tensor(5)
    there = random_bits(stream(0).cuda(), step.cuda(), shape).cpu()
    assert torch.equal(there, random_bits(stream(0), step, shape))
    p = torch.tensor(0.3)
    there = keep_mask(stream(0).cuda(), step.cuda(), p.cuda(), shape).cpu()
    assert torch.equal(there, keep_mask(stream(0), step, p, shape))


def test_derive_is_the_same_in_every_process_and_tells_types_apart() -> None:
    assert derive("study", 3, "fold", 0) == DERIVED
    assert len({derive(1, 23), derive(12, 3), derive("1", 23), derive(123), derive(), derive("(1, 23)")}) == 6
    assert all(0 <= derive(k) < 2**63 for k in range(100))


def test_draws_of_one_batch_are_independent_of_each_other_and_of_the_next() -> None:
    batches = [Draws(stream(5), torch.tensor(step)) for step in (0, 1)] + [Draws(stream(6), torch.tensor(0))]
    drawn = torch.stack([draws.uniform(1 << 16) for draws in batches for _ in range(4)])
    assert torch.corrcoef(drawn).fill_diagonal_(0.0).abs().max() < 5 / 2**8


def test_draws_under_vmap_are_those_alone() -> None:
    keys = torch.stack([stream(1), stream(2)])
    together = torch.func.vmap(lambda key: Draws(key, torch.tensor(1)).normal(3))(keys)
    alone = torch.stack([Draws(key, torch.tensor(1)).normal(3) for key in keys])
    assert torch.equal(together, alone)
