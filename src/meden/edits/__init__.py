"""Changes of a finished model, each with a plan, a proof and an undo."""

from meden.edits.compact import Compacted, compact
from meden.edits.cuts import Cuts
from meden.edits.dropout import own_dropouts, set_dropout, takes_dropout
from meden.edits.edit import Edit, Edits, Undo, apply_edits, replace_module, set_attribute
from meden.edits.noise import insert, remove, retune
from meden.edits.rebuild import load_compact
from meden.edits.residual import residual_dropout
from meden.edits.sparsity import Sparsity, sparsity

__all__ = [
    "Compacted",
    "Cuts",
    "Edit",
    "Edits",
    "Sparsity",
    "Undo",
    "apply_edits",
    "compact",
    "insert",
    "load_compact",
    "own_dropouts",
    "remove",
    "replace_module",
    "residual_dropout",
    "retune",
    "set_attribute",
    "set_dropout",
    "sparsity",
    "takes_dropout",
]
