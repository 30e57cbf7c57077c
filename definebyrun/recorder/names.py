"""The frames of running code go in, the names that the user's code has for tensors and modules come out.

A tensor has the name of the first variable that is seen to hold it, the caller's before the callee's; a parameter has
the path of its module. Attributes and nested containers are searched where no variable has a name: when a module is
called for the first time, when a leaf is used for the first time, and at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from types import FrameType
from typing import Any
from weakref import ref

import torch

from .assigned_names import AssignedNames
from .known_names import KnownNames
from .name_paths import ObjectName, PartName, Path, choose, numbered, unclear
from .name_search import Depth, Found, Scope, Search, best, scopes_of
from .object_parts import LIST, MODULE, OTHER, TENSOR, Kinds, entries, entry_suffix
from .user_frames import clear_locals_copy, user_frames

__all__ = ["Names"]

MAX_ENTRIES_READ = 64
"""At every operation, lists, tuples and dicts of at most this many entries are read for names: `weights[0]`."""
MAX_OBJECTS_OPENED, MAX_FAILURES = 5_000, 10
"""While a run goes on, names are searched for in so many objects, and no more after so many searches that found none:
a loop that makes its modules anew has no names for them. The end searches for all that is left."""
RESULTS = Depth(levels=2, registered=False)
"""Results are searched for in what variables hold and one level below, but not in the registered parts of modules."""


class Names:
    """Finds names and remembers them, while a run is recorded and at its end."""

    def __init__(self) -> None:
        self.assigned = AssignedNames()
        self._known = KnownNames()
        self._kinds = Kinds()
        self._objects: list[ObjectName] = []  # in the order in which they were met
        self._calls: list[tuple[int, torch.nn.Module]] = []
        self._outermost: FrameType | None = None
        self._bearers: dict[tuple[int, str], int] = {}  # by code and variable: what it held first
        self._poor = {"self"}  # and variables that have held several modules, objects or containers
        self._search = Search(self._kinds, self._known.path, self._poor)
        self._failures = 0

    # ---- while a run is recorded ----

    def begin(self, frame: FrameType | None) -> None:
        """Read the variables of the frame that is recorded; no frame around it is ever searched."""
        self._outermost = frame
        if frame is not None:
            self.look([frame])

    def look(self, frames: Iterable[FrameType]) -> None:
        """Read the variables of these frames, outermost first: the caller's name wins over the callee's."""
        for frame in reversed(list(frames)):
            variables = frame.f_locals
            self._read(variables, id(frame.f_code))
            clear_locals_copy(frame, variables)

    def call(self, number: int, module: torch.nn.Module) -> None:
        """A module is called. At its first call every name that leads to it is looked for."""
        name = self._known.owner(module)
        if name is None:
            found = self._find_now(module)
            if found and (found[0].owner is not None or isinstance(found[0].path, PartName)):
                self._adopt(module, found[0])
                self._search_owner(module)
            else:
                self._register(module, [str(each.path) for each in found], is_searched=True)
        elif not name.is_searched and name.thing() is module:
            self._search_owner(module)
        self._calls.append((number, module))

    def first_use(self, leaf: torch.Tensor) -> None:
        """A leaf is used that may have no name yet."""
        if leaf not in self._known:
            found = self._find_now(leaf)
            if found:
                self._adopt(leaf, best(found, TENSOR) or found[0])
                self._search_owner(leaf)

    def give(self, thing: Any, name: Path) -> None:
        """Name a tensor; a name that is already there stays."""
        self._known.give(thing, name)

    def give_grad(self, leaf: torch.Tensor, grad: torch.Tensor) -> None:
        """Name what a leaf holds in `.grad`."""
        owner = self._known.path(leaf)
        if owner is not None:
            self.give(grad, owner + ".grad")

    def stored_tensors(self, variables: Scope) -> list[torch.Tensor]:
        """The tensors in containers and attributes of what these variables hold."""
        return self._search.tensors(variables, RESULTS)

    # ---- what was found ----

    def of(self, thing: Any) -> str | None:
        """The name of a tensor or module, or None."""
        found = self._known.text(thing)
        return self.assigned.of(thing) if found is None else found

    def left(self, key: int) -> str | None:
        """The name of a large tensor that has just gone, by the `id` that it had."""
        found = self._known.left(key)
        return self.assigned.left(key) if found is None else found

    def forget(self, key: int) -> None:
        """An `id` is a new tensor's: a name under it, if any, was that of another one."""
        self._known.forget(key)
        self.assigned.forget(key)

    def tensors(self) -> list[torch.Tensor]:
        """All tensors that have a name, in the order in which they got it."""
        return self._known.tensors()

    @property
    def calls(self) -> list[tuple[int, torch.nn.Module]]:
        """The numbers of module calls, with the modules."""
        return self._calls

    def paths(self) -> Iterator[tuple[int, str]]:
        """The numbers of module calls, with the names of the modules."""
        return ((number, self._known.text(module) or "") for number, module in self._calls)

    # ---- inside ----

    def _read(self, variables: dict[str, Any], scope: int) -> None:
        """Name what these variables hold, after that what their containers hold. At every operation, so it is quick."""
        kinds, known, bearers, containers = self._kinds, self._known, self._bearers, []
        entries_by_id = known.entries
        for name, thing in list(variables.items()):
            kind = kinds[type(thing)]
            if kind == OTHER:
                continue
            entry = entries_by_id.get(id(thing))
            is_known = entry is not None and (type(entry) is not tuple or thing in known)
            if kind == TENSOR and is_known:
                continue
            if name[0] == "_" or name in ("self", "In", "Out"):
                continue
            if kind == TENSOR:
                known.give(thing, name)
                continue
            if bearers.setdefault((scope, name), id(thing)) != id(thing):
                self._poor.add(name)
            if kind == MODULE:
                if not is_known:
                    self._register(thing, [name])
            elif kind >= LIST:
                containers.append((name, thing, kind))
        for name, thing, kind in containers:
            for key, part in entries(thing, kind, MAX_ENTRIES_READ):
                kind = kinds[type(part)]
                if kind >= MODULE and part not in known:
                    suffix = entry_suffix(thing, key)
                    if suffix and kind == MODULE:
                        self._register(part, [name + suffix])
                    elif suffix:
                        known.give(part, name + suffix)

    def _register(
        self, thing: Any, candidates: list[str], is_searched: bool = False
    ) -> ObjectName | None:
        """Begin to name a module and all that is in it, or another object; None where that cannot be."""
        is_module = self._kinds[type(thing)] == MODULE
        try:
            held = (lambda: thing) if is_module else ref(thing)
        except TypeError:  # Python has no weak references to this object
            return None
        name = ObjectName(held, type(thing).__name__, candidates, is_searched)
        self._objects.append(name)
        if is_module:
            self._known.give_parts(thing, name)
        else:
            self._known.give_object(thing, name)
        return name

    def _find_now(self, thing: Any) -> list[Found]:
        """The paths that lead to something from the frames that are running now."""
        if self._failures == MAX_FAILURES or self._search.opened > MAX_OBJECTS_OPENED:
            return []
        frames, _ = user_frames(self._outermost)
        found = self._search.paths(scopes_of(frames), {id(thing): thing}).get(id(thing), [])
        self._failures += not found
        return found

    def _search_owner(self, thing: Any) -> None:
        """Search once for the object after which a thing is named: a loop's variable may name more than one."""
        name = self._known.owner(thing)
        if name is not None and not name.is_searched:
            name.is_searched = True
            name.add_first(str(each.path) for each in self._find_now(name.thing()))

    def _adopt(self, thing: Any, found: Found) -> None:
        """Name something by a path that was found, and the object without a name that the path leads through."""
        path = found.path
        if found.owner is not None:
            begin = str(found.owner_path)
            outer = self._known.path(found.owner) or self._register(found.owner, [begin])
            path = str(path) if outer is None else outer + str(path).removeprefix(begin)
        if isinstance(path, PartName) and self._kinds[type(thing)] == MODULE:
            self._known.give_parts(thing, path)
        elif self._kinds[type(thing)] == MODULE:
            self._register(thing, [str(path)])
        else:
            self._known.give(thing, path)

    # ---- at the end ----

    def settle(
        self,
        leaves: Collection[torch.Tensor],
        results: Collection[torch.Tensor],
        frames: Collection[FrameType] = (),
    ) -> None:
        """Search what these frames see for what has no name yet, and see to it that no two modules share one.

        Leaves and results are those whose names will be asked for, parameters and all that ask for gradients being
        leaves. Without frames, the one that is recorded is searched.
        """
        frames = frames or ([] if self._outermost is None else [self._outermost])
        self._outermost = None
        self.look(frames)
        for frame in frames:
            self._read(frame.f_globals, id(frame.f_globals))
        scopes = scopes_of(frames)
        self._settle_leaves([leaf for leaf in leaves if self._known.owner(leaf) is None], scopes)
        self._settle_results(leaves, results, scopes)
        used = {id(self._known.owner(thing)) for _, thing in self._calls}
        used |= {id(self._known.owner(thing)) for thing in (*leaves, *results)}
        self._settle_objects([name for name in self._objects if id(name) in used], scopes)

    def _settle_objects(self, names: list[ObjectName], scopes: list[Scope]) -> None:
        """Search for objects that have no name of their own, or one that only an inner function has."""
        outer = {name for scope in scopes for name, _ in scope}
        waiting = [n for n in names if not (n.is_searched or outer.intersection(n.candidates))]
        waiting += unclear(names, self._poor)
        things = [(name, name.thing()) for name in waiting]
        there = {id(thing): thing for _, thing in things if thing is not None}
        found = self._search.paths(scopes, there)
        for name, thing in things:
            name.add_first(str(each.path) for each in found.get(id(thing), ()))
        choose(names)

    def _settle_leaves(self, leaves: list[torch.Tensor], scopes: list[Scope]) -> None:
        """Search for leaves without a name. No two parameters that are in no module share one: `w`, `w (2)`."""
        names = {id(leaf): self._known.text(leaf) for leaf in leaves}
        counts = Counter(names[id(leaf)] for leaf in leaves if _is_parameter(leaf))
        wanted = {
            id(leaf): leaf
            for leaf in leaves
            if names[id(leaf)] is None or counts[names[id(leaf)]] > 1
        }
        for key, found in self._search.paths(scopes, wanted).items():
            others = [each for each in found if counts[str(each.path)] < 2]
            if others:
                self._known.drop(wanted[key])
                self._adopt(wanted[key], best(others, TENSOR) or others[0])
        taken: set[str] = set()
        for leaf in leaves:
            name = self._known.path(leaf)
            if type(name) is str and _is_parameter(leaf):
                self._known.drop(leaf)
                self._known.give(leaf, numbered(name, taken))
                taken.add(numbered(name, taken))

    def _settle_results(
        self,
        leaves: Iterable[torch.Tensor],
        results: Iterable[torch.Tensor],
        scopes: list[Scope],
    ) -> None:
        """Search for results without a name, and for attributes that hold leaves known as an entry of a list only."""
        wanted = {id(result): result for result in results if self.of(result) is None}
        wanted |= {id(leaf): leaf for leaf in leaves if (self.of(leaf) or "").endswith("]")}
        for key, found in self._search.paths(scopes, wanted, RESULTS).items():
            tensor = wanted[key]
            if (
                tensor in self._known
            ):  # as an entry of a list: a variable is seldom more than a loop's
                found = [each for each in found if "." in str(each.path)]
            if found:
                self._known.drop(tensor)
                self._adopt(tensor, best(found, TENSOR) or found[0])


def _is_parameter(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter)
