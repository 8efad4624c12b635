"""Where a program names a metric: in texts, keys, keywords and fields; and which names mean data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from agent.genome.analysis import DEFINITIONS, parse

_TELLS = re.compile(
    r"print|p?print_?\w*|_?log\w*|info|debug|warning|warn|write\w*|dumps?|set_postfix\w*|update|add_scalars?|dict|report\w*|track\w*|"
    r"record\w*|append|format|summary|emit|send|display|Result\w*|Metrics?\w*|\w*(?:Result|Metrics|Report|Stats)",
    re.IGNORECASE,
)
"""Functions whose keywords name what they tell, as in `progress.set_postfix(acc=acc)`."""
_DATA = re.compile(
    r"\w*(?:Dataset|DataSet|DataLoader|Dataloader|DataModule|Sampler|ImageFolder)|random_split|train_test_split|load_dataset|"
    r"(?:get|make|build|create|load|prepare|read|fetch|setup|split|init|download)_(?:\w+_)?(?:data|dataset|datasets|loader|loaders|"
    r"dataloader|dataloaders|batch|batches|split|splits|corpus|samples)|(?:\w+_)?(?:dataloaders?|loaders?|datasets?)|"
    r"load_(?:digits|iris|wine|breast_cancer|diabetes)|make_(?:moons|blobs|circles|classification|regression|friedman\d)|"
    r"fetch_(?:openml|california_housing|20newsgroups|covtype|olivetti_faces)",
)
"""Names of classes and functions that hold, build or draw data."""


_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


def tells(name: str) -> bool:
    """Whether a function of this name prints, writes or logs what it is given."""
    return bool(_TELLS.fullmatch(name)) and name not in ("append", "update", "dict", "format")


def is_data(name: str) -> bool:
    return bool(_DATA.fullmatch(name))


def words_of(name: str) -> set[str]:
    """The words of a name in small letters: `run_valEpoch` -> run, val, epoch."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def _plain(text: str) -> str:
    """A text in small letters, with one blank for whatever joins words."""
    return re.sub(r"[\s_/.\-]+", " ", text).strip().lower()


@dataclass(frozen=True)
class Labels:
    """The names of the metrics that a script prints."""

    plain: dict[str, str]
    """The name as it was given, by its plain form."""
    constants: frozenset[str]
    """Names that the program gives to a metric's name: `METRIC = "val_acc"`."""

    @classmethod
    def of(cls, metrics: Iterable[str], texts: Iterable[str]) -> Labels:
        plain = {_plain(name): name for name in metrics}
        statements = [node for text in texts for node in parse(text).body]
        named = {
            target.id
            for node in statements
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name) and _plain(node.value.value) in plain
        }
        return cls(plain, frozenset(named))

    def first_in(self, node: ast.AST) -> str:
        """The first metric that the code of a definition names, docstrings aside; empty if it names none."""
        return next(self._in(node), "")

    def name_has_one(self, name: str) -> bool:
        """Whether a metric's name is part of a function's name, as in `compute_val_acc`."""
        return any(self._stands_in(label, _plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))) for label in self.plain)

    def values_of(self, node: ast.AST) -> list[ast.AST]:
        """The statements, or the heads of compound ones, that name a metric: what they read is what is measured."""
        return [part for part in _smallest(node) if any(self._in(part))]

    def _in(self, node: ast.AST) -> Iterator[str]:
        documented = {id(n) for n in _docstrings(node)}
        for inner in ast.walk(node):
            for text in _texts(inner):
                if id(inner) not in documented:
                    yield from (name for label, name in self.plain.items() if self._stands_in(label, _plain(text)))
            if isinstance(inner, ast.Name) and inner.id in self.constants and isinstance(inner.ctx, ast.Load):
                yield next(iter(self.plain.values()))

    @staticmethod
    def _stands_in(label: str, text: str) -> bool:
        return bool(re.search(rf"(?<![a-z0-9]){re.escape(label)}(?![a-z0-9])", text))


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts by which a node may name a metric: literals, keywords of functions that tell, fields of records."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.Call(func=func, keywords=keywords) if keywords and _TELLS.fullmatch(ast.unparse(func).rpartition(".")[2]):
            yield from (keyword.arg for keyword in keywords if keyword.arg)
        case ast.ClassDef(body=body) if _is_record(node):
            yield from (n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name))


def _is_record(node: ast.ClassDef) -> bool:
    named = [*node.decorator_list, *node.bases]
    return any(re.search(r"dataclass|NamedTuple|TypedDict|BaseModel", ast.unparse(one)) for one in named)


def _docstrings(node: ast.AST) -> Iterator[ast.AST]:
    for inner in ast.walk(node):
        if isinstance(inner, DEFINITIONS) and ast.get_docstring(inner, clean=False) is not None:
            yield cast(ast.Expr, inner.body[0]).value


def _smallest(node: ast.AST) -> Iterator[ast.AST]:
    """Yield simple statements, and the heads of compound ones."""
    bodies = [name for name in _BODIES if isinstance(getattr(node, name, None), list)]
    if not bodies:
        yield node
        return
    for name, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _smallest(part) if name in bodies else [part]
