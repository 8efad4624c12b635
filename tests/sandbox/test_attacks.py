"""Every file in `attacks/` is a candidate that tries to get out. At levels where unreviewed code may run, none may succeed.

An attack declares in constants what its judgement needs:
LEAKS   where it is shown to work: `none` (that level), `root` (that level, as root), `limits` (contained, with generous
        limits), `limits none` (both), `plain` (an ordinary process), `never` (nothing to show).
ALONE   layers each of which stops it with the others switched off; `landlock 4` needs that version.
ENDS    limits that may end it, instead of it finding that it is refused.
CUDA    it goes at something for which a call on a GPU has other rules.
LOCKS   it is one of a script, which may lock files.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from sandbox import Report
from sandbox.isolation import landlock

pytestmark = pytest.mark.attack

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("[0-9]*.py"))
GENEROUS = {"memory": 8 << 30, "scratch": 2 << 30, "seconds": 60.0}


def constants(path: Path) -> dict[str, Any]:
    tree = ast.parse(path.read_text())
    named = [n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant | ast.Tuple)]
    return {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in named}


FACTS = {path: constants(path) for path in ATTACKS}
ALONE = [(path, layer) for path in ATTACKS for layer in FACTS[path].get("ALONE", ())]


def name(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value).replace(" ", "-")


def leaks(attack: Path, report: Report, damage: list[str]) -> list[str]:
    """Return what the attack obtained, by its own report and as seen from outside."""
    found = [*damage]
    says = FACTS[attack].get("SAYS")
    if says and says in report.log:
        found.append(f"the log says {says}")
    if report.result.startswith(b"leak"):
        found.append(report.result.decode())
    return found


def assert_blocked(attack: Path, report: Report, damage: list[str]) -> None:
    assert not leaks(attack, report, damage)
    if report.cause in FACTS[attack].get("ENDS", ()):
        return
    assert (report.cause, report.status) == ("exit", 0), report.log
    assert report.result == b"blocked"


@pytest.mark.parametrize("attack", ATTACKS, ids=name)
@pytest.mark.parametrize("level", ["full", "contained"])
def test_an_attack_is_blocked(level: str, attack: Path, sandbox, world) -> None:
    report = sandbox(level).run(world.call(attack.read_text(), **limits(attack)))
    assert_blocked(attack, report, world.damage(report))


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=name)
def test_an_attack_is_blocked_without_landlock(attack: Path, sandbox, world) -> None:
    """The other way to `contained`: namespaces and seccomp, on a kernel that has no Landlock."""
    report = sandbox("none", "namespaces", "seccomp").run(world.call(attack.read_text(), **limits(attack)))
    assert_blocked(attack, report, world.damage(report))


@pytest.mark.parametrize("attack", [a for a in ATTACKS if FACTS[a].get("CUDA")], ids=name)
@pytest.mark.parametrize("level", ["full", "contained"])
def test_what_cuda_is_granted_helps_no_attack(level: str, attack: Path, sandbox, world) -> None:
    """With the rules of a call on a GPU, which need no GPU to be tried."""
    report = sandbox(level).run(world.call(attack.read_text(), device="cuda:0", **limits(attack)))
    assert_blocked(attack, report, world.damage(report))


@pytest.mark.parametrize(("attack", "layer"), ALONE, ids=name)
def test_a_layer_alone_blocks_an_attack(attack: Path, layer: str, sandbox, world) -> None:
    layer, _, version = layer.partition(" ")
    if version and landlock.abi() < int(version):
        pytest.skip(f"needs Landlock {version}, this kernel has {landlock.abi()}")
    report = sandbox("none", layer).run(world.call(attack.read_text()))
    assert_blocked(attack, report, world.damage(report))


@pytest.mark.slow
@pytest.mark.parametrize("attack", [a for a in ATTACKS if FACTS[a]["LEAKS"] != "never"], ids=name)
def test_an_attack_works_where_nothing_stops_it(attack: Path, sandbox, world, tmp_path: Path) -> None:
    facts, source = FACTS[attack], attack.read_text()
    skip_what_cannot_work_here(facts, world)
    where = facts["LEAKS"]
    if where == "plain":
        try:
            assert world.plain(source, tmp_path).startswith("leak")
        finally:
            subprocess.run(["rm", "-rf", "--", str(tmp_path)], check=False)
        return
    level = "contained" if where == "limits" else "none"
    report = sandbox(level).run(world.call(source, **(GENEROUS if "limits" in where else {})))
    found = leaks(attack, report, world.damage(report))
    assert found or report.cause in facts.get("ENDS_OPEN", ()), report


def limits(attack: Path) -> dict[str, Any]:
    """What the call is given besides its source."""
    return {"patience": 15.0, "seconds": FACTS[attack].get("SECONDS", 20.0), "locks": FACTS[attack].get("LOCKS", False)}


def skip_what_cannot_work_here(facts: dict[str, Any], world: Any) -> None:
    root = os.geteuid() == 0
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if facts.get("PTRACE") and not root and scope.exists() and scope.read_text().strip() != "0":
        pytest.skip("this kernel forbids tracing among processes of one user (Yama)")
    if facts.get("BESIDE") and not world.beside:
        pytest.skip("the folder of the environment is read-only for this user")
    if facts.get("WRITES_PACKAGES") and not os.access(sysconfig.get_path("purelib"), os.W_OK):
        pytest.skip("the installed packages are read-only for this user")
    if facts["LEAKS"] == "root" and not root:
        pytest.skip("only root can do it")
    if shutil.disk_usage("/tmp").free < 1 << 30:
        pytest.skip("too little room in /tmp")


def test_the_suite_holds_the_known_attacks() -> None:
    assert [path.name[:2] for path in ATTACKS] == [f"{i:02}" for i in range(1, len(ATTACKS) + 1)]
    assert len(ATTACKS) >= 31


def test_of_200_megabytes_of_output_a_little_is_kept(sandbox, world) -> None:
    attack = next(a for a in ATTACKS if a.stem == "16_much_output")
    for level in ("full", "contained"):
        report = sandbox(level).run(world.call(attack.read_text(), log=1 << 16))
        assert len(report.log) < (1 << 16) + 100
        assert re.search(r"\[... 209,[67]\d\d,\d\d\d bytes left out ...\]", report.log)  # bytes left out
