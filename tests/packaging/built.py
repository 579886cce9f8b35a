"""Build what is released, without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(source: Path, out: Path, target: str = "wheel") -> Path:
    """Return the one file that hatchling makes of a checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    (made,) = out.iterdir()
    return made


def sources() -> list[Path]:
    """Return the files of the package as they lie in the checkout."""
    return [path for path in (ROOT / "src" / "meden").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
