"""What is shipped works outside of the clone, and says nothing of the machine it was made on."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", str(ROOT)]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


def test_a_wheel_carries_prompts_seeds_templates_and_the_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    every = [p for folder in ("prompts", "seeds") for p in (ROOT / folder).rglob("*")]
    shipped = [p for p in every if p.suffix in (".md", ".py", ".toml", ".txt")]
    assert len(shipped) > 20
    assert {f"agent/_data/{p.relative_to(ROOT).as_posix()}" for p in shipped} <= names
    assert {f"agent/review/templates/report.{kind}.j2" for kind in ("html", "md")} <= names
    assert [n for n in names if n.endswith("licenses/LICENSE")]
    assert not [n for n in names if n.startswith("tests")]


@pytest.mark.slow
def test_an_installed_wheel_runs_a_shipped_seed_elsewhere(wheel, tmp_path):
    """The wheel in a bare environment that borrows this one's libraries but not the clone."""
    venv.create(tmp_path / "v", symlinks=True)
    python = tmp_path / "v/bin/python"
    site = next((tmp_path / "v/lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    borrowed = next(p for p in sys.path if p.endswith("site-packages"))
    (site / "borrowed.pth").write_text(f"import sys; sys.path.append({borrowed!r})\n")
    code = "from agent.core.paths import *; import agent; print(agent.__file__, prompts_folder(), seeds_folder())"
    bare = {"PATH": "/usr/bin:/bin", "EVOLVE_CACHE": str(tmp_path / "cache")}
    places = subprocess.run([python, "-c", code], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True).stdout
    assert str(ROOT) not in places
    options = ["--llm", "offline", "--out", "run", "--set", "search.first_population=2", "--generations", "0"]
    run = subprocess.run(
        [python, "-m", "agent.cli.main", "run", "tiny_cnn", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, env=bare,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "front" in run.stdout
    code = "from sandbox.isolation.levels import hidden_paths; print(hidden_paths())"
    hidden = subprocess.run([python, "-c", code], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True).stdout
    assert str((site / "agent/_data/seeds").resolve()) in hidden  # with the data of seeds' own tasks, test splits and all


def test_pins_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().lower().splitlines() if line and line[0] != "#"
    )
    assert pinned["torch"] == "2.13.0"
    assert "torch==2.13.0" in project["dependencies"]
    assert pinned["litellm"] not in ("1.82.7", "1.82.8")
    wanted = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    names = {re.match(r"[\w-]+", w)[0].lower().replace("_", "-") for w in wanted}
    assert names <= {name.replace("_", "-") for name in pinned}


def test_no_file_names_a_machine_or_an_index():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    foreign = re.compile(r"/(?:home|Users|opt)/\w+/|find-links|index-url|py" + r"pi\.org")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix not in (".npy", ".png") and path != Path(__file__):
            assert not foreign.search(path.read_text(encoding="utf-8", errors="replace")), name
