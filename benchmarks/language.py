"""A language model of characters: meden.fit beside a loop written by hand, and beside nanoGPT's settings.

    python benchmarks/language.py input.txt [--seeds 3] [--steps 2000] [--only nanogpt meden loop]

nanogpt: its block (layer norm, GELU, learned positions) and its settings for a CPU, in a loop written by hand.
meden:   the model and the recipe of examples/shakespeare.py, by meden.fit.
loop:    the same model, recipe and rows in a loop written by hand.

4 blocks of 128 numbers, windows of 64, 12 a step, on one thread. The loss is that of the whole last tenth of the text,
in nats per character; seconds are of the processor, those of all training and of the evaluation at the end; tokens per
second are those of the training steps alone, evaluation apart. One after the other, seed by seed.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import meden
from meden.data import TextFile, passes
from meden.noise import derive
from meden.optim.schedules import factors
from meden.training.one import Training

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shakespeare import SMALL, load, small

CONTEXT, BATCH = 64, 12


class Result(NamedTuple):
    """What one training gave."""

    loss: float
    """Nats per character of the whole validation text."""
    seconds: float
    """Of the processor."""
    speed: float
    """Tokens per second of training."""
    train_loss: float = math.nan


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


def nanogpt(path: Path, seed: int, steps: int) -> Result:
    """The loop of nanoGPT: windows at random places, AdamW with decay of matrices, the rate down to a tenth."""
    train, valid = load(path, CONTEXT)
    text = path.read_text(encoding="utf-8")
    tokens = torch.from_numpy(train.vocabulary.encode(text[: train.num_tokens]).astype("int64"))
    torch.manual_seed(seed)
    model = NanoGPT(train.vocabulary.num_tokens)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    started = time.process_time()
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
    trained = time.process_time() - started
    found = whole_loss(model, valid)
    return Result(found, time.process_time() - started, steps * BATCH * CONTEXT / trained)


def by_meden(path: Path, seed: int, steps: int) -> Result:
    """examples/shakespeare.py; its evaluation is left out of the tokens per second."""
    train, valid = load(path, CONTEXT)
    torch.manual_seed(seed)
    model = small(train.vocabulary.num_tokens)
    evaluating, spent = Training._record, []

    def timed(training: object) -> object:
        started = time.process_time()
        record = evaluating(training)
        spent.append(time.process_time() - started)
        return record

    Training._record = timed
    started = time.process_time()
    try:
        run = meden.fit(model, train, valid, recipe_of(steps), seed=seed)
    finally:
        Training._record = evaluating
    seconds = time.process_time() - started
    print(meden.diagnose(run), flush=True)
    last = run.history[-1]
    return Result(last.valid["loss"], seconds, steps * BATCH * CONTEXT / (seconds - sum(spent)), last.train["loss"])


def recipe_of(steps: int) -> meden.Recipe:
    """Return the recipe for so many steps."""
    return SMALL.replace(steps_per_epoch=steps // SMALL.epochs)


def by_hand(path: Path, seed: int, steps: int) -> Result:
    """The same, written by hand: model, rate, batches."""
    train, valid = load(path, CONTEXT)
    torch.manual_seed(seed)
    model, recipe = small(train.vocabulary.num_tokens), recipe_of(steps)
    rates = factors(recipe.schedule, epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=0.0, fused=True)
    started = time.process_time()
    step = 0
    while step < steps:
        for number, parts in passes(len(train), BATCH, seed=seed, epoch=0, steps_per_epoch=steps):
            for x, y in train.read(parts, derive(seed, "rows", "epoch", number)):
                optimizer.param_groups[0]["lr"] = recipe.lr * rates[step]
                loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
                optimizer.step()
                step += 1
    trained = time.process_time() - started
    found = whole_loss(model, valid)
    return Result(found, time.process_time() - started, steps * BATCH * CONTEXT / trained)


WAYS: dict[str, Callable[[Path, int, int], Result]] = {"meden": by_meden, "nanogpt": nanogpt, "loop": by_hand}


def main() -> None:
    """Print a line for each training, and what they say together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread")
    for seed in range(given.seeds):
        found = {}
        for name in given.only:
            found[name] = own = WAYS[name](given.path, seed, given.steps)
            print(
                f"seed {seed} {name:8} loss {own.loss:.4f} (fitting rows {own.train_loss:.4f}), "
                f"{own.seconds:6.1f} CPU s, {own.speed:,.0f} tokens/s",
                flush=True,
            )
        if len(found) == len(WAYS):
            print(
                f"seed {seed}: seconds beside nanogpt {found['meden'].seconds / found['nanogpt'].seconds:.3f}, "
                f"tokens/s beside loop {found['meden'].speed / found['loop'].speed:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
