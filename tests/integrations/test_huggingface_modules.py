"""Models and rows of transformers in meden's own training."""

from __future__ import annotations

import pytest
import torch

import meden
from meden._checks import InputError
from meden.penalties import L1

pytest.importorskip("transformers")
from meden.integrations.huggingface import as_module, as_pairs
from tests.integrations.huggingface_models import bert, rows

RECIPE = meden.Recipe(
    optimizer="adamw", lr=0.01, epochs=3, batch_size=6, dropout=0.2, regularizers=[meden.Regularizer(L1(0.3))]
)


def test_fit_takes_a_classifier_and_dictionaries(tmp_path):
    def run(epochs, checkpoint=None):
        model = as_module(bert(dropout=0.1))
        data = as_pairs(rows()), as_pairs(rows(12, seed=1))
        return meden.fit(model, *data, recipe=RECIPE.replace(epochs=epochs), checkpoint=checkpoint)

    run_ = run(3)
    assert run_.status == "completed" and run_.history[-1].num_zeros > 100
    again = run(3)
    assert all(torch.equal(p, q) for p, q in zip(run_.model.parameters(), again.model.parameters(), strict=True))


def test_masked_tokens_do_not_matter():
    model = as_module(bert()).eval()
    x, _ = as_pairs(rows())[0]
    other = x.clone()
    other[0, 4:] = 9
    assert x[1, 4:].tolist() == [0, 0]
    assert torch.allclose(model(x[None]), model(other[None]), atol=1e-6)


def test_one_input_is_taken_as_it_is():
    items = [{"pixel_values": torch.zeros(3, 4, 4), "label": 2}]
    x, y = as_pairs(items, inputs=["pixel_values"], label="label")[0]
    assert x.shape == (3, 4, 4) and y == 2
    model = as_module(bert(), inputs=["input_ids"]).eval()
    ids = torch.arange(10, 16)[None]
    assert torch.equal(model(ids), model.model(input_ids=ids).logits)


def test_rows_of_the_datasets_package_are_taken():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([{name: value.tolist() if hasattr(value, "tolist") else value
                                         for name, value in row.items()} for row in rows()])  # fmt: skip
    one, other = as_pairs(table), as_pairs(rows())
    assert len(one) == 24 and all(torch.equal(a, b) for a, b in zip(one[3], other[3], strict=True))


def test_what_is_not_taken_is_said_in_one_line():
    recipe = meden.Recipe(epochs=1, batch_size=4)
    with pytest.raises(InputError, match=r"item 0 of the Dataset must be a pair .*huggingface\.as_pairs"):
        meden.fit(bert(), torch.utils.data.Subset(rows(), range(8)), recipe=recipe)
    ids = torch.stack([row["input_ids"] for row in rows()])
    labels = torch.tensor([row["labels"] for row in rows()])
    with pytest.raises(InputError, match=r"model outputs must fit .*huggingface\.as_module"):
        meden.fit(bert(), (ids, labels), recipe=recipe)
    with pytest.raises(InputError, match="model must return logits"):
        as_module(bert().bert)(torch.ones(2, 2, 4, dtype=torch.long))
    with pytest.raises(InputError, match="item 1 must have 'token_type_ids', got input_ids"):
        as_pairs(rows(), inputs=["input_ids", "token_type_ids"])[1]
    with pytest.raises(InputError, match=r"inputs of item 0 must have one shape, got a \(2,\), b \(3,\)"):
        as_pairs([{"a": [1, 2], "b": [1, 2, 3], "labels": 0}], inputs=["a", "b"])[0]
    with pytest.raises(InputError, match="inputs must be names"):
        as_module(bert(), inputs="input_ids")
