"""Proof that a smaller model gives what the larger one gave: on an example, and on random inputs of its shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from meden._checks import InputError
from meden.edits.edit import largest_change, outputs
from meden.structure.example import reason, run_quietly, try_example

NUM_RANDOM = 2
"""Random inputs beside the example."""
_TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far an element of the output may move, as a share of its tensor's largest, by the type of the parameters."""


class NotSameError(InputError):
    """A smaller model does not do what the larger one did.

    Args:
        must: what it must do.
        why: in what it fails.
        blame: what may be the reason.
    """

    def __init__(self, must: str, why: str, blame: str) -> None:
        super().__init__(f"model must {must}, but {why}{blame} (the model is as it was)")
        self.why = why


class Proof:
    """What a model gives, in evaluation, on an example and on random inputs: what a smaller one must give too.

    Args:
        model: the larger one.
        example: an input of it.

    Raises:
        InputError: if it gives another output each time.
    """

    def __init__(self, model: nn.Module, example: Any) -> None:
        self.tolerance = max((_TOLERANCES.get(p.dtype, 0.0) for p in model.parameters()), default=0.0)
        source = torch.Generator().manual_seed(0)
        given = [("the example", example), *(("a random input", _random(example, source)) for _ in range(NUM_RANDOM))]
        self.on_gpu = any(param.is_cuda for param in model.parameters())
        with _exactly(on_gpu=self.on_gpu):
            self.expected = [(what, x, outputs(try_example(model, x))) for what, x in given]
            again = largest_change(self.expected[0][2], outputs(try_example(model, example)))
        if again > self.tolerance:
            raise InputError(
                "model must give the same output each time in evaluation mode to be compacted; on the example it "
                f"changed by {again:.2g} of its largest element between two passes"
            )

    def check(self, small: nn.Module, narrowed: Callable[[Any], Any], blame: Callable[[], str]) -> None:
        """Check that a smaller model gives the same output.

        Args:
            small: the smaller one.
            narrowed: returns what it takes in the place of an input of the larger one.
            blame: returns what may be the reason if it does not.

        Raises:
            NotSameError: if an output differs, or it does not run.
        """
        with _exactly(on_gpu=self.on_gpu):
            for what, given, before in self.expected:
                change = largest_change(before, outputs(_run(small, narrowed(given), blame)))
                if change > self.tolerance:
                    must = f"give the same output once compacted, within {self.tolerance:g} of its largest element"
                    raise NotSameError(must, f"on {what} the output changed by {change:.2g} of it", blame())


def _run(small: nn.Module, example: Any, blame: Callable[[], str]) -> Any:
    try:
        return run_quietly(small, example)
    except Exception as error:
        why = f"{_failing(small, example)} does not run: {reason(error)}"
        raise NotSameError("run once it is compacted", why, blame()) from error


def _failing(model: nn.Module, example: Any) -> str:
    """Return the innermost layer in which a run fails, with its type."""
    entered: list[str] = []
    hooks = []
    try:
        for name, module in model.named_modules():
            hooks.append(module.register_forward_pre_hook(partial(_enter, entered, name)))
            hooks.append(module.register_forward_hook(partial(_leave, entered)))
        run_quietly(model, example)
    except Exception:  # the same once more, or no hooks are taken
        pass
    finally:
        for hook in hooks:
            hook.remove()
    name = entered[-1] if entered else ""
    return f"{name or 'the model'} ({type(model.get_submodule(name)).__name__})"


def _enter(entered: list[str], name: str, *_: Any) -> None:
    entered.append(name)


def _leave(entered: list[str], *_: Any) -> None:
    entered.pop()


@contextmanager
def _exactly(*, on_gpu: bool) -> Iterator[None]:
    """Switch off what gives other numbers for two models of one function.

    These are torch's inference path of encoder layers, where a mask hides a place, and a GPU's products of numbers that
    it has rounded to ten bits, which is how convolutions are done there unless torch is told otherwise.
    """
    was = torch.backends.mha.get_fastpath_enabled()
    kinds: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul] if on_gpu else []
    rounding = [kind.allow_tf32 for kind in kinds]
    torch.backends.mha.set_fastpath_enabled(False)
    for kind in kinds:
        kind.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
        for kind, allowed in zip(kinds, rounding, strict=True):
            kind.allow_tf32 = allowed


def _random(example: Any, source: torch.Generator) -> Any:
    """Return random inputs: normal numbers of the example's spread, and whole numbers and masks from among its own."""
    if isinstance(example, Mapping):
        return {name: _random(part, source) for name, part in example.items()}
    if isinstance(example, (tuple, list)) and type(example) in (tuple, list):
        return type(example)(_random(part, source) for part in example)
    if not isinstance(example, Tensor) or not example.numel():
        return example
    if example.is_floating_point():
        if not bool(example.isfinite().all()):  # a mask
            return example
        spread = example.double().std(correction=0)
        drawn = torch.randn(example.shape, generator=source, dtype=torch.float64).to(example.device)
        return (example.double().mean() + drawn * torch.where(spread > 0, spread, 1.0)).to(example.dtype)
    if example.dtype == torch.bool:
        return example
    at = torch.randint(example.numel(), example.shape, generator=source).to(example.device)
    return example.flatten()[at]
