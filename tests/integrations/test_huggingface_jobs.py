"""A Trainer as the training function of a search: what it reports, resumes and scores."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import meden
from meden._checks import InputError
from meden._randomness import seed_all
from meden.penalties import L1, L2, PullTo

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
import transformers

from meden.integrations.huggingface import MedenCallback, trainer_function
from tests.integrations.huggingface_models import VOCABULARY, batch, bert, rows

DATA = rows(36)


class Killed(BaseException):
    """The process is gone."""


class Watched(Dataset):
    """Refuses rows that score before it is time."""

    def __init__(self, data: Any, job: Job) -> None:
        self.data, self.job = data, job

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Any:
        assert self.job.is_scoring or row not in self.job.score, f"row {row} scores"
        return self.data[row]


@dataclass
class Job:
    """The interface that training functions go by."""

    folder: Path
    params: dict[str, Any] = field(default_factory=lambda: {"lr": 0.01})
    seed: int = 3
    fold: int = 0
    epochs: int = 3
    stop_after: int | None = None
    kill_at: int | None = None
    """Report after which the process is gone."""
    kill_in_scoring: bool = False
    fit = np.arange(18)
    stop = np.arange(18, 26)
    score = np.array([30, 27, 33, 28])
    reports: list[tuple[int, float, float]] = field(default_factory=list)
    is_scoring: bool = False

    def __post_init__(self) -> None:
        self.checkpoint_dir = self.folder / "checkpoint"
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)

    def report(self, epoch: int, stop_loss: float, train_loss: float | None = None) -> bool:
        assert [e for e, *_ in self.reports] == list(range(1, epoch)), "epochs rise from 1"
        self.reports.append((epoch, stop_loss, train_loss))
        if epoch == self.kill_at:
            raise Killed
        return epoch >= self.epochs or epoch == self.stop_after

    @contextlib.contextmanager
    def scoring(self) -> Any:
        if self.kill_in_scoring:
            raise Killed
        assert not self.is_scoring
        self.is_scoring = True
        with torch.no_grad():
            yield
        self.is_scoring = False

    def watch(self, data: Any) -> Watched:
        return Watched(data, self)


def make_trainer(job: Any, train_dataset: Any, eval_dataset: Any) -> Any:
    model = bert(dropout=0.2, seed=job.seed)
    args = transformers.TrainingArguments(
        str(job.folder), learning_rate=job.params["lr"], seed=job.seed, per_device_train_batch_size=6,
        use_cpu=True, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    regularizers = [
        meden.Regularizer(L1(0.05), on="bert.encoder*", schedule=meden.StrengthSchedule(end=8)),
        meden.Regularizer(PullTo(L2(1.0)), on="bert.embeddings*"),
    ]
    callbacks = [MedenCallback(regularizers, diagnose=False)]
    return transformers.Trainer(
        model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, callbacks=callbacks
    )


def run(job: Job, make: Any = make_trainer, data: Any = DATA, **settings: Any) -> Any:
    seed_all(job.seed)
    return trainer_function(make, data, **settings)(job)


def test_a_job_reports_each_epoch_and_scores_the_best_state(tmp_path):
    job = Job(tmp_path)
    answer = run(job)
    assert [epoch for epoch, *_ in job.reports] == [1, 2, 3]
    assert answer["logits"].shape == (4, 2)
    assert all(np.isfinite(losses).all() for losses in job.reports)


def test_what_is_scored_is_the_state_with_the_lowest_stop_loss(tmp_path):
    """It is that of a Trainer without meden, which is stopped there."""
    job = Job(tmp_path / "a", epochs=4, params={"lr": 0.1})
    answer = run(job)
    best = min(job.reports, key=lambda report: report[1])[0]
    assert best < 4  # at this rate

    def stopped_there(job, train_dataset, eval_dataset):
        made = make_trainer(job, train_dataset, eval_dataset)
        made.args.lr_scheduler_type, made.args.num_train_epochs = "linear", 4
        made.train_dataset = train_dataset
        return made

    other = Job(tmp_path / "b", epochs=4, params={"lr": 0.1}, stop_after=best)
    assert np.array_equal(run(other, stopped_there)["logits"], answer["logits"])
    assert len(other.reports) == best


def test_it_stops_when_it_is_told_to(tmp_path):
    job = Job(tmp_path, stop_after=1)
    run(job)
    assert [epoch for epoch, *_ in job.reports] == [1]


@pytest.mark.parametrize("killed", [{"kill_at": 2}, {"kill_at": 3}, {"kill_in_scoring": True}])
@pytest.mark.parametrize("stop_after", [None, 2])
def test_a_killed_job_goes_on_to_the_same_result(tmp_path, killed, stop_after):
    whole = Job(tmp_path / "whole", stop_after=stop_after)
    expected = run(whole)
    job = Job(tmp_path / "killed", stop_after=stop_after, **killed)
    with contextlib.suppress(Killed):
        run(job)
    again = Job(tmp_path / "killed", stop_after=stop_after)
    assert np.array_equal(run(again)["logits"], expected["logits"])
    assert again.reports == whole.reports


def test_a_checkpoint_that_was_not_written_to_its_end_is_left_out(tmp_path):
    expected = run(Job(tmp_path / "whole"))
    with contextlib.suppress(Killed):
        run(Job(tmp_path / "killed", kill_at=3))
    (torn,) = (tmp_path / "killed" / "checkpoint").glob("checkpoint-6")
    (torn / "meden.safetensors").unlink()
    assert np.array_equal(run(Job(tmp_path / "killed"))["logits"], expected["logits"])


def test_the_function_goes_to_other_processes():
    train = trainer_function(make_trainer, DATA)
    assert pickle.loads(pickle.dumps(train)).make_trainer is make_trainer


def test_weights_must_not_be_carried_from_job_to_job(tmp_path):
    model = bert()

    def same_model(job, train_dataset, eval_dataset):
        made = make_trainer(job, train_dataset, eval_dataset)
        made.model = made.model_wrapped = model
        return made

    run(Job(tmp_path / "a", epochs=1), same_model)
    with pytest.raises(InputError, match="must make a new model in each job"):
        run(Job(tmp_path / "b", epochs=1), same_model)
    with pytest.raises(InputError, match=r"must return a transformers\.Trainer, got str"):
        run(Job(tmp_path / "c"), lambda *_: "trainer")


def test_a_row_that_scores_is_not_read_before(tmp_path):
    def leaks(job, train_dataset, eval_dataset):
        return make_trainer(job, torch.utils.data.Subset(train_dataset.dataset, [0, 30]), eval_dataset)

    with pytest.raises(AssertionError, match="row 30 scores"):
        run(Job(tmp_path), leaks)


def test_numbers_are_predictions(tmp_path):
    data = [row | {"labels": torch.tensor(float(row["labels"]))} for row in DATA]

    def make(job, train_dataset, eval_dataset):
        made = make_trainer(job, train_dataset, eval_dataset)
        torch.manual_seed(0)
        made.model = made.model_wrapped = transformers.BertForSequenceClassification(
            transformers.BertConfig(**made.model.config.to_dict() | {"num_labels": 1, "id2label": {0: "a"}})
        )
        return made

    assert run(Job(tmp_path, epochs=1), make, data)["predictions"].shape == (4,)


def language_model(job: Any, train_dataset: Any, eval_dataset: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=8,
    )  # fmt: skip
    args = transformers.TrainingArguments(str(job.folder), use_cpu=True, report_to=[], disable_tqdm=True)
    model = transformers.LlamaForCausalLM(config)
    return transformers.Trainer(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset)


def test_a_language_model_is_scored_by_the_loss_of_each_row(tmp_path):
    data = [row | {"labels": row["input_ids"]} for row in DATA]
    made = []

    def make(*arguments):
        made.append(language_model(*arguments))
        return made[-1]

    job = Job(tmp_path, epochs=1)
    losses = run(job, make, data, row_losses=True)["losses"]
    with torch.no_grad():
        model = made[0].model.eval()
        expected = [float(model(**batch([data[row]])).loss) for row in job.score]
    assert losses == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="row_losses=True"):
        run(Job(tmp_path / "logits", epochs=1), language_model, data)
