"""What lesson 06 says about saved tensors, writes and ways out holds beyond its own examples.

Where a sentence belongs to one version of PyTorch, the test says which.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

KEEPS_ITS_RESULT = (torch.exp, torch.sigmoid, torch.relu, torch.tanh, lambda w: w.softmax(0))
DOES_NOT = (torch.sin, lambda w: w * 3, lambda w: w**2, lambda w: w + 1, lambda w: w[:])


def changed_afterwards(make: Callable[[Tensor], Tensor]) -> Tensor:
    w = torch.rand(4, requires_grad=True)
    result = make(w) if make(w)._base is None else make(w * 1)
    result.add_(1)
    (grad,) = torch.autograd.grad(result.sum(), w)
    return grad


@pytest.mark.parametrize("make", KEEPS_ITS_RESULT)
def test_a_result_that_is_kept_may_not_be_written_to(make: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed_afterwards(make)


@pytest.mark.parametrize("make", DOES_NOT)
def test_a_result_that_is_not_kept_may_be(make: Callable[[Tensor], Tensor]) -> None:
    assert changed_afterwards(make).shape == (4,)


def saved(module: nn.Module, x: Tensor) -> list[int]:
    """The addresses of what the graph of `module(x)` saves, each once."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(x)
    assert result is not None
    return list(kept)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.GroupNorm(3, 3), nn.InstanceNorm2d(3)])
def test_a_frozen_convolution_keeps_what_a_trainable_one_keeps(norm: nn.Module) -> None:
    """The other half of "a node keeps only what it needs"; pytorch/pytorch#133566 is open in 2.13."""
    net = nn.Sequential(nn.Conv2d(3, 3, 3), norm, nn.ReLU()).eval()
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    before = len(saved(net, x))
    assert len(saved(net.requires_grad_(False), x)) == before


def test_a_frozen_linear_layer_does_not_keep_its_input() -> None:
    x, layer = torch.rand(5, 4, requires_grad=True), nn.Linear(4, 3)
    assert x.data_ptr() in saved(layer, x)
    assert x.data_ptr() not in saved(layer.requires_grad_(False), x)


def test_below_the_first_trainable_layer_nothing_is_kept() -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).requires_grad_(False)
    assert saved(backbone, torch.rand(2, 3, 8, 8)) == []


def test_data_is_a_door_past_the_counter_and_detach_is_not() -> None:
    h = torch.rand(3, requires_grad=True) * 2
    h.data.add_(1)
    assert h._version == 0
    h.detach().add_(1)
    assert h._version == 1


def test_views_share_the_counter_of_their_base_and_clones_do_not() -> None:
    h = torch.rand(4, requires_grad=True) * 2
    view, copy = h[1:], h.clone()
    h[0] = 1.0
    assert view._base is h
    assert (view._version, copy._version) == (1, 0)


def test_float_and_to_give_the_leaf_itself_only_where_nothing_is_to_do() -> None:
    w = torch.rand(2, requires_grad=True)
    assert w.float() is w
    assert w.to("cpu") is w
    assert not w.double().is_leaf
    assert not w.to("meta").is_leaf


def test_adam_moves_rows_that_were_not_read_and_sparse_adam_does_not() -> None:
    moved = {}
    for sparse, make in ((False, torch.optim.Adam), (True, torch.optim.SparseAdam)):
        table = nn.Embedding(5, 2, sparse=sparse)
        optimizer = make(table.parameters(), lr=0.1)
        for row in (1, 2):
            before = table.weight.detach().clone()
            optimizer.zero_grad()
            table(torch.tensor([row])).sum().backward()
            optimizer.step()
        moved[sparse] = not torch.equal(table.weight[1], before[1])
    assert moved == {False: True, True: False}
