"""A bare `.py` file as the seed of image classification: what is left out gets a default, or is listed at once."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.errors import UserError
from agent.genome import parse

EPOCHS = 5
_LENGTHS = ("epochs", "steps", "seconds")
_CLASSES = frozenset({"num_classes", "n_classes", "classes", "nclass", "nb_classes", "num_class", "n_class"})


def complete(table: dict[str, Any], folder: Path, tell: Callable[[str], None]) -> None:
    """Complete the tables in place, and tell each default in a line.

    Raises UserError that lists everything that the user has to name.
    """
    task, budget = table.setdefault("task", {}), table.setdefault("budget", {})
    problems = []
    if "dataset" not in task:
        problems.append("no data is named: --dataset FOLDER, with a folder of images for each class, or --dataset digits to try")
    if "model" not in task:
        file = task.get("entry", table["seed"]["files"][0])
        name = _model_of(folder / file)
        if name is None:
            problems.append(f"{file} has no build_model(num_classes, in_channels), and no module class or function for one")
        elif name != "build_model":
            task["model"] = name
            tell(f"The model is {name} of {file}, which has no build_model; task.model names another one.")
    if not any(key in budget for key in _LENGTHS):
        budget["epochs"] = EPOCHS
        if not problems:
            tell(f"One training has {EPOCHS} epochs: --set budget.epochs=N for another number.")
    if problems:
        raise UserError(f"{folder}: {'; '.join(problems)}.")


def _model_of(path: Path) -> str | None:
    """The name of what makes the model: `build_model`, a function for a number of classes, else the last class of a module.

    None if there is nothing of the kind, `build_model` for a file that cannot be read: reading the seed reports that.
    """
    try:
        body = parse(path.read_bytes().decode("utf-8-sig")).body
    except (OSError, ValueError, SyntaxError):
        return "build_model"
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    if any("build_model" in _bound(node) for node in body):
        return "build_model"
    makers = [one.name for one in functions if _CLASSES & {arg.arg for arg in (*one.args.args, *one.args.kwonlyargs)}]
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    modules = [name for name, node in classes.items() if _is_module(node, classes)]
    used = {n.id for node in classes.values() for n in ast.walk(node) if isinstance(n, ast.Name)}
    outermost = [name for name in modules if name not in used]  # no part of another one
    found = [*makers[:1], *outermost[-1:], *modules[-1:]]
    return found[0] if found else None


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {alias.asname or alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()


def _is_module(node: ast.ClassDef, classes: dict[str, ast.ClassDef], depth: int = 8) -> bool:
    """Whether a class derives from a class of torch.nn, as far as its own file shows."""
    names = [ast.unparse(base) for base in node.bases]
    known = any(name.endswith("Module") or name.startswith("nn.") for name in names)
    return known or (depth > 0 and any(name in classes and _is_module(classes[name], classes, depth - 1) for name in names))
