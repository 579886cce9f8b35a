"""A language model of characters: meden.fit beside a loop written by hand, and beside nanoGPT's settings.

    python benchmarks/language.py input.txt [--seeds 3] [--steps 2000]

nanogpt: its block (layer norm, GELU, learned positions) and its settings for a CPU, in a loop written by hand.
meden:   the model and the recipe of examples/shakespeare.py, by meden.fit.
loop:    the same model, recipe and rows in a loop written by hand.

4 blocks of 128 numbers, windows of 64, 12 a step, on one thread. The three take turns of 20 steps in one process, so
that whatever else the machine does slows all alike. The loss is that of the whole last tenth of the text, in nats per
character. Seconds are of the processor, of all from model to loss: start-up, steps, evaluations. Tokens per second are
those of the steps alone.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import meden
from meden.data import Source, TextFile, passes
from meden.deadline import Pace
from meden.noise import derive
from meden.optim.schedules import factors
from meden.training import fit
from meden.training.one import Training

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shakespeare import HELD_OUT, SMALL, load, loss_of, small

CONTEXT, BATCH = 64, 12


TURN = 20
"""Steps of one, before another has its turn."""


@dataclass
class Clock:
    """Seconds of the processor that one of them took."""

    steps: float = 0.0
    rest: float = 0.0

    @contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Count what is done here."""
        started = time.process_time()
        yield
        setattr(self, what, getattr(self, what) + time.process_time() - started)


class Block(nn.Module):
    """nanoGPT's, without biases."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv, self.mix = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D)."""
        parts = self.qkv(self.norms[0](x)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.mix(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class NanoGPT(nn.Module):
    """nanoGPT's model, without dropout."""

    def __init__(self, num_tokens: int, width: int = 128, depth: int = 4, num_heads: int = 4) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(num_tokens, width), nn.Embedding(CONTEXT, width)
        self.blocks, self.norm = (
            nn.Sequential(*(Block(width, num_heads) for _ in range(depth))),
            nn.LayerNorm(width, bias=False),
        )
        for name, param in self.named_parameters():
            if param.ndim == 2:
                adds = name.endswith(("mix.weight", "down.weight"))
                nn.init.normal_(param, std=0.02 / math.sqrt(2 * depth) if adds else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (B, T, V)."""
        x = self.blocks(self.tokens(tokens) + self.places.weight[: tokens.shape[1]])
        return F.linear(self.norm(x), self.tokens.weight)


@torch.no_grad()
def whole_loss(model: nn.Module, text: TextFile) -> float:
    """Return the loss of all of a text, as a loop written by hand finds it."""
    model.eval()
    total = num = 0.0
    for x, y in text.read([range(i, min(i + 64, len(text))) for i in range(0, len(text), 64)]):
        total += float(F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum"))
        num += int((y != -100).sum())
    return total / num


def nanogpt(model: nn.Module, tokens: Tensor, steps: int) -> Iterator[None]:
    """The loop of nanoGPT: windows at random places, AdamW with decay of matrices, the rate down to a tenth."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        share = (step - 100) / max(1, steps - 100)
        rate = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + 0.5 * (1 + math.cos(math.pi * share)) * 9e-4
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,))
        windows = tokens[starts[:, None] + torch.arange(CONTEXT + 1)]
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield


def by_hand(model: nn.Module, rows: Source, recipe: meden.Recipe, seed: int, steps: int) -> Iterator[None]:
    """What meden.fit does, written by hand: model, rate, batches."""
    rates = factors(recipe.schedule, epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=0.0, fused=True)
    step = 0
    for number, parts in passes(len(rows), BATCH, seed=seed, epoch=0, steps_per_epoch=steps):
        for x, y in rows.read(parts, derive(seed, "rows", "epoch", number)):
            optimizer.param_groups[0]["lr"] = recipe.lr * rates[step]
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            step += 1
            yield


class Turns(Training):
    """meden's training, in which others have their turns, and whose steps are timed."""

    others: ClassVar[dict[str, Iterator[None]]] = {}
    clocks: ClassVar[dict[str, Clock]] = {}
    away = 0.0
    """Seconds that others took."""

    def _stepped(self) -> None:
        if self.state.step % TURN == 0:
            started = time.process_time()
            for name, loop in self.others.items():
                with self.clocks[name].running("steps"):
                    for _ in islice(loop, TURN):
                        pass
            Turns.away += time.process_time() - started

    def _train_epoch(self, pace: Pace) -> bool:
        away = Turns.away
        with self.clocks["meden"].running("steps"):
            finished = super()._train_epoch(pace)
        self.clocks["meden"].steps -= Turns.away - away
        return finished


def compare(path: Path, seed: int, steps: int) -> None:
    """Train all three, and print what they say."""
    recipe = SMALL.replace(steps_per_epoch=steps // SMALL.epochs)
    train, last = load(path, CONTEXT)
    fitting, held_out = train.split(HELD_OUT)
    vocabulary = train.vocabulary
    text = path.read_text(encoding="utf-8")[: train.size]
    tokens = torch.from_numpy(vocabulary.encode(text).astype("int64"))
    models = {}
    for name, make in (("nanogpt", NanoGPT), ("loop", small), ("meden", small)):
        torch.manual_seed(seed)
        models[name] = make(vocabulary.num_tokens)
    Turns.others = {
        "nanogpt": nanogpt(models["nanogpt"], tokens, steps),
        "loop": by_hand(models["loop"], fitting, recipe, seed, steps),
    }
    Turns.clocks = clocks = {name: Clock() for name in models}
    Turns.away = 0.0

    started = time.process_time()
    run = fit.prepare(models["meden"], fitting, held_out, recipe, seed=seed, make=Turns).run()
    losses = {"meden": loss_of(run, last)}
    clocks["meden"].rest = time.process_time() - started - Turns.away - clocks["meden"].steps
    for name in Turns.others:
        with clocks[name].running("rest"):
            losses[name] = whole_loss(models[name], last)

    for name, clock in clocks.items():
        speed = steps * BATCH * CONTEXT / clock.steps
        took = f"{clock.steps:.1f} + {clock.rest:.1f} CPU s"
        print(f"seed {seed} {name:8} loss {losses[name]:.4f}, {took}, {speed:,.0f} tokens/s")
    own, theirs = (clocks[name].steps + clocks[name].rest for name in ("meden", "nanogpt"))
    speed = clocks["loop"].steps / clocks["meden"].steps
    print(f"seed {seed}: seconds beside nanogpt {own / theirs:.3f}, tokens/s beside loop {speed:.3f}")
    rows = run.history[-1]
    print(f"fitting rows {rows.train['loss']:.4f}, held out among them {rows.valid['loss']:.4f}")
    print(meden.diagnose(run), flush=True)


def main() -> None:
    """Compare them with seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread")
    for seed in range(given.seeds):
        compare(given.path, seed, given.steps)


if __name__ == "__main__":
    main()
