"""Smaller models in folders, rebuilt from a fresh model, and exported."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import meden
from meden import InputError
from meden.edits import load_compact
from meden.edits.attention import FewerHeads


class Net(nn.Module):
    """A convolution, attention and a table of inputs; of each something leaves, and a bias comes into being."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.table = nn.Linear(5, width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.inner = nn.Linear(width, 8, bias=False)
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(torch.sigmoid(self.norm(self.table(x)))).unsqueeze(1)
        return self.out(self.attention(x, x, x, need_weights=False)[0].squeeze(1))


def made() -> Net:
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.table.weight[:, 2] = 0
        model.norm.weight[1] = 0
        model.norm.bias[1] = 0.5
        model.inner.weight[:, 4] = 0
        model.attention.out_proj.weight[:, :2] = 0
    return model.eval()


X = torch.randn(4, 5)


def check(small: nn.Module, model: nn.Module) -> None:
    assert [tuple(p.shape) for p in small.table.parameters()] == [(4, 4)]
    assert tuple(small.inner.bias.shape) == (8,)
    assert isinstance(small.attention, FewerHeads) and small.attention.num_heads == 3
    torch.testing.assert_close(small(X), model(X), rtol=1e-5, atol=1e-6)


def test_a_fresh_model_becomes_as_small(tmp_path: Path) -> None:
    model = made()
    small = meden.compact(model, X)
    check(small.model, model)
    small.save(tmp_path / "small")
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["compact.json", "model.safetensors"]
    fresh = Net().eval()
    loaded = load_compact(fresh, tmp_path / "small")
    check(loaded, model)
    assert torch.equal(loaded(X), small.model(X))
    assert tuple(fresh.table.weight.shape) == (6, 5)
    assert loaded.norm.num_batches_tracked == small.model.norm.num_batches_tracked


def test_another_model_or_folder_is_refused(tmp_path: Path) -> None:
    meden.compact(made(), X).save(tmp_path)
    with pytest.raises(
        InputError, match=r"must be built like the one that was compacted: inner\.weight of \(8, 6\), got \(8, 7\)"
    ):
        load_compact(Net(7), tmp_path)
    with pytest.raises(InputError, match="must be built like the one that was compacted"):
        load_compact(nn.Linear(5, 2), tmp_path)
    with pytest.raises(InputError, match=r"compact\.json.* cannot be read"):
        load_compact(Net(), tmp_path / "nowhere")
    text = (tmp_path / "compact.json").read_text()
    (tmp_path / "compact.json").write_text(text.replace('"gone"', '"left"'))
    with pytest.raises(InputError, match="must be unchanged since meden wrote it"):
        load_compact(Net(), tmp_path)
    fields = json.loads(text)
    assert fields["biases"] == ["inner.bias"] and fields["picked"] == {"table": [0, 1, 3, 4]}


def test_a_wider_model_whose_other_layers_differ_is_named(tmp_path: Path) -> None:
    meden.compact(made(), X).save(tmp_path)
    other: Any = Net()
    other.out = nn.Linear(8, 3)
    with pytest.raises(InputError, match=r"got differences in out\.bias, out\.weight"):
        load_compact(other, tmp_path)


def test_it_exports() -> None:
    model = made()
    small = meden.compact(model, X).model
    exported = torch.export.export(small, (X,)).module()
    torch.testing.assert_close(exported(X), model(X), rtol=1e-5, atol=1e-6)


def test_it_exports_to_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = made()
    small = meden.compact(model, X).model
    torch.onnx.export(small, (X,), tmp_path / "small.onnx", dynamo=True)
    session = runtime.InferenceSession(tmp_path / "small.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(X), rtol=1e-4, atol=1e-5)


def test_a_smaller_model_becomes_smaller_still() -> None:
    model = made()
    first = meden.compact(model, X).model
    with torch.no_grad():
        first.attention.out_proj.weight[:, 2:4] = 0  # the third head of four
        first.table.weight[:, 0] = 0
    expected = first(X)
    second = meden.compact(first, X).model
    assert second.attention.heads == (1, 3) and second.attention.former_heads == 4
    assert second.table.in_features == 3
    torch.testing.assert_close(second(X), expected, rtol=1e-5, atol=1e-6)


def test_what_was_compacted_twice_is_loaded_step_by_step(tmp_path: Path) -> None:
    model = made()
    first = meden.compact(model, X)
    with torch.no_grad():
        first.model.table.weight[:, 0] = 0
    second = meden.compact(first.model, X)
    first.save(tmp_path / "first")
    second.save(tmp_path / "second")
    with pytest.raises(InputError, match="a model compacted twice is loaded step by step"):
        load_compact(Net(), tmp_path / "second")
    loaded = load_compact(load_compact(Net().eval(), tmp_path / "first"), tmp_path / "second")
    assert torch.equal(loaded(X), second.model(X))
