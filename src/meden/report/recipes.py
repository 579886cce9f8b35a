"""A recipe and the software as parts of a report."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from meden.recipe import Recipe


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe's file, to the letter; one that no file can hold (a tensor, a layer type) as Python writes it."""
    try:
        return recipe.to_yaml()
    except ValueError as error:
        return f"# cannot be written as YAML: {error}\n{recipe!r}"


def versions() -> dict[str, str]:
    """Return what the report was made with."""
    made = f"meden {version('meden')}, torch {torch.__version__}, Python {platform.python_version()}"
    return {"Made with": made}
