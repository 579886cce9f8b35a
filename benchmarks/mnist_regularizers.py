"""Table 9 of the dropout paper: one network on MNIST under nine ways to regularise, strengths chosen, tested once.

    python benchmarks/mnist_regularizers.py                              27 trainings that choose, 18 that are tested
    python benchmarks/mnist_regularizers.py --rows 2000 --epochs 1 --choose-epochs 1 --seeds 1       a try
    python benchmarks/mnist_regularizers.py --report                     the table of what is there

784-1024-1024-2048-10, ReLU. Each way has three settings. They train on all but the last 10,000 training images, which
choose one of them; it is trained again on all 60,000, and the test images are looked at once, at the end. Every
training is `meden.fit` with a recipe: SGD in batches of 100 with the paper's momentum of 0.95, at a rate that falls to
0 (one that is averaged may also end higher). Each is a line of a file; what was killed goes on from its last epoch, and
several processes may work at one file at a time. MNIST is looked for under MEDEN_DATA.

Reference: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, Dropout: a simple way to prevent
neural networks from overfitting, 2014, table 9. Its numbers come after up to a million steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import meden
from meden.noise import Dropout, GaussianDropout
from meden.penalties import L1, L2, KLSparsity, MaxNorm

sys.path.insert(0, str(Path(__file__).parent))

from common.lines import Line, Lines

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIZES = (784, 1024, 1024, 2048)
NUM_HELD_OUT = 10_000
BATCH_SIZE = 100
LATE = 0.75
"""Share of the steps after which L1 sets in."""
SECONDS = 20
"""Between two looks at whether another process has finished what is waited for."""
Rows = tuple[Tensor, Tensor]

RATE = {"lr": 0.03}
HALF, LESS = RATE | {"p": 0.5}, RATE | {"p": 0.3}
"""The paper drops half of the hidden units and a fifth of the inputs; less of it has less to learn in fewer steps."""
RADII = ({"radius": 2.0}, {"radius": 2.0}, {"radius": 1.5})
WAYS: dict[str, tuple[float | None, list[Line]]] = {
    "none": (None, [{"lr": lr} for lr in (0.01, 0.03, 0.1)]),
    "dropout + max-norm": (1.05, [p | c for p, c in zip((HALF, LESS, LESS), RADII, strict=True)]),
    "dropout + L2": (1.25, [HALF | {"l2": 1e-5}, LESS | {"l2": 1e-5}, LESS | {"l2": 5e-5}]),
    "max-norm": (1.35, [RATE | {"radius": radius} for radius in (1.0, 2.0, 3.0)]),
    "L2": (1.62, [RATE | {"l2": l2} for l2 in (1e-5, 3e-5, 1e-4)]),
    "Gaussian dropout + max-norm": (
        None,
        [p | c | {"noise": "gaussian"} for p, c in zip((HALF, LESS, LESS), RADII, strict=True)],
    ),
    "dropout + max-norm + EMA": (
        None,
        [p | {"radius": 2.0, "ema": 0.999, "final": final} for p, final in ((HALF, 0.0), (LESS, 0.0), (LESS, 0.3))],
    ),
    "L2 + late L1": (1.60, [RATE | {"l2": 3e-5, "l1": l1} for l1 in (1e-7, 1e-6, 1e-5)]),
    "L2 + KL sparsity": (1.55, [RATE | {"l2": 3e-5, "kl": kl} for kl in (1e-5, 1e-4, 1e-3)]),
}
"""The paper's test error in %, if it has one, and what may be chosen; in the order in which they are trained."""


def network(p: float = 0.0, noise: str = "dropout") -> nn.Sequential:
    """Return a network whose hidden layers drop with probability ``p``, and its inputs with 0.4 p: the paper's 0.2."""
    drop = {"dropout": Dropout, "gaussian": GaussianDropout}[noise]
    layers: dict[str, nn.Module] = {"noise0": drop(0.4 * p)} if p else {}
    for number, (a, b) in enumerate(pairwise(SIZES), start=1):
        layers |= {f"linear{number}": nn.Linear(a, b), f"relu{number}": nn.ReLU()}
        layers |= {f"noise{number}": drop(p)} if p else {}
    return nn.Sequential(OrderedDict(layers | {"out": nn.Linear(SIZES[-1], 10)}))


def recipe_of(setting: Mapping[str, Any], epochs: int, num_rows: int) -> meden.Recipe:
    """Return how a setting trains."""
    late = meden.StrengthSchedule(kind="jump", start=int(LATE * epochs * -(-num_rows // BATCH_SIZE)))
    penalties: dict[str, Callable[[float], meden.Regularizer]] = {
        "l2": lambda strength: meden.Regularizer(L2(strength)),
        "l1": lambda strength: meden.Regularizer(L1(strength), schedule=late),
        "radius": lambda radius: meden.Regularizer(MaxNorm(radius)),
    }
    return meden.Recipe(
        optimizer="sgd",
        lr=setting["lr"],
        momentum=0.95,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        schedule=meden.Schedule(kind="linear", warmup_epochs=min(1.0, epochs / 5), final=setting.get("final", 0.0)),
        regularizers=[make(setting[name]) for name, make in penalties.items() if name in setting],
        activity=[meden.Activity(KLSparsity(setting["kl"]), on="relu*")] if "kl" in setting else (),
        averaging=meden.Averaging(decay=setting["ema"]) if "ema" in setting else None,
        eval_rows=1000,
    )


def read(folder: Path, num_rows: int | None = None) -> dict[str, Rows]:
    """Return images (n, 784) from 0 to 1 and labels (n,), of "train" and "test"."""
    with np.load(folder / "mnist" / "mnist.npz") as arrays:
        return {
            part: (
                torch.from_numpy(arrays[f"x_{part}"][:num].reshape(-1, 784).astype(np.float32) / 255),
                torch.from_numpy(arrays[f"y_{part}"][:num].astype(np.int64)),
            )
            for part, num in (("train", num_rows), ("test", None))
        }


@torch.no_grad()
def error_of(model: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return the error in % and the loss."""
    device = next(model.parameters()).device
    outputs = torch.cat([model.eval()(x.to(device)).cpu() for x in rows[0].split(1000)])
    wrong = (outputs.argmax(1) != rows[1]).float()
    return 100 * float(wrong.mean()), float(nn.functional.cross_entropy(outputs, rows[1]))


def keys_of(given: argparse.Namespace) -> list[Line]:
    """Return what names each training: those that choose before the first that needs them, seed after seed."""
    keys: list[Line] = []
    for seed in range(given.seeds):
        for way in given.ways:
            fixed = {"way": way, "rows": given.rows, "choose_epochs": given.choose_epochs}
            if seed == 0:
                keys += [fixed | {"stage": "choose", "setting": number} for number in range(len(WAYS[way][1]))]
            keys.append(fixed | {"stage": "test", "epochs": given.epochs, "seed": seed})
    return keys


def chosen(key: Line, lines: Lines) -> int | None:
    """Return the number of the setting that a training is of; None if it is not chosen yet."""
    if key["stage"] == "choose":
        return int(key["setting"])
    tried = lines.find({name: key[name] for name in ("way", "rows", "choose_epochs")} | {"stage": "choose"})
    if len(tried) < len(WAYS[key["way"]][1]):
        return None
    return int(min(tried, key=lambda line: (line["error"], line["loss"]))["setting"])


def train(key: Line, number: int, data: Mapping[str, Rows], device: str, checkpoint: Path) -> Line:
    """Return the line of one training."""
    x, y = data["train"]
    setting, seed = WAYS[key["way"]][1][number], key.get("seed", 0)
    num_fit, held_out = len(x), data["test"]
    if key["stage"] == "choose":
        num_fit = len(x) - min(NUM_HELD_OUT, len(x) // 6)
        held_out = x[num_fit:], y[num_fit:]
    recipe = recipe_of(setting, key.get("epochs", key["choose_epochs"]), num_fit)
    torch.manual_seed(seed)
    model = network(setting.get("p", 0.0), setting.get("noise", "dropout")).to(device)
    started = time.process_time()
    run = meden.fit(model, (x[:num_fit], y[:num_fit]), recipe=recipe, seed=seed, checkpoint=checkpoint)
    spent = time.process_time() - started
    error, loss = error_of(run.model, held_out)
    last = run.history[-1].train
    told = {"error": error, "loss": loss, "train_loss": last["loss"], "train_error": 100 * (1 - last["accuracy"])}
    return key | {"setting": number, **setting} | told | {"status": run.status, "cpu_seconds": round(spent, 1)}


def work(keys: Sequence[Line], lines: Lines, one: Callable[[Line, Path], Line | None]) -> None:
    """Train what has no line yet, until all have one; ``one`` returns None for what has to wait for others."""
    while left := [key for key in keys if not lines.find(key)]:
        progressed = False
        for key in left:
            with lines.claim(key) as checkpoint:
                if checkpoint is None or (line := one(key, checkpoint)) is None:
                    continue
                lines.add(line)
            print(json.dumps(line), flush=True)
            progressed = True
            break  # what comes first may be ready now
        if not progressed:
            time.sleep(SECONDS)


def in_order(errors: Mapping[str, float]) -> str:
    """Say how many pairs of ways, of the mean test errors that are there, lie as the paper's do."""
    both = [(WAYS[way][0], error) for way, error in errors.items() if WAYS[way][0] is not None]
    pairs = [(a[0] - b[0]) * (a[1] - b[1]) for a, b in combinations(both, 2)]
    return f"{sum(product > 0 for product in pairs)} of {len(pairs)} pairs of ways are in the paper's order"


def table(given: argparse.Namespace, lines: Lines) -> list[str]:
    """Return the table of what is there, and how its order is."""
    means: dict[str, float] = {}
    head = ["", "paper", "test error, %", "of each seed", "held out", "train", "chosen", "CPU s"]
    rows = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for way in given.ways:
        paper, settings = WAYS[way]
        own = {"way": way, "rows": given.rows, "choose_epochs": given.choose_epochs}
        tried = lines.find(own | {"stage": "choose"})
        tested = lines.find(own | {"stage": "test", "epochs": given.epochs})
        tested = sorted((line for line in tested if line["seed"] < given.seeds), key=lambda line: line["seed"])
        errors = [line["error"] for line in tested]
        means |= {way: float(np.mean(errors))} if errors else {}
        missing = given.seeds - len(tested)
        held_out = [f"{line['error']:.2f}" for line in sorted(tried, key=lambda line: line["setting"])]
        pick = chosen(own | {"stage": "test"}, lines)
        cells = [
            way,
            f"{paper:.2f}" if paper else "",
            f"{np.mean(errors):.2f}" if errors else "",
            ", ".join([f"{error:.2f}" for error in errors] + [f"{missing} missing"] * bool(missing)),
            ", ".join([*held_out, *["?"] * (len(settings) - len(tried))]),
            f"{np.mean([line['train_error'] for line in tested]):.2f}" if tested else "",
            "" if pick is None else ", ".join(f"{name} {value}" for name, value in settings[pick].items()),
            f"{np.mean([line['cpu_seconds'] for line in tested]):.0f}" if tested else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, in_order(means)]


def parser_of(description: str | None, out: str) -> argparse.ArgumentParser:
    """Return the options that both benchmarks of this network have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with mnist/mnist.npz")
    parser.add_argument("--out", type=Path, default=Path(out), help="a line for each training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="train nothing")
    return parser


def told(rows: list[str], lines: Lines, keys: Sequence[Line]) -> list[str]:
    """Print a table, and what it ran on."""
    spent = sum(line["cpu_seconds"] for line in lines.all())
    left = sum(not lines.find(key) for key in keys)
    print(f"\n{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}")
    print(f"{len(keys) - left} trainings done, {left} left; {spent:.0f} CPU seconds\n")
    print("\n".join(rows))
    return rows


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = parser_of(__doc__, "mnist_regularizers.jsonl")
    parser.add_argument("--epochs", type=int, default=20, help="of what is tested")
    parser.add_argument("--choose-epochs", type=int, default=5, help="of what chooses")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=60_000, help="training images, the first ones")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines, keys = Lines(given.out), keys_of(given)
    if not given.report:
        data = read(given.data, given.rows)

        def one(key: Line, checkpoint: Path) -> Line | None:
            number = chosen(key, lines)
            return None if number is None else train(key, number, data, given.device, checkpoint)

        work(keys, lines, one)
    return told(table(given, lines), lines, keys)


if __name__ == "__main__":
    main()
