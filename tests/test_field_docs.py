"""What a field means is said where people look: in its class's docstring, which `help` and editors show."""

import dataclasses
import importlib
import inspect
import pydoc
import re
from typing import Any

import pytest
from pydantic import BaseModel

import meden
from meden._settings import Settings
from meden.cli.training_file import TrainingFile

ROOMS = ("meden", "meden.augment", "meden.penalties", "meden.search", "meden.space")


def fields(kind: type[Any]) -> list[str]:
    """Return the names of a class's own and inherited fields that its user sees, in their order."""
    if issubclass(kind, BaseModel):
        return list(kind.model_fields)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if not field.name.startswith("_")]
    return list(getattr(kind, "_fields", ()))


def public() -> dict[str, type[Any]]:
    rooms = [importlib.import_module(room) for room in ROOMS]
    named = [getattr(room, name) for room in rooms for name in room.__all__]
    kinds = {kind for kind in [*named, TrainingFile] if isinstance(kind, type) and fields(kind)}
    return {kind.__qualname__: kind for kind in sorted(kinds, key=lambda kind: kind.__qualname__)}


PUBLIC = public()


def explained(kind: type[Any]) -> set[str]:
    """Return the names that the docstrings of a class and of those it is made from explain, one paragraph each."""
    texts = [
        inspect.cleandoc(vars(base).get("__doc__") or "")
        for base in kind.__mro__
        if issubclass(base, kind) or base.__module__.startswith("meden.")
    ]
    sections = [part for text in texts for part in re.findall(r"(?ms)^(?:Args|Attributes):\n(.*?)(?:\n\n|\Z)", text)]
    return {name for part in sections for name in re.findall(r"(?m)^ {4}(\w+): \S", part)}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_field_of_a_public_class_is_explained_in_its_docstring(name: str) -> None:
    assert [field for field in fields(PUBLIC[name]) if field not in explained(PUBLIC[name])] == []


def test_settings_of_all_kinds_are_among_them() -> None:
    made = {kind.__qualname__ for kind in Settings.__subclasses__() if kind.__module__.startswith("meden.")}
    assert made == {name for name, kind in PUBLIC.items() if issubclass(kind, Settings)}


def test_a_field_that_nobody_explained_is_found() -> None:
    class Half(Settings):
        """The untold: one of two.

        Args:
            told: what it is.
        """

        told: int = 0
        untold: int = 0

    assert explained(Half) == {"told"} and fields(Half) == ["told", "untold"]


def test_help_says_what_a_recipe_takes() -> None:
    page = pydoc.render_doc(meden.Recipe, renderer=pydoc.plaintext)
    assert "lr: learning rate, above 0." in page and "momentum of ``sgd`` and ``rmsprop``, in [0, 1)." in page
