"""Start `evolve`, and the processes that `evolve` starts, with the right modules, whatever files the user has.

Our code imports `agent` and `sandbox`. A user's own files may have these names too, so this file binds both names to the
packages of this installation. It also moves PYTHONPATH and the working folder behind the standard library and the installed
packages, so that a user's `resource.py` or `click.py` does not replace the real one. A package that is only on PYTHONPATH
is still found.

In a wheel this file is the package `guided_evolution`, in which all the other folders lie. Only `os` and `sys` are imported
before the order is right: Python itself has loaded these two already.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = _HERE if os.path.basename(__file__).startswith("__init__.") else os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
"""The folder that holds `agent/` and `sandbox/`."""


def main() -> None:
    """The `evolve` command; it ends the process."""
    _run("agent.cli.main")


def installed_first(path: list[str]) -> list[str]:
    """`sys.path` in another order: all entries before the standard library (PYTHONPATH, the working folder) go to the end."""
    library = (os.path.dirname(os.__file__), f"python{sys.version_info[0]}{sys.version_info[1]}.zip")
    first = next((i for i, entry in enumerate(path) if entry == library[0] or os.path.basename(entry) == library[1]), 0)
    return path[first:] + path[:first]


def _run(module: str) -> None:
    """Call `main` of one of our modules."""
    sys.path[:] = installed_first(sys.path)
    _bind("agent")
    _bind("sandbox")
    from importlib import import_module

    import_module(module).main()


def _bind(name: str) -> None:
    """Make `import NAME` mean the package below ROOT. Forget another package of that name that was imported already."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.join(ROOT, name)
    file = os.path.join(folder, "__init__.py")
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == file:
        return
    for stranger in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[stranger]
    spec = spec_from_file_location(name, file, submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None, f"{file} has the ending of Python source"
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


if __name__ == "__main__":  # python -P THIS_FILE MODULE ARGUMENT...: see `agent.core.paths.start_command`
    _module = sys.argv[1]
    sys.argv[:2] = ["evolve"]
    _run(_module)
