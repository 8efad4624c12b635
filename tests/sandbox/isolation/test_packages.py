"""Which installed packages a candidate can read, and how those look that it cannot."""

import pytest

from sandbox.isolation import levels, packages

TRY = """
def main(child):
    found = []
    for name in {names!r}:
        try:
            __import__(name)
            found.append(name)
        except ImportError as error:
            found.append(f"{{type(error).__name__}} {{error.name}}")
    return ",".join(found).encode()
"""


@pytest.mark.parametrize("level", ["contained", "full"])
def test_a_closed_package_looks_as_if_it_were_not_installed(sandbox, call, level):
    report = sandbox(level).run(call(TRY.format(names=["torch", "numpy.linalg", "sympy", "json", "rich", "no_such", "scipy"])))
    closed = ["ModuleNotFoundError rich", "ModuleNotFoundError no_such", "ModuleNotFoundError scipy"]
    assert report.result.decode().split(",") == ["torch", "numpy.linalg", "sympy", "json", *closed], report.log


@pytest.mark.parametrize("level", ["contained", "full"])
def test_what_the_seed_imports_can_be_imported_but_for_its_data(sandbox, call, level):
    pytest.importorskip("sklearn")
    source = """
def main(child):
    from sklearn.datasets import load_digits
    from sklearn.preprocessing import StandardScaler

    try:
        load_digits()
    except OSError as error:
        return type(StandardScaler()).__name__.encode()
"""
    needs = tuple(map(levels.Path, levels.opened_packages({"sklearn"})))
    report = sandbox(level).run(call(source, readable=needs, memory=1 << 30, seconds=60.0))
    assert report.result == b"StandardScaler", report.log


def test_without_the_list_every_package_is_open(monkeypatch):
    rich = levels.os.path.realpath(__import__("rich").__path__[0])
    assert not any(rich.startswith(path) for path in levels.readable_around()[0])
    for found in (levels.closed_packages, levels._around):
        found.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(packages, "closed_in", lambda tree, keep: [])
        assert any(rich.startswith(path) for path in levels.readable_around()[0])
    for found in (levels.closed_packages, levels._around):
        found.cache_clear()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import torch, os.path\nfrom einops.layers import torch as t", {"torch", "einops"}),
        ("from . import x\nfrom .y import z\nfrom parts import w\nimport model", set()),
        ("def f():\n    try:\n        import timm\n    except ImportError:\n        pass", {"timm"}),
        ("broken(", set()),
    ],
)
def test_what_sources_import(text, names):
    assert packages.imported_by({"model.py": text, "parts/__init__.py": ""}) == names


def test_requirements_are_followed_and_extras_are_not():
    assert {"torch", "sympy", "mpmath", "numpy", "numpy.libs", "safetensors"} <= packages.allowed()
    assert not {"sklearn", "scipy", "pandas", "rich", "pytest"} & packages.allowed()
    assert {"sklearn", "scipy", "joblib"} <= packages.needed_by({"sklearn", "torch"})
    assert packages.needed_by({"torch", "numpy"}) == frozenset()


def test_of_this_project_only_the_sandbox_stays_open(tmp_path):
    for name in ("guided_evolution/sandbox", "guided_evolution/seeds", "guided_evolution/agent", "other", "numpy"):
        (tmp_path / name).mkdir(parents=True)
    keep = (f"{tmp_path}/guided_evolution/sandbox",)
    assert packages.closed_in(str(tmp_path), keep) == [
        f"{tmp_path}/guided_evolution/agent", f"{tmp_path}/guided_evolution/seeds", f"{tmp_path}/other"
    ]  # fmt: skip
