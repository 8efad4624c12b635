"""Explains from a process's log what the sandbox refused it: what the program did, in which line, and what to do instead.

A refused system call is a bare `PermissionError: [Errno 1]`, raised far below the line of the program that asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

PROJECT = "project"
"""The folder, in a call's scratch folder, that holds the private copy of a script's project."""
_FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d{1,9}), in (\S+)(?:\n +(?!File ")(\S.*)(?:\n( *[~^]+) *$)?)?', re.MULTILINE)
_NO_NETWORK = (
    r"\[Errno -[235]\]|name resolution|Name or service not known|Network is unreachable|ConnectionError|NewConnectionError|"
    r"OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled|URLError"
)


@dataclass(frozen=True)
class Frame:
    """One line of a traceback."""

    path: str
    line: int
    function: str
    code: str
    """The source line, without its indentation; empty if the traceback does not show it."""
    call: str
    """The name that is called there, such as `subprocess.run`; empty if none is seen."""


@dataclass(frozen=True)
class _Rule:
    """One kind of refusal."""

    error: str
    """A pattern for the line of the error."""
    places: str
    """A pattern for `path function code` of a frame below the program's own."""
    does: str
    says: str
    """What the sandbox allows, and what to do instead."""
    what: str = ""
    """How the call is named, if its own name says too little."""


_REFUSED = r"PermissionError: \[Errno 1\]"
_NO_PROCESS = "the sandbox lets a program start none; "
_RULES = (
    _Rule(
        _REFUSED,
        r"torch/_(inductor|dynamo)/|/triton/",
        "starts a compiler",
        f"{_NO_PROCESS}leave torch.compile out, or set TORCHDYNAMO_DISABLE=1 before the command",
        "torch.compile",
    ),
    _Rule(_REFUSED, r"/cpp_extension", "starts a compiler", f"{_NO_PROCESS}do without compiled extensions"),
    _Rule(_REFUSED, r"torch/utils/data/", "starts a process", f"{_NO_PROCESS}use num_workers=0", "DataLoader"),
    _Rule(
        rf"{_REFUSED}|PermissionError: \[Errno 13\] Permission denied$",  # the latter of a lock between processes
        r"multiprocessing/|concurrent/futures/process|joblib/|loky/|\bos\.fork|forkpty",
        "starts a process",
        f"{_NO_PROCESS}work in this one, or in threads (num_workers=0, n_jobs=1, ThreadPoolExecutor)",
    ),
    _Rule(
        _REFUSED,
        r"subprocess\.py|_fork_exec|\bos\.(exec|spawn|posix_spawn|popen)|/pty\.py",
        "starts a program",
        f"{_NO_PROCESS}do without the call, or catch its PermissionError",
    ),
    _Rule(
        _REFUSED,
        r"\b(l?chmod|l?chown|fchmod|fchown|utime|copymode|copystat|setxattr|removexattr|touch)\b|lookup\(",
        "changes the times or rights of a file",
        "the sandbox lets them be; copy with shutil.copyfile, and leave os.chmod and os.utime out",
    ),
    _Rule(
        rf"{_NO_NETWORK}|{_REFUSED}",
        r"socket\.py|/ssl\.py|urllib|http/client|/requests/|/httpx/|/httpcore/|huggingface_hub|asyncio|socketserver|\.(connect|bind)\(",
        "needs the network",
        "the sandbox has none; get the data before the run, and name its folder in task.readable",
    ),
    _Rule(_REFUSED, r"", "does what the sandbox refuses", "leave the call out, or catch its PermissionError"),
    _Rule(
        r"PermissionError: \[Errno 13\]",
        r"unlink|remove|rename|os\.replace|rmtree|rmdir",
        "removes or renames a file",
        "without namespaces (see `evolve doctor`) the sandbox lets files be written only",
    ),
    _Rule(
        r"OSError: \[Errno 30\]|PermissionError: \[Errno 13\]|FileNotFoundError: \[Errno 2\].*'(/(?!scratch/)|\.\./)",
        r"",
        "uses a file outside of its copy of the project",
        "the sandbox shows a program its copy, where it may write, and what task.readable names, which it may read",
    ),
)


def refusal(log: str, files: Collection[str]) -> str:
    """Return a sentence about what the sandbox refused; empty if the last error in the log is nothing of that kind.

    `files`: the candidate's files. `log` is hostile text.
    """
    for traceback, error in _tracebacks(log):
        frames = list(_frames(traceback))
        below = next((i for i in reversed(range(len(frames))) if own_path(frames[i].path, files)), None)
        if below is None:
            continue
        places = "\n".join(f"{frame.path} {frame.function} {frame.code}" for frame in frames[below:])
        for rule in _RULES:
            if re.search(rule.error, error) and re.search(rule.places, places):
                own = frames[below]
                place = f"{own_path(own.path, files)}, line {own.line}, in {own.function}"
                what = rule.what or own.call
                return f"It {rule.does} ({what + ', ' if what else ''}{place}): {rule.says}."
    return ""


def own_path(path: str, files: Collection[str]) -> str:
    """Return a traceback's path relative to the program; empty if it is that of a library."""
    inside, _, relative = path.rpartition(f"/{PROJECT}/")
    if inside:
        return relative
    return path if path in files else ""


def last_own_frame(log: str, files: Collection[str]) -> Frame | None:
    """Return the innermost line of the program itself in the last traceback that has one."""
    own = [frame for frame in _frames(log) if own_path(frame.path, files)]
    return own[-1] if own else None


def _tracebacks(log: str) -> Iterator[tuple[str, str]]:
    """Yield (frames, line of the error) of the last traceback, and of those that it was raised from, the last one first."""
    for part in reversed(log.split("Traceback (most recent call last):\n")[1:]):
        error = re.search(r"^\S.*$", part, re.MULTILINE)
        if error:
            yield part[: error.start()], error[0][:2000]


def _frames(text: str) -> Iterator[Frame]:
    for path, line, function, code, marks in _FRAME.findall(text):
        yield Frame(path, int(line), function, code[:200], _called(code[:200], marks))


def _called(code: str, marks: str) -> str:
    """Return the name that a line calls: where Python marks the call it is that one, else the first."""
    marked = code
    if marks:  # both lines are indented by the same four blanks
        start = max(0, len(marks) - len(marks.lstrip()) - 4)
        marked = code[start : start + len(marks.strip())]
    found = re.match(r"([A-Za-z_][\w.]*)\(", marked) or re.search(r"(?<![\w.])([A-Za-z_][\w.]*)\(", code)
    return found[1][-60:] if found else ""
