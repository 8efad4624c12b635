"""The README's commands are run as they stand, in a fresh clone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme") / "guided-evolution"
    cloned = subprocess.run(["git", "clone", "-q", ROOT, folder], capture_output=True, text=True)
    if cloned.returncode:
        pytest.skip(f"not a git checkout: {cloned.stderr}")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory, cache):
    """`evolve` on the path, whether this checkout is installed or not; it runs the code of this checkout."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "evolve"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m agent.cli "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "EVOLVE_CACHE": str(cache), "PAGER": "cat"}


def test_there_are_commands_to_run():
    assert sum(block.count("evolve ") for block in BLOCKS) >= 5


@pytest.mark.slow
def test_every_command_works(clone, environment):
    for block in BLOCKS:
        for line in filter(None, block.splitlines()):
            done = subprocess.run(line, shell=True, cwd=clone, env=environment, capture_output=True, text=True, timeout=150)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            assert done.stdout.strip(), line


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("seeds/*/README.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_flag_that_it_names_exists(evolve):
    commands = ("run", "resume", "stop", "confirm", "reproduce", "status", "show", "diff", "prune", "doctor")
    helped = "".join(evolve(command, "--help").stdout for command in commands)
    for flag in set(re.findall(r"`(--[a-z-]+)", README)):
        assert flag in helped, flag
