"""Do two checkouts of meden train to the same bits? Run this before and after any change that must not change numbers.

    python tools/same_bits.py ../before .                       all cases, about a minute
    python tools/same_bits.py ../before . --only 'fit: *'       those of one entry point
    python tools/same_bits.py ../before . --only '*dropout*'    those whose name says so

The recipes of the contract table (tests/contracts.py) go through fit, fit_many and tune, and a few more cases besides,
by the public names of both checkouts (see train_cases.py), each in a process of its own with one thread of torch.
Weights, curves, losses of held-out rows, proposals and choices are compared bit by bit. Prints a line for each case
that OLD_CHECKOUT has; the exit status is 0 if all are the same, 1 if not, and 2 if nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TRAIN_CASES = Path(__file__).with_name("train_cases.py")
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class UsageError(Exception):
    """What keeps the checkouts from being compared, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old_checkout", metavar="OLD_CHECKOUT", type=Path, help="folder of the code as it was")
    parser.add_argument("new_checkout", metavar="NEW_CHECKOUT", type=Path, help="folder of the code as it is")
    parser.add_argument("--only", metavar="GLOB", default="*", help="cases whose printed name matches")
    asked = parser.parse_args(arguments)
    try:
        old, new = numbers_of(asked.old_checkout, asked.new_checkout, asked.only)
    except UsageError as error:
        print(f"same_bits.py: {error}", file=sys.stderr)
        return 2
    verdicts = {name: verdict(old[name], new.get(name, {})) for name in old}
    for name, found in verdicts.items():
        print(f"same: {name}" if found is None else f"DIFFERENT: {name}: {found}")
    num_same = list(verdicts.values()).count(None)
    print(f"same: {num_same} of {len(verdicts)}")
    return 0 if num_same == len(verdicts) else 1


def numbers_of(old: Path, new: Path, only: str) -> list[dict[str, Any]]:
    """Train the cases in both checkouts, at the same time.

    Raises:
        UsageError: if a folder is no checkout, a checkout cannot be imported, or no case is meant.
    """
    checkouts = {"OLD_CHECKOUT": old, "NEW_CHECKOUT": new}
    for argument, checkout in checkouts.items():
        for file in ("src/meden/__init__.py", "tests/contracts.py"):
            if not (checkout / file).is_file():
                raise UsageError(f"{argument} must be a checkout of meden, with {file}, got {str(checkout)!r}")
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(train, checkouts, checkouts.values(), [only, only]))
    if not found[0]:
        raise UsageError(f"--only must match a case such as 'fit: sgd', got {only!r}")
    return found


def train(argument: str, checkout: Path, only: str) -> dict[str, Any]:
    """Return what `train_cases.py` prints with the meden of a checkout.

    Raises:
        UsageError: if it could not even begin; a case that fails is a result.
    """
    path = os.pathsep.join(str(part.resolve()) for part in (checkout / "src", checkout))
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": path}
    command = [sys.executable, str(TRAIN_CASES), only]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UsageError(f"{argument} cannot be trained: {last}")
    return json.loads(done.stdout)


def verdict(old: dict[str, list[Any]], new: dict[str, list[Any]]) -> str | None:
    """Return the first quantity and value in which two results of a case differ; None if there is none."""
    if errors := old.get("error", []) + new.get("error", []):
        return f"not trained, {errors[0]}"
    for quantity in dict.fromkeys([*old, *new]):
        if quantity not in old or quantity not in new:
            return f"{quantity}, only in the {'old' if quantity in old else 'new'}"
        for before, after in zip(old[quantity], new[quantity], strict=False):
            if repr(before) != repr(after):  # unlike ==, it tells 0.0 from -0.0, and takes nan for nan
                return f"{quantity}, {before!r} / {after!r}"
        if len(old[quantity]) != len(new[quantity]):
            return f"{quantity}, {len(old[quantity])} / {len(new[quantity])} values"
    return None


if __name__ == "__main__":
    sys.exit(main())
