"""What is recorded: all operations, backward passes included, and nothing that depends on data."""

import subprocess
import sys

import pytest
import torch
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from meden.training.many.replay import Program
from meden.training.many.step import gradient
from meden.training.many.tracing import Products


def rise(w, x):
    """Write a step of gradient ascent into w (K, 3), for x (K, 4, 3)."""
    scale = torch.tensor(2.0)

    def value(w, x):
        values, _ = (x @ w).tanh().max(0)
        return scale * values

    g = gradient(lambda w: vmap(value)(w, x), w)
    w.add_(g)
    return (g,)


def test_a_replay_does_what_the_function_does():
    w, x = torch.randn(2, 3), torch.randn(2, 4, 3)
    program, own, replayed = Program(rise, writes=1), w.clone(), w.clone()
    for _ in range(3):
        (expected,), (g,) = rise(own, x), program(replayed, x)
        torch.testing.assert_close(g, expected)
    torch.testing.assert_close(replayed, own)
    assert not torch.equal(own, w)


def test_tracing_writes_to_nothing():
    w, x = torch.randn(2, 3), torch.randn(2, 4, 3)
    before = w.clone()
    Program(rise, writes=1).trace(w, x)
    assert torch.equal(w, before)


def test_repeated_over_rows_it_is_called_for_each():
    w, xs = torch.randn(2, 3), torch.randn(5, 2, 4, 3)
    own, repeated = w.clone(), w.clone()
    for x in xs:
        rise(own, x)
    Program(rise, writes=1).repeat(repeated, over=xs)
    torch.testing.assert_close(repeated, own)


def test_torchs_own_tracer_records_the_same():
    w, x = torch.randn(2, 3), torch.randn(2, 4, 3)
    program = Program(rise, writes=1)
    traced = make_fx(rise)(w.clone(), x)
    torch.testing.assert_close(program(w.clone(), x)[0], traced(w.clone(), x)[0])


@pytest.mark.parametrize(
    "decide",
    [lambda x: x.sum() > 0, lambda x: torch.equal(x, x + 1), lambda x: int(x.sum()) > 0],
    ids=["a truth", "equality", "a number"],
)
def test_what_depends_on_data_is_refused(decide):
    with pytest.raises(RuntimeError, match="depend on data"):
        Program(lambda x: (x * 2 if decide(x) else x,))(torch.ones(3))


def test_products_are_counted():
    with (products := Products()):
        torch.ones(5, 3) @ torch.ones(3, 2)
        torch.nn.functional.conv1d(torch.ones(1, 2, 6), torch.ones(4, 2, 3))
    assert products.count == 5 * 3 * 2 + 4 * 4 * 2 * 3


def test_a_stack_needs_no_compiler():
    """Importing it would cost more than a second."""
    code = (
        "import sys, meden; members = [meden.Member(meden.Recipe(epochs=1), seed=s) for s in (0, 1)];"
        "meden.fit_many(meden.models.MLP, members, 'iris'); print('torch._dynamo' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]
