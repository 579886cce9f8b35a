"""A recipe and the software as parts of a report."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch
import yaml

from meden.recipe import Recipe


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe as YAML; one that no file can hold (a tensor, a layer type) as Python writes it."""
    try:
        fields = recipe.to_dict()
    except ValueError as error:
        return f"# cannot be written as YAML: {error}\n{recipe!r}"
    return yaml.safe_dump(fields, sort_keys=False).rstrip() if fields else "{}  # every field at its default"


def versions() -> dict[str, str]:
    """Return what the report was made with."""
    made = f"meden {version('meden')}, torch {torch.__version__}, Python {platform.python_version()}"
    return {"Made with": made}
