"""Lets an installed package that is closed to the sandbox look as if it were not installed, so that `except ImportError` works.

Nothing depends on it for safety: the layers close the package, whatever imports it.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder


class ClosedPackages:
    """Finds top-level modules before the interpreter does, and raises ModuleNotFoundError for those that cannot be read."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if path is not None or name in sys.builtin_module_names:
            return None
        spec = PathFinder.find_spec(name)
        if spec is None or _can_be_read(spec):
            return spec
        told = "programs may import torch, numpy, the standard library and what the seed's own files import"
        raise ModuleNotFoundError(f"No module named {name!r} in the sandbox: {told}", name=name)


def hide_closed_packages() -> None:
    """From now on, in this process."""
    if not any(isinstance(finder, ClosedPackages) for finder in sys.meta_path):
        place = next((i for i, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
        sys.meta_path.insert(place, ClosedPackages())


def _can_be_read(spec: ModuleSpec) -> bool:
    if spec.origin is None:  # a folder without a module of its own, or one that is covered by an empty one
        return any(os.listdir(place) for place in spec.submodule_search_locations or () if os.path.isdir(place))
    try:
        os.close(os.open(spec.origin, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True  # an import tells what is wrong with it
    return True
