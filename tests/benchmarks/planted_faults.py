"""Plants one fault at a time in a copy of the sources, and sees whether the tests notice it. Prints JSON.

    python tests/benchmarks/planted_faults.py [--only TEXT]

Every fault is a wrong implementation of a rule that no crash would show: of the statistics, of a confirmation, of selection,
parents and controls. A fault that the named tests do not notice `survives`. Ends with 1 if any does.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["faults"]


@contextmanager
def copied() -> Iterator[Path]:
    """The tracked files in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, Path(folder) / name)
        yield Path(folder)


def outcome(folder: Path, fault: dict) -> str:
    """`noticed`, `survives`, or why it could not be planted."""
    path, before = folder / fault["file"], fault["stands"]
    text = path.read_text()
    if text.count(before) != 1:
        return f"not planted: what it replaces stands there {text.count(before)} times"
    path.write_text(text.replace(before, fault["fault"]))
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *fault["tests"]]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return {0: "survives", 1: "noticed"}.get(ended.returncode, f"tests did not run: {ended.stdout[-300:]}")
    finally:
        path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose file or text holds this")
    options = parser.parse_args()
    counts: dict[str, int] = {}
    with copied() as folder:
        for fault in FAULTS:
            if options.only in f"{fault['file']} {fault['stands']}":
                found = outcome(folder, fault)
                print(json.dumps({**{key: fault[key] for key in ("file", "stands", "fault")}, "outcome": found}), flush=True)
                counts[found.partition(":")[0]] = counts.get(found.partition(":")[0], 0) + 1
    print(json.dumps(counts))
    return int(set(counts) != {"noticed"})


if __name__ == "__main__":
    sys.exit(main())
