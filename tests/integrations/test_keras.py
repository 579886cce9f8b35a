"""Keras models as modules: the numbers of Keras's own, in both modes, and what Keras would have done in training."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.penalties import L1, L2, ElasticNet, MaxNorm, NonNegative, UnitNorm
from meden.training.many.stacking import structure
from tests.integrations.jobs import rows

keras = pytest.importorskip("keras")
layers, regularizers, constraints = keras.layers, keras.regularizers, keras.constraints

from meden.integrations.keras import KerasPenalty, as_module, regularizers_of  # noqa: E402


def dense():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.GaussianNoise(0.3),
            layers.Dense(2),
        ]
    )


def conv():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.SpatialDropout2D(0.3, seed=1)(x)
    x = layers.DepthwiseConv2D(3)(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def tokens():
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 4, mask_zero=True)(inputs)
    x = layers.MultiHeadAttention(2, 3, dropout=0.2)(x, x)
    return keras.Model(inputs, layers.Dense(2)(layers.Bidirectional(layers.GRU(3, dropout=0.2))(x)))


def nested():
    block, shared = keras.Sequential([keras.Input((5,)), layers.Dense(5), layers.Dropout(0.5)]), layers.Dense(5)
    inputs = keras.Input((5,))
    return keras.Model(inputs, layers.Dense(2)(shared(shared(block(inputs)))))


class Unseeded(keras.Model):
    """Draws from Keras's global generator, and says nothing of training to its layers."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2)

    def call(self, x, training=False):
        x = keras.random.normal(keras.ops.shape(x)) + x if training else x
        return self.head(x)


def unseeded():
    model = Unseeded()
    model(torch.zeros(1, 5))
    return model


MODELS = {
    dense: torch.Size([6, 5]),
    conv: torch.Size([6, 6, 6, 3]),
    tokens: torch.Size([6, 7]),
    nested: torch.Size([6, 5]),
    unseeded: torch.Size([6, 5]),
}


def batch(make) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if make is tokens:
        return torch.randint(0, 11, MODELS[make], generator=generator)
    return torch.randn(MODELS[make], generator=generator)


@pytest.fixture(autouse=True)
def own_randomness():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def make(request):
    return request.param


def test_evaluation_is_that_of_keras(make):
    model = make()
    module = as_module(model).eval()
    before = [variable.value.clone() for variable in model.variables]
    outputs = module(batch(make))
    assert torch.equal(outputs, model(batch(make), training=False)) and outputs.requires_grad
    assert all(torch.equal(v.value, old) for v, old in zip(model.variables, before, strict=True))


def test_training_is_that_of_keras_with_seeds_drawn_from_torch(make, monkeypatch):
    model, x = make(), batch(make)
    keras.utils.set_random_seed(0)
    twin = make()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", lambda *_: torch.tensor([7, 9]))
        torch.manual_seed(1)
        outputs = as_module(model).train()(x)
    for state in as_module(twin)._shared.seeds:
        state.assign([7, 9])
    torch.manual_seed(1)
    torch.testing.assert_close(outputs, twin(x, training=True))
    assert not torch.allclose(outputs, twin(x, training=False))
    for own, other in zip(model.weights, twin.weights, strict=True):  # those of batch norm have moved
        torch.testing.assert_close(own.value, other.value)


def test_the_seed_of_torch_decides(make):
    module, x = as_module(make()).train(), batch(make)

    def twice():
        torch.manual_seed(3)
        return module(x), module(x)

    first, again = twice(), twice()
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(*first)


def test_tensors_are_there_once_by_readable_names():
    def names(make):
        return [name for name, _ in as_module(make()).named_parameters()]

    assert names(dense)[:3] == ["dense.kernel", "dense.bias", "batch_normalization.gamma"]
    assert names(dense) == names(dense)  # whatever else the process has made
    assert names(nested) == [
        f"{layer}.{leaf}" for layer in ("sequential.dense", "dense", "dense_1") for leaf in ("kernel", "bias")
    ]
    found = names(tokens)
    assert {"embedding.embeddings", "multi_head_attention.query.kernel"} <= set(found) and len(set(found)) == len(found)
    for make in MODELS:
        model = make()
        assert sum(p.numel() for p in as_module(model).parameters()) == sum(
            int(np.prod(v.shape)) for v in model.trainable_variables
        )


def test_selectors_and_axes_know_the_layers():
    module = as_module(conv())
    assert list(meden.params.select(module, "weights")) == [
        "conv2d.kernel",
        "depthwise_conv2d.kernel",
        "dense.kernel",
    ]
    assert next(iter(meden.params.select(as_module(tokens()), "weights"))) == "multi_head_attention.query.kernel"
    assert module.conv2d.kernel_axes == {"units": 3, "inputs": 2} and module.dense.kernel_axes["units"] == 1
    assert module.depthwise_conv2d.kernel_axes == {}
    (lstm,) = as_module(keras.Sequential([keras.Input((4, 2)), layers.LSTM(3)])).children()
    assert lstm.lstm_cell.recurrent_kernel_axes == {"units": 1, "inputs": 0}


def test_penalties_on_units_know_the_axes_of_kernels():
    module = as_module(conv())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    on = ["conv2d.kernel", "dense.kernel"]
    meden.regularize(optimizer, module, [meden.Regularizer(MaxNorm(0.5, dim="units"), on=on)])
    module.train()(batch(conv)).square().sum().backward()
    optimizer.step()
    for kernel in (module.conv2d.kernel, module.dense.kernel):
        assert kernel.flatten(0, -2).norm(dim=0).max().item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "use",
    [lambda module, own: meden.regularize(own, module, [meden.Regularizer(L1(0.1))]), meden.audit],
    ids=["regularize", "audit"],
)
def test_an_optimizer_of_keras_is_told(use):
    with pytest.raises(meden.InputError, match=r"^optimizer must be a torch.optim.Optimizer, got keras's SGD$"):
        use(as_module(dense()), keras.optimizers.SGD(0.1))


def test_fit_trains_as_keras_itself():
    x, y = rows()

    def model():
        keras.utils.set_random_seed(0)
        kernel = {"kernel_regularizer": regularizers.L1L2(0.01, 0.02), "bias_regularizer": regularizers.L2(0.1)}
        made = [layers.Dense(8, activation="relu", **kernel), layers.BatchNormalization(momentum=0.9), layers.Dense(2)]
        return keras.Sequential([keras.Input((5,)), *made])

    own = model()
    own.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    own.fit(x.numpy(), y.numpy(), epochs=8, batch_size=60, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match=r"regularizers of .* have no effect unless they are passed on"):
        module = as_module(model())
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, momentum=0.0, epochs=8, batch_size="full")
    recipe = recipe.replace(regularizers=regularizers_of(module, coupling="gradient"))
    as_module(module.keras_model)  # which warned once, and they have been asked for
    run = meden.fit(module, (x, y), recipe=recipe)
    for variable, other in zip(own.weights, run.model.keras_model.weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)
    sparse = meden.fit(as_module(dense()), (x, y), recipe=recipe.replace(regularizers=[meden.Regularizer(L1(0.3))]))
    assert (sparse.model.dense.kernel == 0).sum() > 5


def test_models_are_trained_together_as_alone():
    members = [meden.Member(meden.Recipe(epochs=2, batch_size=20, lr=lr), seed=1) for lr in (0.01, 0.1)]

    def make_model():
        made = [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.4), layers.Dense(2)]
        return as_module(keras.Sequential([keras.Input((5,)), *made]))

    together = meden.fit_many(make_model, members, rows())
    alone = [meden.fit_many(make_model, [member], rows(), chunk=1)[0] for member in members]
    for one, other in zip(together, alone, strict=True):
        for own, wanted in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-6)
    assert together[0].model.keras_model is not None


@pytest.mark.filterwarnings("ignore:.*load.*:UserWarning")
def test_a_module_goes_to_other_processes():
    module = as_module(dense())
    x = batch(dense)
    module.train()(x)
    again = pickle.loads(pickle.dumps(module)).eval()
    assert torch.equal(again(x), module.eval()(x))
    with torch.no_grad():
        again.dense.kernel.add_(1.0)
    assert torch.equal(again(x), again.keras_model(x, training=False)) and not torch.equal(again(x), module(x))


def test_a_copy_has_tensors_of_its_own(make):
    module = as_module(make()).eval()
    before = module(batch(make))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for param in twin.parameters():
            param.add_(1.0)
    assert torch.equal(module(batch(make)), before) and not torch.equal(twin(batch(make)), before)
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(batch(make)), before)
    zeros = {name: torch.zeros_like(param) for name, param in module.named_parameters()}
    assert not torch.func.functional_call(module, zeros, (batch(make),)).any()


class Own(regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(keras.ops.power(x, 4))


@keras.saving.register_keras_serializable("tests")
class Registered(Own):
    def get_config(self):
        return {}


@pytest.mark.parametrize(
    ("regularizer", "penalty"),
    [
        (regularizers.L1(0.001), L1(0.001)),
        (regularizers.L2(0.01), L2(0.02)),
        (regularizers.L1L2(0.01, 0.02), ElasticNet(0.05, l1_ratio=0.2)),
        (regularizers.L1L2(0.0, 0.02), L2(0.04)),
        (regularizers.OrthogonalRegularizer(0.1), None),
        (Registered(), None),
    ],
    ids=lambda part: type(part).__name__,
)
def test_regularizers_have_canonical_strengths(regularizer, penalty):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, kernel_regularizer=regularizer), layers.Dense(2)])
    (found,) = regularizers_of(model)
    assert found.on == "dense.kernel"
    if penalty is not None:
        assert type(found.penalty) is type(penalty)
        assert found.penalty.settings() == pytest.approx(penalty.settings(), rel=1e-12)
    kernel = model.layers[0].kernel.value
    wanted = regularizer(kernel)
    torch.testing.assert_close(found.penalty.value(kernel), torch.as_tensor(wanted).reshape(()))
    (gradient,) = torch.autograd.grad(wanted, kernel)
    torch.testing.assert_close(found.penalty.grad(kernel.detach()), gradient)


def test_equal_regularizers_are_one_and_frozen_layers_have_none():
    makes = [layers.Dense(4, kernel_regularizer="l2", bias_regularizer="l1") for _ in range(3)]
    makes[1].trainable = False
    found = regularizers_of(keras.Sequential([keras.Input((5,)), *makes]))
    assert [(type(r.penalty), r.on) for r in found] == [
        (L2, ["dense.kernel", "dense_2.kernel"]),
        (L1, ["dense.bias", "dense_2.bias"]),
    ]


@pytest.mark.parametrize(
    ("constraint", "penalty"),
    [
        (constraints.MaxNorm(0.5), MaxNorm(0.5, dim=1)),
        (constraints.NonNeg(), NonNegative()),
        (constraints.UnitNorm(axis=1), UnitNorm(dim=0)),
    ],
    ids=lambda part: type(part).__name__,
)
def test_constraints_are_carried_over(constraint, penalty):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, kernel_constraint=constraint)])
    (found,) = regularizers_of(model)
    kernel = model.layers[0].kernel.value.detach()
    assert repr(found.penalty) == repr(penalty)
    torch.testing.assert_close(found.penalty.prox(kernel, 1.0), constraint(kernel), rtol=1e-5, atol=1e-6)


def with_added_loss():
    inputs = keras.Input((5,))
    return keras.Model(inputs, layers.Dense(2)(layers.ActivityRegularization(l2=0.1)(inputs)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(5, 2), "keras_model must be a keras.Model or layer, got Linear"),
        (keras.Sequential([layers.Dense(2)]), "keras_model must be built, got .* start it with keras.Input"),
        (with_added_loss(), "keras_model must have no activity_regularizer"),
        (
            keras.Sequential([keras.Input((5,)), layers.Dense(2, kernel_constraint=constraints.MinMaxNorm())]),
            "constraints NonNeg, or MaxNorm .* got MinMaxNorm on dense.kernel",
        ),
    ],
)
def test_what_cannot_be_carried_over_is_told(model, message):
    with pytest.raises(meden.InputError, match=message):
        as_module(model)


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(x))
        return x


def test_a_loss_of_its_own_is_told_in_training():
    module = as_module(keras.Sequential([keras.Input((5,)), AddsLoss(), layers.Dense(2)]))
    module.eval()(rows()[0])
    with pytest.raises(meden.InputError, match="keras_model must leave the loss to the trainer"):
        module.train()(rows()[0])


def test_a_softmax_at_the_end_is_told():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2, activation="softmax")])
    with pytest.warns(UserWarning, match="ends in a softmax, but meden's losses take logits"):
        as_module(model)


def test_noise_from_outside_would_never_act_and_is_refused():
    with pytest.raises(meden.InputError, match="layers of a Keras model cannot take noise"):
        meden.edits.insert(as_module(dense()), "dense", meden.noise.GaussianNoise(0.1))


@pytest.mark.parametrize("model", [dense, lambda: nn.Sequential(nn.Linear(5, 5), layers.Dropout(0.5), nn.Linear(5, 2))])
def test_fit_refuses_what_would_train_without_dropout_and_regularizers(model):
    with pytest.raises(meden.InputError, match=r"got .*Keras .*; meden.integrations.keras.as_module makes one"):
        meden.fit(model(), rows(), recipe=meden.Recipe(epochs=1))


def test_another_backend_is_told_in_one_line(monkeypatch):
    message = r"Keras must run on torch: set KERAS_BACKEND=torch before it is imported, got '{}'"
    with monkeypatch.context() as patch, pytest.raises(ImportError, match=message.format("jax")):
        patch.setattr(keras.backend, "backend", lambda: "jax")
        as_module(dense())
    with monkeypatch.context() as patch, pytest.raises(meden.InputError, match=message.format("tensorflow")):
        patch.setenv("KERAS_BACKEND", "tensorflow")
        patch.delitem(sys.modules, "keras")
        as_module(None)
    with monkeypatch.context() as patch, pytest.raises(meden.InputError, match=r"pip install 'meden\[keras\]'"):
        patch.setitem(sys.modules, "keras", None)
        as_module(None)


@pytest.mark.parametrize("regularizer", [regularizers.OrthogonalRegularizer(0.1), Registered()])
def test_a_run_with_any_regularizer_of_keras_is_saved_and_read(regularizer, tmp_path):
    def model():
        dense = layers.Dense(4, kernel_regularizer=regularizer)
        return keras.Sequential([keras.Input((5,)), dense, layers.Dense(2)])

    own = model()
    recipe = meden.Recipe(epochs=1, batch_size=20, regularizers=regularizers_of(own))
    run = meden.fit(as_module(own), rows(), recipe=recipe)
    run.save(tmp_path / "run")

    def make_model():
        with pytest.warns(UserWarning, match="have no effect unless they are passed on"):
            return as_module(model())

    again = meden.load_run(tmp_path / "run", make_model, penalties={"KerasPenalty": KerasPenalty})
    assert again.recipe.regularizers == recipe.regularizers
    assert float(again.recipe.regularizers[0].penalty.value(torch.ones(2, 2))) != 0


def test_a_regularizer_that_no_file_can_hold_is_told_before_anything_is_trained():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, kernel_regularizer=Own())])
    with pytest.warns(UserWarning, match=r"Keras regularizer Own cannot be saved.* define get_config"):
        (found,) = regularizers_of(model)
    assert float(found.penalty.value(torch.full((2,), 2.0))) == 32.0


@pytest.mark.parametrize(
    "text", ["", "{}", "3", '{"module": "os", "class_name": "getcwd", "registered_name": "getcwd", "config": {}}', 3]
)
def test_what_is_no_regularizer_is_told(text):
    with pytest.raises(meden.InputError, match=r"^regularizer must be"):
        KerasPenalty(text)


def test_regularizers_are_equal_by_value():
    made = [layers.Dense(5, kernel_regularizer=regularizers.OrthogonalRegularizer(s)) for s in (0.1, 0.1, 0.2)]
    found = regularizers_of(keras.Sequential([keras.Input((5,)), *made]))
    assert [r.on for r in found] == [["dense.kernel", "dense_1.kernel"], "dense_2.kernel"]


def with_dropout(rate=0.5):
    made = [layers.Dense(40, activation="relu"), layers.Dropout(rate), layers.Dense(2)]
    return keras.Sequential([keras.Input((5,)), *made])


def test_dropout_of_a_recipe_is_that_of_the_layers_of_keras():
    keras.utils.set_random_seed(0)
    module = as_module(with_dropout())
    twin = copy.deepcopy(module)
    edits = meden.edits.set_dropout(module, 0.9)
    assert edits.names == ["dropout.dropout"] and module._shared.keras_model.layers[1].rate == 0.5
    module.train()
    ones = torch.ones(200, 5)
    torch.manual_seed(0)
    changed = module(ones)
    torch.manual_seed(0)
    kept = twin.train()(ones)
    assert changed.std() > 1.5 * kept.std() and torch.equal(module.eval()(ones), twin.eval()(ones))
    edits.undo()
    torch.manual_seed(0)
    assert torch.equal(module.train()(ones), kept)
    recipe = meden.Recipe(epochs=1, batch_size=20, dropout=0.2)
    run = meden.fit(as_module(with_dropout()), rows(), recipe=recipe)
    assert run.model.keras_model.layers[1].rate == 0.2


@pytest.mark.filterwarnings("error")
def test_dropout_of_attention_follows_and_members_have_their_own():
    attention = as_module(tokens())
    assert meden.edits.set_dropout(attention, 0.3).names == ["multi_head_attention.dropout.dropout"]
    members = [meden.Member(meden.Recipe(epochs=2, batch_size=20, dropout=p), seed=1) for p in (0.0, 0.8)]

    def make_model():
        keras.utils.set_random_seed(0)
        return as_module(with_dropout())

    together = meden.fit_many(make_model, members, rows())
    for one, member in zip(together, members, strict=True):
        (alone,) = meden.fit_many(make_model, [member], rows())
        for own, wanted in zip(one.model.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(together[0].model.dense.kernel, together[1].model.dense.kernel, atol=1e-3)


def test_a_model_without_a_place_for_dropout_is_told_why():
    module = as_module(keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dense(2)]))
    with pytest.warns(UserWarning, match=r"has no effect on a KerasModule that has neither a dropout layer nor an nn"):
        meden.fit(module, rows(), recipe=meden.Recipe(epochs=1, dropout=0.2))


def test_models_of_other_layers_are_no_stack():
    def made(activation="relu", rate=0.4, **settings):
        parts = [layers.Dense(5, activation=activation, **settings), layers.GaussianDropout(rate), layers.Dense(2)]
        return as_module(keras.Sequential([keras.Input((5,)), *parts]))

    def skipped():
        inputs = keras.Input((5,))
        x = layers.GaussianDropout(0.4)(layers.Dense(5, activation="relu")(inputs))
        return as_module(keras.Model(inputs, layers.Dense(2)(x + inputs)))

    assert structure(made()) == structure(made()) and structure(skipped()) == structure(skipped())
    others = [made(), made("tanh"), made(rate=0.3), made(name="a"), skipped()]
    assert len({structure(module) for module in others}) == 5
    assert structure(copy.deepcopy(others[0])) == structure(others[0])
