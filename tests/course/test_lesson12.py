"""What lesson 12 claims beyond its outputs: floors, hooks and when they are called, your code on the way back."""

from __future__ import annotations

import math
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.course.answers import default_dtype
from tests.course.lesson_code import cells


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_softmax_twice_leaves_a_floor_under_the_loss(classes: int) -> None:
    certain = torch.eye(classes, dtype=torch.float64)
    floor = F.cross_entropy(certain, torch.arange(classes)).item()
    assert floor == pytest.approx(math.log(1 + (classes - 1) / math.e)), "what the sheet says"
    for seed in range(20):
        torch.manual_seed(seed)
        scores = torch.randn(classes, classes, dtype=torch.float64) * 10**seed
        assert F.cross_entropy(scores.softmax(1), torch.arange(classes)).item() >= floor - 1e-12


def test_log_softmax_before_cross_entropy_changes_nothing() -> None:
    scores, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(
        F.cross_entropy(scores.log_softmax(1), labels), F.cross_entropy(scores, labels)
    )


def test_rows_behind_a_row_are_found_whatever_mixes_them() -> None:
    rows_behind = cells("12", "packages", "rows-behind")["rows_behind"]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    layer = nn.Linear(3, 3)
    assert rows_behind(layer, x) == [0]
    assert rows_behind(lambda x: layer(x).softmax(1), x) == [0]
    mixed = {
        "softmax over the rows": lambda x: layer(x).softmax(0),
        "a mean over the rows": lambda x: layer(x) - layer(x).mean(0),
        "batch norm": nn.BatchNorm1d(3),
    }
    for name, program in mixed.items():
        assert rows_behind(program, x) == [0, 1, 2, 3, 4], name
    head = nn.Linear(3, 3)
    assert rows_behind(lambda x: head(layer(x).detach()), x) == [], "no path, no rows"


def test_a_checkpoint_calls_the_forward_pre_hook_again_and_stops_before_the_forward_hook() -> None:
    for early_stop, times in ((True, 1), (False, 2)):
        calls: list[str] = []
        layer = nn.Linear(2, 2)
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append("pre"))
        layer.register_forward_hook(lambda *_, calls=calls: calls.append("forward"))
        x = torch.ones(1, 2, requires_grad=True)
        with torch.utils.checkpoint.set_checkpoint_early_stop(early_stop):
            checkpoint(layer, x, use_reentrant=False).sum().backward()
        assert (calls.count("pre"), calls.count("forward")) == (2, times)


def test_hooks_run_where_the_pass_runs_with_gradient_mode_off_unless_it_is_recorded() -> None:
    seen: list[tuple[str, bool]] = []

    def look(_: Tensor) -> None:
        seen.append((threading.current_thread().name, torch.is_grad_enabled()))

    def run(create_graph: bool) -> None:
        h = torch.ones(2, requires_grad=True) * 2
        h.register_hook(look)
        torch.autograd.grad(h.sum(), h, create_graph=create_graph)

    run(False)
    run(True)
    worker = threading.Thread(target=run, args=(False,), name="worker")
    worker.start()
    worker.join()
    here = threading.current_thread().name
    assert seen == [(here, False), (here, True), ("worker", False)]


def test_half_a_network_is_enough_for_twelve_points_when_it_may_train_long() -> None:
    """The procedure's table says that overfitting one batch finds both after 300 steps; after 900 it does not."""
    with default_dtype(torch.float64):  # as in the lesson
        program = cells("12", "packages", "twelve-points", "programs")["Program"]
        for bug in ("detach", "new head"):
            longer = program(bug)
            losses = [longer.step() for _ in range(900)]
            assert losses[299] > 0.05 > losses[-1], bug


def test_zero_fill_and_zero_reach_other_branches_although_most_in_place_writes_are_refused() -> (
    None
):
    """The gradient of a sum is one number shown as many: `mul_` refuses to write into it, `zero_` does not."""

    def other_branch(write: object) -> float:
        x = torch.ones(2, requires_grad=True)
        v, h = x * 3, x * 2
        h.register_hook(write)  # type: ignore[arg-type]
        (h + v).sum().backward()
        assert x.grad is not None
        return x.grad[0].item()

    with pytest.raises(RuntimeError, match="single memory location"):
        other_branch(lambda grad: grad.mul_(0) and None)
    assert other_branch(lambda grad: (grad.zero_(), None)[1]) == 0


def test_losses_that_warn_of_broadcasting_and_one_that_refuses() -> None:
    prediction, target = torch.zeros(3, 1), torch.zeros(3)
    for loss_of in (F.mse_loss, F.l1_loss, F.huber_loss):
        with pytest.warns(UserWarning, match="different to the input size"):
            loss_of(prediction, target)
    with pytest.raises(ValueError, match="must be the same as input size"):
        F.binary_cross_entropy_with_logits(prediction, target)


def test_a_backward_hook_without_an_input_to_wait_for_is_shown_none_and_pytorch_says_so() -> None:
    shown = []
    layer = nn.Linear(2, 2)
    layer.register_full_backward_hook(lambda _, grad_input, __: shown.append(grad_input))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(torch.ones(1, 2)).sum().backward()
    assert shown == [(None,)]


def test_hooks_registered_after_the_first_call_of_a_compiled_module_wait_for_a_reset() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    compiled, x = torch.compile(net, backend="eager"), torch.ones(1, 2, requires_grad=True)
    calls: list[str] = []
    try:
        compiled(x)
        net[0].register_forward_hook(lambda *_: calls.append("forward"))
        compiled(x)
        assert calls == [], "as the lesson says of 2.13; where it is called, mend the sentence"
        torch._dynamo.reset()
        compiled(x)
        assert calls == ["forward"]
    finally:
        torch._dynamo.reset()


def test_forward_hooks_see_keyword_arguments_only_when_they_ask() -> None:
    seen: list[object] = []
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda _, args, output: seen.append(args))
    layer.register_forward_hook(
        lambda _, args, kwargs, output: seen.append((args, set(kwargs))), with_kwargs=True
    )
    layer(input=torch.ones(1, 2))
    assert seen == [(), ((), {"input"})]
