"""An operation goes in; what its call says besides tensors comes out in few characters: `dim=-1`, `** 3`, `[:, -1]`.

What says nothing new is left out: what PyTorch takes when nobody says otherwise, and sizes that the result shows.
"""

from __future__ import annotations

from ..trace import Op, Trace

__all__ = ["ORDERED", "PARAMETERS", "SIGNS", "arguments_row"]

# fmt: off
SIGNS = {
    "add": "+", "add_": "+", "iadd": "+", "radd": "+", "sub": "−", "sub_": "−", "isub": "−", "rsub": "−",
    "mul": "·", "mul_": "·", "imul": "·", "rmul": "·", "multiply": "·",
    "div": "÷", "div_": "÷", "truediv": "÷", "itruediv": "÷", "rtruediv": "÷", "rdiv": "÷",
    "floor_divide": "//", "floordiv": "//", "remainder": "%", "mod": "%",
    "pow": "**", "pow_": "**", "ipow": "**", "rpow": "**",
    "gt": ">", "ge": "≥", "lt": "<", "le": "≤", "eq": "=", "ne": "≠",
}
"""By operation with one tensor and a number: the sign between the two."""
TURNED = ("rsub", "rtruediv", "rdiv", "rpow")
"""Those that have the number first."""

PARAMETERS = {
    **dict.fromkeys((
        "softmax", "log_softmax", "argmax", "argmin", "amax", "amin", "sum", "mean", "std", "var", "prod", "cumsum",
        "cumprod", "max", "min", "all", "any", "squeeze", "unsqueeze", "unbind", "sort", "argsort", "cat", "stack",
        "gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "index_select", "index_add", "index_add_",
        "index_fill", "index_copy", "logsumexp", "take_along_dim", "glu",
    ), ("dim",)),
    "bernoulli": ("p",),
    "chunk": ("chunks=", "dim=0"),
    "clamp": ("min=", "max="),
    "clamp_": ("min=", "max="),
    "conv1d": ("stride=1", "padding=0", "dilation=1", "groups=1"),
    "conv2d": ("stride=1", "padding=0", "dilation=1", "groups=1"),
    "conv3d": ("stride=1", "padding=0", "dilation=1", "groups=1"),
    "conv_transpose1d": ("stride=1", "padding=0", "output_padding=0", "groups=1", "dilation=1"),
    "conv_transpose2d": ("stride=1", "padding=0", "output_padding=0", "groups=1", "dilation=1"),
    "avg_pool1d": ("kernel_size=", "stride=", "padding=0"),
    "avg_pool2d": ("kernel_size=", "stride=", "padding=0"),
    "max_pool1d": ("kernel_size=", "stride=", "padding=0"),
    "max_pool2d": ("kernel_size=", "stride=", "padding=0"),
    "adaptive_avg_pool2d": ("output_size=",),
    "diagonal": ("offset=0",),
    "flatten": ("start_dim=0", "end_dim=-1"),
    "lerp": ("weight=",),
    "masked_fill": ("value=",),
    "masked_fill_": ("value=",),
    "movedim": ("source=", "destination="),
    "narrow": ("dim=", "start=", "length="),
    "norm": ("p=2",),
    "quantile": ("q=", "dim="),
    "repeat_interleave": ("repeats=", "dim="),
    "roll": ("shifts=", "dims="),
    "select": ("dim=", "index="),
    "split": ("split_size=", "dim=0"),
    "topk": ("k=", "dim=-1"),
    "transpose": ("dim0=", "dim1="),
    "tril": ("diagonal=0",),
    "triu": ("diagonal=0",),
    "vector_norm": ("ord=2.0", "dim="),
    "swapaxes": ("axis0=", "axis1="),
}
"""By operation: its arguments that are no tensors, in order, with what PyTorch takes for each when nobody says it."""

DEFAULTS = frozenset((
    "inplace=False", "training=True", "reduction=mean", "ignore_index=-100", "label_smoothing=0.0", "keepdim=False",
    "alpha=1", "beta=1", "padding=0", "dilation=1", "ceil_mode=False", "return_indices=False", "antialias=False",
    "norm_type=2.0", "scale_grad_by_freq=False", "sparse=False", "mode=constant", "negative_slope=0.01",
    "momentum=0.1", "eps=1e-05", "eps=1e-06", "eps=1e-12", "delta=1.0", "beta=1.0", "margin=1.0", "swap=False", "p=2",
    "p=2.0", "p=fro", "approximate=none", "is_causal=False", "enable_gqa=False", "dropout_p=0.0", "largest=True",
    "sorted=True", "descending=False", "need_weights=True", "average_attn_weights=True", "dim=1_normalize",
    "use_separate_proj_weight=False", "_stacklevel=3", "only_inputs=True", "stable=False", "copy=False",
    "non_blocking=False",
))
"""Arguments that say what PyTorch takes anyway."""
SAID_BY_SHAPE = frozenset((
    "view", "reshape", "expand", "unflatten", "view_as", "expand_as", "layer_norm", "new_zeros", "new_ones", "lstm",
    "gru", "_pack_padded_sequence", "_pad_packed_sequence", "multi_head_attention_forward",
))
"""Operations whose positional arguments are sizes that the values show, or are too many to say anything."""
ORDERED = frozenset((
    "sub", "isub", "sub_", "div", "truediv", "div_", "itruediv", "floor_divide", "floordiv", "remainder", "mod", "fmod",
    "pow", "ipow", "pow_", "matmul", "mm", "bmm", "mv", "where", "gt", "ge", "lt", "le", "atan2", "cross", "kl_div",
    "cat", "stack", "concat", "hstack", "vstack", "masked_fill", "gather", "copysign", "baddbmm", "addmm", "lerp",
    "scaled_dot_product_attention", "outer", "dstack",
))
"""Operations in which it matters which tensor is given first."""
# fmt: on

MAX_CHARS = 30
"""So many characters a row of arguments has at most."""


def arguments_row(trace: Trace, op: Op) -> str:
    """What the call of an operation says besides tensors; empty where that is nothing."""
    if op.module or op.opaque or op.name == "grad" or op.is_optimizer_step:
        return ""
    texts = [arg for arg in op.args if isinstance(arg, str)]
    if op.name in ("getitem", "setitem"):
        return _index(op, texts)
    positional = [text for text in texts if not _is_keyword(text)]
    if positional[:1] == ["None"] and op.name.startswith("conv"):  # a bias
        del positional[0]
    keywords = [text for text in texts if _is_keyword(text) and "…" not in text]
    parts: list[str] = []
    sign = SIGNS.get(op.name)
    if sign is not None and len(positional) == 1 and len(op.inputs) == 1:
        turned = op.name in TURNED
        parts = [f"{positional[0]} {sign}" if turned else f"{sign} {positional[0]}"]
    elif op.name not in SAID_BY_SHAPE:
        parts = _named(op, positional)
    if op.name.startswith("conv") and len(op.inputs) > 1:
        kernel = trace.tensors[op.inputs[1]].value.shape[2:]
        parts.insert(0, f"kernel={_size(kernel)}")
    parts += [text for text in keywords if text not in DEFAULTS]
    while len(parts) > 1 and len(", ".join(parts)) > MAX_CHARS:
        parts.pop()
    row = ", ".join(parts)
    return row if len(row) <= MAX_CHARS else f"{row[: MAX_CHARS - 1]}…"


def _is_keyword(text: str) -> bool:
    return text.partition("=")[0].isidentifier() and "=" in text


def _index(op: Op, texts: list[str]) -> str:
    """An index as it was written."""
    if not texts or texts[0] == "…":
        return ""
    written = texts[0] if texts[0].startswith("[") else f"[{texts[0]}]"
    written = written.replace("{}", "·")
    return written if len(written) <= MAX_CHARS else ""


def _named(op: Op, positional: list[str]) -> list[str]:
    """Positional arguments with the names of their parameters, where these are known."""
    known = PARAMETERS.get(op.name)
    shown = [_short(text) for text in positional]
    if known is None or len(shown) > len(known):
        plain = [text for text in shown if text not in ("None", "…", "False", "True")]
        return [", ".join(plain)] if plain else []
    found = []
    for text, parameter in zip(shown, known, strict=False):
        name, _, default = parameter.partition("=")
        if text not in ("None", "…", default):
            found.append(f"{name}={text}")
    return found


def _short(text: str) -> str:
    """A tuple of equal numbers as one of them; a dtype without its module."""
    if text.startswith("(") and text.endswith(")"):
        numbers = [part.strip() for part in text[1:-1].split(",") if part.strip()]
        if numbers and len(set(numbers)) == 1 and len(numbers) < 4:
            return numbers[0]
    return text.removeprefix("torch.")


def _size(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "×".join(map(str, sizes))
