"""``meden convert``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from meden import strengths
from meden.cli.console import JsonFlag, print_json, stdout


def convert(
    value: Annotated[float, typer.Argument(help="Strength in the source tool's convention.")],
    source: Annotated[str, typer.Option("--from", help="Tool to convert from, such as sklearn.Ridge.")],
    to: Annotated[str, typer.Option("--to", help="Tool to convert to, such as torch.SGD.")],
    n: Annotated[float | None, typer.Option("--n", help="Number of training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Number of rows per step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    lr_max: Annotated[float | None, typer.Option("--lr-max", help="Largest learning rate. Default: --lr.")] = None,
    loss: Annotated[
        str, typer.Option("--loss", help=f"Loss that your own code minimises: {', '.join(strengths.LOSSES)}.")
    ] = "half_mse",
    solver: Annotated[
        str, typer.Option("--solver", help="Solver of scikit-learn's MLPs: adam, sgd or lbfgs.")
    ] = "adam",
    l1_ratio: Annotated[
        float | None, typer.Option("--l1-ratio", help="Share of L1, for tools that mix L1 and L2.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Convert a regularisation strength from one tool's convention to another's.

    The error message for an unknown tool lists all known ones. The mean squared error of torch and Keras is `--loss
    mse`.

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
