"""Groups of cgroup v2: used where they were delegated, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.isolation import cgroup

ROOT = Path(__file__).resolve().parents[3]


def a_mount():
    return next((m for m in cgroup._MOUNTS if Path(m, "cgroup.controllers").is_file()), None)


@pytest.fixture
def group():
    """A group of our own on this machine, marked as delegated."""
    mount = a_mount()
    if mount is None or not os.access(mount, os.W_OK):
        pytest.skip("there is no cgroup v2 in which we may make groups")
    made = Path(mount, f"evolve-test-{os.getpid()}")
    made.mkdir()
    try:
        os.setxattr(made, "user.delegate" if os.geteuid() else "trusted.delegate", b"1")
        yield made
    except OSError as error:
        pytest.skip(f"groups cannot be marked here: {error}")
    finally:
        for path in sorted(made.rglob("*"), reverse=True):
            if path.is_dir():
                cgroup.remove(str(path))
        cgroup.remove(str(made))


RUN = """
import os, sys
from sandbox import Call, CallLimits
from sandbox.isolation import cgroup
from sandbox.launch.client import ForkServerSandbox
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
sources, limits = {"model.py": sys.argv[2]}, CallLimits(20, 64 << 20, 1 << 16)
box = ForkServerSandbox("none", warm=False)
report = box.run(Call("sandbox.tasks.common.probe:run", sources, limits, options={"group": sys.argv[1]}))
box.close()
print(cgroup.delegated(), report.cause, report.result.decode(), ",".join(report.layers), sep="|")
"""


def run_in(group, source):
    command = [sys.executable, "-P", "-s", "-c", RUN, str(group), source]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


def test_a_call_in_a_delegated_group_has_one_of_its_own_that_is_gone_after_it(group):
    source = "def main(child): return open('/proc/self/cgroup').read().encode().splitlines()[-1]"
    delegated, cause, own, layers = run_in(group, source)
    assert (delegated, cause) == (str(group), "exit")
    assert own.startswith(f"0::/{group.name}/evolve-")
    assert layers.startswith("cgroup")
    assert not [path for path in group.iterdir() if path.is_dir() and path.name != "evolve-main"]


def test_who_leaves_the_tree_of_processes_stays_in_the_group_and_ends_with_it(group, named):
    # At level `none` nothing forbids to fork; a daemon of a daemon is a child of the slot server at most for a moment.
    comm = f"ev-cg-{os.getpid()}"[:15]
    source = f"""
import ctypes, os, time
def main(child):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            ctypes.CDLL(None).prctl(15, ctypes.c_char_p({comm.encode()!r}), 0, 0, 0)
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
    return b"forked"
"""
    assert run_in(group, source)[1:3] == ["exit", "forked"]
    assert not named(comm)


def test_the_kernel_ends_a_group_that_takes_more_memory_than_it_may(group):
    if "memory" not in (group / "cgroup.controllers").read_text():
        pytest.skip("this machine's cgroup v2 does not count memory")
    cgroup.limit(str(group), 32 << 20, 100)
    script = f"from sandbox.isolation import cgroup; cgroup.join({str(group)!r}); held = bytearray(b'x') * (300 << 20)"
    hog = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)})
    assert hog.returncode == -9
    assert cgroup.ran_out_of_memory(str(group))


def test_a_group_that_was_not_delegated_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "cgroup.controllers").write_text("memory pids")
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(cgroup, "_own_group", lambda: "/own")
    assert cgroup.delegated((str(tmp_path),)) is None


def test_limits_are_written_where_their_controller_is(tmp_path):
    for name in ("memory.max", "memory.oom.group"):
        (tmp_path / name).write_text("max")
    cgroup.limit(str(tmp_path), 1 << 30, 100)
    assert int((tmp_path / "memory.max").read_text()) >= 1 << 30
    assert (tmp_path / "memory.oom.group").read_text() == "1"


@pytest.mark.parametrize(
    ("message", "ran_out"), [("low 0\noom_kill 0\n", False), ("low 0\noom 1\noom_kill 2\n", True), (None, False)]
)
def test_that_memory_ran_out_is_read_off_the_groups_events(message, ran_out, tmp_path):
    if message is not None:
        (tmp_path / "memory.events").write_text(message)
    assert cgroup.ran_out_of_memory(str(tmp_path)) is ran_out
