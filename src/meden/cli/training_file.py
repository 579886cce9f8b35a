"""What ``meden fit`` was asked to do, as a file that a person can write and any process can read.

It is a recipe with the data, the model and the way to spread the work beside its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field

from meden._checks import InputError, nearest, one_line
from meden._files import FIELD, check_format, versioned, write_whole
from meden._settings import Settings
from meden.distributed import Sharding
from meden.recipe import Recipe
from meden.recipe.yaml_text import PlainDumper, read_yaml

TRAINING, CHECKPOINTS, TOKENS = "training.yaml", "checkpoints", "tokens"
"""Contents of the folder of a run in progress: this file, and two folders."""
SUFFIXES = (".yaml", ".yml")
OF_TABLES, OF_TEXTS = (
    ("target", "groups", "drop", "read", "sep", "decimal", "na", "task", "calibrate"),
    ("context", "tokenizer"),
)
"""Fields that only apply to other data."""
HOW = ("processes", "sharding")
"""Fields that decide how a training is carried out, not its result."""


class TrainingFile(Settings):
    """All that decides what a training does.

    Args:
        data: a table, or a text (``.txt``), or a bundled name; a path is as seen from where the command runs.
        target: column to predict; None is a bundled name's own.
        model: None is the usual one for the data.
        settings: changes of the recipe by name or short name, and arguments of the model.
        held_out: share of the rows that only scores; of a text, the end.
        groups: column of labels of rows that stay together.
        drop: columns to leave out.
        read: how to read columns, such as ``age=number``.
        sep: what separates the fields of the table; None is told from the file.
        decimal: decimal mark; None is told from each column.
        na: texts and numbers that stand for a missing cell; None are the usual ones.
        task: ``classification`` or ``regression``; None infers it from the target.
        context: tokens of a window of a text, 1 or more.
        tokenizer: a ``tokenizer.json``; None are characters.
        calibrate: whether logits are divided by a temperature afterwards, which the rows that stop the run decide.
        seed: of splits, weights, batches and noise, 0 or more.
        processes: processes that train together, 1 or more.
        sharding: how the training is spread over them.
        recipe: fields of the recipe; None is the usual one for model and data.

    Example:
        >>> TrainingFile.of({"data": "digits", "lr": 0.01, "settings": {"width": 32}}, "mine.yaml").recipe
        {'lr': 0.01}
    """

    data: str
    target: str | None = None
    model: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    held_out: float = 0.2
    groups: str | None = None
    drop: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    sep: str | None = None
    decimal: str | None = None
    na: tuple[str, ...] | None = None
    task: str | None = None
    context: int = Field(default=64, ge=1)
    tokenizer: str | None = None
    calibrate: bool = False
    seed: int = Field(default=0, ge=0)
    processes: int = Field(default=1, ge=1)
    sharding: Sharding = Sharding()
    recipe: dict[str, Any] | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any], path: Path | str, **given: Any) -> Self:
        """Return what fields say, those of a recipe among the others; ``given`` ones come before them.

        Raises:
            InputError: for an unknown field, with the nearest name, or a value out of range.
        """
        own = {name: value for name, value in fields.items() if name in cls.model_fields}
        rest = {str(name): value for name, value in fields.items() if name not in cls.model_fields}
        known = {*cls.model_fields, *Recipe.model_fields}
        for name in rest:
            if name not in known:
                raise InputError(
                    f"{str(path)!r} has no field {name!r}{nearest(name, known)} (fields: those of a recipe, and "
                    f"{', '.join(cls.model_fields)})"
                )
        if rest and own.get("recipe"):
            raise InputError(f"{str(path)!r} must give the recipe's fields in one place, got recipe and {min(rest)!r}")
        if rest:
            own["recipe"] = rest
        if own.get("recipe"):
            Recipe.from_dict(own["recipe"])
        own |= given
        if "data" not in own:
            raise InputError(
                f"{str(path)!r} must name the data (data: text.txt), unless they are given on the command line"
            )
        return cls(**own)

    @classmethod
    def load(cls, path: Path, **given: Any) -> Self:
        """Read a file.

        Raises:
            InputError: if it cannot be read, or holds what :meth:`of` refuses.
        """
        try:
            fields = read_yaml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{str(path)!r} cannot be read: {one_line(error)}") from None
        if not isinstance(fields, Mapping):
            raise InputError(f"{str(path)!r} must be a mapping of fields to values, got {fields!r:.80}")
        if FIELD in fields:
            check_format(fields[FIELD], path, oldest=1)
            fields = {name: value for name, value in fields.items() if name != FIELD}
        return cls.of(fields, path, **given)

    def save(self, path: Path) -> None:
        """Write a file that :meth:`load` reads."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        write_whole(path, yaml.dump(versioned(fields), Dumper=PlainDumper, sort_keys=False).encode())

    def anchored(self) -> Self:
        """Return the same with absolute paths, to be read from any folder."""
        paths = {name: getattr(self, name) for name in ("data", "model", "tokenizer")}
        there = {name: str(Path(path).absolute()) for name, path in paths.items() if path and Path(path).exists()}
        return self.replace(**there) if there else self

    def check_meant(self) -> None:
        """Check that what is given means something for the data.

        Raises:
            InputError: naming the first field that does not.
        """
        others = OF_TABLES if self.kind == "text" else OF_TEXTS
        usual = type(self).model_fields
        for name in others:
            if getattr(self, name) != usual[name].default:
                raise InputError(
                    f"{name} must not be given for a {self.kind}, got {getattr(self, name)!r} for {self.data!r}"
                )

    @property
    def kind(self) -> Literal["text", "table"]:
        """What the data are."""
        return "text" if Path(self.data).suffix.lower() in (".txt", ".text", ".md") else "table"
