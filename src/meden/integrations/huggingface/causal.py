"""Models of language by a configuration of transformers, for meden's own training; nothing is ever downloaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from meden._checks import InputError, one_line
from meden.integrations.huggingface.modules import as_module

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def causal_model(
    source: Any,
    *,
    pretrained: bool | None = None,
    num_inputs: int | None = None,
    num_tokens: int | None = None,
    **changes: Any,
) -> nn.Module:
    """Return a causal model of transformers as a module from tokens, int64 (B, T), to logits, (B, T, V).

    A function that makes models, for :func:`meden.fit_many` and :func:`meden.tune`, is
    ``functools.partial(causal_model, source)``; settings of the configuration can be searched as ``model_args``.

    Args:
        source: a configuration, such as ``transformers.GPT2Config(n_layer=4)``; or a folder with ``config.json``.
        pretrained: whether the folder's weights are the start, which must be safetensors; None is if it has them. They
            are drawn at random otherwise, by torch's generator.
        num_inputs: tokens T that it must take at once; None does not ask.
        num_tokens: tokens V that it must know; a model without weights is made for as many. None does not ask.
        changes: settings of the configuration in place of its own, such as ``resid_pdrop=0.2``.

    Raises:
        InputError: if there is no such folder, it holds no configuration of a causal model or no weights that were
            asked for, or the configuration has no setting of a name in ``changes``.

    Example:
        >>> import torch
        >>> config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        >>> causal_model(config, n_layer=2)(torch.ones(3, 8, dtype=torch.int64)).shape
        torch.Size([3, 8, 20])
    """
    config = _config(source)
    if unknown := [name for name in changes if callable(getattr(config, name, print))]:
        raise InputError(f"{unknown[0]} must be a setting of {type(config).__name__}, which has none of this name")
    folder = None if isinstance(source, transformers.PretrainedConfig) else Path(source)
    shown = repr(type(config).__name__ if folder is None else str(folder))
    has_weights = folder is not None and any((folder / name).is_file() for name in WEIGHTS)
    starts = has_weights and pretrained is not False
    if num_tokens is not None and not starts:
        changes = {"vocab_size": num_tokens} | changes
    config.update(changes | {"use_cache": False})  # which training has no use for
    for name, what, asked in (
        ("max_position_embeddings", "tokens at once", num_inputs),
        ("vocab_size", "tokens known", num_tokens),
    ):
        has = getattr(config, name, None)
        if asked is not None and has is not None and has < asked:
            raise InputError(f"{shown} must make a model of at least {asked} {what}, got {name} {has}")
    if pretrained and not has_weights:
        raise InputError(f"pretrained must be False or None where there is no {WEIGHTS[0]}, as in {shown}")
    make: Any = transformers.AutoModelForCausalLM
    try:
        if starts:
            model = make.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True)
        else:
            model = make.from_config(config)
    except Exception as error:  # whatever a configuration's values lead to
        raise InputError(f"{shown} is not a causal language model: {one_line(error):.300}") from None
    return as_module(model.float().train(), inputs=["input_ids"])


def _config(source: Any) -> Any:
    """Return a copy of a configuration, or that of a folder."""
    if isinstance(source, transformers.PretrainedConfig):
        return copy.deepcopy(source)
    if not isinstance(source, (str, Path)):
        raise InputError(f"source must be a folder or a configuration of transformers, got {type(source).__name__}")
    if not (Path(source) / CONFIG).is_file():
        what = f"a folder without {CONFIG}" if Path(source).is_dir() else "none there"
        raise InputError(f"source {str(source)!r} must be a folder with {CONFIG}, got {what}; nothing is downloaded")
    try:
        return transformers.AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{str(source)!r} holds no model configuration: {one_line(error):.300}") from None
