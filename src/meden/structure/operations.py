"""What each torch operation does to the marks of tensors.

Operations that only move numbers move marks alike; those that act on each number by itself join the channels that
they bring together; those that mix numbers along some dimensions make one channel of them. What is not known makes all
channels stay that it meets.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from meden.structure.contraction import MADE, MIXED, attend, contract, convolve
from meden.structure.marked import Marked, Notes, Source, Use, once, unlabelled
from meden.structure.recurrence import recur


class Call(NamedTuple):
    """One operation of a run, with what it gave."""

    target: Any
    args: dict[str, Any]
    """By the names of its schema; tensors are marked."""
    value: Any

    @property
    def name(self) -> str:
        """Of the operation, without its overload."""
        return str(self.target.overloadpacket.__name__)

    def tensors(self) -> Iterator[Marked]:
        """Yield the tensors among its arguments."""
        for arg in self.args.values():
            yield from (part for part in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(part, Marked))


Rule = Callable[[Notes, Call], Any]
_MOVES = frozenset(
    """view _unsafe_view reshape permute transpose t unsqueeze squeeze expand slice select unbind split
    split_with_sizes chunk narrow flatten unflatten movedim swapaxes alias detach lift_fresh_copy diagonal repeat
    repeat_interleave roll flip unfold contiguous numpy_T mT pixel_shuffle pixel_unshuffle
    channel_shuffle""".split()
)
_COPIES = frozenset("clone _to_copy to type_as lift_fresh detach alias dropout feature_dropout contiguous".split())
_EACH = frozenset("dropout prelu hardswish hardsigmoid to _to_copy glu_jvp relu6 selu rrelu masked_fill".split())
_ALONG = frozenset(
    """sum mean amax amin max min prod std var norm linalg_vector_norm logsumexp all any argmax argmin softmax
    _softmax log_softmax _log_softmax cumsum cumprod sort var_mean std_mean median topk""".split()
)
_SPATIAL = frozenset(
    """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d _adaptive_avg_pool2d
    upsample_nearest1d upsample_nearest2d upsample_bilinear2d upsample_linear1d""".split()
)
_SHAPED_LIKE = frozenset("zeros_like ones_like empty_like full_like rand_like randn_like".split())


def mark(notes: Notes, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run one operation on marked tensors.

    Args:
        notes: of the run, which are added to.
        target: a function of the graph.
        args: its arguments; tensors are marked.
        kwargs: the same, by name.

    Returns:
        What it gives, with tensors marked.
    """
    if target is operator.getitem:
        return args[0][args[1]]
    value = target(*_plain(args), **_plain(kwargs))
    if not isinstance(target, torch._ops.OpOverload):
        return _unknown(notes, Call(target, dict(enumerate(args)) | dict(kwargs), value))  # type: ignore[arg-type]
    schema = target._schema.arguments
    named = {arg.name: arg.default_value for arg in schema if arg.has_default_value()}
    named |= {arg.name: given for arg, given in zip(schema, args, strict=False)} | dict(kwargs)
    call = Call(target, named, value)
    if value is None:  # an assertion
        return value
    if not any(True for _ in call.tensors()):
        return _each_output(value, lambda part: unlabelled(part, known=True))
    return _rule(call)(notes, call)


def _rule(call: Call) -> Rule:
    name = call.name
    if name in _RULES:
        return _RULES[name]
    if name in _MOVES:
        return _move
    if name in _ALONG:
        return _along
    if name in _SPATIAL:
        return _spatial
    if name in _SHAPED_LIKE:
        return _shaped_like
    if name in _EACH or torch.Tag.pointwise in call.target.tags:
        return _each
    return _unknown


def _move(notes: Notes, call: Call) -> Any:
    x, *others = call.tensors()
    if others:
        return _unknown(notes, call)
    given = {arg: None if value is x else value for arg, value in call.args.items()}
    place = next(arg for arg, value in call.args.items() if value is x)

    def moved(part: Tensor) -> Any:
        if call.name in ("view", "_unsafe_view"):  # marks are not laid out in memory as values are
            return part.reshape(call.value.shape)
        return call.target(**{**given, place: part})

    if isinstance(call.value, Tensor):
        return x.moved(moved)
    parts = [moved(x.atoms), moved(x.known), *(moved(source.origin) for source in x.sources)]
    return [
        Marked(value, atoms, known, tuple(s._replace(origin=o) for s, o in zip(x.sources, origins, strict=True)))
        for value, atoms, known, *origins in zip(call.value, *parts, strict=True)
    ]


def _each(notes: Notes, call: Call) -> Marked:
    return pointwise(notes, call.name, list(call.tensors()), call.value)


def pointwise(notes: Notes, name: str, parts: Sequence[Marked], value: Tensor) -> Marked:
    """Return the marks of what is computed number by number."""
    shape = value.shape
    known = torch.full((), True)
    for part in parts:
        known = known & once(part.known)
    if name == "mul":
        for part in parts:
            known = known | (once(part.known) & (part.value == 0)) if part.known.any() else known
    known = known.expand(shape)
    if not any(part.is_labelled for part in parts):
        return Marked(value, torch.full((), -1).expand(shape), known, _kept_sources(notes, name, parts, shape))
    atoms = torch.full((), -1)
    for part in parts:
        notes.join(atoms, part.atoms)
        atoms = torch.maximum(atoms, once(part.atoms))
    atoms = atoms.expand(shape)
    for part in parts:
        notes.attach(atoms, part)
        notes.meet(atoms, part)
    return Marked(value, atoms, known)


def _kept_sources(notes: Notes, name: str, parts: Sequence[Marked], shape: torch.Size) -> tuple[Source, ...]:
    if not any(part.sources for part in parts):
        return ()
    if any(not part.sources and part.value.numel() > 1 for part in parts):
        for part in parts:
            notes.use_up(part, MADE)
        return ()
    scaled = name == "mul" or (name in ("div", "neg") and bool(parts[0].sources))
    use: Use = "as it is" if name in _COPIES else "scaled" if scaled else "changed"
    return tuple(
        source._replace(origin=source.origin.expand(shape), use=max(source.use, use, key=get_args(Use).index))
        for part in parts
        for source in part.sources
    )


def _shaped_like(_notes: Notes, call: Call) -> Marked:
    x = next(call.tensors())
    return Marked(call.value, x.atoms, torch.full((), True).expand(call.value.shape))


def _cat(notes: Notes, call: Call) -> Marked:
    parts: list[Marked] = call.args["tensors"]
    for part in parts:
        notes.use_up(part, MADE)

    def joined(of: Callable[[Marked], Tensor]) -> Tensor:
        given = {arg: value for arg, value in call.args.items() if arg != "tensors"}
        return call.target([of(part) for part in parts], **given)  # type: ignore[no-any-return]

    return Marked(call.value, joined(lambda part: part.atoms), joined(lambda part: part.known))


def _pad(notes: Notes, call: Call) -> Marked:
    x: Marked = call.args["self"]
    notes.use_up(x, MADE)
    widths = call.args["pad"]
    padded = [x.value.ndim - 1 - n // 2 for n in range(len(widths)) if widths[n]]
    mixed = tuple(d for d in set(padded) if bool((x.atoms == x.atoms.amax(d, keepdim=True)).all()))
    shape = [call.value.shape[d] if d in mixed else size for d, size in enumerate(x.atoms.shape)]
    atoms = notes.mix(x.atoms, mixed, MIXED).expand(shape)
    rest = [0 if x.value.ndim - 1 - n // 2 in mixed else width for n, width in enumerate(widths)]
    known = torch.nn.functional.pad(x.known, widths, value=True)
    return Marked(call.value, torch.nn.functional.pad(atoms, rest, value=-1), known)


def _along(notes: Notes, call: Call) -> Any:
    x = next(call.tensors())
    notes.use_up(x, MADE)
    dims = call.args.get("dim")
    dims = range(x.value.ndim) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
    return _mixed(notes, x, tuple(d % max(x.value.ndim, 1) for d in dims), call.value)


def _mixed(notes: Notes, x: Marked, dims: tuple[int, ...], value: Any) -> Any:
    """Return the marks of what mixes numbers along dimensions, which stay, have another size, or are gone."""
    atoms, known = notes.mix(x.atoms, dims, MIXED), x.known
    for dim in dims:
        known = known.all(dim, keepdim=True)

    def of(part: Tensor) -> Marked:
        if part.ndim == x.value.ndim:
            return Marked(part, atoms.expand(part.shape), known.expand(part.shape))
        kept = [size for d, size in enumerate(x.value.shape) if d not in dims]
        return Marked(part, atoms.reshape(kept), known.reshape(kept))

    return _each_output(value, of)


def _spatial(notes: Notes, call: Call) -> Any:
    x = next(call.tensors())
    return _mixed(notes, x, tuple(range(2, x.value.ndim)), call.value)


def _scaled(notes: Notes, x: Marked, weights: Sequence[Marked | None], dims: tuple[int, ...], value: Tensor) -> Marked:
    """Return a normalised tensor with its scale, shift and moments, which have the dimensions ``dims`` of it."""
    known, at = x.known, [size if d in dims else 1 for d, size in enumerate(value.shape)]
    for weight in weights:
        if weight is not None:
            laid = weight.moved(lambda part: part.reshape(at))
            notes.attach(x.atoms, laid)
            notes.meet(x.atoms, laid)
            known = known & laid.known
    scale = weights[0]
    if scale is not None:
        known = known | (scale.known & (scale.value == 0)).reshape(at)
    return Marked(value, x.atoms, known.expand(value.shape))


def _batch_norm(notes: Notes, call: Call) -> Any:
    args = call.args
    x: Marked = args["input"]
    weights = [args[name] for name in ("weight", "bias", "running_mean", "running_var")]
    if weights[2] is None:  # moments of the batch
        x = _mixed(notes, x, tuple(d for d in range(x.value.ndim) if d != 1), x.value)
    if isinstance(call.value, Tensor):
        return _scaled(notes, x, weights, (1,), call.value)
    return [_scaled(notes, x, weights, (1,), call.value[0]), *(unlabelled(p, known=True) for p in call.value[1:])]


def _layer_norm(notes: Notes, call: Call) -> Marked:
    x: Marked = call.args["input"]
    dims = tuple(range(x.value.ndim - len(call.args["normalized_shape"]), x.value.ndim))
    mixed = _mixed(notes, x, dims, x.value)
    return _scaled(notes, mixed, [call.args["weight"], call.args.get("bias")], dims, call.value)


def _group_norm(notes: Notes, call: Call) -> Marked:
    x: Marked = call.args["input"]
    num_groups, size = call.args["num_groups"], x.value.shape
    in_groups = (size[0], num_groups, -1, *size[2:])
    over = tuple(range(2, len(in_groups)))
    grouped = Marked(x.value.view(in_groups), x.atoms.reshape(in_groups), x.known.reshape(in_groups))
    mixed = _mixed(notes, grouped, over, grouped.value).moved(lambda part: part.reshape(size))
    return _scaled(notes, mixed, [call.args["weight"], call.args["bias"]], (1,), call.value)


def _instance_norm(notes: Notes, call: Call) -> Marked:
    x: Marked = call.args["input"]
    if call.args["use_input_stats"]:
        x = _mixed(notes, x, tuple(range(2, x.value.ndim)), x.value)
    weights = [call.args[name] for name in ("weight", "bias", "running_mean", "running_var")]
    return _scaled(notes, x, weights, (1,), call.value)


def _prelu(notes: Notes, call: Call) -> Marked:
    x, weight = call.args["self"], call.args["weight"]
    shape = [-1 if d == 1 else 1 for d in range(x.value.ndim)] if weight.value.numel() > 1 else [1] * x.value.ndim
    return pointwise(notes, "prelu", [x, weight.moved(lambda part: part.reshape(shape))], call.value)


def _glu(notes: Notes, call: Call) -> Marked:
    x, dim = call.args["self"], call.args["dim"]
    value, gate = (x.moved(lambda part, n=n: part.chunk(2, dim)[n]) for n in range(2))
    return pointwise(notes, "mul", [value, gate], call.value)


def _embedding(notes: Notes, call: Call) -> Any:
    weight, index = call.args["weight"], call.args["indices"]
    if not weight.sources:
        return _unknown(notes, call)
    if not bool(index.known.all()):
        notes.tables += [source.name for source in weight.sources if source.name not in notes.tables]
    atoms = notes.new(weight.value.shape[1])
    notes.attach(atoms.view(1, -1), weight)
    same = (weight.value == weight.value[:1]).all(0)
    known = index.known.unsqueeze(-1) | same
    return Marked(call.value, atoms.expand(call.value.shape), known.expand(call.value.shape))


def _linear(notes: Notes, call: Call) -> Marked:
    return _affine(notes, call.args["input"], call.args["weight"], call.args["bias"], "oi", call.value)


def _addmm(notes: Notes, call: Call) -> Any:
    if call.args["beta"] != 1 or call.args["alpha"] != 1:
        return _unknown(notes, call)
    return _affine(notes, call.args["mat1"], call.args["mat2"], call.args["self"], "io", call.value)


def _affine(notes: Notes, x: Marked, w: Marked, bias: Marked | None, of_w: str, value: Tensor) -> Marked:
    leading = _letters(x.value.ndim - 1)
    out = leading + of_w.replace("i", "") if w.value.ndim == 2 else leading
    of_w = of_w if w.value.ndim == 2 else "i"
    made = contract(notes, f"{leading}i,{of_w}->{out}", x, w, value, bias)
    return made if bias is None else pointwise(notes, "add", [made, bias], value)


def _matmul(notes: Notes, call: Call) -> Any:
    a, b = call.args["self"], call.args["other" if "other" in call.args else "mat2"]
    leading = _letters(max(a.value.ndim, b.value.ndim) - 2)

    def of(ndim: int, own: str) -> str:
        return "i" if ndim == 1 else leading[len(leading) - (ndim - 2) :] + own

    out = leading + ("n" if a.value.ndim > 1 else "") + ("o" if b.value.ndim > 1 else "")
    sizes: dict[str, int] = {}
    for letters, x in ((of(a.value.ndim, "ni"), a), (of(b.value.ndim, "io"), b)):
        for letter, size in zip(letters, x.value.shape, strict=True):
            if sizes.setdefault(letter, size) != size:  # broadcast
                return _unknown(notes, call)
    return contract(notes, f"{of(a.value.ndim, 'ni')},{of(b.value.ndim, 'io')}->{out}", a, b, call.value)


def _einsum(notes: Notes, call: Call) -> Any:
    equation, parts = call.args["equation"].replace(" ", ""), call.args["tensors"]
    inputs, arrow, out = equation.partition("->")
    operands = inputs.split(",")
    plain = arrow and "." not in equation and all(len(set(letters)) == len(letters) for letters in operands)
    if len(parts) != 2 or not plain or not set(out) <= set(inputs):
        return _unknown(notes, call)
    first, second = parts
    return contract(notes, equation, first, second, call.value)


def _convolution(notes: Notes, call: Call) -> Any:
    args = call.args
    x, w, bias = args["input"], args["weight"], args["bias"]
    transposed = args.get("transposed", "transpose" in call.name)
    padding = args["padding"]
    unbatched = x.value.ndim == w.value.ndim - 1
    if unbatched or x.sources or not w.sources:
        return _unknown(notes, call)
    padded = any(padding) if isinstance(padding, (list, tuple)) else padding not in ("valid", 0)
    atoms = convolve(
        notes, x, w, call.value, transposed=transposed, groups=args["groups"], padded=padded, bias=bias
    ).expand(call.value.shape)
    open_x, some_w = (~x.known).float(), torch.maximum(w.value.ne(0), ~w.known).float()
    known = call.target(**{**args, "input": open_x, "weight": some_w, "bias": None}) == 0
    made = Marked(call.value, atoms, known)
    if bias is None:
        return made
    along = [-1 if d == 1 else 1 for d in range(call.value.ndim)]
    return pointwise(notes, "add", [made, bias.moved(lambda part: part.view(along))], call.value)


def _attention(notes: Notes, call: Call) -> Any:
    q, k, v = (call.args[name] for name in ("query", "key", "value"))
    if q.value.ndim < 3 or any(x.sources for x in (q, k, v)):
        return _unknown(notes, call)
    atoms = attend(notes, q, k, v).expand(call.value.shape)
    for n, given in enumerate(call.tensors()):
        if n > 2:  # a mask
            notes.meet(atoms[..., :1], given)
    first = v.value[..., :1, :]
    same = (v.known & (v.value == first)).all(-2, keepdim=True)  # a mean of equal numbers
    same = same.repeat_interleave(q.value.shape[-3] // same.shape[-3], -3)
    return Marked(call.value, atoms, same.expand(call.value.shape))


def _recurrent(notes: Notes, call: Call) -> Any:
    found = recur(notes, call.name, call.args, call.value)
    return _unknown(notes, call) if found is None else found


def _index(notes: Notes, call: Call) -> Any:
    x, *indices = call.tensors()
    if x.sources or any(index.is_labelled for index in indices):
        return _unknown(notes, call)
    dims = call.args.get("dim")
    given = call.args.get("indices")
    picked = [dims % x.value.ndim] if isinstance(dims, int) else [d for d, i in enumerate(given or []) if i is not None]
    settled = all(bool(index.known.all()) for index in indices)
    if not settled:
        atoms = notes.mix(x.atoms, tuple(picked), MIXED).expand(x.atoms.shape)
    else:
        atoms = x.atoms
    place = next(arg for arg, value in call.args.items() if value is x)
    plain = {arg: _plain(value) for arg, value in call.args.items()}
    moved = call.target(**{**plain, place: atoms})
    known = call.target(**{**plain, place: x.known.clone()})
    return Marked(call.value, moved, known if settled else torch.zeros_like(known))


def _unknown(notes: Notes, call: Call) -> Any:
    for x in call.tensors():
        notes.fix(x.atoms, f"it meets {call.target}, which is not known")
        notes.use_up(x, f"it meets {call.target}, which is not known")
    known = all(bool(x.known.all()) for x in call.tensors())
    return _each_output(call.value, lambda part: unlabelled(part, known=known))


def _each_output(value: Any, of: Callable[[Tensor], Marked]) -> Any:
    if isinstance(value, Tensor):
        return of(value)
    if isinstance(value, (list, tuple)):
        return [_each_output(part, of) for part in value]
    return value


def _letters(num: int) -> str:
    return "".join(letter for letter in string.ascii_letters if letter not in "ino")[:num]


def _plain(given: Any) -> Any:
    if isinstance(given, Marked):
        return given.value
    if isinstance(given, (list, tuple)):
        return type(given)(map(_plain, given)) if isinstance(given, list) else tuple(map(_plain, given))
    if isinstance(given, Mapping):
        return {name: _plain(part) for name, part in given.items()}
    return given


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_RULES: dict[str, Rule] = {
    "linear": _linear,
    "addmm": _addmm,
    "mm": _matmul,
    "bmm": _matmul,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "embedding": _embedding,
    "cat": _cat,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "prelu": _prelu,
    "glu": _glu,
    "gru": _recurrent,
    "lstm": _recurrent,
    "rnn_tanh": _recurrent,
    "rnn_relu": _recurrent,
    "index": _index,
    "index_select": _index,
    "gather": _index,
    "convolution": _convolution,
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
}
"""Operations that are neither moves nor act number by number."""
