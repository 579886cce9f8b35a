"""Hugging Face: penalties, noise, diagnosis and honest search inside ``transformers.Trainer``.

The Trainer stays the user's. :class:`MedenCallback` attaches penalties and noise and says what stands out at the end;
:func:`trainer_function` lets ``meden.tune`` search with it; :func:`as_module` and :func:`as_pairs` hand a model and its
rows to meden's own training, :func:`causal_model` makes one by its configuration.
"""

from meden.edits import residual_dropout
from meden.integrations.huggingface.callback import MedenCallback
from meden.integrations.huggingface.causal import causal_model
from meden.integrations.huggingface.groups import decay_groups
from meden.integrations.huggingface.jobs import trainer_function
from meden.integrations.huggingface.logs import history_of
from meden.integrations.huggingface.modules import as_module, as_pairs

__all__ = [
    "MedenCallback",
    "as_module",
    "as_pairs",
    "causal_model",
    "decay_groups",
    "history_of",
    "residual_dropout",
    "trainer_function",
]
