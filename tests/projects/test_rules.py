"""Every rule of the offline model on every block of the projects: what it writes fits, and leaves alone what is not its own."""

import ast
import importlib
import random
import re
import shutil
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from agent.genome import Violations, read_genome
from agent.genome.edit_program import edit_program
from agent.genome.measuring import find_measuring
from agent.genome.rewrites import CATALOGUE, fits
from agent.genome.rewrites.catalogue import apply_any, mutate
from agent.genome.rewrites.constants import retune
from agent.genome.rewrites.training import FALLBACK, TRAINING

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PROJECTS = sorted(path.parent.name for path in HERE.glob("*/evolve.toml"))
FIXED = re.compile(r"class|label|vocab|seed|test_size|n_(?:head|layer)$|num_heads|epochs|iter|steps|batch|eval", re.IGNORECASE)
"""Names of what the data, the measurement or the length of a training fixes."""
FREE = ("label_smoothing", "total_steps")
TRIES = 2


def genome_of(project):
    """As `evolve run` reads it: the files that evolve, without what measures."""
    arguments = tomllib.loads((HERE / project / "evolve.toml").read_text())["arguments"]
    pairs = list(pairwise(arguments))
    files = [a for a in arguments[:1] if a.endswith(".py")] + [b for a, b in pairs if a == "--source"]
    metrics = [b.rpartition(":")[0] for a, b in pairs if a == "--metric"]
    genome = read_genome(HERE / project, files)
    frozen = find_measuring(genome, metrics).frozen if metrics else ()
    return read_genome(HERE / project, files, frozen)


def changes_of(block):
    """(name of the rule, change) of all that fit."""
    if block.kind == "constants":
        yield from (("retune", c) for seed in range(8) if (c := retune(block.source, random.Random(seed))))
        return
    for rewrite in (*CATALOGUE, FALLBACK):
        found = (apply_any(block.source, [rewrite], random.Random(seed)) for seed in range(TRIES))
        yield from ((rewrite.name, change) for change in {c.source: c for c in found if c}.values())


def edited(genome, block, change):
    code = f"{change.imports}\n\n\n{change.source}"
    return edit_program(dict(genome.files), [block.name], f"```python\n{code}\n```", genome.frozen, genome.entry_points)


def fixed_numbers(text):
    """The numbers under names that no rule may touch, and all options of the command line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument")):
                found.append(ast.dump(node))
            case ast.keyword(arg=str(name), value=value) if FIXED.search(name):
                found.append(f"{name}={ast.unparse(value)}")
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant() as value) if FIXED.search(name):
                found.append(f"{name}={ast.unparse(value)}")
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant() as value) if FIXED.search(name):
                found.append(f"{name}={ast.unparse(value)}")
            case ast.arguments():
                named = [*zip(node.args[len(node.args) - len(node.defaults) :], node.defaults, strict=True)]
                named += [(a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d]
                found += [f"{a.arg}={ast.unparse(d)}" for a, d in named if FIXED.search(a.arg)]
    return sorted(one for one in found if not one.startswith(FREE))


def unknown_torch_names(text):
    """Attribute chains from an import of torch that lead nowhere."""
    roots = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in (a for a in node.names if a.name.split(".")[0] == "torch"):
                roots[alias.asname or "torch"] = importlib.import_module(alias.name if alias.asname else "torch")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "torch":
            for alias in node.names:
                roots[alias.asname or alias.name] = getattr(importlib.import_module(node.module), alias.name)
    chains = {ast.unparse(n) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)}
    chains = {chain for chain in chains if re.fullmatch(r"[\w.]+", chain)}
    for chain in chains:
        first, *rest = chain.split(".")
        place = roots.get(first)
        for name in rest if place is not None and type(place).__name__ == "module" else ():
            if not hasattr(place, name):
                yield chain
                break
            place = getattr(place, name)
            if type(place).__name__ != "module":
                break


@pytest.fixture
def holds(tmp_path, monkeypatch):
    """Whether what the project's `check` says holds for other files of it."""
    torch.set_num_threads(1)

    def tried(project, files, check):
        folder = tmp_path / "copy"
        shutil.copytree(HERE / project, folder, dirs_exist_ok=True)
        for path, text in files.items():
            (folder / path).write_text(text)
        monkeypatch.setattr(sys, "path", [str(folder / check.get("root", "")), *sys.path])
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        try:
            return eval(check["holds"], {**vars(importlib.import_module(check["module"])), "torch": torch})
        finally:
            monkeypatch.undo()
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                    del sys.modules[name]

    return tried


@pytest.mark.parametrize("project", PROJECTS)
def test_what_rules_write_fits(project, holds):
    genome, check = genome_of(project), tomllib.loads((HERE / project / "evolve.toml").read_text()).get("check")
    kinds = set[str]()
    for block in (*genome.blocks, *genome.constant_groups):
        for rule, change in changes_of(block):
            after = edited(genome, block, change)
            assert not isinstance(after, Violations), f"{rule} in {block.name}: {after.reasons}\n{change.source}"
            for path, text in after.items():
                said = f"{rule} in {block.name}: {change.description}"
                compile(text, path, "exec")
                assert fixed_numbers(text) == fixed_numbers(genome.files[path]), said
                assert not [*unknown_torch_names(text)], said
            if check:
                assert holds(project, after, check), f"{rule} in {block.name}: {change.description}\n{change.source}"
            kinds.add(rule)
    assert kinds, "no rule fits any block"


@pytest.mark.parametrize("project", PROJECTS)
def test_a_block_that_some_rule_fits_never_stays_as_it_is(project):
    """Whatever the directive: a rule that does not fit costs no child."""
    for block in genome_of(project).blocks:
        if fits(block.source):
            for directive in ("uncommon parameters", "reduce size"):
                assert mutate(block.source, directive, random.Random(1)), (block.name, directive)


def test_rules_of_training_are_exercised():
    blocks = [block for project in PROJECTS for block in genome_of(project).blocks]
    never = {rule.name for rule in TRAINING if not any(apply_any(b.source, [rule], random.Random(0)) for b in blocks)}
    assert not never
