"""Runs `main` of a module of this package in a new interpreter: python -P -s THIS_FILE MODULE ARGUMENT...

The name `sandbox` is bound to the package that this file belongs to, so that no other folder or file of that name can be
imported instead, and nothing beside the package becomes importable. PYTHONPATH, which names the installed packages, goes
behind the standard library, where installed packages belong.
"""

import os
import sys


def _run(module: str) -> None:
    library = (os.path.dirname(os.__file__), f"python{sys.version_info[0]}{sys.version_info[1]}.zip")
    first = next((i for i, entry in enumerate(sys.path) if entry == library[0] or os.path.basename(entry) == library[1]), 0)
    sys.path[:] = sys.path[first:] + sys.path[:first]
    from importlib import import_module
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = spec_from_file_location("sandbox", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None, "the package has an __init__.py"
    sys.modules["sandbox"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["sandbox"])
    import_module(module).main()


if __name__ == "__main__":
    _module = sys.argv[1]
    del sys.argv[1]
    _run(_module)
