"""Find out by trying what this machine can do for a run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.core.errors import MachineError, UserError
from agent.review.facts import Facts
from agent.run.cache import write_trouble
from agent.run.config import cache_folder

SAFE = ("full", "contained")
"""Levels of isolation at which generated code may run."""


def examine(llm: str | None, api_base: str | None) -> Facts:
    """Return the facts of each topic. Raises nothing if something is missing: the facts say so.

    `llm`: the name of a model that is asked one tiny question; None: no model is asked.
    """
    return {
        "isolation": _isolation(),
        "devices": _devices(),
        "git": _git(),
        "llm": _llm(llm, api_base),
        "disk": _disk(),
    }


def is_healthy(facts: Facts) -> bool:
    """Whether a run can be started here."""
    isolated, git = facts["isolation"]["level"] in SAFE, facts["git"]
    # A cache that cannot be written has a substitute.
    written = all(facts["disk"]["writable"][place] == "yes" for place in ("runs", "temporary"))
    commits = git["found"] and git["works"] and not git.get("here")
    reachable = facts["llm"].get("reachable") is not False
    return bool(isolated and commits and written and facts["disk"]["enough"] and reachable)


def lines(facts: Facts) -> Iterator[str]:
    """The facts as lines of text: each topic at the margin, its facts indented below."""
    isolation = facts["isolation"]
    yield f"isolation: {isolation['level']}"
    yield from (f"  {line}" for line in _proof(isolation))
    for topic, found in facts.items():
        if topic != "isolation":
            yield topic
            yield from (f"  {key.replace('_', ' ')}: {_flat(value)}" for key, value in found.items())


def _proof(isolation: Facts) -> Iterator[str]:
    canaries, bare = isolation["canaries"], isolation.get("without_layers", {})
    if canaries:
        yield f"Tried from inside a sandbox, in {isolation['seconds']:.2f} s, and again without its layers:"
        tried = {name: isolation["tried"][name] for name in canaries}
        width, answers = max(map(len, tried.values())), max(map(len, canaries.values()))
        for name, what in tried.items():
            yield f"  {what:{width}}  {canaries[name]:{answers}}  (without: {bare[name]})"
        yield f"Layers: {', '.join(isolation['layers'])}."
    yield "Besides them a watchdog ends a call at its limits of time, memory, disk and processes."
    if isolation["hints"]:
        yield "Why the level is not higher, and what would help:"
        yield from (f"  {hint}" for hint in isolation["hints"])
    if isolation["level"] not in SAFE:
        yield "A run refuses to start here without --unsafe-no-sandbox, which lets generated code do all that is allowed above."


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_flat(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value)) or "none"
    return str(value)


def _isolation() -> Facts:
    """The level and its proof: what a sandbox refuses, and that the same attempts succeed without any layer."""
    from sandbox import SandboxUnavailable
    from sandbox.inside.canary import TRIED
    from sandbox.launch.detect import detect, without_layers

    start = time.monotonic()
    try:
        found = detect()
    except SandboxUnavailable as error:
        return {"level": "none", "layers": [], "canaries": {}, "hints": [f"not even a plain child process runs: {error}"]}
    seconds = time.monotonic() - start
    return {
        "level": found.level,
        "layers": list(found.in_force),
        "canaries": dict(found.canaries),
        "without_layers": without_layers(),
        "tried": dict(TRIED),
        "hints": list(found.hints),
        "seconds": round(seconds, 3),
    }


def _devices() -> Facts:
    """CPU cores, and GPUs as runs see them. CUDA is not initialised in this process."""
    from sandbox.pool.gpus import cores, gpus, memory_by_uuid, torch_has_cuda

    found = gpus()
    memory = memory_by_uuid() if found else {}
    listed = [", ".join(part for part in (g.device, g.name, memory.get(g.uuid, g.memory)) if part) for g in found]
    facts: Facts = {"cpu_cores": cores(), "gpus": listed}
    if found:
        facts["in_the_sandbox"] = {gpu.device: _gpu_in_sandbox(gpu.device, [g.device for g in found]) for gpu in found}
    if found and not torch_has_cuda():
        facts["remedy"] = "the installed torch is built without CUDA, and trains on the CPU: install one with it"
    return facts


def _gpu_in_sandbox(device: str, all_devices: Sequence[str]) -> Facts:
    """Whether CUDA works under the layers of a run, and whether the other GPUs are inaccessible."""
    from sandbox import SandboxUnavailable
    from sandbox.launch.detect import detect, prove_gpu

    try:
        return dict(prove_gpu(detect(), device, all_devices))
    except SandboxUnavailable as error:
        return {"cuda": f"fails: {error}"}


def _git() -> Facts:
    """Whether git can write the branches of a run, tried in a temporary folder, and whether it would in the current one."""
    path = shutil.which("git")
    if path is None:
        return {"found": False, "remedy": "install git: every individual becomes a branch"}
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    from agent.lineage import trouble_in, trouble_with_git

    trouble = trouble_with_git()
    facts: Facts = {"found": True, "version": version, "works": not trouble}
    if trouble:
        return facts | {"reason": trouble}
    here = trouble_in(Path.cwd())
    return facts | ({"here": here} if here else {})


def _llm(name: str | None, api_base: str | None) -> Facts:
    """Sends one tiny question to the model, if one is named."""
    if name is None:
        return {"checked": "no: name one with --llm MODEL; `--llm offline` needs no key and no network"}
    from agent.core.paths import prompts_folder
    from agent.genome import Editor
    from agent.llm import LlmSettings, RequestRejected, open_model
    from agent.operators.templates import Prompts
    from agent.run.config import LlmSection
    from agent.run.model_check import check_request, fault_of

    try:
        model = open_model(name, LlmSettings(api_base=api_base, deadline_seconds=60.0))
    except UserError as error:
        return {"model": name, "reachable": False, "reason": str(error)}
    if model.waits_for_person:
        model.close()
        return {"model": name, "checked": "no: an answer comes when somebody writes it"}
    try:
        request = check_request(Prompts.load(prompts_folder()), LlmSection())  # what a run asks first
        completion = model.complete(request)
    except (MachineError, RequestRejected) as error:
        return {"model": name, "reachable": False, "reason": str(error)}
    finally:
        model.close()
    facts: Facts = {"model": name, "reachable": bool(completion.text.strip()), "seconds": round(completion.seconds, 2)}
    if not facts["reachable"]:
        return facts | {"reason": completion.missing or "The answer is empty."}
    adapted = {"sent_otherwise": list(completion.adapted)} if completion.adapted else {}
    with closing(Editor(processes=1)) as editor:
        fault = fault_of(completion, request.messages, editor)
    return facts | {"usd": completion.usd, "answer": fault or "holds a program, as a run needs it"} | adapted


def _disk() -> Facts:
    """Free space in the current folder, where runs go, what can be written, and the decoded data sets with their sizes."""
    free = shutil.disk_usage(".").free
    cache = cache_folder()
    data_sets = {path.parent.name: _size(path.parent) for path in sorted(cache.glob("*/facts.json"))}
    places = {"runs": Path("runs"), "cache": cache, "temporary": _temporary_folder()}
    written = {name: "no place" if path is None else write_trouble(path) or "yes" for name, path in places.items()}
    room = {"free_gib": round(free / 2**30, 1), "enough": free > 2**30}
    return {**room, "cache": str(cache), "writable": written, "data_sets": data_sets}


def _temporary_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**20:.1f} MiB"
