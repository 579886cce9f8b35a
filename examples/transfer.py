"""How much decay for a large model: found on a small one, transferred, and checked between its neighbours.

    python examples/transfer.py input.txt                       about twenty minutes of one core
    python examples/transfer.py input.txt --width 64 --epochs 5    a quick look

A decoder reads 3 % of a text many times, so that it overfits and decay matters. Rate and decay are chosen at width 32,
where a training takes seconds, over a grid and seeds, on held-out text. `meden.transfer` writes the recipe
for the full width. What it is worth is seen there only: the transferred decay is trained beside a third of it, three
times as much, and the small model's recipe as it stands, on text that has chosen nothing.

The text is https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt (1.1 MB).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import meden
from meden.data import TextFile
from meden.models import Decoder
from meden.penalties import L2
from meden.strengths import epochs_worth, time_constant

CONTEXT, SMALL, HEAD = 64, 32, 16
RATES, DECAYS = (0.01, 0.02), (0.1, 0.3, 1.0, 3.0, 10.0)
RECIPE = meden.Recipe(betas=(0.9, 0.95), batch_size=12, epochs=1, eval_rows=50, schedule="cosine")


class Text(NamedTuple):
    """Parts of a text: what fits, what chooses, and what says what came of it."""

    fit: TextFile
    choose: TextFile
    judge: TextFile


def read(path: Path, share: float) -> Text:
    """Return the first ``share`` of a text, and two twentieths at its end."""
    characters = TextFile(path, CONTEXT, stop=0.9).vocabulary
    part = functools.partial(TextFile, path, CONTEXT, vocabulary=characters)
    return Text(part(stop=share, shifts=True), part(start=0.9, stop=0.95), part(start=0.95))


def make_model(text: Text, width: int) -> Decoder:
    """Return a model with as many heads as its width asks for; its last layer starts at 0, as muP wants it."""
    num_tokens = text.fit.vocabulary.num_tokens
    return Decoder(CONTEXT, num_tokens, width=width, depth=2, num_heads=width // HEAD, num_mixed=0)


def losses(
    text: Text, held_out: TextFile, width: int, recipes: Sequence[meden.Recipe], seeds: int
) -> NDArray[np.float64]:
    """Return the held-out loss at the end of each training, (recipes, seeds)."""

    def loss(recipe: meden.Recipe, seed: int) -> float:
        torch.manual_seed(seed)
        run = meden.fit(make_model(text, width), text.fit, held_out, recipe, seed=seed)
        return run.history[-1].valid["loss"]

    return np.asarray([[loss(recipe, seed) for seed in range(seeds)] for recipe in recipes])


def with_decay(recipe: meden.Recipe, decay: float) -> meden.Recipe:
    return recipe.replace(regularizers=[meden.Regularizer(L2(decay), coupling="decoupled")])


def decay_of(recipe: meden.Recipe) -> float:
    return recipe.regularizers[0].penalty.strength


def best(decays: Sequence[float], found: NDArray[np.float64]) -> tuple[float, float]:
    """Return the best decay, where a parabola over its logarithm is lowest, and the factor of its error over seeds."""

    def lowest(means: NDArray[np.float64]) -> float:
        place = min(max(int(means.argmin()), 1), len(decays) - 2)
        near = slice(place - 1, place + 2)
        curve, slope, _ = np.polyfit(np.log(decays[near]), means[near], 2)
        vertex = -slope / (2 * curve) if curve > 0 else math.log(decays[int(means.argmin())])
        return float(np.clip(vertex, math.log(decays[0]), math.log(decays[-1])))

    each = np.asarray([lowest(one) for one in found.T])
    error = each.std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return math.exp(each.mean()), math.exp(error)


def main(path: Path, *, width: int = 128, epochs: int = 27, seeds: int = 3, share: float = 0.03) -> dict[str, float]:
    """Search the small model, transfer, check; return the mean losses of the check."""
    text = read(path, share)
    steps = -(-len(text.fit) // RECIPE.batch_size)
    base = RECIPE.replace(steps_per_epoch=epochs * steps)
    print(f"{text.fit.size:,} characters, {epochs} times, are worth {epochs_worth(epochs):.1f} times as many")

    grid = list(itertools.product(RATES, DECAYS))
    recipes = [with_decay(base.replace(lr=lr), decay) for lr, decay in grid]
    found = losses(text, text.choose, SMALL, recipes, seeds)
    for (lr, decay), row in zip(grid, found, strict=True):
        print(f"width {SMALL}, lr {lr:g}, decay {decay:4g}: {row.mean():.4f} ± {row.std():.4f}")
    lr = grid[int(found.mean(1).argmin())][0]
    decay, factor = best(DECAYS, found[[rate == lr for rate, _ in grid]])
    tau = time_constant(lr / 2, decay, steps_per_epoch=steps)
    print(f"chosen: lr {lr:g}, decay {decay:.3g} (times or over {factor:.2f}), a time constant of {tau:.2g} epochs\n")

    small = with_decay(base.replace(lr=lr), decay)
    with torch.device("meta"):  # shapes are enough
        here, there = (meden.Scale(model=make_model(text, size)) for size in (SMALL, width))
    large = meden.transfer(small, from_=here, to=there)
    print(f"width {width}: rates of matrices x {dict(large.lr_factors)['weights']:g}, decay {decay_of(large):.3g}")
    tried = {
        "transferred": large,
        "a third of its decay": with_decay(large, decay_of(large) / 3),
        "three times its decay": with_decay(large, decay_of(large) * 3),
        "small recipe as it stands": small,
    }
    checked = losses(text, text.judge, width, list(tried.values()), seeds)
    for name, row in zip(tried, checked, strict=True):
        difference = row - checked[0]
        print(f"{name:26} {row.mean():.4f}   difference {difference.mean():+.4f} ± {difference.std():.4f}")
    return dict(zip(tried, checked.mean(1).tolist(), strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.03, help="of the text that is repeated")
    main(**vars(parser.parse_args()))
