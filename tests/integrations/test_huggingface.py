"""Penalties, noise and diagnosis inside transformers' Trainer."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import meden
from meden._checks import InputError
from meden.noise import Dropout, EmbeddingNoise, derive, noise_layers, seed_noise
from meden.penalties import L1, L2, GroupLasso, PullTo
from meden.structure import GroupSet, ModelGroups, Piece

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from meden.integrations.huggingface import MedenCallback, as_module, as_pairs, decay_groups, history_of
from meden.integrations.huggingface.callback import FILE
from tests.integrations.huggingface_models import batch, bert, rows, trainer

RAMP = meden.StrengthSchedule(end=6)
REGULARIZERS = [
    meden.Regularizer(L1(0.5), on="bert.encoder*weight", schedule=RAMP),
    meden.Regularizer(PullTo(L2(5.0)), on="bert.embeddings*"),
]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def plain_loop(model, optimizer, *, epochs=2, accumulate=1, clip=None):
    """Train as a Trainer does, which leaves the parts of a batch to the model's loss: their gradients add up."""
    data = rows()
    for _ in range(epochs):
        for start in range(0, len(data), 6 * accumulate):
            for part in range(start, start + 6 * accumulate, 6):
                model(**batch(data[part : part + 6])).loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, 0.5)])
def test_a_trainer_with_penalties_is_a_plain_loop_with_them(tmp_path, accumulate, clip):
    own = bert().train()
    optimizer = torch.optim.AdamW(decay_groups(own, 0.1), lr=0.01)
    handle = meden.regularize(optimizer, own, REGULARIZERS)
    plain_loop(own, optimizer, accumulate=accumulate, clip=clip)

    model = bert()
    callback = MedenCallback(REGULARIZERS, diagnose=False)
    trainer(
        model,
        tmp_path,
        callbacks=[callback],
        optimizer=torch.optim.AdamW(decay_groups(model, 0.1), lr=0.01),
        gradient_accumulation_steps=accumulate,
        max_grad_norm=clip or 0.0,
    ).train()
    assert callback.handle.num_steps == handle.num_steps == 8 // accumulate
    assert_same(weights(own), weights(model))
    zeros = [int((model.get_parameter(name) == 0).sum()) for name in handle.bound[0].params]
    assert sum(zeros) > 200


def test_a_trainer_is_meden_fit_where_the_settings_coincide(tmp_path):
    """One batch of all rows, so that the order of the rows is no matter."""
    regularizers = [meden.Regularizer(L1(0.2), on="*encoder*weight")]
    recipe = meden.Recipe(
        optimizer="adamw", lr=0.01, schedule="constant", epochs=6, batch_size="full", regularizers=regularizers
    )
    own = as_module(bert())
    meden.fit(own, as_pairs(rows()), recipe=recipe)
    model = bert()
    callback = MedenCallback(regularizers, diagnose=False)
    trainer(model, tmp_path, callbacks=[callback], per_device_train_batch_size=24, num_train_epochs=6).train()
    for name, tensor in model.state_dict().items():
        assert torch.allclose(tensor, own.model.state_dict()[name], atol=1e-4), name
    assert sum(int((p == 0).sum()) for p in model.parameters()) > 100


@pytest.mark.parametrize("step", [3, 4])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, step):
    """With a strength schedule, starting weights, dropout of torch's and noise of ours, within an epoch and between."""
    noise = {"*word_embeddings": EmbeddingNoise(5.0)}

    def run(folder, model, **settings):
        callback = MedenCallback(REGULARIZERS, noise=noise, diagnose=False)
        made = trainer(model, folder, callbacks=[callback], save_strategy="steps", save_steps=step)
        made.train(**settings)
        return callback, made

    whole = bert(dropout=0.2)
    first, _ = run(tmp_path, whole)
    folder = tmp_path / f"checkpoint-{step}"
    assert (folder / FILE).is_file()
    resumed = bert(dropout=0.2, seed=5)
    second, _ = run(tmp_path, resumed, resume_from_checkpoint=str(folder))
    assert_same(weights(whole), weights(resumed))
    assert first.handle.num_steps == second.handle.num_steps == 8
    assert len(noise_layers(resumed)) == len(noise_layers(whole)) > 1  # those of torch became ours
    shifted = bert(dropout=0.2)
    trainer(shifted, tmp_path / "other", callbacks=[MedenCallback(REGULARIZERS, diagnose=False)]).train()
    assert not torch.equal(shifted.classifier.weight, whole.classifier.weight)  # the noise acted


def test_resuming_from_elsewhere_is_said_to_the_callback(tmp_path):
    def run(folder, model, resume=None, **settings):
        callback = MedenCallback(REGULARIZERS, diagnose=False, **settings)
        trainer(model, folder, callbacks=[callback], save_strategy="epoch").train(resume_from_checkpoint=resume)

    whole, resumed = bert(), bert(seed=3)
    run(tmp_path / "first", whole)
    folder = tmp_path / "first" / "checkpoint-4"
    with pytest.raises(InputError, match="resume_from must be the checkpoint"):
        run(tmp_path / "second", bert(), str(folder))
    run(tmp_path / "second", bert(seed=1))  # there is a checkpoint-4 there too, of another training
    with pytest.raises(InputError, match="resume_from must be the checkpoint"):
        run(tmp_path / "second", bert(), str(folder))
    run(tmp_path / "second", resumed, str(folder), resume_from=folder)
    assert_same(weights(whole), weights(resumed))
    (folder / FILE).unlink()
    with pytest.raises(InputError, match=f"must hold {FILE}"):
        run(tmp_path / "first", bert(), str(folder))


def test_a_second_training_does_not_penalise_twice(tmp_path):
    regularizers = [meden.Regularizer(L2(0.5), on="bert.encoder*weight", coupling="decoupled")]
    own = bert()
    optimizer = torch.optim.AdamW(own.parameters(), lr=0.01, weight_decay=0.0)
    meden.regularize(optimizer, own, regularizers)
    by_hand = trainer(own, tmp_path, optimizer=optimizer, num_train_epochs=1)
    model = bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    callbacks = [MedenCallback(regularizers, diagnose=False)]
    made = trainer(model, tmp_path, optimizer=optimizer, callbacks=callbacks, num_train_epochs=1)
    for _ in range(2):
        by_hand.train()
        made.train()
    assert_same(weights(own), weights(model))


def test_noise_that_the_model_has_is_seeded_and_stays(tmp_path):
    def run(seed):
        model = bert()
        meden.edits.insert(model, "*attention.output", Dropout(0.3), place="output")
        trainer(model, tmp_path, callbacks=[MedenCallback()], seed=seed).train()
        return model

    one, again, other = run(0), run(0), run(1)
    assert_same(weights(one), weights(again))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert len(noise_layers(one)) == 1
    by_hand = copy.deepcopy(one)
    seed_noise(by_hand, derive(0, "noise"))
    (key,) = (layer.key for layer in noise_layers(by_hand).values())
    assert torch.equal(key, next(iter(noise_layers(one).values())).key)


def test_noise_goes_in_once_after_a_training_that_failed_too(tmp_path):
    model = bert()
    callback = MedenCallback(noise={"*word_embeddings": EmbeddingNoise(5.0)})
    made = trainer(model, tmp_path, callbacks=[callback])
    made.train_dataset[3].pop("input_ids")
    with pytest.raises((KeyError, ValueError)):
        made.train()
    made.train_dataset = rows()
    made.train()
    assert sum(isinstance(layer, EmbeddingNoise) for layer in noise_layers(model).values()) == 1


def test_the_end_has_a_history_and_findings(tmp_path, capsys):
    callback = MedenCallback([meden.Regularizer(L1(3.0), on="bert.encoder*")])
    model = bert()
    made = trainer(model, tmp_path, callbacks=[callback], num_train_epochs=3, eval_strategy="epoch")
    made.train()
    history = callback.history
    logged = [row for row in made.state.log_history if "loss" in row]
    assert [record.step for record in history] == [4, 8, 12]
    for record, part in zip(history, (logged[:4], logged[4:8], logged[8:]), strict=True):
        assert record.train["loss"] == pytest.approx(sum(row["loss"] for row in part) / 4)
    evaluated = [row["eval_loss"] for row in made.state.log_history if "eval_loss" in row]
    assert history.column("valid.loss") == evaluated
    assert history[-1].num_zeros == sum(int((p == 0).sum()) for p in model.parameters()) > 0
    norm = torch.stack([p.detach().double().norm() for p in model.parameters()]).norm()
    assert history[-1].weight_norm == pytest.approx(float(norm))
    assert history[-1].penalties == pytest.approx(callback.handle.values())
    assert "penalties_rule" in [finding.code for finding in callback.findings]
    assert "penalties_rule" in capsys.readouterr().out


LOG = [
    {"loss": 1.0, "learning_rate": 0.1, "epoch": 0.5, "step": 10},
    {"loss": 0.4, "learning_rate": 0.1, "epoch": 0.7, "step": 14},
    {"eval_loss": 0.8, "epoch": 0.7, "step": 14},
    {"loss": 0.3, "learning_rate": 0.05, "epoch": 1.0, "step": 20},
    {"eval_loss": 0.9, "epoch": 1.0, "step": 20},
    {"train_runtime": 3.0, "train_loss": 0.6, "epoch": 1.0, "step": 20},
]


def test_groups_that_are_zero_are_in_the_log(tmp_path):
    model = bert()
    dense = "bert.encoder.layer.0.intermediate.dense"
    num = model.get_parameter(f"{dense}.bias").numel()
    each = tuple((i,) for i in range(num))
    pieces = Piece(f"{dense}.weight", 0, each), Piece(f"{dense}.bias", 0, each)
    groups = ModelGroups("units", (GroupSet("units", tuple(map(str, range(num))), pieces),))
    callback = MedenCallback([meden.Regularizer(GroupLasso(100.0), groups=groups)])
    made = trainer(model, tmp_path, callbacks=[callback], num_train_epochs=3, learning_rate=0.05)
    made.train()
    zeros = int((model.get_parameter(f"{dense}.weight") == 0).all(1).sum())
    assert callback.history[-1].num_zero_groups == {"GroupLasso(units)": zeros}
    assert zeros > 0
    json.dumps(made.state.log_history)


def test_any_log_is_a_history():
    history = history_of(LOG)
    assert history.column("train.loss") == pytest.approx([(10 * 1.0 + 4 * 0.4) / 14, 0.3])
    assert history.column("valid.loss") == [0.8, 0.9]
    assert history.column("lr") == [0.1, 0.05]
    assert all(record.is_finite() and record.weight_norm is None for record in history)
    assert [finding.code for finding in meden.diagnose(history).findings]
    assert meden.History.from_list(history.to_list()).column("num_zeros") == [None, None]


def test_a_log_without_evaluations_has_a_record_for_each_loss():
    history = history_of([row for row in LOG if "eval_loss" not in row])
    assert history.column("train.loss") == [1.0, 0.4, 0.3]
    assert history[0].valid is None


def test_training_rows_that_were_evaluated_are_the_training_loss():
    log = [row | ({"eval_train_loss": 0.7} if "eval_loss" in row else {}) for row in LOG]
    assert history_of(log).column("train.loss") == [0.7, 0.7]


def test_a_log_of_several_held_out_losses_asks_which():
    log = [{"loss": 1.0, "step": 1}, {"eval_a_loss": 1.0, "step": 1}, {"eval_b_loss": 2.0, "step": 1}]
    with pytest.raises(InputError, match=r"valid must be one of .* eval_a_loss, eval_b_loss, got None"):
        history_of(log)
    assert history_of(log, valid="eval_b_loss").column("valid.loss") == [2.0]
    assert history_of(log[:2]).column("valid.loss") == [1.0]
    with pytest.raises(InputError, match="log must hold a training loss"):
        history_of([])


def test_a_loss_that_is_not_a_number_is_a_diverged_history():
    log = [{"loss": 1.0, "step": 1}, {"loss": float("nan"), "step": 2}]
    assert [finding.code for finding in meden.diagnose(history_of(log)).findings] == ["diverged"]


def test_decay_groups_leave_out_what_trainer_decays_by_mistake():
    """A Trainer decays the three embeddings of BERT."""
    model = bert()
    model.bert.pooler.requires_grad_(False)
    decayed, others = decay_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1 and others["weight_decay"] == 0.0
    names = {id(param): name for name, param in model.named_parameters()}
    assert all("weight" in names[id(p)] and "Norm" not in names[id(p)] for p in decayed["params"])
    assert {names[id(p)] for p in others["params"] if "embeddings" in names[id(p)]} >= {
        f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")
    }
    assert len(decayed["params"]) + len(others["params"]) == sum(p.requires_grad for p in model.parameters())
    assert set(meden.params.select(model, "weights")) >= {names[id(p)] for p in decayed["params"]}
    codes = {w.code for w in meden.audit(model, torch.optim.AdamW([decayed, others], lr=0.1)).warnings}
    assert codes.isdisjoint({"embedding", "norm", "bias"})
    with pytest.raises(InputError, match="weight_decay"):
        decay_groups(model, -1.0)


def test_a_package_that_is_not_installed_is_told_in_one_line():
    program = "import sys; sys.modules['transformers'] = None; import meden.integrations.huggingface"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("transformers must be installed: pip install 'meden[hf]'")


def test_decay_groups_of_what_is_no_model_are_refused():
    with pytest.raises(meden.InputError, match=r"model must be a torch\.nn\.Module, got int"):
        decay_groups(3, 0.1)


@pytest.mark.parametrize("diagnose", [True, False])
def test_several_held_out_losses_end_no_training(tmp_path, diagnose):
    def run(**settings):
        callback = MedenCallback(REGULARIZERS, diagnose=diagnose, **settings)
        made = trainer(bert(), tmp_path, callbacks=[callback], eval_strategy="epoch", num_train_epochs=1)
        made.eval_dataset = {"a": rows(12, 1), "b": rows(12, 2)}
        made.train()
        return callback, made.state.log_history

    with pytest.warns(UserWarning, match=r"no history of this training: valid must .* eval_a_loss, eval_b_loss"):
        callback, _ = run()
    assert (len(callback.history), callback.findings) == (0, ()) and callback.handle.num_steps == 4
    callback, log = run(valid="eval_b_loss")
    assert callback.history.column("valid.loss") == [row["eval_b_loss"] for row in log if "eval_b_loss" in row]


def test_before_a_training_there_is_nothing():
    callback = MedenCallback(REGULARIZERS)
    assert (callback.handle, len(callback.history), callback.diagnosis, callback.findings) == (None, 0, None, ())


def test_two_callbacks_are_refused_before_the_first_step(tmp_path):
    def made():
        return [MedenCallback([regularizer], diagnose=False) for regularizer in REGULARIZERS]

    model = bert()
    before = weights(model)
    with pytest.raises(
        InputError, match=r"^callbacks must have only one MedenCallback, with all regularizers, got two"
    ):
        trainer(model, tmp_path, callbacks=made()).train()
    assert_same(before, weights(model))


def test_other_regularizers_than_those_of_the_checkpoint_are_told(tmp_path):
    def run(on, resume=None):
        callback = MedenCallback([meden.Regularizer(PullTo(L2(5.0)), on=on)], diagnose=False)
        trainer(bert(), tmp_path, callbacks=[callback], save_strategy="epoch").train(resume_from_checkpoint=resume)

    run("classifier.weight")
    with pytest.raises(InputError, match=r"^regularizers must be those of the checkpoint .*classifier.*embeddings"):
        run("bert.embeddings*", str(tmp_path / "checkpoint-4"))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([{"a": 1}], "log must give the step of each row, .* got {'a': 1}"),
        ([{"loss": 1.0}], "log must give the step of each row"),
        ([{"loss": "low", "step": 1}], "log must hold losses that are numbers, got loss='low'"),
        ({"loss": 1.0, "step": 1}, "log must be a list of dictionaries"),
        ([3], "log must be a list of dictionaries"),
        (3, "log must be a list of dictionaries"),
    ],
)
def test_what_is_no_log_is_told_in_one_line(log, message):
    with pytest.raises(InputError, match=f"^{message}"):
        history_of(log)
    with pytest.raises(InputError, match=r"^valid must be one of the logged losses, eval_loss, got 'eval_los'"):
        history_of(LOG, valid="eval_los")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resume_from": 3}, "resume_from must be the folder of a checkpoint, got 3"),
        ({"valid": 3}, "valid must be the name of a logged loss, got 3"),
        ({"diagnose": None}, "diagnose must be True or False, got None"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_bad_arguments_are_told_at_once(arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        MedenCallback(**arguments)
