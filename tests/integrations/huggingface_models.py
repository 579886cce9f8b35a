"""Tiny models of transformers from configs, rows for them, and a Trainer that runs on the CPU and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

NUM_ROWS, NUM_TOKENS, VOCABULARY = 24, 6, 50


def rows(num: int = NUM_ROWS, seed: int = 0) -> list[dict[str, Any]]:
    """Sentences of random tokens, good or bad by whether the first is a small number."""
    draws = torch.Generator().manual_seed(seed)
    ids = torch.randint(8, VOCABULARY, (num, NUM_TOKENS), generator=draws)
    mask = torch.ones_like(ids)
    mask[::3, 4:] = 0
    return [
        {"input_ids": one, "attention_mask": seen, "labels": int(one[0] > VOCABULARY // 2)}
        for one, seen in zip(ids, mask, strict=True)
    ]


def batch(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in items[0]}


def bert(dropout: float = 0.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def trainer(model: nn.Module, folder: Path, *, callbacks: Any = (), optimizer: Any = None, **settings: Any) -> Any:
    """Return a Trainer of 6 rows a batch in their order, 4 steps an epoch, at a constant rate."""
    defaults = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 6,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
    }
    args = transformers.TrainingArguments(
        str(folder), use_cpu=True, report_to=[], disable_tqdm=True, **(defaults | settings)
    )
    data, held_out = rows(), rows(12, seed=1)
    made = transformers.Trainer(
        model,
        args,
        train_dataset=data,
        eval_dataset=held_out,
        callbacks=list(callbacks),
        optimizers=(optimizer, None),
    )
    made.remove_callback(transformers.PrinterCallback)
    return made
