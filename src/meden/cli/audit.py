"""``meden audit``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from meden._checks import InputError, nearest
from meden.audits import audit as inspect
from meden.cli.console import JsonFlag, print_json, stdout


def audit(
    function: Annotated[
        str,
        typer.Argument(
            help="`package.module:function` or `folder/file.py:function`: a function without arguments that returns "
            "(model, optimizer) or (model, optimizer, handles)."
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show what an optimizer and a model really penalise, tensor by tensor, and warn about likely mistakes.

    The function is imported from the current folder and called. Nothing is trained.

    Example:

        meden audit train.py:make_model_and_optimizer
    """  # noqa: D412
    made = _function(function)()
    if not isinstance(made, (tuple, list)) or len(made) not in (2, 3):
        got = f"{len(made)} values" if isinstance(made, (tuple, list)) else type(made).__name__
        raise InputError(f"{function} must return (model, optimizer) or (model, optimizer, handles), got {got}")
    found = inspect(*made)
    if as_json:
        print_json(found.to_dict())
    else:
        stdout.print(str(found))


def _function(name: str) -> Callable[[], Any]:
    place, colon, attribute = name.partition(":")
    if not colon or not place or not attribute:
        raise InputError(f"function must look like package.module:function, got {name!r}")
    module_name = place.removesuffix(".py").replace(os.sep, ".")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"function must be in a module that can be imported from the current folder, got {name!r}: {error}"
        ) from None
    finally:
        sys.path.remove(os.getcwd())
    found = getattr(module, attribute, None)
    if not callable(found):
        hint = nearest(attribute, [known for known in vars(module) if not known.startswith("_")])
        raise InputError(f"function must be one of {module_name}, got {attribute!r}{hint}")
    return found  # type: ignore[no-any-return]
