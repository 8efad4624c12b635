"""Finds the devices to train on, without initialising CUDA, and distributes slots over them.

CUDA stays uninitialised in this process: a process that has used it cannot fork children that use it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.sandbox import TaskError

DRIVER = Path("/proc/driver/nvidia/gpus")
"""The folder in which NVIDIA's driver describes each GPU, in subfolders named by the GPU's address on the bus."""

_FAILED = re.compile(
    r"CUDA out of memory|CUDA error: (?!device-side assert)|CUDA driver error|cuda runtime error"
    r"|(?:CUDNN|CUBLAS)_STATUS_\w{0,40}?(?:ALLOC|NOT_INITIALIZED|INTERNAL)"
    r"|No CUDA GPUs are available|Found no NVIDIA driver|GPU is lost|has fallen off the bus|uncorrectable ECC error",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    number: int
    """The number of its device node, /dev/nvidiaN."""
    name: str
    uuid: str
    memory: str = ""
    """As the driver's tool prints it, such as 81559 MiB; empty if the tool was not run."""

    @property
    def device(self) -> str:
        return f"cuda:{self.number}"


def gpus(
    environment: Mapping[str, str] = os.environ, driver: Path = DRIVER, nodes: Path = Path("/dev")
) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in the order of the bus, or of `CUDA_VISIBLE_DEVICES` if that is set.

    Whether torch can use them is a separate question: see `torch_has_cuda`.
    """
    found = _from_driver(driver, nodes) or _from_tool()
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    return found if wanted is None else _visible(found, wanted)


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA. This reads a file of torch, because importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        version = Path(folder) / "version.py"
        if version.is_file():
            return bool(re.search(r"^cuda\b[^=\n]*= *['\"]\d", version.read_text(encoding="utf-8"), re.MULTILINE))
    return False


@dataclass(frozen=True)
class SlotLayout:
    """The setting `sandbox.slots`: how many slots the user asked for, and where: `4`, `2/gpu` or `cpu:2`."""

    count: int
    where: str = ""
    """`cpu`: on the CPU; `gpu`: that many on each GPU; empty: on the GPUs if there are any, else on the CPU."""

    @classmethod
    def read(cls, text: int | str) -> SlotLayout:
        """Parse the setting. Raises ValueError, one sentence."""
        found = re.fullmatch(r"(?P<on>cpu:)?(?P<count>\d{1,4})(?P<each>/gpu)?", str(text).strip(), re.ASCII)
        if isinstance(text, bool) or not found or (found["on"] and found["each"]) or not int(found["count"]):
            raise ValueError(f"slots are a number such as 4, a number for each GPU such as 2/gpu, or cpu:4, not {text!r}")
        return cls(int(found["count"]), "cpu" if found["on"] else "gpu" if found["each"] else "")

    def devices(self, found: Sequence[Gpu], *, usable: bool = True) -> tuple[str, ...]:
        """Return the device of each slot; slots without a place go to the GPUs in turn. `usable`: whether torch can use GPUs.

        Raises TaskError if the user asked for GPUs and there is none, or none that can be used.
        """
        if self.where == "gpu":
            if not found:
                raise TaskError(f"sandbox.slots: {self.count}/gpu was asked for, and there is no GPU here; give cpu:N.")
            if not usable:
                raise TaskError(
                    f"sandbox.slots: {self.count}/gpu was asked for, and the installed torch is built without CUDA; "
                    "install one with it, or give cpu:N."
                )
            return tuple(gpu.device for _ in range(self.count) for gpu in found)
        if self.where == "cpu" or not found or not usable:
            return ("cpu",) * self.count
        return tuple(found[i % len(found)].device for i in range(self.count))


def failed(log: str) -> bool:
    """Whether a call's output blames the GPU and not the program. The output is the candidate's own claim."""
    return bool(_FAILED.search(log))


def _from_driver(driver: Path, nodes: Path) -> tuple[Gpu, ...]:
    """Find the GPUs in the driver's files, which in a container can describe more GPUs than there are device nodes."""
    found = []
    for place in sorted(driver.glob("*/information")):
        facts = dict(re.findall(r"^([^:\n]+):[ \t]*(.*?)[ \t]*$", place.read_text(errors="replace"), re.MULTILINE))
        number = facts.get("Device Minor", "")
        if number.isdigit() and (nodes / f"nvidia{number}").exists():
            found.append(Gpu(int(number), facts.get("Model", "GPU"), facts.get("GPU UUID", "")))
    return tuple(found)


def _from_tool() -> tuple[Gpu, ...]:
    """Find the GPUs with the driver's tool, for containers and virtual machines in which the driver has no such files."""
    rows = _ask_tool("index,name,uuid,memory.total")
    return tuple(Gpu(int(number), name, uuid, memory) for number, name, uuid, memory in rows if number.isdigit())


def memory_by_uuid() -> dict[str, str]:
    """Return the memory of each GPU, such as 81559 MiB, by UUID; empty if the driver's tool is not installed."""
    return {row[0]: row[1] for row in _ask_tool("uuid,memory.total")}


def driver_version(driver: Path = DRIVER) -> str:
    """Return the version of NVIDIA's driver, such as 580.82.07; empty if none is found."""
    with suppress(OSError):
        text = (driver.parent / "version").read_text(errors="replace")
        if found := re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text):
            return found[0]
    return next((row[0] for row in _ask_tool("driver_version")), "")


def _ask_tool(fields: str) -> list[list[str]]:
    """Return a row for each GPU from `nvidia-smi`; no rows if it is not installed or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = ([part.strip() for part in line.split(",")] for line in output.splitlines())
    return [row for row in rows if len(row) == fields.count(",") + 1]


def _visible(found: Sequence[Gpu], wanted: str) -> tuple[Gpu, ...]:
    """Select GPUs as CUDA does: by numbers in the order of the bus or prefixes of UUIDs, up to the first that fits no GPU."""
    visible: list[Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.isdigit():
            fitting = [found[int(name)]] if int(name) < len(found) else []
        else:
            fitting = [gpu for gpu in found if name.startswith("GPU-") and gpu.uuid.startswith(name)]
        if len(fitting) != 1 or fitting[0] in visible:
            break
        visible.append(fitting[0])
    return tuple(visible)
