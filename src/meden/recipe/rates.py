"""Learning rates of their own for some tensors: which selector counts for each, and a decay from layer to layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn
from torch.optim import Optimizer

from meden._checks import InputError, check_number
from meden.params import check_module, select_sites

FACTOR = "lr_factor"
"""Where a parameter group of an optimizer holds what its learning rate is multiplied by."""


def selectors_of(model: nn.Module, selectors: Iterable[str]) -> dict[str, str]:
    """Return the first of some selectors that matches each parameter, by the parameter's name.

    A weight that a parametrisation makes stands for all that it is made from.

    Raises:
        InputError: naming a selector that matches nothing, or nothing that those before it have left.

    Example:
        >>> selectors_of(nn.Linear(2, 1), ["biases", "all"])
        {'weight': 'all', 'bias': 'biases'}
    """
    first: dict[nn.Parameter, str] = {}
    for selector in selectors:
        try:
            chosen = select_sites(model, selector)
        except InputError as error:
            raise InputError(f"Recipe lr_factors: {error}") from None
        params = {param: selector for sites in chosen.values() for site in sites for param in site.sources}
        if params.keys() <= first.keys():
            raise InputError(
                f"Recipe lr_factors must leave tensors for each selector, got {selector!r} after "
                f"{', '.join(repr(first[param]) for param in list(params)[:1])}, which takes all of its tensors: "
                "put it first"
            )
        first = params | first
    return {name: first[param] for name, param in model.named_parameters() if param in first}


def lr_factors_of(model: nn.Module, factors: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """Return what the learning rate of each parameter is multiplied by; those that are not there have 1.

    Raises:
        InputError: as :func:`selectors_of` does.
    """
    params = dict(model.named_parameters())
    return {params[name]: factors[selector] for name, selector in selectors_of(model, factors).items()}


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give each parameter group the learning rate ``rate`` times the factor that it holds."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def layerwise_factors(model: nn.Module, decay: float = 0.9, *, blocks: str | None = None) -> dict[str, float]:
    """Return ``lr_factors`` of a :class:`meden.Recipe` for layer-wise learning rate decay in a pretrained model.

    What comes after the blocks, such as the head, learns at the rate itself, the last block at ``decay`` of it, each
    block before it at ``decay`` of the next one's, and what comes before the blocks, such as the embeddings, at
    ``decay`` of the first one's. Before and after are those of the order in which the model names its parameters.

    Args:
        model: holds its blocks, of one type, in an ``nn.ModuleList`` or ``nn.Sequential``.
        decay: factor from one block to the one below it, in (0, 1].
        blocks: name of that list, such as ``"encoder.layer"``; None finds the longest one.

    Raises:
        InputError: if there is no such list, or there are several.

    Example:
        >>> from meden.models import CausalTransformer
        >>> model = CausalTransformer(num_inputs=6, num_tokens=50, width=8, depth=2, num_heads=2)
        >>> layerwise_factors(model, 0.5)
        {'embed.places': 0.125, 'embed.tokens.weight': 0.125, 'blocks.0.*': 0.25, 'blocks.1.*': 0.5}

    Reference:
        J. Howard and S. Ruder, Universal language model fine-tuning for text classification, 2018. K. Clark and others,
        ELECTRA: pre-training text encoders as discriminators rather than generators, 2020.
    """
    check_module(model)
    check_number("decay", decay, low=0.0, high=1.0, low_open=True)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len({type(block) for block in module}) == 1
        and any(True for _ in module.parameters())
    }
    longest = max(map(len, lists.values()), default=0)
    found = [name for name, module in lists.items() if (len(module) == longest if blocks is None else name == blocks)]
    if len(found) != 1:
        shown = ", ".join(map(repr, lists)) or "none"
        raise InputError(f"blocks must name a list of layers of the same type (the model has {shown}), got {blocks!r}")
    prefix, num = f"{found[0]}.".lstrip("."), len(lists[found[0]])
    names = [name for name, _ in model.named_parameters()]
    start = next(place for place, name in enumerate(names) if name.startswith(prefix))
    before = {name: decay ** (num + 1) for name in names[:start]}
    return before | {f"{prefix}{place}.*": decay ** (num - place) for place in range(num)}
