"""The layers of each level of isolation, and the paths that a candidate may read."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from glob import escape, glob
from pathlib import Path

from sandbox.isolation import linux, packages
from sandbox.sandbox import Level, SandboxUnavailable

LAYERS: Mapping[Level, Mapping[str, bool]] = {
    "full": {"rlimits": True, "namespaces": True, "landlock": True, "seccomp": True},
    "contained": {"rlimits": True, "namespaces": False, "landlock": True, "seccomp": True},
    "reduced": {"rlimits": True, "namespaces": False, "landlock": False, "seccomp": True},
    "none": {"rlimits": True, "namespaces": False, "landlock": False, "seccomp": False},
}

_ON_LINUX: Sequence[tuple[Level, Mapping[str, bool]]] = (
    ("full", LAYERS["full"]),
    ("contained", LAYERS["contained"]),
    ("contained", {"rlimits": True, "namespaces": True, "landlock": False, "seccomp": True}),  # a kernel without Landlock
    ("reduced", LAYERS["reduced"]),
    ("none", LAYERS["none"]),
)
_ON_MACOS: Sequence[tuple[Level, Mapping[str, bool]]] = (
    ("reduced", {"rlimits": True, "seatbelt": True}),
    ("none", {"rlimits": True}),
)
_ELSEWHERE = _ON_MACOS[-1:]


def candidates() -> Sequence[tuple[Level, Mapping[str, bool]]]:
    """Return the levels to try on this machine, best first. From `contained` up, secrets and the network are out of reach."""
    return _ON_LINUX if linux.SUPPORTED else _ON_MACOS if sys.platform == "darwin" else _ELSEWHERE


PUBLISHED = ("sklearn/datasets/data", "sklearn/datasets/tests", "guided_evolution/seeds")
"""Folders in installed packages that hold published copies of the data sets with their labels: closed to every sandbox whose
task has secret labels. The code beside them, which makes data by rules, is not."""
_concealed: set[str] = set()
"""Folders given to `conceal`."""
_PACKAGE = Path(__file__).resolve().parents[1]
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
_MOST_LINKS = 40
"""As many as the kernel follows."""
_FEW = 16
"""Each path that can be read costs time at every start."""
_GPU = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def python(module: str, *flags: str) -> list[str]:
    """Return the command line of a new interpreter that calls `main` of a module of this package; arguments may follow.

    `flags`: flags of the interpreter.
    """
    return [sys.executable, "-P", "-s", *flags, str(_PACKAGE / "launch/entry.py"), module]


def environment() -> dict[str, str]:
    """Return the environment of every process in which a candidate's code will run. Nothing of the trusted side's is copied."""
    return {
        **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},  # some interpreters need it
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(package_folders()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": "/nonexistent",
        "TORCHINDUCTOR_CACHE_DIR": "/nonexistent",
    }


@cache
def readable_paths() -> list[str]:
    """Return the paths of system libraries, the interpreter, its packages and the package `sandbox`, wherever they lie.

    Links among them only lead there: what a link points to is readable if that is named itself. Of an editable checkout only
    `sandbox/` is visible, of an environment what Python imports: no run folder, no git, no `.env`. Raises SandboxUnavailable
    if the user's home folder lies in a folder that has to be visible.
    """
    paths = sorted({*interpreter_paths(), *package_folders(), str(_PACKAGE)})
    links = dict.fromkeys(link for path in paths for link in _links_on(path))
    wanted = [*_SYSTEM, *sorted(map(os.path.realpath, paths)), *links]
    kept: list[str] = []
    for path in dict.fromkeys(wanted):
        if os.path.exists(path) and not any(Path(path).is_relative_to(k) for k in kept if not os.path.islink(k)):
            kept.append(path)
    home = os.path.realpath(os.path.expanduser("~"))
    if around := next((path for path in kept if Path(home).is_relative_to(os.path.realpath(path)) and home != "/"), None):
        raise SandboxUnavailable(f"the home folder {home} lies in {around}, which candidates must be able to read")
    return kept


def _links_on(path: str) -> list[str]:
    """Return the links that are followed on the way to a path, each where it really lies."""
    found: list[str] = []
    here, left = "/", os.path.abspath(path).split("/")[1:]
    while left and len(found) < _MOST_LINKS:
        here = os.path.join(here, left.pop(0))
        if os.path.islink(here):
            found.append(here)
            target = os.path.normpath(os.path.join(os.path.dirname(here), os.readlink(here)))
            here, left = "/", [*target.split("/")[1:], *left]
    return found


def interpreter_paths() -> list[str]:
    """Return what the interpreter consists of: its program, its standard library, the shared libraries that both need.

    What else lies in the folder of an environment is no part of it, such as `pip.conf`, `.env` and `bin/activate`.
    """
    if sys.platform == "darwin":  # a framework: its parts lie beside each other and are found from each other
        return [sys.prefix, sys.base_prefix]
    programs = [sys.executable, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"]
    return [*programs, sysconfig.get_path("stdlib"), _lib_dynload(), *_shared_libraries()]


def _lib_dynload() -> str:
    """Where the modules of the standard library that are no Python lie; where nothing is compiled in, apart from the rest."""
    return f"{sys.base_exec_prefix}/{sys.platlibdir}/python{sysconfig.get_python_version()}/lib-dynload"


def _shared_libraries() -> list[str]:
    """The interpreter's library, and those that conda puts beside it: of many the whole folder, which has nothing else."""
    folders = dict.fromkeys(os.path.realpath(f"{sys.base_prefix}/{name}") for name in ("lib", sys.platlibdir))
    found = {folder: sorted(glob(f"{escape(folder)}/*.so*")) for folder in folders}
    return [path for folder, files in found.items() for path in ([folder] if len(files) > _FEW else files)]


def package_folders() -> list[str]:
    """Return the folders of installed packages: of a virtual environment, of the system, or of the user."""
    named = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys([*named, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


def conceal(folder: Path) -> None:
    """Close a folder with labels to every sandbox that is started from now on, in case it lies in what they can read."""
    _concealed.add(os.path.realpath(folder))


def hidden_paths() -> list[str]:
    """Return the real paths of folders with labels below the readable ones: concealed ones, and those of every visible Python."""
    roots = _readable_places()
    below = (path for path in _concealed if any(Path(path).is_relative_to(root) and path != root for root in roots))
    return sorted({*published(), *below})


def published() -> list[str]:
    """Return the folders `PUBLISHED` in every visible tree of installed packages."""
    paths = {f"{tree}/{name}" for tree in package_trees() for name in PUBLISHED}
    return sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)})


@cache
def package_trees() -> list[str]:
    """Return every visible folder of installed packages, of this Python and of others."""
    prefixes = {"/usr", "/usr/local", sys.prefix, sys.base_prefix}
    trees = set(package_folders())
    for prefix in map(escape, prefixes):
        for pattern in ("", "envs/*/", "pkgs/*/"):  # conda keeps environments and unpacked packages below its prefix
            trees.update(glob(f"{prefix}/{pattern}lib*/python3*/*-packages"))
        trees.update(glob(f"{prefix}/pkgs/*/*-packages"))
    return sorted({os.path.realpath(tree) for tree in trees if os.path.isdir(tree)})


@cache
def closed_packages() -> list[str]:
    """Return the real paths of what is installed for this Python, and closed unless a call names it: see `packages`."""
    own = {os.path.realpath(folder) for folder in package_folders()}
    closed = [path for tree in own if os.path.isdir(tree) for path in packages.closed_in(tree, (str(_PACKAGE),))]
    return sorted({os.path.realpath(path) for path in closed})


@cache
def other_trees() -> list[str]:
    """Return the folders of installed packages from which this Python does not import: all of them are closed."""
    own = {os.path.realpath(folder) for folder in package_folders()}
    return [tree for tree in package_trees() if tree not in own and not any(Path(one).is_relative_to(tree) for one in own)]


def opened_packages(modules: Collection[str] | None) -> list[str]:
    """Return what a call must name as readable to import these modules besides the allowed ones; None: all that is installed.

    Folders that hold labelled data stay closed, except for None.
    """
    own = {os.path.realpath(folder) for folder in package_folders()}
    if modules is None:
        return sorted({*package_trees(), *published()})
    wanted = packages.needed_by(modules)
    roots = [os.path.realpath(f"{tree}/{name}") for tree in own for name in wanted if os.path.exists(f"{tree}/{name}")]
    return _around(tuple(roots), tuple(hidden_paths()))[0]


def readable_around() -> tuple[list[str], list[str]]:
    """Return `readable_paths` without all that is hidden or closed, for a layer that can only allow.

    The two lists are (readable trees, listable folders).
    """
    return _around(tuple(_readable_places()), (*hidden_paths(), *closed_packages(), *other_trees()))


def readable_in_private_root() -> list[str]:
    """As the first list of `readable_around` where `hidden_paths` and `other_trees` are covered: fewer rules, a faster start."""
    return _around(tuple(_readable_places()), tuple(closed_packages()))[0]


@cache
def _around(roots: tuple[str, ...], hidden_paths: tuple[str, ...]) -> tuple[list[str], list[str]]:
    hidden = set(hidden_paths)
    above = {str(parent) for path in hidden for parent in Path(path).parents}
    whole: list[str] = []
    listed: list[str] = []
    waiting = [os.path.realpath(path) for path in roots]
    while waiting:
        path = waiting.pop()
        if path in hidden:
            continue
        if path not in above:
            whole.append(path)
        else:
            listed.append(path)
            # The target of a link is readable only if it is listed under its own name.
            waiting += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
    return sorted(set(whole)), sorted(set(listed))


def _readable_places() -> list[str]:
    """Return the real paths of `readable_paths` without the links that only lead to one of them."""
    return [os.path.realpath(path) for path in readable_paths() if path in _SYSTEM or not os.path.islink(path)]


def world_readable(paths: Sequence[str]) -> bool:
    """Whether every user can reach these paths. If so, a sandbox started by root can become the user `nobody`."""
    folders = {parent for path in paths for parent in (Path(path), *Path(path).parents)}
    return all(os.stat(folder).st_mode & 0o005 for folder in folders)


def gpu_devices(device: str) -> list[str]:
    """Return the device nodes of one GPU, `cuda:N`, and those that every process with CUDA needs."""
    return [f"/dev/nvidia{device.partition(':')[2] or '0'}", *_GPU]
