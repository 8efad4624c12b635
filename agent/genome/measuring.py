"""Finds what measures in a script: blocks, methods and constants of which a change changes the number, not the program."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.genome.analysis import DEFINITIONS, parse
from agent.genome.flow import Names, Slice, Source, bindings, bound, given_to, results, roots, top_level
from agent.genome.genome import Genome, bare_name, block_name
from agent.genome.labels import Labels, is_data, tells, words_of

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_MEASURES = frozenset({
    "test", "tests", "testing", "eval", "evaluate", "evaluation", "evaluator", "validate", "validation", "validator", "valid",
    "val", "metric", "metrics", "accuracy", "perplexity", "benchmark",
})  # fmt: skip
"""Words in the names of what measures."""
_OF_NETWORKS = frozenset({"forward", "__call__", "predict", "generate", "encode", "decode", "logits", "embed", "sample"})
"""Methods of a network whose results are judged: they are no measurement themselves."""


_TRAINS = frozenset({"init", "fit", "train", "training", "learn", "configure", "setup"})
"""Words in the names of methods that make or train an object: what they write is no measurement."""
_OF_MODELS = ("forward", "predict", "fit", "backward", "parameters")
"""A class with one of these methods is a network, or another model, whatever it derives from."""


@dataclass(frozen=True)
class Measuring:
    """What should stay as it is, so that no change wins by another measurement."""

    frozen: dict[str, str] = field(default_factory=dict)
    """Why, by the name of a block, of a constant, or of a method such as `Net.validation_step`."""
    left_free: dict[str, str] = field(default_factory=dict)
    """What measures too, but would have to be frozen with all that could evolve."""


def find_measuring(genome: Genome, metrics: Collection[str]) -> Measuring:
    """Find what prints or computes one of the metrics, is named as tests are, or brings the data.

    `metrics`: the names that the script prints. Where nothing else could evolve, what makes or trains the network is left
    free, and if that is not enough, everything.
    """
    search = _Search(genome, Labels.of(metrics, genome.files.values()))
    search.look()
    found = search.by_name()
    evolving = {block.name for block in genome.blocks}
    if evolving - found.keys():
        return Measuring(found)
    works = {name: reason for name, reason in found.items() if search.works(bare_name(name))}
    if works.keys() & evolving:
        return Measuring({name: reason for name, reason in found.items() if name not in works}, works)
    return Measuring({}, found)


@dataclass(frozen=True)
class _Unit:
    """A top-level function, a class, or a method of a class that is not judged as a whole."""

    path: str
    name: str
    """`evaluate`, `Meter`, `Net.validation_step`."""
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    owner: ast.ClassDef | None = None


class _Search:
    def __init__(self, genome: Genome, labels: Labels) -> None:
        self._genome, self._labels = genome, labels
        trees = {path: parse(text) for path, text in genome.files.items()}
        self._classes = {node.name: node for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)}
        self._networks = {name for name in self._classes if self._is_network(name)}
        self._units = [unit for path, tree in trees.items() for node in tree.body for unit in self._units_of(path, node)]
        self._top = tuple(node for tree in trees.values() for node in top_level(tree))
        self._names = Names(
            frozenset(node.name for tree in trees.values() for node in tree.body if isinstance(node, DEFINITIONS)),
            frozenset(n.name for one in self._classes.values() for n in one.body if isinstance(n, _Function)),
            {a.asname: a.name for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
             if a.asname},
            frozenset(node.name for tree in trees.values() for node in tree.body
                      if isinstance(node, DEFINITIONS) and (node.name in self._networks or self._works(node))),
            bindings(self._top),
        )  # fmt: skip
        self._reasons: dict[tuple[str, str], str] = {}
        """By (path, name)."""
        self._queue: list[tuple[_Unit | None, Iterable[ast.AST]]] = []
        """(unit, None for the top level; expressions whose values are measured)."""

    def by_name(self) -> dict[str, str]:
        several = len(self._genome.files) > 1
        found = {block_name(path, name, several): reason for (path, name), reason in self._reasons.items()}
        return {**found, **dict(self._constants())}

    def look(self) -> None:
        for unit in self._units:
            if reason := self._at_first_sight(unit):
                self._mark(unit, reason)
        labelled = [part for statement in self._top for part in self._labels.values_of(statement)]
        self._queue.append((None, labelled))
        while self._queue:
            while self._queue:
                self._follow(*self._queue.pop())
            self._mark_tellers()

    def works(self, name: str) -> bool:
        """Whether a block makes or trains a network."""
        return any(self._works(unit.node) for unit in self._units if unit.name == name)

    def _units_of(self, path: str, node: ast.stmt) -> Iterator[_Unit]:
        if isinstance(node, _Function):
            yield _Unit(path, node.name, node)
        elif isinstance(node, ast.ClassDef):
            whole = not (node.name in self._networks or _trains(node)) or self._is_of_data(node)
            if whole:
                yield _Unit(path, node.name, node)
            else:
                yield from (_Unit(path, f"{node.name}.{n.name}", n, node) for n in node.body if isinstance(n, _Function))

    def _is_network(self, name: str, depth: int = 8) -> bool:
        bases = [ast.unparse(base) for base in self._classes[name].bases]
        known = any(base.endswith("Module") or base.startswith(("nn.", "torch.nn.")) for base in bases)
        known = known or any(_has_method(self._classes[name], method) for method in _OF_MODELS)
        return known or (depth > 0 and any(base in self._classes and self._is_network(base, depth - 1) for base in bases))

    @staticmethod
    def _is_of_data(node: ast.ClassDef) -> bool:
        return any(is_data(ast.unparse(base).rpartition(".")[2]) for base in node.bases) or is_data(node.name)

    def _works(self, node: ast.AST) -> bool:
        called = {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        holders = {n.value.id for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
        return bool(called & self._networks) or "nn" in holders or _trains(node)

    def _at_first_sight(self, unit: _Unit) -> str:
        """Why a unit measures, as far as it shows by itself; empty if it does not."""
        node, name = unit.node, unit.name.rpartition(".")[2]
        if isinstance(node, ast.ClassDef) and self._is_of_data(node):
            return "data"
        if label := self._labels.first_in(node):
            return f"prints {label}"
        if self._labels.name_has_one(name) and not (unit.owner and name in _OF_NETWORKS):
            return "computes a metric"
        if words_of(name) & _MEASURES or {"estimate", "loss"} <= words_of(name):
            return "measures"
        if isinstance(node, _Function) and unit.owner is None and not self._works(node) and _brings_data(node):
            return "data"
        if unit.owner and name.endswith("_dataloader"):
            return "data"
        return ""

    def _mark(self, unit: _Unit, reason: str) -> None:
        if (unit.path, unit.name) in self._reasons:
            return
        self._reasons[unit.path, unit.name] = reason
        members = unit.node.body if isinstance(unit.node, ast.ClassDef) else [unit.node]
        measured: list[ast.AST] = [part for n in members if isinstance(n, _Function) for part in results(n)]
        if reason.startswith("prints"):
            measured = self._labels.values_of(unit.node)
        self._queue.append((unit, measured))

    def _slice(self, unit: _Unit | None, values: Iterable[tuple[ast.AST, bool]]) -> Slice:
        """What these (expressions, closely) of a unit come from; None for the top level."""
        found = Slice(self._names, self._top if unit is None else [unit.node], unit.owner if unit else None)
        for value, closely in values:
            found.follow(value, closely)
        return found

    def _follow(self, unit: _Unit | None, values: Iterable[ast.AST]) -> None:
        """Mark what these values of a unit come from; with those of its parameters, from wherever it is called."""
        found = self._slice(unit, [(value, True) for value in values])
        self._mark_sources(found, unit)
        if unit is not None:
            self._mark_writers(unit, found.names)
            if isinstance(unit.node, _Function):
                self._follow_callers(unit, unit.node, found.names)

    def _mark_sources(self, found: Slice, user: _Unit | None) -> None:
        for source in sorted(found.sources, key=lambda one: (one.name, one.is_method, one.closely)):
            self._mark_source(source, user)

    def _mark_source(self, source: Source, user: _Unit | None) -> None:
        told = self._reasons[user.path, user.name] if user else "prints"
        reason = "data" if told == "data" else "computes a metric"
        for unit in self._units:
            owner, _, name = unit.name.rpartition(".")
            if isinstance(unit.node, ast.ClassDef):
                # A class of which a value was only computed with an object is more likely a network than a measurement.
                wanted = source.closely and (_has_method(unit.node, source.name) if source.is_method else name == source.name)
                by_network = False
            else:
                wanted = name == source.name and bool(owner) == source.is_method
                by_network = owner in self._networks and (
                    name in _OF_NETWORKS or not (source.closely and told.startswith("prints"))
                )
            if wanted and not by_network and (source.closely or not self._works(unit.node)):
                self._mark(unit, reason)

    def _mark_writers(self, unit: _Unit, names: Iterable[str]) -> None:
        """Mark the methods of the same class that write an attribute from which a measured value comes."""
        attributes = {name[1:] for name in names if name.startswith(".")}
        for other in self._units:
            if unit.owner and other.owner is unit.owner and not self._works(other.node) and not words_of(other.name) & _TRAINS:
                written = {n.attr for n in ast.walk(other.node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
                if written & attributes:
                    self._mark(other, "computes a metric")

    def _follow_callers(self, unit: _Unit, function: _Function, names: Mapping[str, bool]) -> None:
        """What a unit is given wherever it is called is measured too, as far as it is among the followed names."""
        called = unit.name.rpartition(".")[2]
        scopes: list[tuple[_Unit | None, Sequence[ast.stmt]]] = [(None, self._top), *((one, [one.node]) for one in self._units)]
        for user, statements in scopes:
            calls = [n for one in statements for n in ast.walk(one) if isinstance(n, ast.Call) and _calls(n, called)]
            given = [part for call in calls for part in given_to(function, call)]
            self._mark_sources(self._slice(user, [(value, names[name]) for name, value in given if name in names]), unit)

    def _mark_tellers(self) -> None:
        """Mark what is given a value under a metric's name, to print it or to hand it on; and who prints such a result."""
        scopes: list[tuple[_Unit | None, Sequence[ast.stmt]]] = [(None, self._top), *((one, [one.node]) for one in self._units)]
        labelled = {name.rpartition(".")[2] for (_, name), reason in self._reasons.items() if reason.startswith("prints")}
        for user, statements in scopes:
            carried = set[str]()
            for node in (n for one in statements for n in ast.walk(one)):
                for target, value in bound(node):
                    if any(self._labels.values_of(value)) or _mentions(target, (), self._labels) or _calls_any(value, labelled):
                        carried.update(roots(target))
            for call in (n for one in statements for n in ast.walk(one) if isinstance(n, ast.Call)):
                self._mark_teller(user, call, carried, labelled)

    def _mark_teller(self, user: _Unit | None, call: ast.Call, carried: Collection[str], labelled: Collection[str]) -> None:
        name = ast.unparse(call.func).rpartition(".")[2]
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if not any(_mentions(one, carried, self._labels) or _calls_any(one, labelled) for one in given):
            return
        metric = next(iter(self._labels.plain.values()))
        if user is not None and (tells(name) or name in labelled):
            self._mark(user, f"prints {metric}")
        for unit in self._units:
            owner, _, own = unit.name.rpartition(".")
            method = isinstance(unit.node, ast.ClassDef) and isinstance(call.func, ast.Attribute) and _has_method(unit.node, name)
            called = own == name and bool(owner) == isinstance(call.func, ast.Attribute)
            if (called or method) and not self._works(unit.node) and owner not in self._networks:
                self._mark(unit, f"prints {metric}")

    def _constants(self) -> Iterator[tuple[str, str]]:
        """(name, why) of the constants that only what measures reads, or that are named as such."""
        measured, others = set[str](), set[str]()
        for unit in self._units:
            reason = self._reasons.get((unit.path, unit.name), "")
            read = {n.id for n in ast.walk(unit.node) if isinstance(n, ast.Name)}
            (measured if reason in ("computes a metric", "measures") else others).update(read)
        inner = (n for statement in self._top for n in ast.walk(statement))
        others |= {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for one in self._genome.constants:
            name = bare_name(one.name)
            named = name in self._labels.constants or words_of(name) & _MEASURES
            if named or (name in measured and name not in others):
                yield one.name, "measures"


def _calls(call: ast.Call, name: str) -> bool:
    func = call.func
    return (isinstance(func, ast.Name) and func.id == name) or (isinstance(func, ast.Attribute) and func.attr == name)


def _mentions(node: ast.AST, names: Collection[str], labels: Labels) -> bool:
    """Whether an expression reads one of the names as it is, or names a metric itself."""
    plain = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    members = {f".{n.attr}" for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return bool((plain | members) & set(names)) or any(labels.values_of(node))


def _calls_any(node: ast.AST, names: Collection[str]) -> bool:
    return any(isinstance(n, ast.Call) and any(_calls(n, name) for name in names) for n in ast.walk(node))


def _has_method(node: ast.ClassDef, name: str) -> bool:
    return any(isinstance(n, _Function) and n.name == name for n in node.body)


def _trains(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in ("backward", "zero_grad") for n in ast.walk(node))


def _brings_data(node: _Function) -> bool:
    """Whether a function is named after the data that it brings, or builds a data set or what draws from one."""
    called = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    names = (one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else "" for one in called)
    holders = {n.value.attr if isinstance(n.value, ast.Attribute) else n.value.id for n in ast.walk(node)
               if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Attribute | ast.Name)}  # fmt: skip
    return is_data(node.name) or any(is_data(name) for name in names) or "datasets" in holders
