"""A text that is short, and read many times: how much to regularise, found on the text itself.

    python examples/repeated_text.py input.txt                            about ten minutes of one core
    python examples/repeated_text.py input.txt --budget 3 --epochs 3      a quick look

Thirty thousand characters are all there is, and a decoder reads them forty times: without regularisation it learns them
by heart, and the loss on other text rises while the training loss falls. `meden.tune` tries weight decay, dropout and
averages of the weights, by cross-validation over blocks of that text. The last tenth of the file, which nothing here
has seen before, says at the end what was gained; the plain network may stop at its best epoch there, which is more than
a stop split could do for it.

The text is https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt (1.1 MB).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import meden
from meden.data import TextFile
from meden.models import Decoder
from meden.penalties import L2

CONTEXT, STRIDE = 64, 16
"""Characters of a window, and from one window to the next: an epoch reads each character four times."""
RECIPE = meden.Recipe(
    lr=4e-3,
    betas=(0.9, 0.95),
    batch_size=12,
    epochs=10,
    schedule={"kind": "linear", "warmup_epochs": 0.5},
    clip_norm=1.0,
    eval_rows=100,
)
SPACE = {
    "weight_decay": meden.LogUniform(0.1, 10.0),
    "dropout": meden.Uniform(0.0, 0.3),
    "averaging": meden.Choice(None, "ema"),
}
BY_HAND = RECIPE.replace(
    regularizers=[meden.Regularizer(L2(2.0), coupling="decoupled")],
    dropout=0.1,
    averaging=meden.Averaging(decay=0.99),
)
"""Found by looking at the last tenth, as no search may; blocks of the text itself ask for less regularisation."""


class Text(NamedTuple):
    """Windows (n, T) of the text that is repeated, the block (n,) each lies in, and text that judges."""

    x: Tensor
    y: Tensor
    blocks: NDArray[np.int64]
    judge: TextFile


def read(path: Path | str, *, share: float = 0.03, num_blocks: int = 12) -> Text:
    """Return the first ``share`` of the first nine tenths of a text, in windows, and its last tenth.

    Neighbouring windows overlap, and so none crosses from one block to the next: blocks are what may be held out.
    """
    characters = TextFile(path, CONTEXT, stop=0.9).vocabulary
    text = TextFile(path, 1, stop=0.9 * share, vocabulary=characters)
    tokens = torch.cat([x[:, 0] for x, _ in text.read([range(len(text))])])
    if len(tokens) < num_blocks * (CONTEXT + 1):
        raise meden.InputError(f"share must give {num_blocks} blocks a window each, got {len(tokens)} characters")
    blocks = [block.unfold(0, CONTEXT + 1, STRIDE) for block in tokens.tensor_split(num_blocks)]
    windows = torch.cat(blocks)
    numbers = np.repeat(np.arange(num_blocks), [len(block) for block in blocks])
    return Text(windows[:, :-1], windows[:, 1:], numbers, TextFile(path, CONTEXT, start=0.9, vocabulary=characters))


def make_model(num_outputs: int) -> Decoder:
    """Return a decoder of 107,000 weights: three and a half for each character."""
    return Decoder(CONTEXT, num_outputs, width=64, depth=2, num_heads=4)


def search(text: Text, recipe: meden.Recipe, *, budget: int, folds: int = 3, **options: object) -> meden.Study:
    """Search the space by cross-validation over blocks; each fold's stop split, of whole blocks too, stops a run."""
    return meden.tune(
        make_model,
        (text.x, text.y),
        SPACE,
        recipe=recipe.replace(early_stopping={"patience": 3}),
        groups=text.blocks,
        folds=folds,
        budget=budget,
        racing=True,
        **options,
    )


def train(text: Text, recipe: meden.Recipe, seed: int) -> meden.Run:
    """Train on all of the text, and watch the last tenth: it stops nothing and chooses nothing."""
    torch.manual_seed(seed)
    num_tokens = text.judge.vocabulary.num_tokens
    return meden.fit(make_model(num_tokens), (text.x, text.y), text.judge, recipe, seed=seed)


def main(path: Path, *, budget: int = 12, epochs: int = 10, seeds: int = 1, share: float = 0.03) -> dict[str, float]:
    """Search, train, compare; return the mean losses on the last tenth."""
    text = read(path, share=share)
    recipe = RECIPE.replace(epochs=epochs)
    passes = epochs * CONTEXT // STRIDE
    print(f"{len(text.x):,} windows of {CONTEXT} characters in {text.blocks[-1] + 1} blocks, read {passes} times")

    study = search(text, recipe, budget=budget)
    print(f"{study.verdict}\n{meden.diagnose(study)}\n")
    chosen = study.final()[0]
    losses = {
        "plain, at the end": [],
        "plain, at its best epoch": [],
        "chosen": [],
        "decay, dropout and EMA by hand": [],
    }
    for seed in range(seeds):
        plain = train(text, recipe, seed)
        curve = plain.history.column("valid.loss")
        tuned, by_hand = (train(text, own, seed) for own in (chosen, BY_HAND.replace(epochs=epochs)))
        ends = [run.history[-1].valid["loss"] for run in (tuned, by_hand)]
        for own, loss in zip(losses.values(), (curve[-1], min(curve), *ends), strict=True):
            own.append(loss)
    means = {name: float(np.mean(own)) for name, own in losses.items()}
    print("nats per character of the last tenth:")
    for name, loss in means.items():
        print(f"{name:32} {loss:.4f}   {loss - means['plain, at its best epoch']:+.4f}")
    print(f"\nplain: {meden.diagnose(plain)}")
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--budget", type=int, default=12, help="configurations of the search")
    parser.add_argument("--epochs", type=int, default=10, help="of four passes over the text each")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.03, help="of the first nine tenths, that is repeated")
    main(**vars(parser.parse_args()))
