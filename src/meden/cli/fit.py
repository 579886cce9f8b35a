"""``meden fit``."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from meden._checks import InputError, check_choice, check_number
from meden.cli.console import (
    Decimal,
    Drop,
    Groups,
    JsonFlag,
    Missing,
    Read,
    RecipeFile,
    Sep,
    Target,
    TaskOption,
    say,
)
from meden.cli.folders import beginning, check_training_folder, held
from meden.cli.found import cut_off
from meden.cli.prepared import check_takes_temperature, maker, prepare, table, three_parts
from meden.cli.rows import show_data, show_first_look
from meden.cli.settings import parse_settings, parse_value
from meden.cli.shown_run import show, showing, speed_note, write
from meden.cli.training_file import CHECKPOINTS, SUFFIXES, TOKENS, TRAINING, TrainingFile
from meden.data import Dataset, Fold
from meden.distributed import Sharding, World, is_joined, joined, num_processes
from meden.distributed.launching import LAUNCHED, Lost, launch
from meden.history import Record
from meden.member import Member
from meden.recipe import Recipe
from meden.run import Run, load_run
from meden.search.checks import check_models
from meden.speed import Work, peak_memory, work_of
from meden.training.calibrate import by_stop_rows
from meden.training.fit_many import fit_many
from meden.training.holdout import TableHoldOut
from meden.training.sharded import Stopped


def fit(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, Parquet or Feather file, or a bundled name (breast_cancer, diabetes, digits, iris, wine); "
            "a text (.txt); or a YAML file with a recipe, `data:` and other options."
        ),
    ],
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the run.")] = Path("runs/fit"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="For a table: `tabular`, `mlp` or `linear`. For a text: `decoder`, `causal_transformer` or the "
            "folder of a transformers model.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Setting to change, such as `lr=0.01`, `l2=1e-3`, `dropout=0.3` or `width=128`. Repeatable."
        ),
    ] = None,
    held_out: Annotated[
        float | None, typer.Option("--held-out", help="Fraction of the rows used only for scoring. Default: 0.2.")
    ] = None,
    groups: Groups = None,
    drop: Drop = None,
    read: Read = None,
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    task: TaskOption = None,
    context: Annotated[int | None, typer.Option("--context", help="Tokens per window of a text. Default: 64.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="A tokenizer.json for a text. Default: characters.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Calibrate the probabilities after training: divide the logits by a temperature, fitted on the "
            "rows of the stop split, if it clearly helps.",
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random numbers. Default: 0.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Number of processes that train the model together.")
    ] = None,
    sharding: Annotated[
        list[str] | None,
        typer.Option(
            "--sharding",
            help="How a model is spread over processes: `strategy=ddp`, `micro_batch_size=4`, `precision=bfloat16`, "
            "`activation_checkpointing=true`, `compile=true`, `save_every=100`. Repeatable.",
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="What starts the processes: `local` (this machine) or `ray` (a cluster).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Address of the Ray cluster. Default: a new local one.")
    ] = None,
    port: Annotated[int, typer.Option("--port", help="Port where local processes meet; 0 picks a free one.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train one network by a recipe on a table or a text, and score it on held-out rows.

    The held-out rows are used only for scoring; 15 % of the others decide when to stop. Of a text (`.txt`), the end is
    held out. The data can also be a YAML file with a recipe and, beside its fields, `data:`, `model:` and other
    options. Large models can be trained by several processes: with --processes, or under torchrun, Slurm or Ray. Such a
    training, and any training on a text, resumes where it stopped when it is started again with the same --out.

    Examples:

        meden fit data.csv --target price --recipe runs/study/recipe.yaml

        meden fit digits --set dropout=0.5 --set epochs=40 --out runs/digits

        meden fit data.csv --target churned --calibrate

        meden fit book.txt --set width=128 --set epochs=10 --context 128 --out runs/book

        meden fit recipe.yaml --processes 2 --sharding precision=bfloat16

        torchrun --nnodes 2 --nproc-per-node 8 -m meden fit recipe.yaml --out /shared/run
    """  # noqa: D412
    given: dict[str, Any] = {
        "target": target,
        "model": model,
        "held_out": held_out,
        "groups": groups,
        "drop": drop,
        "read": read,
        "sep": sep,
        "decimal": decimal,
        "na": na,
        "task": task,
        "context": context,
        "tokenizer": tokenizer,
        "calibrate": calibrate or None,
        "seed": seed,
        "processes": processes,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if recipe is not None:
        given["recipe"] = Recipe.load(recipe).to_dict()
    if sharding:
        given["sharding"] = _sharding(sharding)
    is_file = Path(data).suffix.lower() in SUFFIXES
    asked = TrainingFile.load(Path(data), **given) if is_file else TrainingFile.of({"data": data}, data, **given)
    asked = asked.replace(settings={**asked.settings, **parse_settings(changes or [], "--set", maker(asked))})
    check_choice("--backend", backend, ("local", "ray"))
    if address is not None and backend == "local":
        raise InputError(f"--address must be given only with --backend ray, got {address!r}")
    begin(asked, out, backend=backend, address=address, port=port, as_json=as_json)


def begin(
    asked: TrainingFile, out: Path, *, backend: str = "local", address: str | None = None, port: int = 0, as_json: bool
) -> None:
    """Train as a file says, or go on with it, and write the run.

    Raises:
        InputError: before any compute, if it cannot be done.
    """
    asked.check_meant()
    if num_processes() > 1 or is_joined():
        _train(asked, out, as_json)
        return
    is_one, is_begun = asked.processes == 1 and backend == "local", os.path.isfile(out / TRAINING)
    alone = is_one and asked.kind == "table" and not is_begun
    check_training_folder("--out", out, None if alone else asked)
    if alone:
        _train_alone(asked, out, as_json)
        return
    prepared = prepare(asked)
    prepared.check(asked.processes, asked.sharding)
    with cut_off(out / TRAINING, f"meden resume {out}"), held(out), beginning(out, asked):
        if is_one:
            _train(asked, out, as_json)
            return
        arguments = ["fit", str(out / TRAINING), "--out", str(out), *(["--json"] if as_json else [])]
        if backend == "ray":
            from meden.workers.ray_training import train_on_cluster

            train_on_cluster(arguments, asked.processes, address)
            shown = load_run(out, prepared.make_model)
            assert isinstance(shown, Run)
            show(shown, out, as_json)  # what its processes print is not seen here
            return
        try:
            launch([sys.executable, "-m", "meden", *arguments], asked.processes, port=port)
        except Lost as lost:
            if lost.status > 0:  # it has said why
                raise typer.Exit(lost.status) from None
            raise


def _train_alone(asked: TrainingFile, out: Path, as_json: bool) -> None:
    """Train on a table in one process."""
    check_number("--held-out", asked.held_out, low=0.0, high=1.0, low_open=True, high_open=True)
    make_model, dataset, chosen, model_args = table(asked)
    fold = three_parts(dataset, asked.held_out, asked.seed)
    check_models(make_model, [(chosen, model_args)], dataset, [fold])
    member = Member(chosen, fold, asked.seed, model_args)
    if asked.calibrate:
        check_takes_temperature(TableHoldOut(make_model, member, dataset))
    show_data(dataset)
    show_first_look(dataset, seed=asked.seed)
    with showing(chosen) as report:
        run = fit_many(make_model, [member], dataset, on_epoch=lambda _, record: report(record))[0]
    if asked.calibrate:
        run = _calibrated(run, dataset, fold)
    write(run, out)
    show(run, out, as_json)


def _train(asked: TrainingFile, out: Path, as_json: bool) -> None:
    """Train as one of the processes that there are, which may be one."""
    index = int(os.environ.get("LOCAL_RANK", 0))
    where = torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
    with joined(where) as world:
        told = ""
        if world.is_first and world.size > 1:  # of torchrun; those of our launcher find the file
            told = _refusal(out, asked)
        if told := world.agreed(told):  # before another process writes there
            raise InputError(told)
        starts = world.is_first and world.size > 1 and LAUNCHED not in os.environ  # else who began it has the folder
        with held(out) if starts else nullcontext(), beginning(out, asked) if world.is_first else nullcontext():
            world.barrier()
            run = _trained(asked, out, world)
        if run is not None:
            show(run, out, as_json)


def _refusal(out: Path, asked: TrainingFile) -> str:
    try:
        check_training_folder("--out", out, asked)
    except InputError as error:
        return str(error)
    return ""


def _trained(asked: TrainingFile, out: Path, world: World) -> Run | None:
    """Train as one of the processes; returns the run, which is written, to the first."""
    prepared = prepare(asked, cache=out / TOKENS)
    with showing(prepared.recipe, shown=world.is_first) as report:

        def tell(record: Record) -> None:
            note = speed_note(training.rows_per_second, prepared.row_size, work, peak_memory(world.device))
            report(record, note)

        training = prepared.spread(
            world, asked.sharding, checkpoint=out / CHECKPOINTS, on_epoch=tell if world.is_first else None
        )
        dtype = torch.bfloat16 if asked.sharding.precision == "bfloat16" else None
        work = work_of(training.whole, training.example, dtype) if world.is_first else None
        recipe = prepared.recipe
        passes = (1 if recipe.rdrop is None else 2) * (1 if recipe.sharpness is None else 2)
        if work is not None:
            work = Work(row_flops=work.row_flops * passes, rate=work.rate * world.size)
        if world.is_first and training.state.step:
            say(f"resuming after step {training.state.step}, epoch {training.state.epoch}")
        try:
            run = training.run()
        except Stopped:
            if world.is_first:
                say(f"stopped and saved after step {training.state.step}; continue with: meden resume {out}")
            raise
    if not world.is_first:
        return None
    run = prepared.finished(run)
    if asked.calibrate and isinstance(prepared, TableHoldOut):
        run = _calibrated(run, prepared.dataset, prepared.fold)
    write(run, out)
    for left in (CHECKPOINTS, TOKENS):
        shutil.rmtree(out / left, ignore_errors=True)
    (out / TRAINING).unlink()
    return run


def _calibrated(run: Run, dataset: Dataset, fold: Fold) -> Run:
    """Return the run with a temperature; as it is, and say why, if it takes none: no training is lost by it."""
    try:
        return by_stop_rows(run, dataset, fold)
    except InputError as error:
        say(f"the run was saved without calibration: {error}")
        return run


def _sharding(texts: list[str]) -> Sharding:
    """Return the settings that ``--sharding`` options give."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not name.strip():
            raise InputError(f"--sharding must look like micro_batch_size=4, got {text!r}")
    return Sharding(**{name.strip(): parse_value(value) for name, _, value in pairs})
