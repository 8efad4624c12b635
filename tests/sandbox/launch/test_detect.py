"""Levels are found by trying. Poorer machines are made out of this one by a filter that refuses what they lack."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.inside.canary import ALLOWED, TRIED
from sandbox.isolation import landlock
from sandbox.isolation.levels import LAYERS
from sandbox.launch import detect as detection
from sandbox.launch.detect import detect

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")

POORER = """
import dataclasses, json, sys
from sandbox.isolation import seccomp
program = seccomp._Program()
program.emit(seccomp._LOAD, 0)
for numbers, error in json.loads(sys.argv[1]):
    program.refuse(tuple(numbers), error)
program.emit(seccomp._RETURN, seccomp._ALLOW)
seccomp._install(b"".join(program.code), len(program.code))
from sandbox.launch.detect import detect
found = detect()
print(json.dumps([found.level, dict(found.layers), list(found.in_force), dict(found.canaries), list(found.hints)]))
"""
UNSHARE, LANDLOCK, SECCOMP, MOUNT = (272, 97), (444, 444), (317, 277), (165, 40)


def on_a_machine_without(*calls):
    message = [[numbers, error] for numbers, error in calls]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", POORER, json.dumps(message)]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def here():
    found = detect()
    if found.level != "full":
        pytest.skip(f"this machine gives only {found.level}: {found.hints}")
    return found


def test_full_is_proven_by_refusals_of_all_that_is_tried(here):
    assert set(here.canaries) == set(TRIED) == {"read", "environment", "write", "connect", "signal", "fork"}
    assert all(message.startswith("refused: ") for message in here.canaries.values())
    assert {"namespaces", "seccomp", "no capabilities"} <= set(here.in_force)
    assert here.hints == ()


def test_a_container_that_forbids_namespaces_gives_contained(here):
    level, layers, in_force, canaries, hints = on_a_machine_without((UNSHARE, errno.EPERM))
    assert (level, layers) == ("contained", LAYERS["contained"])
    assert "namespaces" not in in_force
    assert ALLOWED not in canaries.values()
    assert "full:" in hints[0]


def test_namespaces_without_the_right_to_mount_give_contained(here):
    """As where AppArmor restricts user namespaces: unshare succeeds, and then nothing can be done in them."""
    level, _, _, canaries, _ = on_a_machine_without((MOUNT, errno.EACCES))
    assert level == "contained"
    assert ALLOWED not in canaries.values()


def test_a_kernel_without_landlock_gives_contained_by_namespaces(here):
    level, layers, _, canaries, _ = on_a_machine_without((LANDLOCK, errno.ENOSYS))
    assert level == "contained"
    assert (layers["namespaces"], layers["landlock"]) == (True, False)
    assert ALLOWED not in canaries.values()


def test_neither_namespaces_nor_landlock_is_reduced_with_hints_what_would_help(here):
    level, _, _, canaries, hints = on_a_machine_without((UNSHARE, errno.EPERM), (LANDLOCK, errno.ENOSYS))
    assert level == "reduced"
    assert canaries["read"] == ALLOWED
    assert canaries["connect"].startswith("refused")
    assert any("Landlock" in hint for hint in hints)


def test_nothing_at_all_is_none(here):
    level, _, _, canaries, _ = on_a_machine_without((UNSHARE, errno.EPERM), (LANDLOCK, errno.ENOSYS), (SECCOMP, errno.EINVAL))
    assert level == "none"
    assert set(canaries.values()) == {ALLOWED}


def test_layers_that_are_set_up_but_do_not_hold_are_not_believed(here, monkeypatch):
    """The proof counts, not the promise: a level whose canary gets through is passed over."""
    true = detection.prove

    def leaking(level, layers):
        in_force, canaries = true(level, layers)
        return in_force, {**canaries, "connect": ALLOWED} if level == "full" else canaries

    monkeypatch.setattr(detection, "prove", leaking)
    found = detect()
    assert found.level == "contained"
    assert "connect" in found.hints[0]


def test_each_canary_is_alive(here):
    """Without any layer each attempt succeeds, so that a refusal means something."""
    assert set(detection.without_layers().values()) == {ALLOWED}


REFUSES = {
    "namespaces": {"read", "environment", "write", "connect", "signal"},
    "landlock": {"read", "environment", "write", "connect", "signal"},
    "seccomp": {"connect", "signal", "fork"},
}


@pytest.mark.parametrize("layer", REFUSES)
def test_each_layer_alone_refuses_what_it_is_for(here, layer):
    if layer == "landlock" and landlock.abi() < 6:
        pytest.skip("this kernel's Landlock knows neither ports nor signals")
    _, alone = detection.prove("reduced", {**LAYERS["none"], layer: True})
    assert {name for name, message in alone.items() if message != ALLOWED} >= REFUSES[layer]


WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
ONE_USER = ("unshare", "--user", "--map-root-user")


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
@pytest.mark.parametrize("wrapped", [WITHOUT_CAPABILITIES, ONE_USER, ONE_USER + WITHOUT_CAPABILITIES])
def test_root_that_may_become_nobody_else_is_contained_all_the_same(wrapped):
    if shutil.which(wrapped[0]) is None or subprocess.run([*wrapped, "true"], capture_output=True).returncode:
        pytest.skip(f"{wrapped[0]} does not work here")
    program = "from sandbox.launch.detect import detect\nfound = detect()\nprint(found.level, found.hints)"
    done = subprocess.run([*wrapped, sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("full", "contained"), done.stdout
    assert "could not be set up: \n" not in done.stdout and "set up: '" not in done.stdout  # a reason is given
