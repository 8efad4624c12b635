"""What this machine can do for a run, found by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from agent.config import cache_folder
from agent.errors import MachineError, UserError

Facts = dict[str, Any]


def examine(llm: str | None, api_base: str | None) -> Facts:
    """One entry for each topic; nothing here raises for what is missing, it says so."""
    return {
        "isolation": _isolation(),
        "devices": _devices(),
        "git": _git(),
        "llm": _llm(llm, api_base),
        "disk": _disk(),
    }


def healthy(facts: Facts) -> bool:
    """Can a run be started here?"""
    isolated = facts["isolation"]["level"] in ("full", "contained")
    return bool(isolated and facts["git"]["found"] and facts["disk"]["enough"] and facts["llm"].get("reachable") is not False)


def _isolation() -> Facts:
    from sandbox import SandboxUnavailable
    from sandbox.isolation.detect import detect

    try:
        found = detect()
    except SandboxUnavailable as error:
        return {"level": "none", "layers": [], "canaries": {}, "hints": [f"not even a plain child process runs: {error}"]}
    return {"level": found.level, "layers": list(found.in_force), "canaries": dict(found.canaries), "hints": list(found.hints)}


def _devices() -> Facts:
    """GPUs as runs see them; CUDA stays uninitialised in this process."""
    from sandbox.devices import gpus, memory_by_uuid, torch_has_cuda

    found = gpus()
    memory = memory_by_uuid() if found else {}
    listed = [", ".join(part for part in (g.device, g.name, memory.get(g.uuid, g.memory)) if part) for g in found]
    facts: Facts = {"cpu_cores": len(os.sched_getaffinity(0)), "gpus": listed}
    if found and not torch_has_cuda():
        facts["remedy"] = "the installed torch is built without CUDA, and trains on the CPU: install one with it"
    return facts


def _git() -> Facts:
    path = shutil.which("git")
    if path is None:
        return {"found": False, "remedy": "install git: every individual becomes a branch"}
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    return {"found": True, "version": version}


def _llm(name: str | None, api_base: str | None) -> Facts:
    """Sends one tiny question to the model, if one is named."""
    if name is None:
        return {"checked": "no: name one with --llm MODEL; `--llm offline` needs no key and no network"}
    from agent.llm import LlmSettings, Message, Request, RequestRejected, open_model

    try:
        model = open_model(name, LlmSettings(api_base=api_base, deadline_seconds=60.0))
    except UserError as error:
        return {"model": name, "reachable": False, "reason": str(error)}
    if name.startswith("inbox:"):
        model.close()
        return {"model": name, "checked": "no: an answer comes when somebody writes it"}
    try:
        completion = model.complete(Request((Message("user", "Answer with the word ready."),), max_tokens=2000))
    except (MachineError, RequestRejected) as error:
        return {"model": name, "reachable": False, "reason": str(error)}
    finally:
        model.close()
    return {"model": name, "reachable": True, "seconds": round(completion.seconds, 2), "usd": completion.usd}


def _disk() -> Facts:
    """Free space where runs go, and the data sets that are decoded."""
    free = shutil.disk_usage(".").free
    cache = cache_folder()
    kept = {path.parent.name: _size(path.parent) for path in sorted(cache.glob("*/facts.json"))}
    return {"free_gib": round(free / 2**30, 1), "enough": free > 2**30, "cache": str(cache), "data_sets": kept}


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**20:.1f} MiB"
