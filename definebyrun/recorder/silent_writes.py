"""A torch call goes in; the tensors come out that it may write into although no version counter will say so.

PyTorch moves the version counter of a tensor that an in-place function or `out=` writes into. A few calls write past
it: batch norm into its running statistics, a fused optimizer into its parameters. They stand in the table below, by
the name of the function. What an operator of `torch.ops` may write into, its schema says.

Another way past the counter is memory that is handed out: NumPy, DLPack, a storage or an address write without a call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

from ._torch import declared_arguments, is_operator
from .torch_calls import function_name, is_setter, tensors_in

__all__ = ["hands_out_memory", "may_write_silently", "silently_written"]

_RUNNING_STATISTICS = ("running_mean", "running_var")
_OBSERVED = ("running_min", "running_max", "scale", "zero_point")
_MOMENTS = ("self", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")

_SILENT_WRITES: dict[str, tuple[str, ...]] = {
    # batch norm in training, for good: issues 13402 and 120622 of pytorch/pytorch
    "batch_norm": _RUNNING_STATISTICS,
    "native_batch_norm": _RUNNING_STATISTICS,
    "_native_batch_norm_legit": _RUNNING_STATISTICS,
    "_batch_norm_with_update": _RUNNING_STATISTICS,
    "_batch_norm_impl_index": _RUNNING_STATISTICS,
    "batch_norm_update_stats": _RUNNING_STATISTICS,
    "batch_norm_gather_stats": _RUNNING_STATISTICS,
    "batch_norm_gather_stats_with_counts": _RUNNING_STATISTICS,
    "cudnn_batch_norm": _RUNNING_STATISTICS,
    "miopen_batch_norm": _RUNNING_STATISTICS,
    # optimizers with `fused=True`: issue 90752 of pytorch/pytorch
    "_fused_sgd_": ("self", "grads", "momentum_buffer_list"),
    "_fused_adam_": _MOMENTS,
    "_fused_adamw_": _MOMENTS,
    "_fused_adagrad_": ("self", "grads", "state_sums", "state_steps"),
    # `torch.amp.GradScaler`
    "_amp_foreach_non_finite_check_and_unscale_": ("self", "found_inf"),
    "_amp_update_scale_": ("growth_tracker",),
    # observers of quantization-aware training
    "fused_moving_avg_obs_fake_quant": _OBSERVED,
    "_fused_moving_avg_obs_fq_helper": _OBSERVED,
    # the random slopes that a leaky relu used
    "rrelu_with_noise": ("noise",),
    "rrelu_with_noise_": ("noise",),
    # parts of other operators
    "_cummax_helper": ("values", "indices"),
    "_cummin_helper": ("values", "indices"),
    "_flash_attention_forward_no_dropout_inplace": ("out",),
}
"""By function, the arguments that it writes into past their version counters, as of PyTorch 2.13."""

_TRAINING_FLAGS = ("training", "train")
"""Arguments that say whether running statistics are written."""

_HANDS_OUT_MEMORY = frozenset((
    *("numpy", "array", "dlpack", "cuda_array_interface"),
    *("untyped_storage", "storage", "data_ptr", "share_memory_"),
))  # fmt: skip
"""Calls, by `function_name`, that give a tensor's memory to what writes without PyTorch."""


class _Argument(NamedTuple):
    """Where a call has an argument: under a name, or at a position."""

    name: str
    position: int

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call was given for it; None for nothing."""
        return args[self.position] if self.position < len(args) else kwargs.get(self.name)


class _Writes(NamedTuple):
    """The arguments that a function writes into, and the one that must be true for that."""

    arguments: tuple[_Argument, ...]
    flag: _Argument | None


@cache
def _silent_writes_of(func: Callable[..., Any]) -> _Writes | None:
    """The arguments that a function may write into past their version counters; None for nearly all functions."""
    written = set(_SILENT_WRITES.get(getattr(func, "__name__", "").partition(".")[0], ()))
    has_flag = written.issuperset(_RUNNING_STATISTICS)
    if not written and not is_operator(func):
        return None
    if inspect.isfunction(func):
        order = list(inspect.signature(func).parameters)
    else:
        declared = declared_arguments(func)
        order = [name for name, _ in declared]
        written.update(name for name, is_written in declared if is_written)
    places = [_Argument(name, position) for position, name in enumerate(order)]
    found = tuple([each for each in places if each.name in written])
    flags = [each for each in places if each.name in _TRAINING_FLAGS]
    return _Writes(found, flags[0] if flags and has_flag else None) if found else None


@cache
def may_write_silently(func: Callable[..., Any]) -> bool:
    """Whether a call of this function may write into a tensor past its version counter, as `w.data = x` does too."""
    return is_setter(func) or _silent_writes_of(func) is not None


def silently_written(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[torch.Tensor]:
    """The tensors that a call may have written into past their version counters.

    >>> mean, var, x = torch.zeros(2), torch.ones(2), torch.rand(3, 2)
    >>> norm = torch.nn.functional.batch_norm
    >>> [each is mean for each in silently_written(norm, (x, mean, var), {"training": True})]
    [True, False]
    >>> silently_written(norm, (x, mean, var), {}), silently_written(torch.add, (x, x), {})
    ([], [])
    """
    writes = _silent_writes_of(func)
    if writes is None or not (writes.flag is None or writes.flag.of(args, kwargs)):
        return []
    return [tensor for each in writes.arguments for tensor in tensors_in(each.of(args, kwargs))]


@cache
def hands_out_memory(func: Callable[..., Any]) -> bool:
    """Whether a call gives a tensor's memory to what writes without PyTorch, such as NumPy.

    >>> hands_out_memory(torch.Tensor.numpy), hands_out_memory(torch.Tensor.size)
    (True, False)
    """
    return function_name(func) in _HANDS_OUT_MEMORY
