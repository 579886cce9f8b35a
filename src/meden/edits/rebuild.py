"""A smaller model in a folder: its tensors, and what was cut, from which a fresh model is made as small. No pickle."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from meden._checks import InputError
from meden._files import read_json, write_json
from meden.checkpoint import load, model_tensors, restore_tensors, save
from meden.edits.cuts import Cuts
from meden.edits.edit import apply_edits
from meden.edits.surgery import surgery
from meden.params import check_module

CUTS, TENSORS = "compact.json", "model.safetensors"


def save_compact(small: nn.Module, cuts: Cuts, folder: Path) -> None:
    """Write a smaller model to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / TENSORS, model_tensors(small), {})
    write_json(folder / CUTS, cuts.as_values())


def load_compact(model: nn.Module, folder: str | Path) -> nn.Module:
    """Return the smaller model of a folder that :meth:`meden.edits.compact.Compacted.save` wrote.

    Args:
        model: built as the one that was compacted was; its weights do not matter. It is left as it is. Of one that
            was compacted twice it is the one that was smaller already: save each time, and load one after another.
        folder: with ``compact.json`` and ``model.safetensors``.

    Raises:
        InputError: if the model is built in another way, or the folder is not as it was written.

    Example:
        >>> import tempfile, torch, meden
        >>> make = lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> net = make()
        >>> with torch.no_grad():
        ...     net[2].weight[:, 1] = 0
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     meden.compact(net, torch.randn(8, 4)).save(folder)
        ...     small = meden.edits.load_compact(make(), folder)
        >>> small[0]
        Linear(in_features=4, out_features=2, bias=True)
    """
    check_module(model)
    cuts = Cuts.from_values(read_json(Path(folder) / CUTS))
    tensors, _ = load(Path(folder) / TENSORS)
    new = {name: tensors[name].new_zeros(cuts.shapes[name]) for name in cuts.biases}
    small = copy.deepcopy(model)
    apply_edits(small, surgery(small, cuts, new))
    found = {name: tuple(tensor.shape) for name, tensor in model_tensors(small).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != wanted:
        other = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise InputError(
            f"model must be built like the one that was compacted, got differences in {', '.join(other[:3])}"
        )
    restore_tensors(small, tensors)
    return small
