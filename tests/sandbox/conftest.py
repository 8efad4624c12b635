"""Sandboxes that tests share, and a small world of secrets, sockets and processes for attacks to go at."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import Call, CallLimits, Report, SandboxUnavailable
from sandbox.launch.client import ForkServerSandbox
from sandbox.launch.start import ForkServer
from sandbox.launch.subprocess_backend import SubprocessSandbox

ENTRY = "sandbox.tasks.common.probe:run"
TOOLS = (Path(__file__).parent / "attacks" / "tools.py").read_text()


def candidate(source: str, **other: Any) -> Call:
    """A call of a candidate whose `main(child)` makes the result; limits as keywords."""
    keys = ("seconds", "memory", "result", "scratch", "log")
    limits = {"seconds": 20.0, "memory": 256 << 20, "result": 1 << 16, "scratch": 32 << 20}
    limits |= {key: other.pop(key) for key in keys if key in other}
    return Call(entry=ENTRY, sources={"model.py": source, "tools.py": TOOLS}, limits=CallLimits(**limits), **other)


@pytest.fixture(scope="session")
def own_tmp() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="evolve-tests-") as folder:
        os.chmod(folder, 0o755)  # a candidate that became nobody must reach its scratch in it
        yield folder


@pytest.fixture(autouse=True)
def _temporary_files_of_sandboxes(own_tmp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep them apart from those of other programs, so that a test can assert that none is left."""
    monkeypatch.setattr(tempfile, "tempdir", own_tmp)


@pytest.fixture(scope="session")
def call() -> Callable[..., Call]:
    return candidate


@pytest.fixture(scope="session")
def sandbox(own_tmp: str) -> Iterator[Callable[..., ForkServerSandbox | SubprocessSandbox]]:
    """A sandbox of a level, or of some layers alone, each started once; or `fresh`. Skips what the machine cannot do.

    Only those in which unreviewed code may run are warm, as in a run; the others start without torch, which takes seconds.
    """
    started: dict[tuple[str, ...], ForkServerSandbox | SubprocessSandbox] = {}
    lacking: dict[tuple[str, ...], str] = {}

    def get(level: str, *layers: str) -> ForkServerSandbox | SubprocessSandbox:
        key = (level, *layers)
        if key not in started:
            alone = {n: n in ("rlimits", *layers) for n in ("rlimits", "namespaces", "landlock", "seccomp")}
            warm = level in ("full", "contained")
            if level == "fresh" and shutil.which("ps") is None:
                pytest.skip("there is no `ps` here")
            if level == "fresh":
                started[key] = SubprocessSandbox("none", {"rlimits": True})
            else:
                started[key] = ForkServerSandbox(level, layers=alone if layers else None, warm=warm)  # type: ignore[arg-type]
            try:
                started[key].run(candidate("def main(child): return b''"))
            except SandboxUnavailable as error:
                lacking[key] = f"this machine cannot do {' '.join(key)}: {str(error)[-200:]}"
        if key in lacking:
            pytest.skip(lacking[key])
        return started[key]

    yield get
    for each in started.values():
        each.close()


_VICTIM = """
import ctypes, os, signal, sys
secret = ctypes.create_string_buffer(os.environb[b"API_KEY"])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGIO})
print(ctypes.addressof(secret), flush=True)
while True:
    print(signal.sigwait({signal.SIGUSR1, signal.SIGIO}).name, flush=True)
"""

_PLAIN = """
import json, os, sys, types
held = os.environ["API_KEY"] + ""
request = json.load(sys.stdin)
for name, text in request["sources"].items():
    module = types.ModuleType(name.removesuffix(".py"))
    sys.modules[module.__name__] = module
    exec(compile(text, name, "exec"), module.__dict__)
from pathlib import Path
child = types.SimpleNamespace(options=request["options"], inputs={}, scratch=Path(request["scratch"]))
result = sys.modules["model"].main(child)
print("\\nresult: " + result.decode(), flush=True)
os._exit(0)
"""


_LIBC = ctypes.CDLL(None, use_errno=True)


def _message(text: str) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(b"\1".ljust(8, b"\0") + text.encode(), 200)


class World:
    """The things of the trusted side that a candidate must neither read nor change."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.secret = "sk-evolve-" + secrets.token_hex(16)
        self.token = "evolve-attack-" + secrets.token_hex(4)
        self.comm = "evolve-" + secrets.token_hex(3)
        self.home, self.data = folder / "home", folder / "data"
        self._fill(folder)
        self.beside = self._put_beside_the_packages(stack)
        self._open_sockets(folder, stack)
        self.queue = _LIBC.msgget(0, 0o1600)  # private to this user, with one message
        _LIBC.msgsnd(self.queue, _message(self.secret), 100, 0)
        stack.callback(_LIBC.msgctl, self.queue, 0, None)
        inherited = os.open(self.data / "labels.npy", os.O_RDONLY)
        os.set_inheritable(inherited, True)
        stack.callback(os.close, inherited)
        self.inherited = inherited
        self.victim = subprocess.Popen(
            [sys.executable, "-I", "-c", _VICTIM],
            env={"API_KEY": self.secret},
            stdout=subprocess.PIPE,
            process_group=0,
        )
        stack.callback(self.victim.wait)
        stack.callback(self.victim.kill)
        assert self.victim.stdout is not None
        self.address = int(self.victim.stdout.readline())
        self._processors = os.sched_getaffinity(self.victim.pid)
        self._before = self._state()

    def _fill(self, folder: Path) -> None:
        for path, text in (
            (self.home / ".ssh" / "id_rsa", self.secret),
            (self.home / ".bashrc", "echo hello\n"),
            (self.home / "scorer.py", f"KEY = {self.secret!r}\n"),
            (self.data / "labels.npy", self.secret),
            (self.data / "images.npy", "images"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with contextlib.suppress(OSError):  # some file systems have no attributes
            os.setxattr(self.home / ".bashrc", "user.kept", b"1")
            os.setxattr(self.home / ".ssh" / "id_rsa", "user.token", self.secret.encode())

    def _put_beside_the_packages(self, stack: contextlib.ExitStack) -> list[str]:
        """Secrets in the folders of the environment and of the interpreter, as far as these can be written."""
        written = []
        for folder in (sys.prefix, f"{sys.prefix}/bin", f"{sys.prefix}/lib", sys.base_prefix, f"{sys.base_prefix}/bin"):
            path = Path(folder, f"{self.token}.conf")
            if not folder.startswith("/usr"):
                with contextlib.suppress(OSError):
                    path.write_text(self.secret)
                    stack.callback(path.unlink, missing_ok=True)
                    written.append(str(path))
        return written

    def _open_sockets(self, folder: Path, stack: contextlib.ExitStack) -> None:
        # A path of a socket has at most 107 bytes, and pytest's folders are long.
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="ev-"))
        self.paths = {"stream": f"{short}/stream", "datagram": f"{short}/datagram", "abstract": self.token}
        self.sockets: dict[str, socket.socket] = {}
        for name, family, kind, address in (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            ("stream", socket.AF_UNIX, socket.SOCK_STREAM, self.paths["stream"]),
            ("datagram", socket.AF_UNIX, socket.SOCK_DGRAM, self.paths["datagram"]),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.token),
        ):
            ours = stack.enter_context(socket.socket(family, kind))
            ours.bind(address)
            ours.setblocking(False)
            if kind == socket.SOCK_STREAM:
                ours.listen()
            self.sockets[name] = ours

    def options(self) -> dict[str, Any]:
        packages = [sysconfig.get_path("purelib"), str(Path(__file__).parents[2] / "sandbox")]
        return {
            "home": str(self.home),
            "labels": str(self.data / "labels.npy"),
            "scorer": str(self.home / "scorer.py"),
            "token": self.token,
            "comm": self.comm,
            "victim": self.victim.pid,
            "address": self.address,
            "main": os.getpid(),
            "tcp": self.sockets["tcp"].getsockname()[1],
            "udp": self.sockets["udp"].getsockname()[1],
            "packages": packages,
            "queue": self.queue,
            "beside": self.beside,
            **self.paths,
        }

    def call(self, source: str, patience: float = 0.3, device: str = "cpu", locks: bool = False, **limits: Any) -> Call:
        """`patience`: seconds that an attack waits, if it has to, for the supervisor to notice."""
        options = self.options() | {"patience": patience}
        inputs = {"images": self.data / "images.npy"}
        return candidate(source, options=options, inputs=inputs, device=device, locks=locks, **limits)

    def damage(self, report: Report | None = None) -> list[str]:
        """Return all damage since the last call, as seen from outside, and repair it."""
        found = []
        for name, ours in self.sockets.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    if ours.type == socket.SOCK_STREAM:
                        ours.accept()[0].close()
                    else:
                        ours.recv(4096)
                    found.append(f"something reached the socket {name}")
        assert self.victim.stdout is not None
        while select.select([self.victim.stdout], [], [], 0.0)[0]:
            message = os.read(self.victim.stdout.fileno(), 4096)
            assert message, "the victim has died"
            found.append(f"the victim received {message!r}")
        if os.sched_getaffinity(self.victim.pid) != self._processors:
            os.sched_setaffinity(self.victim.pid, self._processors)
            found.append("the victim was pinned to a processor")
        if os.sched_getscheduler(self.victim.pid) != os.SCHED_OTHER:
            os.sched_setscheduler(self.victim.pid, os.SCHED_OTHER, os.sched_param(0))
            found.append("the victim was put behind others")
        for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run", "/dev/mqueue", *self.options()["packages"]):
            for path in (Path(folder) / self.token, Path(folder) / f"{self.token}.txt"):
                if path.exists():
                    path.unlink()
                    found.append(f"{path} was written")
        messages = 0
        while _LIBC.msgrcv(self.queue, ctypes.create_string_buffer(200), 100, 0, 0o4000) >= 0:
            messages += 1
        if messages != 1:
            found.append(f"the queue held {messages} messages")
        if _LIBC.msgsnd(self.queue, _message(self.secret), 100, 0) < 0:
            found.append("the queue has gone")
            self.queue = _LIBC.msgget(0, 0o1600)
            _LIBC.msgsnd(self.queue, _message(self.secret), 100, 0)
        if (state := self._state()) != self._before:
            found.append(f"files were changed: {sorted(set(state.items()) ^ set(self._before.items()))}")
            self._put_right()
        if left := processes_named(self.comm):
            found.append(f"processes are left: {left}")
        if report is not None and self.secret in report.log + report.result.decode("latin-1"):
            found.append("the secret came out")
        return found

    def _state(self) -> dict[str, str]:
        state = {}
        for path in sorted([*self.home.rglob("*"), *self.data.rglob("*")]):
            facts = os.lstat(path)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            try:
                attributes = os.listxattr(path)
            except OSError:
                attributes = []
            state[str(path)] = f"{facts.st_mode:o} {facts.st_uid} {facts.st_mtime_ns} {attributes} {content}"
        return state

    def _put_right(self) -> None:
        for path in self.home.glob(f"{self.token}*"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in self.home.glob("*-moved"):
            path.unlink()
        self._fill(self.home.parent)
        (self.home / ".bashrc").chmod(0o644)
        (self.data / "images.npy").chmod(0o644)
        self._before = self._state()

    def plain(self, source: str, scratch: Path) -> str:
        """The attack in a process without any protection, which also has the secret in its environment and memory."""
        message = {"sources": {"tools.py": TOOLS, "model.py": source}, "options": self.options(), "scratch": str(scratch)}
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PLAIN],
            input=json.dumps(message),
            env={"API_KEY": self.secret},
            pass_fds=[self.inherited],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.rpartition("\nresult: ")[2].strip() or done.stderr


def processes_named(comm: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{name}/comm").read_text().strip() == comm:
                    found.append(int(name))
    return found


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    """A fork server that slot servers of a module's tests are forked from."""
    made = ForkServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        made = World(tmp_path_factory.mktemp("world"), stack)
        patch.setenv("API_KEY", made.secret)  # as in the process that talks to an LLM
        yield made


@pytest.fixture(scope="session")
def named() -> Callable[[str], list[int]]:
    """The processes of a name (`comm`), as seen from outside every namespace."""
    return processes_named
