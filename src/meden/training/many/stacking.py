"""Members of equal structure as one stack: one row of parameters each, and back to models.

Legend: ``K`` members, ``P`` trained numbers of one member; ``flat`` is (K, P), and the tensor called ``name`` of all
members is a view of it, (K, *shape).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations  # a parametrised layer has a class of its own

from meden.noise import noise_layers
from meden.optim import Bound, Operand
from meden.params import Selector
from meden.recipe import Recipe
from meden.training.many import stacked_settings


@dataclass
class Layout:
    """Where each parameter lies in ``flat``: those under the same penalties next to each other."""

    columns: dict[str, slice]
    shapes: dict[str, torch.Size]
    turned: frozenset[str]
    """Matrices that lie transposed: batch products read weights (in, out) faster than (out, in)."""

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of a tensor (K, P), (K, *shape) each."""
        return {
            name: shaped(flat[:, cut], self.shapes[name], name in self.turned) for name, cut in self.columns.items()
        }

    def place(self, operand: Operand) -> Tensor:
        """Return where the numbers lie that a penalty sees as one tensor, of its shape."""
        numbers = torch.arange(sum(shape.numel() for shape in self.shapes.values()))[None]
        return operand.pick({name: view[0] for name, view in self.views(numbers).items()})

    def join(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return tensors (K, *shape) as the columns they have in ``flat``, in order."""
        parts = (tensors[name].mT if name in self.turned else tensors[name] for name in self.columns)
        return [part.reshape(len(part), -1) for part in parts]


@dataclass
class Stack(Layout):
    """The tensors of K members; :meth:`keep` drops members that ended."""

    flat: Tensor
    """Trained parameters, (K, P)."""
    rest: dict[str, Tensor]
    """Buffers and frozen parameters, (K, *shape)."""

    @property
    def params(self) -> dict[str, Tensor]:
        """Views of ``flat``, (K, *shape)."""
        return self.views(self.flat)

    def layout(self) -> Layout:
        """Return where the parameters lie, without the tensors."""
        return Layout(self.columns, self.shapes, self.turned)

    def copy(self) -> Stack:
        """Return a copy with tensors of its own."""
        rest = {name: tensor.clone() for name, tensor in self.rest.items()}
        return Stack(self.columns, self.shapes, self.turned, self.flat.clone(), rest)

    def copy_rows(self, other: Stack, rows: Tensor) -> None:
        """Take over the tensors of some members of another stack of the same members."""
        self.flat[rows] = other.flat[rows]
        for name, tensor in other.rest.items():
            self.rest[name][rows] = tensor[rows]

    def keep(self, rows: Tensor) -> None:
        """Keep some members, (K',) positions, in their order."""
        self.flat = self.flat[rows]
        self.rest = {name: tensor[rows] for name, tensor in self.rest.items()}


def structure(model: nn.Module) -> Hashable:
    """Return what two models must share to be stacked: layers with their settings, and the tensors' shapes.

    The level of noise layers is a number per member, not structure.
    """
    noise = set(noise_layers(model).values())
    layers = [
        (name, type_before_parametrizations(m), "" if m in noise else _settings(m)) for name, m in model.named_modules()
    ]
    tensors = [(n, t.shape, t.dtype, t.device, t.requires_grad) for n, t in _tensors(model).items()]
    return tuple(layers), tuple(tensors)


def fixed_bytes(model: nn.Module) -> bytes:
    """Return a digest of what a model does not train: frozen parameters, and buffers but the levels of its noise."""
    levels = {id(buffer) for layer in noise_layers(model).values() for buffer in layer.buffers(recurse=False)}
    digest = hashlib.blake2b()
    for name, tensor in _tensors(model).items():
        if not tensor.requires_grad and id(tensor) not in levels:
            digest.update(f"{name} ".encode())
            digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def recipe_key(recipe: Recipe) -> Hashable:
    """Return what two recipes must share to be trained in one stack: all that is not a number per member."""
    penalties = [
        (stacked_settings.fixed(r.penalty), _selector_key(r.on), r.coupling, r.schedule, r.groups)
        for r in recipe.regularizers
    ]
    augmentations = [stacked_settings.fixed(augmentation) for augmentation in recipe.augment]
    settings = recipe.optimizer, recipe.nesterov, recipe.betas, recipe.alpha, recipe.eps
    cut = recipe.batch_size, recipe.steps_per_epoch
    names = "dropout", "rdrop", "clip_norm", "averaging", "sharpness"
    absent = tuple(getattr(recipe, name) is None for name in names)
    return settings, cut, tuple(penalties), tuple(augmentations), absent, tuple(recipe.lr_factors)


def _selector_key(on: Selector) -> Hashable:
    return on if isinstance(on, (str, int, type)) or callable(on) else tuple(_selector_key(part) for part in on)


def stack(models: Sequence[nn.Module], bound: Sequence[Bound], rated: Mapping[str, str]) -> Stack:
    """Stack models of equal structure.

    The layout is decided by ``bound``, the first one's regularizers, and ``rated``, the selectors of learning rates by
    name.
    """
    first = models[0]
    trained = {name: param for name, param in first.named_parameters() if param.requires_grad}
    under = {name: tuple(name in b.params for b in bound) for name in trained}
    ordered = sorted(trained, key=lambda name: (under[name], rated.get(name, "")), reverse=True)
    columns, start = {}, 0
    for name in ordered:
        columns[name] = slice(start, start := start + trained[name].numel())
    weights = {f"{name}.weight".lstrip(".") for name, module in first.named_modules() if isinstance(module, nn.Linear)}
    layout = Layout(columns, {name: trained[name].shape for name in ordered}, frozenset(weights & trained.keys()))
    tensors = [_tensors(model) for model in models]
    stacked = {name: torch.stack([of[name].detach() for of in tensors]) for name in tensors[0]}
    rest = {name: tensor for name, tensor in stacked.items() if name not in trained}
    return Stack(columns, layout.shapes, layout.turned, torch.cat(layout.join(stacked), dim=1), rest)


def both(one: Stack, other: Stack) -> Stack:
    """Return the members of two stacks of one layout as one stack."""
    rest = {name: torch.cat([tensor, other.rest[name]]) for name, tensor in one.rest.items()}
    return Stack(one.columns, one.shapes, one.turned, torch.cat([one.flat, other.flat]), rest)


def shaped(columns: Tensor, shape: torch.Size, turned: bool) -> Tensor:
    """Return columns (..., n) of ``flat`` as tensors (..., *shape)."""
    outer = columns.shape[:-1]
    return columns.view(*outer, *reversed(shape)).mT if turned else columns.view(*outer, *shape)


@torch.no_grad()
def unstack(model: nn.Module, stacked: Stack, row: int) -> None:
    """Write one member's tensors into its model."""
    values = {name: view[row] for name, view in stacked.params.items()}
    values |= {name: tensor[row] for name, tensor in stacked.rest.items()}
    for name, target in _tensors(model).items():
        target.copy_(values[name])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _settings(module: nn.Module) -> Hashable:
    """Return a layer's plain attributes; tensors and arrays, which may be random, by their content."""
    settings: list[tuple[str, Hashable]] = []
    for name, value in sorted(vars(module).items()):
        if isinstance(value, Tensor | np.ndarray):
            settings.append((name, torch.as_tensor(value).detach().cpu().numpy().tobytes()))
        elif isinstance(value, int | float | str | bool | tuple | list) and name[0] != "_":
            settings.append((name, repr(value)))
    return tuple(settings)
