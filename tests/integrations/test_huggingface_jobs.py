"""A Trainer as the training function of a search, beyond what all trainer functions promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import meden
from meden._checks import InputError
from meden.penalties import L1, L2, PullTo
from tests.integrations.jobs import NUM_ROWS, SCORE, Killed, job_of, run

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
import transformers

from meden.integrations.huggingface import MedenCallback, trainer_function
from tests.integrations.huggingface_models import VOCABULARY, batch, bert, rows

DATA, TRAINER = rows(NUM_ROWS), transformers.Trainer
LABELS = np.array([row["labels"] for row in DATA])


def make_trainer(train_dataset: Any, eval_dataset: Any, lr: float = 0.01, model: Any = None) -> Any:
    """Return a Trainer with a strength schedule, starting weights and dropout, and rows in random order."""
    args = transformers.TrainingArguments("unused", learning_rate=lr, per_device_train_batch_size=10, use_cpu=True)
    regularizers = [
        meden.Regularizer(L1(0.05), on="bert.encoder*", schedule=meden.StrengthSchedule(end=8)),
        meden.Regularizer(PullTo(L2(1.0)), on="bert.embeddings*"),
    ]
    callbacks = [MedenCallback(regularizers, diagnose=False)] if model is None else []
    data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
    return transformers.Trainer(model or bert(dropout=0.2), args, **data, callbacks=callbacks)


def trained(home: Any, make: Any = make_trainer, data: Any = DATA, *, row_losses: bool = False, **told: Any) -> Any:
    """Return what the function returns in a job."""
    return run(trainer_function(make, data, row_losses=row_losses), job_of(home, **told))


def test_a_checkpoint_that_was_not_written_to_its_end_is_left_out(tmp_path):
    """With a schedule, starting weights and dropout; the one before is gone on from, or none."""
    wanted = trained(tmp_path / "whole")["logits"]
    with pytest.raises(Killed):
        trained(tmp_path / "cut", dies_at=3)
    (last,) = (tmp_path / "cut" / "checkpoint").iterdir()
    (last / "meden.safetensors").unlink()
    assert np.array_equal(trained(tmp_path / "cut")["logits"], wanted)


def test_short_names_join_the_penalties_of_the_trainers_own_callback(tmp_path):
    made = []

    def make(*data, **parameters):
        made.append(make_trainer(*data, **parameters))
        return made[-1]

    trained(tmp_path, make, params={"l1": 0.3, "batch_size": 15}, epochs=1)
    (callback,) = (c for c in made[0].callback_handler.callbacks if isinstance(c, MedenCallback))
    assert [b.label for b in callback.handle.bound] == ["L1(bert.encoder*)", "PullTo(bert.embeddings*)", "L1(weights)"]
    assert made[0].state.global_step == 2  # of 15 rows each


def test_what_is_no_trainer_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must return a transformers\.Trainer, got str"):
        trained(tmp_path, lambda *_: "trainer")


def test_labels_of_a_name_that_the_trainer_does_not_know_are_told(tmp_path):
    class Net(torch.nn.Linear):
        def forward(self, x, target):
            logits = super().forward(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, target), "logits": logits}

    data = [{"x": torch.zeros(3), "target": row["labels"]} for row in DATA]
    with pytest.raises(InputError, match=r"must return a Trainer that evaluates a loss.*label_names"):
        trained(tmp_path, lambda *data: make_trainer(*data, model=Net(3, 2)), data)


def test_a_row_that_scores_is_not_read_before(tmp_path):
    row = int(SCORE[2])

    def leaks(train_dataset, eval_dataset):
        return make_trainer(torch.utils.data.Subset(train_dataset.dataset, [row]), eval_dataset)

    with pytest.raises(InputError, match=f"must not read row {row} before"):
        trained(tmp_path, leaks)


def test_numbers_are_predictions(tmp_path):
    data = [row | {"labels": torch.tensor(float(row["labels"]))} for row in DATA]

    def make(*data):
        config = bert().config.to_dict() | {"id2label": {0: "number"}, "label2id": {"number": 0}}
        return make_trainer(*data, model=transformers.BertForSequenceClassification(transformers.BertConfig(**config)))

    assert trained(tmp_path, make, data, epochs=1)["predictions"].shape == (15,)


def language_model(train_dataset: Any, eval_dataset: Any) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=8,
    )  # fmt: skip
    args = transformers.TrainingArguments("unused", use_cpu=True)
    model = transformers.LlamaForCausalLM(config)
    return transformers.Trainer(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset)


def test_a_language_model_is_scored_by_the_loss_of_each_row(tmp_path):
    data = [row | {"labels": row["input_ids"]} for row in DATA]
    made = []

    def make(*arguments):
        made.append(language_model(*arguments))
        return made[-1]

    losses = trained(tmp_path, make, data, row_losses=True, epochs=1)["losses"]
    with torch.no_grad():
        model = made[0].model.eval()
        expected = [float(model(**batch([data[row]])).loss) for row in SCORE]
    assert losses == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="row_losses=True"):
        trained(tmp_path / "logits", language_model, data, epochs=1)


def test_a_search_around_a_trainer_is_cut_off_and_goes_on_to_the_same_table(tmp_path, monkeypatch, capfd):
    def search(folder):
        space, recipe = {"lr": meden.Choice(0.001, 0.05)}, meden.Recipe(epochs=2)
        options = {"folds": 2, "budget": 2, "strategy": "grid", "recipe": recipe, "study_dir": folder}
        return meden.tune(trainer_function(make_trainer, DATA), rows=LABELS, space=space, **options)

    whole = search(tmp_path / "whole")
    assert whole.metric == "accuracy" and len(whole.trials) == 2
    assert "Writing" not in capfd.readouterr().err  # a search has a bar of its own
    made = []

    def dies(*data, **parameters):
        made.append(parameters)
        if len(made) == 3:
            raise KeyboardInterrupt
        return TRAINER(*data, **parameters)

    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(transformers, "Trainer", dies)  # the code of whoever makes it stays
        search(tmp_path / "cut")
    assert len(made) == 3
    assert search(tmp_path / "cut").table().equals(whole.table())
