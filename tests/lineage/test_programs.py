"""A repository's own configuration can name programs for git to start. None of them runs, whatever a run does with git."""

import subprocess

import git as gitpython
import pytest

from agent.core.errors import MachineError, UserError
from agent.lineage import Lineage
from agent.lineage.git import run_git
from agent.population.candidate import SEED_ID
from tests.repositories import OTHER, SOURCE, git, make_repository

pytestmark = pytest.mark.usefixtures("plain_git")


@pytest.fixture
def trap(tmp_path):
    """A program that leaves a file, and that file."""
    program, witness = tmp_path / "git-remote-trap", tmp_path / "ran"
    program.write_text(f'#!/bin/sh\necho "$0 $@" >> {witness}\nexit 1\n')
    program.chmod(0o755)
    return program, witness


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "project", {"model.py": SOURCE, "README.md": "Mine.\n", "data/big.txt": "big\n"})


def set_all(repository, settings):
    for name, value in settings.items():
        git(repository, "config", name, str(value))


def forget(repository, *paths):
    """Remove blobs, as if a partial clone had never fetched them."""
    for path in paths:
        sha = git(repository, "rev-parse", f"HEAD:{path}")
        (repository / ".git/objects" / sha[:2] / sha[2:]).unlink()


def use(repository, missing=()):
    """All that a run does there; what is missing may end it."""
    try:
        lineage = Lineage.open(repository, repository.parent / "runs/night", "night", ["model.py"], {"README.md": b"Mine.\n"})
        lineage.check()
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one", failed=True)
        lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.holds(seed.sha, {"model.py": SOURCE})
        lineage.annotate({seed.sha: "means"})
        lineage.pack([seed.sha])
    except (UserError, MachineError):
        assert missing


REMOTES = {
    "a command": {"remote.origin.url": "ext::{trap} x", "protocol.ext.allow": "always"},
    "a program for a folder": {"remote.origin.url": "{folder}", "remote.origin.uploadpack": "{trap}", "protocol.allow": "always"},
    "a shell of another machine": {"remote.origin.url": "ssh://there/x", "core.sshCommand": "{trap}", "protocol.allow": "always"},
    "a helper": {"remote.origin.url": "trap::x", "remote.origin.vcs": "trap", "protocol.allow": "always"},
    "a proxy": {"remote.origin.url": "git://there/x", "core.gitProxy": "{trap}", "protocol.allow": "always"},
}


@pytest.mark.parametrize("remote", REMOTES)
def test_missing_objects_are_fetched_by_no_program(repository, trap, monkeypatch, remote):
    program, witness = trap
    monkeypatch.setenv("PATH", f"{program.parent}:{__import__('os').environ['PATH']}")
    settings = {"core.repositoryFormatVersion": 1, "extensions.partialClone": "origin", "remote.origin.promisor": "true"}
    set_all(repository, settings)
    named = {key: value.format(trap=program, folder=repository) for key, value in REMOTES[remote].items()}
    set_all(repository, named)
    blob = git(repository, "rev-parse", "HEAD:model.py")
    forget(repository, "model.py", "README.md", "data/big.txt")
    subprocess.run(["git", "cat-file", "-p", blob], cwd=repository, capture_output=True, check=False)
    assert witness.exists()  # without the project's settings git starts it
    witness.unlink()
    with pytest.raises(gitpython.GitCommandError):
        run_git(gitpython.Repo(repository), "cat-file", "-p", blob)
    use(repository, missing=REMOTES)
    assert not witness.exists(), witness.read_text()


def test_no_other_setting_starts_a_program(repository, trap):
    program, witness = trap
    names = ("core.fsmonitor", "core.pager", "core.editor", "core.askPass", "core.alternateRefsCommand", "core.sshCommand")
    others = ("diff.external", "diff.x.textconv", "diff.x.command", "merge.x.driver", "gpg.program", "sequence.editor")
    pagers = ("pager.notes", "pager.rev-list", "pager.config", "interactive.diffFilter")
    more = ("credential.helper", "uploadpack.packObjectsHook")
    set_all(repository, dict.fromkeys((*names, *others, *pagers, *more), program))
    set_all(repository, {"commit.gpgSign": "true", "gc.auto": 1, "gc.autoDetach": "false", "maintenance.auto": "true"})
    hooks = repository.parent / "hooks"
    hooks.mkdir()
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc", "post-commit", "fsmonitor-watchman"):
        (hooks / hook).symlink_to(program)
    git(repository, "config", "core.hooksPath", str(hooks))
    (repository / ".git/info").mkdir(exist_ok=True)
    (repository / ".git/info/attributes").write_text("* diff=x merge=x\n")
    use(repository)
    assert not witness.exists(), witness.read_text()
