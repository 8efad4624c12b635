"""Imports go one way: a room imports only the rooms above it in the list."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    "core", "genome", "llm", "population", "operators", "memory", "journal",
    "search", "budget", "lineage", "run", "review", "cli",
)  # fmt: skip
"""Folders of `agent/`: each imports only those before it."""
SANDBOX_ROOMS = (
    "sandbox", "pool", "isolation", "inside", "data", "launch",
    "tasks/common", "tasks/image_classification", "tasks/own", "tasks/script", "tasks",
)  # fmt: skip
"""Folders of `sandbox/`, in the same way; `sandbox` is `sandbox.py`, and `tasks` the list of tasks."""
ONLY = {"libcst": ("agent/genome/",), "openai": ("agent/llm/backends/",), "litellm": ("agent/llm/backends/",)}
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


def sandbox_room_of(module):
    """The folder of a module of `sandbox`; None for any other module."""
    parts = module.split(".")
    if parts[0] != "sandbox":
        return None
    longest = "/".join(parts[1:3])
    return longest if longest in SANDBOX_ROOMS else parts[1] if parts[1:] and parts[1] in SANDBOX_ROOMS else "sandbox"


SANDBOX_SOURCES = [path for path in SOURCES if path.is_relative_to(ROOT / "sandbox")]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SANDBOX_SOURCES}


@pytest.mark.parametrize("name", MODULES)
def test_a_folder_of_the_sandbox_imports_only_folders_above_it(name):
    mine = sandbox_room_of(name)
    for module in imports(MODULES[name]):
        room = sandbox_room_of(module)
        if room and room != mine:
            assert SANDBOX_ROOMS.index(room) < SANDBOX_ROOMS.index(mine), f"{name} imports {module}, which stands below it"


def test_every_folder_of_the_sandbox_has_a_place_in_the_order():
    folders = {path.parent.relative_to(ROOT / "sandbox").as_posix() for path in SANDBOX_SOURCES}
    assert {folder for folder in folders if not folder.startswith("tasks/")} == {".", "tasks"} | {
        room for room in SANDBOX_ROOMS if room not in ("sandbox", "tasks") and not room.startswith("tasks/")
    }
    assert {"/".join(folder.split("/")[:2]) for folder in folders if folder.startswith("tasks/")} == {
        room for room in SANDBOX_ROOMS if room.startswith("tasks/")
    }


def test_no_modules_of_the_sandbox_import_each_other_in_a_circle():
    graph = {name: {m for m in imports(path) if m in MODULES and m != name} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize("library", ONLY)
def test_a_library_has_one_importer(library):
    users = [str(p.relative_to(ROOT)) for p in SOURCES if any(m.split(".")[0] == library for m in imports(p))]
    assert users
    assert all(user.startswith(ONLY[library]) for user in users), users


def test_source_is_parsed_in_one_place_which_lets_one_thread_in_at_a_time():
    calls = [str(p.relative_to(ROOT)) for p in SOURCES if "ast.parse(" in p.read_text()]
    assert calls == ["sandbox/isolation/parsing.py"]


def test_the_agent_never_imports_torch_and_models_are_imported_late():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] == "agent":
            assert not [m for m in imports(path) if m.split(".")[0] == "torch"], path
            assert not [m for m in imports(path, late=False) if m.split(".")[0] in ("openai", "litellm", "httpx", "jinja2")], path


def test_help_imports_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "agent.cli", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    heavy = ("torch", "litellm", "openai", "libcst", "numpy", "sklearn", "pydantic", "rich", "git", "deap", "sqlite3", "asyncio")
    heavy += ("httpx", "jinja2")
    assert not [m for m in heavy if re.search(rf"\|\s+{m}$", run.stderr, re.MULTILINE)]
    assert "Usage:" in run.stdout


def test_a_seed_and_the_processes_that_train_know_no_language_model():
    foreign = "[m for m in ('openai', 'litellm', 'agent') if m in sys.modules]"
    code = f"import sandbox.launch.fork_server, sandbox.tasks.image_classification.inside, sys; print({foreign})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"
