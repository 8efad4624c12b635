"""Inside the child process: what an entry function gets, and how the candidate's sources become modules.

Everything here runs in the same process as the candidate's code, so nothing here can be trusted after that code has
started. What must hold is held outside: by the layers, by the limits and by what the trusted side does with the result.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any


class Child:
    """What an entry function is called with. It returns the bytes of the result.

    No dataclass: importing those takes a third of a cold start.
    """

    sources: Mapping[str, str]
    inputs: Mapping[str, int]
    """Read-only descriptors by name; to be read from offset 0 (`os.pread`, `mmap`), never closed."""
    options: Mapping[str, Any]
    device: str
    threads: int
    scratch: Path
    """An empty folder that may be written to; gone after the call. Without a root of one's own, files in it stay: they
    can be cut, but neither removed nor renamed."""

    def __init__(
        self,
        sources: Mapping[str, str],
        inputs: Mapping[str, int],
        options: Mapping[str, Any],
        device: str,
        threads: int,
        scratch: Path,
    ) -> None:
        self.sources, self.inputs, self.options = sources, inputs, options
        self.device, self.threads, self.scratch = device, threads, scratch

    def module(self, path: str = "model.py") -> ModuleType:
        """Imports the candidate's file; whatever it raises at import comes through."""
        if not any(isinstance(finder, _Sources) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Sources(self.sources))
        return importlib.import_module(module_name(path))


def module_name(path: str) -> str:
    """`pkg/b.py` -> `pkg.b`, `pkg/__init__.py` -> `pkg`."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


class _Sources:
    """Imports modules from a mapping of relative paths to texts: nothing is written to disk, tracebacks show the lines."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._texts = {module_name(path): (path, text) for path, text in sources.items()}
        folders = (parent for path in sources for parent in PurePosixPath(path).parents)
        self._packages = {".".join(folder.parts) for folder in folders if folder.parts}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._texts and fullname not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self._packages)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def get_source(self, fullname: str) -> str:
        import linecache

        path, text = self._texts.get(fullname, (fullname, ""))
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        return text

    def exec_module(self, module: ModuleType) -> None:
        text = self.get_source(module.__name__)
        path = self._texts.get(module.__name__, (module.__name__, ""))[0]
        exec(compile(text, path, "exec"), module.__dict__)
