"""Code of an answer -> the edited file. libcst takes the answer apart; the file itself is spliced by lines.

Splicing, because then every byte outside the edit stays by construction: in libcst's tree the blank and comment lines
below a block belong to the block. Runs in the editor's child process.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import libcst as cst

from agent.genome.answer import Violations
from agent.genome.genome import ENTRY_POINTS, source_lines
from agent.genome.statements import DEFINITIONS, span, without_docstrings

_Definition = cst.ClassDef | cst.FunctionDef


def edit(source: str, names: Collection[str], code: str) -> str | Violations:
    """`source` with the blocks `names` replaced by those of `code`, whose imports and new helpers are merged in.

    Definitions that repeat an existing one are ignored; new names must not clash. Both texts have passed the gates.
    """
    file, answer = _parsed(source), cst.parse_module(code)
    given = {n.name.value: n for n in answer.body if isinstance(n, _Definition)}
    existing = {n.name.value: n for n in file.body if isinstance(n, _Definition)}
    reasons = [f"The answer does not define `{name}`." for name in names if name not in given]
    helpers: list[cst.BaseStatement] = []
    for statement in answer.body:
        if isinstance(statement, _Definition):
            name = statement.name.value
            if name in names or (name in existing and _same(statement, existing[name])):
                continue
            if name in existing:
                asked = " and ".join(f"`{n}`" for n in names)
                reasons.append(f"The answer changes `{name}`; only {asked} may change: leave `{name}` out.")
            else:
                helpers.append(statement)
        elif _is_assignment(statement):
            helpers += [] if _stands_already(statement, file) else [statement]
        elif not (_is_import(statement) or _is_demonstration(statement)):
            reasons.append(f"Top-level code with side effects is not allowed: `{_first_line(statement)}`.")
    taken = set(existing) | _assigned_names(file.body)
    helpers = _wanted(helpers, [given[name] for name in names if name in given], taken | set(ENTRY_POINTS))
    for name in sorted(_assigned_names(helpers) & taken):
        reasons.append(f"The name `{name}` exists in the program already with another value; choose a new one.")
    if reasons:
        return Violations(tuple(reasons))
    fresh = {name: given[name].with_changes(leading_lines=[]) for name in names}
    return _spliced(source, fresh, helpers, _new_imports(file.body, answer.body))


@lru_cache(maxsize=8)  # some MB each
def _parsed(source: str) -> cst.Module:
    """A parent is edited again and again."""
    return cst.parse_module(source)


def _wanted(
    helpers: Sequence[cst.BaseStatement], blocks: Sequence[_Definition], asked: Collection[str]
) -> list[cst.BaseStatement]:
    """Without the values that nothing reads: `x = Gate(8)` below the block is a demonstration, and above it an error.

    A name in `asked` stays: it clashes with the program's, which the answer must be told, or the framework reads it.
    """
    values = [helper for helper in helpers if not isinstance(helper, _Definition)]
    definitions = [helper for helper in helpers if isinstance(helper, _Definition)]
    used = set(asked).union(*(_read_names(node) for node in (*blocks, *definitions)))
    while fresh := [value for value in values if _assigned_names([value]) & used]:
        values = [value for value in values if value not in fresh]
        used = used.union(*(_read_names(value) for value in fresh))
    return [helper for helper in helpers if helper not in values]


def _spliced(
    source: str,
    blocks: Mapping[str, _Definition],
    helpers: Sequence[cst.BaseStatement],
    imports: Sequence[cst.BaseStatement],
) -> str:
    """Each block in its place, the helpers before the first of them, the imports below those of the file's head."""
    lines = source_lines(source)
    tree = ast.parse(source)
    pieces: list[tuple[int, int, str]] = []  # lines [start, stop) and what stands there instead
    nodes = {node.name: node for node in tree.body if isinstance(node, DEFINITIONS) and node.name in blocks}
    for name, node in nodes.items():
        first, last = span(node)
        pieces.append((first - 1, last, _text(blocks[name]) + "\n"))
    if helpers:
        first = min(span(node)[0] for node in nodes.values()) - 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        pieces.append((first, first, "".join(f"{_text(h)}\n\n\n" for h in helpers)))
    for statements, place in (([i for i in imports if _is_future(i)], 0), ([i for i in imports if not _is_future(i)], 1)):
        if statements:
            line = _import_lines(tree)[place]
            pieces.append((line, line, "".join(f"{_text(s)}\n" for s in statements)))
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    # From the bottom up, so that the line numbers above stay true; at one line, imports end up above helpers.
    for start, stop, text in sorted(pieces, key=lambda piece: piece[:2], reverse=True):
        lines[start:stop] = [text.replace("\r\n", "\n").replace("\n", ending)]
    return "".join(lines)


def _import_lines(tree: ast.Module) -> tuple[int, int]:
    """Below which line new `__future__` imports and new plain imports go."""
    future = plain = 0
    for position, node in enumerate(tree.body):
        docstring = position == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            future = plain = node.end_lineno or 0
        elif isinstance(node, ast.Import | ast.ImportFrom):
            plain = node.end_lineno or 0
    return future, plain


def _new_imports(body: Sequence[cst.CSTNode], answer: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """The answer's imports that bring a name which the file does not have."""
    bound = {name for statement in body if _is_import(statement) for name in _bindings(statement)}
    fresh: list[cst.BaseStatement] = []
    for statement in answer:
        if _is_import(statement) and not _bindings(statement) <= bound:
            bound |= _bindings(statement)
            fresh.append(statement)
    return fresh


def _text(statement: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(statement).strip()


def _first_line(statement: cst.BaseStatement) -> str:
    return next(line for line in _text(statement).splitlines() if line.strip() and not line.startswith("#"))[:120]


def _same(a: cst.CSTNode, b: cst.CSTNode) -> bool:
    """Equal up to comments, docstrings and spacing."""
    return _meaning(a) == _meaning(b)


def _meaning(node: cst.CSTNode) -> str:
    return ast.dump(without_docstrings(ast.parse(_text(node))))


def _small(statement: cst.CSTNode) -> Sequence[cst.BaseSmallStatement]:
    return statement.body if isinstance(statement, cst.SimpleStatementLine) else ()


def _is_import(statement: cst.CSTNode) -> bool:
    small = _small(statement)
    return bool(small) and all(isinstance(s, cst.Import | cst.ImportFrom) for s in small)


def _is_future(statement: cst.CSTNode) -> bool:
    return _is_import(statement) and _text(statement).startswith("from __future__")


def _is_docstring(statement: cst.CSTNode) -> bool:
    small = _small(statement)
    return len(small) == 1 and isinstance(small[0], cst.Expr) and isinstance(small[0].value, cst.SimpleString)


def _is_assignment(statement: cst.CSTNode) -> bool:
    """Constants and aliases; a call on the right side may have effects, but only those of making a value.

    Not `Gate.width = 3` nor `TABLE["x"] = 3`: these change what stands elsewhere.
    """
    small = _small(statement)
    if not small or not all(isinstance(s, cst.Assign | cst.AnnAssign) for s in small):
        return False
    places = ast.walk(ast.parse(_text(statement)))
    return not any(isinstance(p, ast.Attribute | ast.Subscript) and isinstance(p.ctx, ast.Store) for p in places)


def _is_demonstration(statement: cst.CSTNode) -> bool:
    """What models append out of habit, dropped silently: docstrings, prints, a main guard, a bare name, `pass`."""
    if isinstance(statement, cst.If):
        return "__name__" in cst.Module([]).code_for_node(statement.test)
    small = _small(statement)
    return bool(small) and all(
        isinstance(s, cst.Pass)
        or (
            isinstance(s, cst.Expr)
            and (
                isinstance(s.value, cst.SimpleString | cst.ConcatenatedString | cst.Name | cst.Ellipsis)
                or (isinstance(s.value, cst.Call) and _text(s.value.func) in ("print", "main", "test", "demo"))
            )
        )
        for s in small
    )


def _stands_already(statement: cst.CSTNode, file: cst.Module) -> bool:
    return any(_is_assignment(s) and _text(s) == _text(statement) for s in file.body)


def _assigned_names(statements: Sequence[cst.CSTNode]) -> set[str]:
    """Top-level names bound by assignments."""
    found: set[str] = set()
    for statement in statements:
        if _is_assignment(statement):
            for node in ast.walk(ast.parse(_text(statement))):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
    return found


def _read_names(node: cst.CSTNode) -> set[str]:
    """Names that are read from the top level; a local variable of the same name is not."""
    table = symtable.symtable(_text(node), "answer", "exec")
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    scopes = list(table.get_children())
    while scopes:
        scope = scopes.pop()
        found |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        scopes += scope.get_children()
    return found


def _bindings(statement: cst.CSTNode) -> set[str]:
    """`import a.b`, `import a as x`, `from m import y`: what each makes available, with where it comes from."""
    found = set()
    for node in ast.walk(ast.parse(_text(statement))):
        if isinstance(node, ast.Import):
            found |= {f"{alias.asname or alias.name}={alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{alias.asname or alias.name}={node.module}.{alias.name}" for alias in node.names}
    return found
