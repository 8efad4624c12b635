"""The documents are true: links lead somewhere, commands run, the reference of the configuration is the code's own."""

import dataclasses
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from sandbox import TaskError
from sandbox.tasks import open_task

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *DOCS,
    *sorted(path for path in ROOT.glob("*/README.md") if path.parent.name != "docs"),
    *sorted(ROOT.glob("seeds/*/README.md")),
    ROOT / "sandbox" / "tasks" / "README.md",
]
COMMANDS = [
    pytest.param(page, "".join(blocks), id=page.name)
    for page in DOCS
    if (blocks := re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


def load_script(name):
    """A script of docs/ as a module: docs/ is no package."""
    spec = spec_from_file_location(f"docs_{name.replace('/', '_')}", ROOT / "docs" / f"{name}.py")
    module = sys.modules[spec.name] = module_from_spec(spec)  # a dataclass looks for its module there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def configuration():
    return load_script("make_configuration")


def anchors(page):
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    targets = re.findall(r"\]\((?!https?://)([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        if anchor:
            assert anchor in anchors(place), target


def test_every_page_of_docs_can_be_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [page.name for page in DOCS if f"docs/{page.name}" not in readme]


def test_the_configuration_page_is_current(configuration):
    """If not: `python docs/make_configuration.py`."""
    assert (ROOT / "docs" / "configuration.md").read_text() == configuration.page()


def test_every_key_of_the_configuration_is_on_the_page_with_its_meaning():
    from agent.run.config import Config

    page = (ROOT / "docs" / "configuration.md").read_text()
    chapters = dict(re.findall(r"^## `?\[?([\w ]+?)\]?`?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for name, field in Config.model_fields.items():
        kind = field.annotation
        keys = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", None)
        chapter = chapters[name if keys else "Top level"]
        for key in keys or [name]:
            assert f"\n| `{key}` | " in chapter, f"{name}.{key}"
    assert not re.findall(r"^.*\|  \|$", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("task", "keys", "budget_keys"),
    [
        ({"name": "image-classification", "dataset": "digits"}, "IMAGE_TASK", "IMAGE_BUDGET"),
        ({"name": "task.py"}, "OWN_TASK", None),
        ({"name": "script", "command": "python a.py", "metrics": {"loss": "min"}}, "SCRIPT_TASK", "SCRIPT_BUDGET"),
    ],
    ids=["images", "own", "script"],
)
def test_the_tables_of_tasks_list_what_the_tasks_accept(configuration, tmp_path, task, keys, budget_keys):
    def accepted(task, budget):
        with pytest.raises(TaskError) as refusal:
            open_task(task, budget, {}, ("model.py",), tmp_path, folder=tmp_path)
        return set(re.search(r"unknown key \w+; known: (.*)\.$", str(refusal.value))[1].split(", "))

    documented = {row[0] for row in getattr(configuration, keys)}
    if keys == "IMAGE_TASK":
        request = configuration.find_class("DataRequest", "Request")
        documented |= {"training", *(field.name for field in dataclasses.fields(request))}
    assert accepted({**task, "zzz": 1}, {}) == documented
    if budget_keys:
        assert accepted(task, {"zzz": 1}) == {row[0] for row in getattr(configuration, budget_keys)}


def test_the_architecture_names_every_room_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = set(re.findall(r"^\| `((?:agent|sandbox)/\w+/)` \|", text, re.MULTILINE))
    there = {f"{top}/{path.name}/" for top in ("agent", "sandbox") for path in (ROOT / top).iterdir() if any(path.glob("*.py"))}
    assert rooms == there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page):
    """Names in capitals (`seeds/NAME`) stand for what a reader chooses."""
    if page.name == "CHANGELOG.md":
        return  # it also names what no longer exists
    named = re.findall(r"`((?:agent|sandbox|prompts|seeds|tests|docs)/[\w./-]*)`", page.read_text())
    missing = [path for path in named if not re.search("[A-Z]{4}", path) and not (ROOT / path).exists()]
    assert not missing


def test_the_architecture_names_every_kind_of_event_and_every_view():
    from agent.journal import codec, store

    text = (ROOT / "docs" / "architecture.md").read_text()
    kinds = set(re.findall(r'return "(\w+)", ', Path(codec.__file__).read_text()))
    assert len(kinds) >= 15
    views = set(re.findall(r"CREATE VIEW IF NOT EXISTS (\w+)", Path(store.__file__).read_text()))
    assert views
    assert not [name for name in sorted(kinds | views) if f"`{name}`" not in text]


def test_the_pictures_are_those_of_their_script(tmp_path, monkeypatch):
    script = load_script("images/make")
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    script.main()
    for picture in tmp_path.iterdir():
        assert picture.read_text() == (ROOT / "docs" / "images" / picture.name).read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "commands"), COMMANDS)
def test_every_command_works(page, commands, tmp_path, cache):
    """As in `test_readme.py`: in a fresh clone, with `evolve` on the path running the code of this checkout."""
    clone, folder = tmp_path / "guided-evolution", tmp_path / "bin"
    cloned = subprocess.run(["git", "clone", "-q", ROOT, clone], capture_output=True, text=True)
    if cloned.returncode:
        pytest.skip(f"not a git checkout: {cloned.stderr}")
    folder.mkdir()
    (folder / "evolve").write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m agent.cli "$@"\n')
    (folder / "evolve").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "EVOLVE_CACHE": str(cache), "PAGER": "cat"}
    for line in filter(None, commands.splitlines()):
        done = subprocess.run(line, shell=True, cwd=clone, env=environment, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), line
