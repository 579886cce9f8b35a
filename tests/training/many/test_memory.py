"""What training leaves behind: no script, no text of a graph, no stack, no model of a run that was handed on."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx import graph_module

import meden
from meden.training.fit_many import fit_stacks, plan_stacks
from meden.training.many.population import Population
from meden.training.many.replay import Program, record

RECIPE = meden.Recipe(epochs=1, batch_size="full")


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def members(widths: tuple[int, ...], num: int = 2) -> list[meden.Member]:
    return [
        meden.Member(RECIPE.replace(lr=1e-3 * (i + 1)), model_args={"width": w}) for w in widths for i in range(num)
    ]


def kept_by_torch() -> tuple[int, int]:
    """Return how many scripts, and texts of graphs, torch keeps until the process ends."""
    return len(torch.jit._state._python_cu.get_functions()), len(graph_module._loader.eval_cache)


def test_torch_keeps_nothing_of_a_trace() -> None:
    def rise(w: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (w.add_(x.sum()),)

    before = kept_by_torch()
    programs = [Program(rise, writes=1) for _ in range(3)]
    for size, program in enumerate(programs, 1):
        w = torch.zeros(size)
        program.repeat(w, over=torch.ones(4, 2))
        assert w.tolist() == [8.0] * size
    meden.fit_many(meden.models.MLP, members((4, 5)), data())
    assert kept_by_torch() == before


def test_a_trace_is_run_as_a_script() -> None:
    replay = record(lambda w: (w + 1,), (torch.zeros(2),), 0)
    scripts = [cell.cell_contents for cell in (replay.once.__closure__ or ())]
    assert any(isinstance(script, torch.jit.ScriptFunction) for script in scripts)


@pytest.fixture
def no_collection():  # type: ignore[no-untyped-def]
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_stacks_are_gone_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[object]] = []
    for kind in (Population, Program):
        start = kind.__init__

        def noted(self, *given, _start=start, **more):  # type: ignore[no-untyped-def]
            made.append(weakref.ref(self))
            _start(self, *given, **more)

        monkeypatch.setattr(kind, "__init__", noted)
    meden.fit_many(meden.models.MLP, members((4, 5)), data())
    assert len(made) >= 4 and not any(one() is not None for one in made)


def test_few_structures_are_held_at_once_and_runs_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meden.training.fit_many.num_threads", lambda _: 2)
    alive: set[int] = set()
    most = [0]
    start = Population.__init__

    def noted(self, entrants, *given, **more):  # type: ignore[no-untyped-def]
        place = id(self)
        alive.add(place)
        most[0] = max(most[0], len(alive))
        weakref.finalize(self, alive.discard, place)
        start(self, entrants, *given, **more)

    monkeypatch.setattr(Population, "__init__", noted)
    everyone = members((4, 5, 6, 7, 8))
    stacks = plan_stacks(meden.models.MLP, everyone, data())
    assert len(stacks) == 5
    models: list[weakref.ref[torch.nn.Module]] = []
    seen: list[int] = []

    def ended(number: int, run: meden.Run) -> None:
        seen.append(number)
        models.append(weakref.ref(run.model))

    fit_stacks(meden.models.MLP, everyone, data(), stacks, on_run=ended)
    gc.collect()
    assert sorted(seen) == list(range(10)) and most[0] == 2
    assert not any(model() is not None for model in models)
