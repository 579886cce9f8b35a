"""Text that repeats: what `meden.tune` chooses on the text itself, beside a plain network that may stop at its best.

    python benchmarks/repeated_text.py                              one search, then 3 seeds of each recipe
    python benchmarks/repeated_text.py --budget 2 --epochs 2 --seeds 1 --share 0.01      a try
    python benchmarks/repeated_text.py --report                     the table of what is there

Model, recipe, space and search are those of examples/repeated_text.py: 3 % of the first nine tenths of tiny
Shakespeare, read 40 times. The search is by cross-validation over blocks of that text. Then each recipe trains on all
of it, and the loss is that of the whole last tenth, after each of ten epochs: a plain network is given the lowest of
its own ten, chosen on the very text that judges; the others their last. The search is a study in a folder, which goes
on where it was cut off; each run after it is a line of a file, and runs whose line is there are not done again. The
text is looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import meden

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from repeated_text import BY_HAND, CONTEXT, RECIPE, STRIDE, Text, make_model, read, search, train

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TEXT = DATA / "tinyshakespeare" / "input.txt"
PLAIN = "plain"


def line_of(key: Mapping[str, Any], recipe: meden.Recipe, text: Text) -> dict[str, Any]:
    """Train one recipe, and return the line of it."""
    started = time.process_time()
    run = train(text, recipe, key["seed"])
    curve = run.history.column("valid.loss")
    return dict(key) | {
        "recipe": recipe.to_dict(),
        "losses": curve,
        "train": run.history[-1].train["loss"],
        "status": run.status,
        "findings": [finding.code for finding in meden.diagnose(run).findings],
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def table(lines: Sequence[Mapping[str, Any]], seeds: int) -> list[str]:
    """Return the table of recipes whose runs are complete."""
    rows = ["| recipe | lowest | last | train | beside plain at its lowest | diagnose | CPU s |", "|" + " --- |" * 7]
    own = {name: [line for line in lines if line["name"] == name] for name in dict.fromkeys(o["name"] for o in lines)}
    plain = {line["seed"]: min(line["losses"]) for line in own.get(PLAIN, ())}
    for name, runs in own.items():
        if {run["seed"] for run in runs} != set(range(seeds)):
            rows.append(f"| {name} | not complete |")
            continue
        lowest, last = ([pick(run["losses"]) for run in runs] for pick in (min, lambda losses: losses[-1]))
        told = lowest if name == PLAIN else last
        apart = [loss - plain[run["seed"]] for loss, run in zip(told, runs, strict=True) if run["seed"] in plain]
        spread = f" ± {np.std(apart, ddof=1):.3f}" if len(apart) > 1 else ""
        found = sorted({code for run in runs for code in run["findings"]})
        cells = [
            name,
            *(f"{np.mean(losses):.3f} ({', '.join(f'{loss:.3f}' for loss in losses)})" for losses in (lowest, last)),
            f"{np.mean([run['train'] for run in runs]):.2f}",
            f"{np.mean(apart):+.3f}{spread}",
            ", ".join(found) or "nothing",
            f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def searched(text: Text, recipe: meden.Recipe, given: argparse.Namespace) -> tuple[meden.Study, list[str]]:
    """Return the study, which goes on where it was cut off, and what it says."""
    started = time.process_time()
    study = search(text, recipe, budget=given.budget, study_dir=given.out.with_suffix(".study"))
    seconds = time.process_time() - started
    fold_loss = {name: study.baseline(name).loss for name in ("plain", "plain_stopped")}
    said = [f"search of {given.budget}: {seconds:.0f} CPU seconds here", str(study.verdict), str(meden.diagnose(study))]
    said.append(f"scored blocks: chosen {study.choice.loss:.3f}, {fold_loss}; chosen {study.choice.params}")
    said.append(f"best of all: {study.best.loss:.3f}, {study.best.params}")
    return study, said


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--out", type=Path, default=Path("repeated_text.jsonl"), help="a line for each run")
    parser.add_argument("--budget", type=int, default=12, help="configurations of the search")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs, help="of four passes over the text each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.03, help="of the first nine tenths")
    parser.add_argument("--report", action="store_true", help="train nothing")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text, recipe = read(given.text, share=given.share), RECIPE.replace(epochs=given.epochs)
    fixed = {"budget": given.budget, "epochs": given.epochs, "share": given.share}
    written = given.out.read_text() if given.out.exists() else ""
    if whole := written[: written.rfind("\n") + 1]:
        given.out.write_text(whole)  # without a line that was cut off
    lines = [line for line in map(json.loads, whole.splitlines()) if {name: line[name] for name in fixed} == fixed]
    lines = [line for line in lines if line["seed"] < given.seeds]

    said: list[str] = []
    if not given.report:
        recipes = {PLAIN: recipe, "decay, dropout and EMA by hand": BY_HAND.replace(epochs=given.epochs)}
        study, said = searched(text, recipe, given)
        print("\n".join(said), flush=True)
        recipes["chosen"] = study.final()[0]
        if study.best.number != study.choice.number:
            recipes["lowest in the search"] = study.final("best")[0]
        for seed in range(given.seeds):
            for name, own in recipes.items():
                key = fixed | {"name": name, "seed": seed}
                if any({part: line[part] for part in key} == key for line in lines):
                    continue
                lines.append(line_of(key, own, text))
                with given.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(json.dumps(lines[-1]), flush=True)

    size = sum(p.numel() for p in make_model(text.judge.vocabulary.num_tokens).parameters())
    print(f"\n{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}; {size:,} weights")
    print(f"{len(text.x):,} windows, {given.epochs * CONTEXT // STRIDE} passes; {text.judge.size:,} judge\n")
    rows = table(lines, given.seeds)
    print("\n".join(rows))
    return rows


if __name__ == "__main__":
    main()
