"""The argument of an entry function, and the importer that turns the candidate's sources into modules.

Everything here runs in the same process as the candidate's code, so nothing here can be trusted once that code has started.
Guarantees are enforced from outside: by the isolation layers, by the limits, and by how the trusted side treats the result.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any


class RunningCall:
    """The argument of an entry function, which returns the bytes of the result.

    Not a dataclass: importing dataclasses takes a third of a cold start.
    """

    sources: Mapping[str, str]
    inputs: Mapping[str, int]
    """Read-only descriptors by name. Read them from offset 0 (`os.pread`, `mmap`) and never close them."""
    options: Mapping[str, Any]
    device: str
    threads: int
    scratch: Path
    """An empty, writable folder that is deleted after the call. Without a private root, files in it can be truncated but neither
    removed nor renamed."""

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
        """Import the candidate's file and return the module. Raises whatever the file raises at import."""
        if not any(isinstance(finder, _SourceFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _SourceFinder(self.sources))
        return importlib.import_module(module_name(path))


def module_name(path: str) -> str:
    """Return the module name of a file: `pkg/b.py` -> `pkg.b`, `pkg/__init__.py` -> `pkg`."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


class _SourceFinder:
    """Imports modules from a mapping of relative paths to texts. Nothing is written to disk; tracebacks show the lines."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._texts = {module_name(path): (path, text) for path, text in sources.items()}
        folders = (parent for path in sources for parent in PurePosixPath(path).parents)
        self._packages = {".".join(folder.parts) for folder in folders if folder.parts}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._texts and fullname not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self._packages)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Return None, so that the import system makes the module object."""

    def get_source(self, fullname: str) -> str:
        import linecache

        path, text = self._texts.get(fullname, (fullname, ""))
        linecache.cache[path] = (len(text), None, io.StringIO(text).readlines(), path)
        return text

    def exec_module(self, module: ModuleType) -> None:
        text = self.get_source(module.__name__)
        path = self._texts.get(module.__name__, (module.__name__, ""))[0]
        exec(compile(text, path, "exec"), module.__dict__)
