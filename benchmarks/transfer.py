"""Decay over widths: the best strength at each, and what `meden.transfer` predicts from the smallest.

    python benchmarks/transfer.py                              3 widths x 5 strengths x 3 seeds
    python benchmarks/transfer.py --seeds 1 --steps 100        a try
    python benchmarks/transfer.py --report                     the table of what is there

A decoder of two blocks reads 3 % of a text over and over, so that it overfits and decay matters; the loss is that of
the whole last tenth of the text, in the state at the end of training, without early stopping. A recipe is written for
the smallest width and transferred to the others, which keeps the time constant of the decay; strengths are named after
the smallest width, so that a prediction is right if the best of them is the same at all widths. Beside it stands what
comes of keeping the strength itself when the rate falls with the width. Each run is a line of a file, and runs whose
line is there are not done again. The text is looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import PchipInterpolator

import meden
from meden.data import TextFile
from meden.models import Decoder
from meden.penalties import L2
from meden.strengths import time_constant

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TEXT = DATA / "tinyshakespeare" / "input.txt"
WIDTHS, STRENGTHS = (32, 64, 128), (0.1, 0.3, 1.0, 3.0, 10.0)
HEAD, CONTEXT, DEPTH = 16, 64, 2
NUM_RECORDS = 4
RECIPE = meden.Recipe(
    lr=0.02,
    betas=(0.9, 0.95),
    batch_size=12,
    schedule=meden.Schedule(kind="cosine", warmup_epochs=0.2),
    clip_norm=1.0,
    eval_rows=100,
    epochs=NUM_RECORDS,
)
MEAN_RATE = RECIPE.lr / 2
"""Of a cosine that falls to 0."""


def make_model(width: int, num_tokens: int) -> Decoder:
    """Return a decoder with as many heads as its width asks for; its last layer starts at 0, as muP wants it."""
    return Decoder(CONTEXT, num_tokens, width=width, depth=DEPTH, num_heads=width // HEAD, num_mixed=0)


def recipe_for(width: int, strength: float, steps: int, smallest: int, num_tokens: int) -> meden.Recipe:
    """Return the recipe of the smallest width, written for another."""
    regularizers = [meden.Regularizer(L2(strength), coupling="decoupled")]
    recipe = RECIPE.replace(regularizers=regularizers, steps_per_epoch=max(1, steps // NUM_RECORDS), clip_norm=None)
    with torch.device("meta"):
        here, there = (meden.Scale(model=make_model(one, num_tokens)) for one in (smallest, width))
    return meden.transfer(recipe, from_=here, to=there).replace(clip_norm=RECIPE.clip_norm)  # cuts the first steps only


def read(path: Path, share: float) -> tuple[TextFile, TextFile]:
    """Return the text that is repeated, and the last tenth."""
    characters = TextFile(path, CONTEXT, stop=0.9).vocabulary
    parts = TextFile(path, CONTEXT, stop=share, vocabulary=characters, shifts=True)
    return parts, TextFile(path, CONTEXT, start=0.9, vocabulary=characters)


def train(key: dict[str, Any], texts: tuple[TextFile, TextFile], smallest: int) -> dict[str, Any]:
    """Return the line of one run."""
    num_tokens = texts[0].vocabulary.num_tokens
    recipe = recipe_for(key["width"], key["strength"], key["steps"], smallest, num_tokens)
    torch.manual_seed(key["seed"])
    model = make_model(key["width"], num_tokens)
    started = time.process_time()
    run = meden.fit(model, *texts, recipe, seed=key["seed"])
    losses = run.history.column("valid.loss")
    done = {"loss": losses[-1], "lowest": min(losses), "train": run.history[-1].train["loss"], "status": run.status}
    return key | done | {"cpu_seconds": round(time.process_time() - started, 1), "passes": run.passes}


def best(strengths: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """Return the log of the best strength: the vertex of the parabola through the lowest loss and its neighbours.

    At an end of the strengths it is the end.
    """
    place = int(losses.argmin())
    if place in (0, len(losses) - 1):
        return float(np.log(strengths[place]))
    near = slice(place - 1, place + 2)
    curve, slope, _ = np.polyfit(np.log(strengths[near]), losses[near], 2)
    return float(-slope / (2 * curve))


def interval(values: NDArray[np.float64]) -> float:
    """Return half of the 95 % interval of a mean over seeds; not a number for one seed."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def regret(strengths: NDArray[np.float64], losses: NDArray[np.float64], chosen: float) -> NDArray[np.float64]:
    """Return for each seed what the strength exp(``chosen``) loses against the best of the mean curve, (seeds,)."""
    logs = np.log(strengths)
    fine = np.linspace(logs[0], logs[-1], 400)
    curves = PchipInterpolator(logs, losses, axis=1)
    at = float(fine[curves(fine).mean(0).argmin()])
    return np.asarray(curves(np.clip(chosen, logs[0], logs[-1])) - curves(at))


def regret_cell(strengths: NDArray[np.float64], losses: NDArray[np.float64], chosen: float, growth: float) -> str:
    """Return the strength that is meant, and its regret, which is one at the nearest end where it is outside."""
    found = regret(strengths, losses, chosen)
    inside = strengths[0] <= math.exp(chosen) <= strengths[-1]
    return f"{math.exp(chosen) * growth:.2f}: {found.mean():+.4f} ± {interval(found):.4f}{'' if inside else ' (end)'}"


def table(lines: Sequence[dict[str, Any]], widths: Sequence[int], strengths: Sequence[float], seeds: int) -> list[str]:
    """Return the table, of all widths whose runs are complete."""
    found = {(line["width"], line["strength"], line["seed"]): line["loss"] for line in lines}
    grid, smallest = np.asarray(strengths), widths[0]
    head = ["width", *(f"{s:g}" for s in strengths), "best, of width 32", "strength", "transferred", "kept strength"]
    rows = [f"| {' | '.join(head).replace('width 32', f'width {smallest}')} |", "|" + " --- |" * len(head)]
    predicted = math.nan
    for width in widths:
        wanted = [[(width, strength, seed) for strength in strengths] for seed in range(seeds)]
        if not all(key in found for row in wanted for key in row):
            rows.append(f"| {width} | not complete |")
            continue
        losses = np.asarray([[found[key] for key in row] for row in wanted])
        each = np.asarray([best(grid, one) for one in losses])
        centre, half = float(each.mean()), interval(each)
        predicted = centre if width == smallest else predicted
        low, high = (math.exp(centre + sign * half) for sign in (-1, 1))
        at_end = " (at an end)" if losses.mean(0).argmin() in (0, len(grid) - 1) else ""
        growth = width / smallest
        cells = [
            str(width),
            *(f"{mean:.3f}" for mean in losses.mean(0)),
            f"{math.exp(centre):.2f} [{low:.2f}, {high:.2f}]{at_end}",
            f"{math.exp(centre) * growth:.2f}",
            *(regret_cell(grid, losses, guess, growth) for guess in (predicted, predicted - math.log(growth))),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--out", type=Path, default=Path("transfer.jsonl"), help="a line for each run")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="the first is the smallest")
    parser.add_argument("--strengths", type=float, nargs="+", default=list(STRENGTHS), help="at the smallest width")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.03, help="of the text")
    parser.add_argument("--report", action="store_true", help="train nothing")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    texts = read(given.text, given.share)
    fixed = {"steps": given.steps, "share": given.share, "smallest": given.widths[0]}
    keys = [
        {"width": width, "strength": strength, "seed": seed} | fixed
        for seed in range(given.seeds)
        for width in given.widths
        for strength in given.strengths
    ]
    text = given.out.read_text() if given.out.exists() else ""
    if whole := text[: text.rfind("\n") + 1]:
        given.out.write_text(whole)  # without a line that was cut off
    lines = [line for line in map(json.loads, whole.splitlines()) if {n: line[n] for n in keys[0]} in keys]
    done = [{name: line[name] for name in keys[0]} for line in lines]
    for key in [] if given.report else [key for key in keys if key not in done]:
        line = train(key, texts, given.widths[0])
        lines.append(line)
        with given.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    steps = -(-len(texts[0]) // RECIPE.batch_size)
    print(f"\n{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}")
    print(f"{given.steps} steps, {given.steps / steps:.0f} passes over {texts[0].size:,} characters; ", end="")
    print(f"{sum(line['cpu_seconds'] for line in lines):.0f} CPU seconds")
    constants = [time_constant(MEAN_RATE, s, steps_per_epoch=steps) for s in given.strengths]
    print(f"time constants of the strengths: {', '.join(f'{constant:.2g}' for constant in constants)} passes\n")
    rows = table(lines, given.widths, given.strengths, given.seeds)
    print("\n".join(rows))
    return rows


if __name__ == "__main__":
    main()
