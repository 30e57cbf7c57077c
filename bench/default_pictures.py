"""What each drawing tool shows of a model of the zoo by its defaults: an SVG, or a page for the one that makes pages.

Tools that take a module get the model, with what the program calls it with. Where the program does more than that and a
loss, they get the whole program as a module, in which `backward` does nothing: they draw forward passes.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import definebyrun as dbr
from bench.drawing_tools import drawn_by_torchlens, lay_out
from bench.zoo import ZOO, Entry
from bench.zoo.entry import backward_from, forward_and_backward

__all__ = ["DRAWERS", "PAGE_MAKERS", "default_pictures"]

Facts = dict[str, Any]
PAGE_MAKERS = {"torchvista"}
"""Tools whose picture is a page of its own, in which the reader moves."""
CALLS_ALONE = {"forward_and_backward", "language_loss", "tell_apart", "stopped_forward"}
"""Programs that do nothing but call their model, once, and take a loss of what it gives."""


class Program(nn.Module):
    """What is done with a model, as a module."""

    def __init__(self, entry: Entry, model: Any) -> None:
        super().__init__()
        self.entry, self.model = entry, model

    def forward(self, *inputs: Tensor) -> Any:
        with patch.object(Tensor, "backward", lambda *_, **__: None):
            return self.entry.use(self.model, *inputs)


def layouts_kept() -> AbstractContextManager[object]:
    """A region in which layouts are not freed: Graphviz crashes on some of these when it does, after drawing."""
    return patch("pygraphviz.graphviz.gvFreeLayout", lambda *_: None)


def laid_out(dot: str) -> str:
    """What Graphviz draws."""
    with layouts_kept():
        return lay_out(dot)


def definebyrun(entry: Entry) -> str:
    """The whole program, recorded."""
    model, inputs = entry.made()
    if entry.use is forward_and_backward:
        return recorded(model, partial(backward_from, partial(model, *inputs))).svg()
    return recorded(model, partial(entry.use, model, *inputs)).svg()


def recorded(model: Any, run: Callable[[], Any]) -> dbr.Tape:
    """A run in a frame where no list holds its inputs, so that they have the names that the program gives them."""
    with dbr.record() as tape:
        run()
    return tape


def torchviz(entry: Entry) -> str:
    """What the tensor hangs from that the program calls `backward` on last: the loss."""
    make_dot = importlib.import_module("torchviz").make_dot
    model, inputs = entry.made()
    losses: list[Tensor] = []
    with patch.object(Tensor, "backward", lambda tensor, *_, **__: losses.append(tensor)):
        entry.use(model, *inputs)
    if not losses:
        raise RuntimeError("the run stopped before there was a loss to draw")
    named = dict(model.named_parameters()) if isinstance(model, nn.Module) else None
    return laid_out(make_dot(losses[-1], params=named).source)


def torchview(entry: Entry) -> str:
    draw_graph = importlib.import_module("torchview").draw_graph
    module, inputs = module_of(entry)
    graph = draw_graph(module, input_data=inputs, device="cpu", mode="train")
    return laid_out(graph.visual_graph.source)


def torchlens(entry: Entry) -> str:
    lens = importlib.import_module("torchlens")
    module, inputs = module_of(entry)
    log = lens.trace(module, list(inputs))
    with layouts_kept():
        return drawn_by_torchlens(log)


def torchvista(entry: Entry) -> str:
    """The page that is shown in a notebook; what it draws of a run that stops is part of it."""
    vista = importlib.import_module("torchvista")
    module, inputs = module_of(entry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.html"
        try:
            vista.trace_model(module, inputs, export_path=str(path))
        except Exception:
            if not path.is_file():
                raise
        return path.read_text("utf-8")


def module_of(entry: Entry) -> tuple[nn.Module, tuple[Any, ...]]:
    """The module that a tool is given, and its inputs."""
    model, inputs = entry.made()
    if entry.use.__name__ not in CALLS_ALONE:
        return Program(entry, model), inputs
    calls: list[tuple[Any, ...]] = []
    with model.register_forward_pre_hook(lambda _, given: calls.append(given)):
        entry.use(model, *inputs)
    return entry.made()[0], calls[0]  # as if nothing had run


DRAWERS: dict[str, Callable[[Entry], str]] = {
    "definebyrun": definebyrun,
    "torchviz": torchviz,
    "torchview": torchview,
    "torchlens": torchlens,
    "torchvista": torchvista,
}


def default_pictures(tool: str, *names: str) -> Callable[[], Facts]:
    """One tool: each pass draws the next model twice, and gives the seconds of the second time and the picture."""
    torch.set_num_threads(1)
    importlib.import_module(tool)
    draw, left = DRAWERS[tool], iter(names)

    def measure() -> Facts:
        entry = ZOO[next(left)]
        try:
            for _ in range(2):
                start = time.perf_counter()
                picture = draw(entry)
                seconds = time.perf_counter() - start
        except Exception as error:
            return {"state": type(error).__name__}
        return {"state": "drawn", "seconds": round(seconds, 3), "picture": picture}

    return measure
