"""``meden convert``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from meden import strengths
from meden.cli.console import JsonFlag, print_json, stdout


def convert(
    value: Annotated[float, typer.Argument(help="The strength as the source tool takes it.")],
    source: Annotated[str, typer.Option("--from", help="Tool it is written for, such as sklearn.Ridge.")],
    to: Annotated[str, typer.Option("--to", help="Tool to write it for, such as torch.SGD.")],
    n: Annotated[float | None, typer.Option("--n", help="Rows trained on.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Rows of a step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    lr_max: Annotated[float | None, typer.Option("--lr-max", help="Largest learning rate; --lr unless given.")] = None,
    loss: Annotated[
        str, typer.Option("--loss", help=f"What your own code minimises: {', '.join(strengths.LOSSES)}.")
    ] = "half_mse",
    solver: Annotated[str, typer.Option("--solver", help="Of scikit-learn's MLPs: adam, sgd or lbfgs.")] = "adam",
    l1_ratio: Annotated[float | None, typer.Option("--l1-ratio", help="Share of L1, for tools that mix.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a strength of one tool is called in another.

    An unknown tool's error lists all that are known. Torch's and Keras's mean squared error is `--loss mse`.

    Examples:

        meden convert 1.0 --from sklearn.Ridge --to torch.SGD --n 442

        meden convert 0.01 --from torch.AdamW --to adamw_paper --lr 0.001 --lr-max 0.01

        meden convert 0.5 --from sklearn.ElasticNet --to glmnet --l1-ratio 0.3
    """  # noqa: D412
    options = {"n": n, "batch_size": batch_size, "lr": lr, "lr_max": lr_max, "l1_ratio": l1_ratio}
    found = strengths.convert(value, source=source, to=to, loss=loss, solver=solver, **options)  # type: ignore[arg-type]
    fields = {"value": found} if isinstance(found, float) else asdict(found)
    if as_json:
        print_json({"tool": to, **fields})
    elif isinstance(found, float):
        stdout.print(repr(found))
    else:
        stdout.print("  ".join(f"{name}={amount!r}" for name, amount in fields.items()))
