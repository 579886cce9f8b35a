"""Reference models that started on the meta device start as the others do, once ``reset_parameters`` was applied."""

import pytest
import torch

from meden.models import MLP, CausalTransformer, ConvNet, Decoder, TabularNet, Transformer

MODELS = {
    "MLP": lambda: MLP(6, 3, residual=True, batch_norm=True),
    "ConvNet": lambda: ConvNet(3),
    "TabularNet": lambda: TabularNet(7, 3, num_numbers=5, frequency=0.3),
    "Transformer": lambda: Transformer(6, 3, num_tokens=50),
    "CausalTransformer": lambda: CausalTransformer(6, 50),
    "Decoder": lambda: Decoder(6, 50),
    "Decoder, tied": lambda: Decoder(6, 50, tied=True, activation="swiglu"),
}


@pytest.mark.parametrize("name", MODELS)
def test_tensors_are_drawn_as_in_a_model_that_was_built_at_once(name: str) -> None:
    expected = MODELS[name]()
    with torch.device("meta"):
        model = MODELS[name]()
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(7)
    model.apply(lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None)
    for (key, own), wanted in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        if not wanted.is_floating_point() or wanted.numel() < 2 or wanted.std() == 0:
            assert torch.equal(own, wanted), key
        else:
            assert (own.std() / wanted.std() - 1).abs() < 5 / own.numel() ** 0.5, key
            assert (own.mean() - wanted.mean()).abs() < 7 * wanted.std() / own.numel() ** 0.5, key
