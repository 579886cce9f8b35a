"""What ``meden fit`` trains: the data, the model and the recipe that a file or the options name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from meden._checks import InputError, check_choice, check_number
from meden.cli.rows import read_data
from meden.cli.training_file import TrainingFile
from meden.data import Dataset, Fold, holdout
from meden.data.characters import Tokenizer
from meden.data.text_file import TextFile
from meden.member import Member, ModelMaker
from meden.models import CausalTransformer, Decoder
from meden.optim import Schedule
from meden.recipe import Recipe
from meden.report.numbers import plural
from meden.space.names import check_names, configure
from meden.tabular.defaults import MODEL
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up
from meden.training.calibrate import check_calibrates
from meden.training.holdout import HoldOut, TableHoldOut, TextHoldOut

STOP_FRACTION = 0.15
"""Fraction of the rows outside the scored ones that decides when to stop, as in a search."""
TEXT_MODELS: dict[str, ModelMaker] = {"decoder": Decoder, "causal_transformer": CausalTransformer}
"""Language models by name; the first is the default."""


def prepare(asked: TrainingFile, *, cache: Path | None = None) -> HoldOut:
    """Read the data, and return the training that is ready to begin.

    The tokens of a text are kept in the folder ``cache``, or in temporary files.

    Raises:
        InputError: naming what is wrong with the data, the model or the recipe.
    """
    check_number("--held-out", asked.held_out, low=0.0, high=1.0, low_open=True, high_open=True)
    if asked.kind == "table":
        make_model, dataset, recipe, model_args = table(asked)
        fold = three_parts(dataset, asked.held_out, asked.seed)
        made = TableHoldOut(make_model, Member(recipe, fold, asked.seed, model_args), dataset)
        if asked.calibrate:
            check_takes_temperature(made)
        return made
    make_model = maker(asked)
    recipe = Recipe.from_dict(asked.recipe) if asked.recipe else text_recipe()
    recipe, model_args = _configured(asked, recipe)
    if "num_tokens" in model_args:
        raise InputError(
            f"num_tokens must not be given, since the text determines it, got {model_args['num_tokens']!r}"
        )
    path, end = Path(asked.data), 1 - asked.held_out
    middle = end * (1 - STOP_FRACTION)
    own = Path(asked.model or "") / "tokenizer.json"  # of a folder of transformers
    tokenizer = asked.tokenizer or (str(own) if own.is_file() else None)
    known = None if tokenizer is None else Tokenizer(tokenizer)
    fitted = TextFile(path, asked.context, vocabulary=known, stop=middle, shifts=True, cache=cache)
    try:
        stop, scored = (
            TextFile(path, asked.context, vocabulary=fitted.vocabulary, start=start, stop=until, cache=cache)
            for start, until in ((middle, end), (end, 1.0))
        )
    except InputError as error:
        ways = "a longer text, another --held-out or a --tokenizer may help" if known is None else "use a longer text"
        raise InputError(f"{error}; {ways}") from None
    return TextHoldOut(make_model, model_args, recipe, fitted, stop, scored, asked.seed)


def check_takes_temperature(asked: TableHoldOut) -> None:
    """Check that a model can be calibrated once it is trained.

    Raises:
        InputError: before any training, if it cannot.
    """
    model, (x, _), _ = asked.parts()
    check_calibrates(model, x[:2])


def text_recipe() -> Recipe:
    """Return the usual recipe of a model of language."""
    return Recipe(
        optimizer="adamw",
        lr=3e-3,
        betas=(0.9, 0.95),
        epochs=5,
        batch_size=16,
        clip_norm=1.0,
        schedule=Schedule(kind="cosine", warmup_epochs=0.1),
        eval_rows=256,
    )


def maker(asked: TrainingFile) -> ModelMaker:
    """Return what makes the model.

    Raises:
        InputError: if there is none of the name for such data.
    """
    if asked.kind == "text" and asked.model is not None and Path(asked.model).is_dir():
        return of_folder(Path(asked.model))
    makers = TEXT_MODELS if asked.kind == "text" else NETWORKS
    name = asked.model or next(iter(TEXT_MODELS)) if asked.kind == "text" else asked.model or MODEL
    check_choice("--model", name, makers)
    return makers[name]


def of_folder(folder: Path) -> ModelMaker:
    """Return what makes a causal model of transformers by a folder with its ``config.json``.

    Raises:
        InputError: if transformers is not installed.
    """
    try:
        from meden.integrations.huggingface import causal_model
    except ImportError:
        raise InputError("transformers must be installed for one of its models: pip install 'meden[hf]'") from None

    def make(num_inputs: int, num_tokens: int, **changes: Any) -> nn.Module:
        return causal_model(folder, num_inputs=num_inputs, num_tokens=num_tokens, **changes)

    return make


def table(asked: TrainingFile) -> tuple[ModelMaker, Dataset, Recipe, dict[str, Any]]:
    """Return what makes the network, the table, the recipe, and what the network is made with."""
    options = {
        name: getattr(asked, name) for name in ("target", "task", "groups", "drop", "read", "sep", "decimal", "na")
    }
    maker(asked)
    setup = set_up(
        read_data(asked.data, **options),
        model=asked.model or MODEL,
        recipe=Recipe.from_dict(asked.recipe) if asked.recipe else None,
    )
    if asked.calibrate and (setup.data.task != "classification" or setup.data.labels.ndim > 1):
        raise InputError(
            "calibrate must be used for classification with one class per row, got a regression or multi-label target"
        )
    chosen, model_args = _configured(asked, setup.recipe)
    return setup.make_model, setup.data, chosen, dict(model_args)


def _configured(asked: TrainingFile, recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with the settings that are asked for, and those of the model."""
    try:
        check_names(asked.settings, maker(asked))
    except InputError as error:
        raise InputError(f"settings: {error}") from None
    return configure(recipe, asked.settings)


def three_parts(dataset: Dataset, held_out: float, seed: int) -> Fold:
    """Divide the rows into those that train, those that stop and those that score."""
    try:
        training, scored = holdout(dataset, held_out, seed)
        fitting, stop = holdout(dataset.take(training), STOP_FRACTION, seed)
    except InputError:
        what = "groups" if dataset.groups is not None else "of each class" if dataset.classes else "rows"
        raise InputError(
            f"--held-out must leave about 3 {what} or more to train on, to stop by and to score, got {held_out:g} "
            f"of {plural(dataset.num_rows, 'row')}"
        ) from None
    return Fold(training[fitting], training[stop], scored)
