"""A user's files with the names of this project's packages, or of others that it uses, neither break a run nor enter it."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from agent.cli.start.guided_evolution import installed_first
from agent.genome.editor import Editor
from agent.genome.genome import Genome
from tests.installations import ROOT, build_wheel, install

MODULES = ("agent", "sandbox", "resource", "click", "json", "random", "select", "numpy", "torch", "libcst")
PACKAGES = ("agent", "agent/cli", "agent/genome", "sandbox", "sandbox/launch", "click", "safetensors")
SMALL = ("--llm", "offline", "--set", "search.first_population=1", "--generations", "0")


def lib_beside(work):
    """A folder that the user's PYTHONPATH names; by its name candidates can see it too."""
    return work.parent / "lib/site-packages"


@pytest.fixture
def work(tmp_path):
    """A working folder and a seed with such files, and a folder of packages. All write `entered` when imported."""
    code = f"open({str(tmp_path / 'entered')!r}, 'a').write(__file__ + '\\n')\nraise RuntimeError('a file of the user')\n"
    folder, lib = tmp_path / "work", lib_beside(tmp_path / "work")
    shutil.copytree(ROOT / "seeds/tiny_cnn", folder / "seed")
    for name in MODULES:
        (folder / f"{name}.py").write_text(code)
        (folder / f"seed/{name}.py").write_text(code)
    for name in PACKAGES:
        (lib / name).mkdir(parents=True)
        (lib / name / "__init__.py").write_text(code)
    (lib / "resource.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return install(tmp_path_factory.mktemp("environment"), build_wheel(tmp_path_factory.mktemp("wheel")))


@pytest.fixture(params=["the wheel", "a clone"])
def evolve(request, work, cache):
    """Runs the command in `work` with PYTHONPATH at both folders; it must succeed, and nothing of the user's may enter."""
    lib, entered = str(lib_beside(work)), work.parent / "entered"
    if request.param == "the wheel":
        command, path = [request.getfixturevalue("installed") / "evolve"], [lib, "."]
    else:
        command, path = [sys.executable, "-P", "-m", "agent.cli"], [str(ROOT), lib, "."]
    environment = {"PATH": os.environ["PATH"], "EVOLVE_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(path)}

    def call(*arguments):
        whole = [*command, *arguments]
        done = subprocess.run(whole, cwd=work, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not entered.exists(), entered.read_text()
        return done.stdout

    return call


def test_the_machine_is_examined(evolve):
    assert json.loads(evolve("doctor", "--json"))["isolation"]["canaries"]


@pytest.mark.slow
def test_a_run_is_made_and_read(evolve):
    assert "finished" in evolve("run", "seed", *SMALL, "--out", "run")
    assert json.loads(evolve("status", "run", "--json"))["counts"]["trained"] == 1
    assert "operator" in evolve("show", "run", "0001")
    assert evolve("report", "run")


@pytest.mark.slow
def test_a_run_is_made_in_the_background(evolve, work):
    evolve("run", "seed", *SMALL, "--out", "run", "--detach")
    end = time.monotonic() + 100
    while json.loads(evolve("status", "run", "--json"))["state"] == "running":
        assert time.monotonic() < end, (work / "run/run.log").read_text()
        time.sleep(0.5)
    assert json.loads(evolve("status", "run", "--json"))["state"] == "finished", (work / "run/run.log").read_text()
    assert "trained 1" in (work / "run/run.log").read_text()


def test_answers_are_edited(work, monkeypatch):
    monkeypatch.chdir(work)
    monkeypatch.setenv("PYTHONPATH", f"{lib_beside(work)}{os.pathsep}.")
    monkeypatch.setattr(sys, "path", [str(lib_beside(work)), str(work), *sys.path])
    editor = Editor(processes=1)
    try:
        genome = Genome({"model.py": "def width():\n    return 1\n"})
        changed = editor.apply(genome, ("model.py:width",), "```python\ndef width():\n    return 2\n```")
    finally:
        editor.close()
    assert isinstance(changed, Genome), changed
    assert not (work.parent / "entered").exists()


def test_packages_that_are_only_on_the_users_path_are_found(tmp_path, installed):
    """Clusters offer torch so."""
    (tmp_path / "click.py").write_text("raise RuntimeError('the installed one is needed')\n")
    (tmp_path / "only_here.py").write_text("")
    code = (
        "import sys, guided_evolution\n"
        "sys.path[:] = guided_evolution.installed_first(sys.path)\n"
        "import click, only_here\n"
        "print(only_here.__file__)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    found = subprocess.run([installed / "python", "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path / "only_here.py")


ZIP = f"/usr/lib/python{sys.version_info[0]}{sys.version_info[1]}.zip"


@pytest.mark.parametrize("library", [ZIP, os.path.dirname(os.__file__)])
def test_what_stands_before_the_standard_library_goes_to_the_end(library):
    assert installed_first(["", "/theirs", library, "/site-packages"]) == [library, "/site-packages", "", "/theirs"]


def test_a_path_without_the_standard_library_stays_as_it_is():
    assert installed_first(["/a", "/b"]) == ["/a", "/b"]
