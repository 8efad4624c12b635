"""What users' repositories do."""

import re
import subprocess

import pytest

from tests.repositories import git, refs


class TestFilters:
    @pytest.mark.parametrize("mode", ["autocrlf", "eol"])
    def test_line_ends(self, case, mode):
        done = case("git/worktree-filters").run(mode)
        assert done.exit_code == 0
        compared = done.output.partition("nothing should differ)\n")[2].partition("== the blob")[0]
        assert compared == "", done.output
        assert "^M" not in done.output
        assert done.output.rstrip().endswith("status right after the checkout of evolve/run/0001:")

    def test_encrypted(self, case):
        done = case("git/worktree-filters").run("encrypted")
        repository = done.scratch / "repo"
        assert "filter 'hide'" in (done.scratch / "out").read_text()
        assert refs(repository, "refs/heads/evolve") == []
        command = ["git", "cat-file", "--batch-all-objects", "--batch"]
        objects = subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout
        assert b"vzcbeg gbepu" in objects and b"import torch" not in objects
        assert len(refs(done.run / "lineage.git", "refs/heads/evolve/run")) == 2


@pytest.mark.parametrize("mode", ["explicit", "injected", "owner"])
def test_bare_repository_explicit(case, mode):
    done = case("git/bare-repository-explicit").run(mode)
    assert done.exit_code == 0, done.output
    assert (done.run / "lineage.git").is_dir()


def test_uncommitted_helpers(case):
    done = case("git/uncommitted-helpers").run()
    assert re.search(r"^Not as in the last commit: .*extra\.py.*helper\.py", done.output, re.MULTILINE), done.output
    assert "the commit says: seed: val_loss 0.8333" in done.output
    assert done.output.rstrip().splitlines()[-1].startswith("val_loss: 0.8333")
    assert git(done.scratch / "repo", "status", "--porcelain").splitlines() == ["M helper.py", "?? extra.py"]
