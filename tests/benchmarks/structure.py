"""How big and how tangled the source is: prints JSON. `python tests/benchmarks/structure.py [ROOT]`."""

import ast
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit_of(module):
    """What stands at the top of the package: a folder or a file."""
    return module.split(".")[1] if "." in module else None


def ranks(arrows):
    """The length of the longest chain of imports between units; circles are counted apart."""
    depth, state, circles = {}, {}, 0

    def visit(unit):
        nonlocal circles
        if state.get(unit) == "open":
            circles += 1
            return 0
        if unit not in depth:
            state[unit] = "open"
            depth[unit] = 1 + max((visit(other) for other in sorted(arrows[unit])), default=0)
            state[unit] = "done"
        return depth[unit]

    for unit in sorted(arrows):
        visit(unit)
    return max(depth.values(), default=0), circles


def describe(package):
    files = sorted(p for p in (ROOT / package).rglob("*.py") if "__pycache__" not in p.parts)
    arrows, functions = defaultdict(set), []
    for path in files:
        tree, mine = ast.parse(path.read_text()), module_of(path)
        for other in imports(tree):
            if other.split(".")[0] == package:
                here, there = unit_of(mine), unit_of(other)
                if here and there and here != there:
                    arrows[here].add(there)
                    arrows[there] |= set()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                args = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([a for a in args if a not in ("self", "cls")])
                where = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
                functions.append((node.end_lineno - node.lineno + 1, count, where))
    lines = {p: p.read_text().count("\n") for p in files}
    longest, most = max(functions), max(functions, key=lambda f: f[1])
    depth, circles = ranks(arrows)
    return {
        "files": len(files),
        "lines": sum(lines.values()),
        "files_at_the_top": len(list((ROOT / package).glob("*.py"))),
        "folders_at_the_top": len([p for p in (ROOT / package).iterdir() if any(p.glob("*.py"))]),
        "median_lines_of_a_file": statistics.median(lines.values()),
        "longest_file": max((n, p.relative_to(ROOT).as_posix()) for p, n in lines.items()),
        "files_over_300_lines": sum(n > 300 for n in lines.values()),
        "ranks": depth,
        "circles_between_top_units": circles,
        "arrows_between_top_units": sum(map(len, arrows.values())),
        "functions": len(functions),
        "longest_function": [longest[0], longest[2]],
        "functions_over_40_lines": sum(f[0] > 40 for f in functions),
        "most_arguments": [most[1], most[2]],
        "functions_with_8_or_more_arguments": sum(f[1] >= 8 for f in functions),
    }


print(json.dumps({package: describe(package) for package in ("agent", "sandbox")}, indent=2))
