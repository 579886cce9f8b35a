"""A language model of Shakespeare's plays, character by character: the loss on all of the last tenth, and a sample.

    python examples/shakespeare.py input.txt            # 4 blocks of 128 numbers, windows of 64: minutes on one core
    python examples/shakespeare.py input.txt --gpu      # 6 blocks of 384, windows of 256

The text is https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt (1.1 MB), and the
sizes are those of A. Karpathy's nanoGPT. The small model sees each character less than twice: what it gains is owed to
the network and to its learning rate, not to regularisation, of which it has none. Windows held out from all over the
first nine tenths show it: their loss is that of the fitting ones, 1.47, and the last tenth has 1.65 nats per character
(three seeds: 1.662, 1.648, 1.647; nanoGPT's settings for a CPU 1.907, 1.904, 1.916). The large one sees each character
80 times, and the last tenth decides which state is kept.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

import meden
from meden.data import Characters, TextFile
from meden.models import Decoder
from meden.penalties import L2
from meden.speed import peak_memory, work_of
from meden.training.scoring import score


def load(path: Path | str, context: int) -> tuple[TextFile, TextFile]:
    """Return the first nine tenths of a text and the last one, whose characters have no say in the vocabulary."""
    train = TextFile(path, context, stop=0.9, shifts=True)
    return train, TextFile(path, context, start=0.9, vocabulary=train.vocabulary)


def loss_of(run: meden.Run, text: TextFile) -> float:
    """Return the mean loss of all characters of a text but its first."""
    found = score(run, text, "classification")
    return math.nan if found is None else found.loss


def small(num_tokens: int) -> Decoder:
    """Return the model for a CPU."""
    return Decoder(64, num_tokens, width=128, depth=4, num_heads=2, activation="swiglu", hidden=192)


def large(num_tokens: int) -> Decoder:
    """Return the model for a GPU."""
    return Decoder(256, num_tokens, width=384, depth=6, num_heads=6, activation="swiglu", dropout=0.2)


HELD_OUT = 0.02
"""Of the windows of the first nine tenths, from all over them: the last tenth is of other plays, which are harder."""
SMALL = meden.Recipe(
    lr=8e-3,
    betas=(0.9, 0.95),
    batch_size=12,
    epochs=2,
    steps_per_epoch=1000,
    schedule={"kind": "linear", "warmup_epochs": 0.1},
    clip_norm=1.0,
    eval_rows=250,
)
LARGE = SMALL.replace(
    lr=2e-3,
    batch_size=64,
    epochs=20,  # 80 passes over the text: here it is regularisation that counts, and the best state is kept
    steps_per_epoch=250,
    eval_rows=200,
    regularizers=[meden.Regularizer(L2(0.1), on="weights", coupling="decoupled")],
    early_stopping={"patience": 6},
)


def sample(model: Decoder, vocabulary: Characters, length: int = 500, *, seed: int = 0) -> str:
    """Return a text that a model writes after the end of a line, one character after the other."""
    device = next(model.parameters()).device
    tokens = torch.from_numpy(vocabulary.encode("\n").astype("int64")).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for _ in range(length):
            logits = model(tokens[None, -model.num_inputs :])[0, -1]
            tokens = torch.cat([tokens, torch.multinomial(logits.softmax(0), 1, generator=generator)])
    return vocabulary.decode(tokens.tolist()[1:])


def main(path: Path, *, gpu: bool = False, steps: int | None = None) -> meden.Run:
    """Train, and print as it goes."""
    recipe = LARGE if gpu else SMALL
    if steps is not None:
        recipe = recipe.replace(epochs=2, steps_per_epoch=max(1, steps // 2))
    train, last = load(path, 256 if gpu else 64)
    fitting, held_out = (train, last) if gpu else train.split(HELD_OUT)
    torch.manual_seed(0)
    model = (large if gpu else small)(train.vocabulary.num_tokens).to("cuda" if gpu else "cpu")
    device = next(model.parameters()).device
    work = work_of(model, torch.zeros(1, train.context, dtype=torch.int64, device=device))
    size = sum(p.numel() for p in model.parameters())
    print(f"{train.size:,} characters of {train.vocabulary.num_tokens} kinds, {size:,} weights")

    def show(record: meden.history.Record) -> None:
        windows = record.step * recipe.batch_size / record.seconds  # evaluation before the newest epoch included
        losses = f"loss {record.train['loss']:.3f}, held out {record.valid['loss']:.3f}"
        speed = f"{windows * train.context:,.0f} tokens a second, {work.share(windows):.0%} of the machine's products"
        print(f"step {record.step:5}: {losses}, {speed}, {(peak_memory(device) or 0) / 1e9:.1f} GB")

    run = meden.fit(model, fitting, held_out, recipe, on_epoch=show)
    print(f"\n{meden.diagnose(run)}")
    print(f"nats per character of the last {last.size:,}: {loss_of(run, last):.4f}")
    if not gpu:
        print("what it is above the loss of held-out windows is the difference between the plays, and no overfitting")
    print(sample(run.model, train.vocabulary))
    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--steps", type=int, help="fewer than usual")
    main(**vars(parser.parse_args()))
