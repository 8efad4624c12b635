"""This project installed as a user installs it, in an environment that uses this one's libraries but not the clone."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = [path for path in sys.path if path.endswith("site-packages")]
OFFLINE = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]


def build_wheel(folder):
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", *OFFLINE, str(ROOT)]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


def install(folder, *what):
    """The new environment's folder of commands. `what`: arguments of `pip install`."""
    venv.create(folder, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in LIBRARIES))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--no-build-isolation"]
    subprocess.run([*pip, *OFFLINE, "--ignore-installed", *map(str, what)], cwd=folder, check=True, timeout=120)
    return folder / "bin"
