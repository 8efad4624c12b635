"""Finds the blocks of a script that measure: a change there changes the number, not the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from agent.genome.analysis import DEFINITIONS, parse
from agent.genome.genome import Genome, block_name

_MEASURES = re.compile(r"_?(run_|do_)?(test|eval|evaluate|evaluation|validate|validation|estimate_loss)(_\w+)?", re.IGNORECASE)
_DATA = re.compile(r"(?:\w*Dataset|\w*DataLoader|\w*DataModule|\w*Sampler)")


def measuring_blocks(genome: Genome, metrics: Collection[str]) -> dict[str, str]:
    """Return why each block that measures should stay as it is, by its name.

    `metrics`: the names that the script prints. A block that prints or computes one of them, that is called as tests are, or
    that brings the data. Empty if nothing else could evolve.
    """
    found: dict[str, str] = {}
    several = len(genome.files) > 1
    labels = {_plain(name): name for name in metrics}
    trees = {path: parse(text) for path, text in genome.files.items()}
    feeding = {name for tree in trees.values() for node in tree.body for name in _feeding(node, labels)}
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, DEFINITIONS) and (reason := _reason(node, labels, feeding)):
                found[block_name(path, node.name, several)] = reason
    return found if any(block.name not in found for block in genome.blocks) else {}


def _reason(node: ast.stmt, labels: dict[str, str], feeding: Collection[str]) -> str:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if isinstance(node, ast.ClassDef):
        bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        return "data" if any(_DATA.fullmatch(base) for base in (*bases, node.name)) else ""
    for label in _labels(node, labels):
        return f"prints {labels[label]}"
    if node.name in feeding:
        return "computes a metric"
    return "measures" if _MEASURES.fullmatch(node.name) else ""


def _labels(node: ast.AST, labels: dict[str, str]) -> Iterator[str]:
    """Yield the metrics whose name stands in a text of the code, as a word of its own. Docstrings are no such texts."""
    texts = [_plain(n.value) for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    documented = ast.get_docstring(node, clean=False) if isinstance(node, ast.FunctionDef) else None
    for label in labels:
        word = re.compile(rf"(?<![a-z0-9]){re.escape(label)}(?![a-z0-9])")
        if any(word.search(text) for text in texts if not documented or text != _plain(documented)):
            yield label


def _feeding(node: ast.AST, labels: dict[str, str]) -> set[str]:
    """Return the functions of which a call's result is printed as a metric, directly or under a name."""
    printed = [call for call in ast.walk(node) if isinstance(call, ast.Call) and any(_labels(call, labels))]
    names = {n.id for call in printed for n in ast.walk(call) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for statement in ast.walk(node):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            targets = {n.id for target in statement.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
            if targets & names and isinstance(statement.value.func, ast.Name):
                names.add(statement.value.func.id)
    return names


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text).strip().lower()
