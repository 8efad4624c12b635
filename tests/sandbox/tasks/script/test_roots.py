"""The files that evolve are the files that run: the folders that a script imports from, and the check before a run."""

import sys
import textwrap

import pytest

from sandbox import TaskError
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured
from sandbox.tasks.script.roots import found_roots

NET = "WIDTH = 3\n"
TRAIN = "from mypkg.net import WIDTH\n\nprint('loss:', WIDTH)\n"


@pytest.fixture
def project(tmp_path):
    """A project with `src/mypkg/net.py`, which `scripts/train.py` imports."""
    folder = tmp_path / "project"
    for path, text in {"src/mypkg/__init__.py": "", "src/mypkg/net.py": NET, "scripts/train.py": TRAIN}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def opened(project, cache):
    def open_it(command="python scripts/train.py", files=("src/mypkg/net.py",), **table):
        task = {"name": "script", "command": command, "metrics": {"loss": "min"}, **table}
        return open_task(task, {"time_limit": "60s"}, {}, files, cache, folder=project)

    return open_it


@pytest.fixture
def checked(opened, project, warm):
    """What is said before a run; None if nothing is wrong."""

    def check(*arguments, files=("src/mypkg/net.py",), **table):
        sources = {file: (project / file).read_text() for file in files}
        failure = opened(*arguments, files=files, **table).check(Job(sources, 0), warm)
        return failure and failure.reason

    return check


def finder(name, place):
    """An import hook as editable installs have it, in the form of setuptools."""

    class EditableFinder:
        @classmethod
        def find_spec(cls, fullname, path=None, target=None):
            from importlib.util import spec_from_file_location

            return spec_from_file_location(fullname, place / "__init__.py") if fullname == name else None

    EditableFinder.__module__ = "__editable___mypkg_finder"
    return EditableFinder


def test_a_folder_that_the_settings_name_is_imported_from(opened, checked, project, warm):
    assert checked(pythonpath=["src"]) is None
    task = opened(pythonpath=["src"])
    measured = task.evaluate(Job({"src/mypkg/net.py": "WIDTH = 5\n"}, 0), warm)
    assert isinstance(measured, Measured) and measured.values["loss"] == 5
    assert task.pins["pythonpath"] == ["src"]


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("PYTHONPATH=src python scripts/train.py", ("src/mypkg/net.py", "scripts/train.py")),
        ("env PYTHONPATH=src:$PYTHONPATH MODE=fast python -m mypkg.net", ("src/mypkg/net.py",)),
    ],
)
def test_variables_may_stand_before_the_command(checked, command, files):
    assert checked(command, files=files) is None


def test_other_variables_of_a_command_reach_the_script(opened, project, warm):
    (project / "scripts/train.py").write_text("import os\nprint('loss:', os.environ['DEPTH'])\n")
    task = opened("DEPTH=7 python scripts/train.py", files=("scripts/train.py",))
    measured = task.evaluate(Job({"scripts/train.py": (project / "scripts/train.py").read_text()}, 0), warm)
    assert measured.values["loss"] == 7


def test_pythonpath_and_editable_installs_are_found(project, monkeypatch, tmp_path):
    assert found_roots(project, ["src/mypkg/net.py"]) == ()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{project / 'src'}")
    assert found_roots(project, ["src/mypkg/net.py"]) == ("src",)
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(sys, "path", ["/first", str(project / ".venv/lib"), str(project / "src"), *sys.path[1:]])
    assert found_roots(project, ["src/mypkg/net.py"]) == ("src",)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder("mypkg", project / "src/mypkg")])
    assert found_roots(project, ["src/mypkg/net.py"]) == ("src",)


def test_a_resume_keeps_the_folders_that_the_run_began_with(opened, project, monkeypatch):
    pins = opened().pins
    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    assert "pythonpath" not in opened(**pins).pins


def test_a_module_that_is_not_found_is_explained_with_its_folder(checked, project, opened, warm):
    reason = checked()
    assert reason.startswith("ModuleNotFoundError: No module named 'mypkg'")
    assert "It lies in src of this project" in reason and "task.pythonpath=[\"src\"]" in reason
    failure = opened(files=("scripts/train.py",)).evaluate(Job({"scripts/train.py": TRAIN}, 0), warm)
    assert "scripts/train.py, line 1" in failure.reason and "It lies in src" in failure.reason


def test_an_installed_copy_in_place_of_the_file_is_refused(checked, project):
    """The copy is one that the script finds first, as it would find one among the installed packages."""
    hook = textwrap.dedent(
        """\
        import sys, types
        package, net = types.ModuleType("mypkg"), types.ModuleType("mypkg.net")
        net.WIDTH, net.__file__ = 9, "/usr/lib/python3/site-packages/mypkg/net.py"
        sys.modules["mypkg"], sys.modules["mypkg.net"] = package, net
        """
    )
    (project / "scripts/train.py").write_text(hook + TRAIN)
    reason = checked(pythonpath=["src"])
    assert "src/mypkg/net.py evolves, and `python scripts/train.py` imports /usr/lib/python3/" in reason
    assert "pip install -e ." in reason


def test_a_file_that_never_runs_is_refused(checked, project):
    (project / "src/mypkg/old.py").write_text("OLD = 1\n")
    reason = checked(files=("src/mypkg/net.py", "src/mypkg/old.py"), pythonpath=["src"])
    assert reason == (
        "src/mypkg/old.py evolves, and `python scripts/train.py` never runs it: leave it out of the files that evolve."
    )


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nnet = importlib.import_module('mypkg.net')\nprint('loss:', net.WIDTH)",
        "exec(open('src/mypkg/net.py').read())\nprint('loss:', WIDTH)",
        "def main():\n    try:\n        import mypkg.net\n    except Exception:\n        pass\n\nmain()",
        "import subprocess, mypkg.net",
    ],
    ids=["importlib", "exec", "late, in a try", "after another module"],
)
def test_a_file_runs_however_it_is_loaded(checked, project, text):
    (project / "scripts/train.py").write_text(text)
    assert checked(pythonpath=["src"]) is None


def test_what_only_a_training_can_show_does_not_keep_a_run_from_starting(checked, project):
    (project / "scripts/train.py").write_text("raise RuntimeError('No CUDA GPUs are available')")
    assert checked(pythonpath=["src"]) is None


def test_folders_outside_of_the_project_and_missing_ones_are_refused(opened, tmp_path):
    for name, message in {"lib": "there is no folder", "..": "lies outside of the project's folder"}.items():
        with pytest.raises(TaskError, match=message):
            opened(pythonpath=[name])
