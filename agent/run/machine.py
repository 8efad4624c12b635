"""What this machine is, as far as measurements depend on it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path

from sandbox.pool.gpus import cores, driver_version, gpus

_CPUINFO = Path("/proc/cpuinfo")


def machine(devices: Iterable[str]) -> dict[str, str]:
    """Processor, cores and system; with GPUs among the devices also their names and the driver's version."""
    found = {"processor": _processor(), "cores": str(cores()), "system": f"{platform.system()} {platform.machine()}"}
    wanted = {device for device in devices if device != "cpu"}
    if wanted:
        found |= {gpu.device: gpu.name for gpu in gpus() if gpu.device in wanted}
        found["driver"] = driver_version()
    return found


def _processor() -> str:
    try:
        named = re.search(r"^model name\s*:\s*(.+?)\s*$", _CPUINFO.read_text(errors="replace"), re.MULTILINE)
    except OSError:  # another system than Linux
        named = None
    return named[1] if named else platform.processor() or platform.machine()
