"""Imports go one way: a room knows only the rooms above it in the list."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    "core", "genome", "llm", "population", "operators", "memory", "journal",
    "search", "budget", "lineage", "run", "review", "cli",
)  # fmt: skip
"""Folders of `agent/`: each imports only those before it."""
ONLY = {"libcst": ("agent/genome/",), "openai": ("agent/llm/",), "litellm": ("agent/llm/",)}
SOURCES = sorted(p for room in ("agent", "sandbox") for p in (ROOT / room).rglob("*.py"))


def imports(path, *, late=True):
    """Names of all modules that a file imports; without `late`, only those imported when it is loaded."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if late else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "agent" and len(parts) > 1 else None


def test_the_rooms_are_the_folders_and_hold_everything():
    assert sorted(p.name for p in (ROOT / "agent").iterdir() if any(p.glob("*.py"))) == sorted(ROOMS)
    assert [p.name for p in (ROOT / "agent").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(path):
    place = path.relative_to(ROOT)
    if place.parts[0] == "sandbox":
        assert not [m for m in imports(path) if m.split(".")[0] == "agent"]
        return
    if place.parts[1] == "__init__.py":
        assert not list(imports(path))
        return
    mine = ROOMS.index(place.parts[1])
    for module in imports(path):
        if room := room_of(module):
            assert ROOMS.index(room) <= mine, f"{place} imports {module}, which stands below it"


@pytest.mark.parametrize("library", ONLY)
def test_a_library_has_one_importer(library):
    users = [str(p.relative_to(ROOT)) for p in SOURCES if any(m.split(".")[0] == library for m in imports(p))]
    assert users
    assert all(user.startswith(ONLY[library]) for user in users), users


def test_source_is_parsed_in_one_place_which_lets_one_thread_in_at_a_time():
    calls = [str(p.relative_to(ROOT)) for p in SOURCES if "ast.parse(" in p.read_text()]
    # An own task's file is read before any other thread is there.
    assert calls == ["agent/genome/syntax.py", "sandbox/tasks/own/source.py"]


def test_the_agent_never_imports_torch_and_models_are_imported_late():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] == "agent":
            assert not [m for m in imports(path) if m.split(".")[0] == "torch"], path
            assert not [m for m in imports(path, late=False) if m.split(".")[0] in ("openai", "litellm", "httpx", "jinja2")], path


def test_help_imports_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "agent.cli.main", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    heavy = ("torch", "litellm", "openai", "libcst", "numpy", "sklearn", "pydantic", "rich", "git", "deap", "sqlite3", "asyncio")
    heavy += ("httpx", "jinja2")
    assert not [m for m in heavy if re.search(rf"\|\s+{m}$", run.stderr, re.MULTILINE)]
    assert "Usage:" in run.stdout


def test_a_seed_and_the_processes_that_train_know_no_language_model():
    foreign = "[m for m in ('openai', 'litellm', 'agent') if m in sys.modules]"
    code = f"import sandbox.zygote, sandbox.tasks.inside, sys; print({foreign})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"
