"""Adapters of PEFT: exact zeros, exact decay, an audit that says what shrinking them does."""

from __future__ import annotations

import pytest
import torch

import meden
from meden.edits import insert
from meden.noise import Dropout
from meden.penalties import L1, L2, PullTo

pytest.importorskip("transformers")
pytest.importorskip("peft")
import peft

from meden.integrations.huggingface import MedenCallback
from tests.integrations.huggingface_models import batch, bert, rows, trainer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks


def adapted(seed=0, **settings):
    model = bert()
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=["query", "value"], modules_to_save=["classifier"], **settings
    )
    return peft.get_peft_model(model, config)


def factors(model):
    return {name: p for name, p in model.named_parameters() if ".lora_" in name}


def steps(model, optimizer, num=6):
    model.train()
    for _ in range(num):
        model(**batch(rows())).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def test_factors_get_exact_zeros_and_the_base_stays():
    model = adapted()
    before = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW(trainable(model), lr=0.01, weight_decay=0.0)
    handle = meden.regularize(optimizer, model, [meden.Regularizer(L1(0.2), on="*.lora_[AB].*")])
    steps(model, optimizer)
    assert set(handle.bound[0].params) == set(factors(model)) and len(factors(model)) == 4
    assert 0 < sum(int((p == 0).sum()) for p in factors(model).values())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


def test_decoupled_l2_of_factors_is_adamws_decay_bit_for_bit():
    own, theirs = adapted(), adapted()
    optimizer = torch.optim.AdamW(trainable(own), lr=0.01, weight_decay=0.0)
    meden.regularize(optimizer, own, [meden.Regularizer(L2(0.3), on="*.lora_[AB].*", coupling="decoupled")])
    steps(own, optimizer)
    decayed = list(factors(theirs).values())
    others = [p for p in trainable(theirs) if not any(p is factor for factor in decayed)]
    groups = [{"params": decayed, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    steps(theirs, torch.optim.AdamW(groups, lr=0.01))
    assert all(torch.equal(p, q) for p, q in zip(own.parameters(), theirs.parameters(), strict=True))


def test_decay_of_factors_pulls_the_weights_in_use_to_the_base():
    model = adapted()
    optimizer = torch.optim.AdamW(trainable(model), lr=0.01, weight_decay=0.0)
    steps(model, optimizer)
    layer = model.base_model.model.bert.encoder.layer[0].attention.self.query

    def distance():
        return float(layer.get_delta_weight("default").detach().norm())

    before = distance()
    optimizer.param_groups[0].update(weight_decay=50.0)
    for param in trainable(model):
        param.grad = torch.zeros_like(param)
    optimizer.state.clear()
    for _ in range(10):
        optimizer.step()
    assert distance() < 0.01 * before
    assert not torch.equal(layer.base_layer.weight, torch.zeros_like(layer.base_layer.weight))


def test_the_audit_says_so_and_shows_the_dropout_of_adapters():
    model = adapted(lora_dropout=0.1, use_dora=True)
    report = meden.audit(model, torch.optim.AdamW(trainable(model), lr=0.01, weight_decay=0.1))
    (warning,) = (w for w in report.warnings if w.code == "adapter")
    (other,) = (w for w in report.warnings if w.code == "multiplier")
    assert other.tensors and all("lora_magnitude_vector" in name for name in other.tensors)
    assert set(warning.tensors) == {name for name in factors(model) if "lora_A" in name or "lora_B" in name}
    assert "pulls the effective weights towards the base model, like PullTo" in warning.message
    by_name = {t.name: t for t in report.tensors}
    assert {name for name, t in by_name.items() if t.pulls_to_base} == set(warning.tensors)  # no magnitude of DoRA
    assert {name for name, t in by_name.items() if t.dropout == 0.1} == {n for n in by_name if "lora_A" in n}
    (line,) = (line for line in str(report).splitlines() if "query.lora_A" in line and "warning" not in line)
    assert line.endswith("weight_decay (decoupled, 1/e in 1,000 steps), to the base model; dropout 0.1 of its inputs")
    plain = meden.audit(adapted(), torch.optim.AdamW(trainable(adapted()), lr=0.01, weight_decay=0.0))
    assert not any(t.pulls_to_base or t.dropout for t in plain.tensors)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.fc(x).relu())


ADAPTERS = {
    "LoRA": (lambda: peft.LoraConfig(r=2, target_modules=["fc"]), True),
    "AdaLoRA": (lambda: peft.AdaLoraConfig(r=2, target_modules=["fc"], total_step=10), True),
    "LoHa": (lambda: peft.LoHaConfig(r=2, target_modules=["fc"]), True),
    "LoKr": (lambda: peft.LoKrConfig(r=2, target_modules=["fc"]), True),
    "OFT": (lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=["fc"]), True),
    "VeRA": (lambda: peft.VeraConfig(r=2, target_modules=["fc"]), True),
    "(IA)3": (lambda: peft.IA3Config(target_modules=["fc"], feedforward_modules=[]), False),
    "HRA": (lambda: peft.HRAConfig(r=2, target_modules=["fc"]), None),
}


@pytest.mark.filterwarnings("ignore")  # kinds of adapters warn of their own settings
@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_audit_says_to_the_base_where_zeros_are_the_base(kind):
    make, to_base = ADAPTERS[kind]
    model = peft.get_peft_model(Net(), make()).eval()
    held = trainable(model)
    report = meden.audit(model, torch.optim.AdamW(held, lr=0.01, weight_decay=0.1))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    found = {w.code: list(w.tensors) for w in report.warnings if w.code in ("adapter", "multiplier")}
    assert found == ({} if to_base is None else {"adapter" if to_base else "multiplier": names})
    x = torch.randn(3, 8)
    with model.disable_adapter():
        base = model(x)
    for param in held:
        param.data.zero_()
    if to_base is not None:
        assert torch.allclose(model(x), base, atol=1e-6) == to_base


def test_multipliers_that_are_pulled_to_their_start_are_not_warned_of():
    model = peft.get_peft_model(Net(), peft.IA3Config(target_modules=["fc"], feedforward_modules=[]))
    optimizer = torch.optim.AdamW(trainable(model), lr=0.01, weight_decay=0.0)
    handle = meden.regularize(optimizer, model, [meden.Regularizer(PullTo(L2(0.1)))])
    assert not {w.code for w in meden.audit(model, optimizer, [handle]).warnings} & {"adapter", "multiplier"}


def test_dropout_that_was_put_on_a_layers_input_is_shown_too():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    insert(model, -1, Dropout(0.4))
    report = meden.audit(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert [t.dropout for t in report.tensors] == [None, None, pytest.approx(0.4), pytest.approx(0.4)]


def test_a_trainer_of_adapters_resumes_exactly(tmp_path):
    regularizers = [
        meden.Regularizer(L1(0.1), on="*.lora_[AB].*", schedule=meden.StrengthSchedule(end=6)),
        meden.Regularizer(PullTo(L2(5.0)), on="*modules_to_save*weight"),
    ]

    def run(model, **settings):
        callback = MedenCallback(regularizers, diagnose=False)
        trainer(model, tmp_path, callbacks=[callback], save_strategy="epoch").train(**settings)
        return model

    whole = run(adapted(lora_dropout=0.2))
    resumed = run(adapted(seed=3, lora_dropout=0.2), resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert sum(int((p == 0).sum()) for p in factors(whole).values()) > 0
