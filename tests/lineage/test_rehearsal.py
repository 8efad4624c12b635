"""What is wrong with git is found before a run spends anything. The user's settings are real, in a file of their own."""

import os

import pytest

from agent.core.errors import UserError
from agent.lineage import OWN_REPOSITORY, Lineage, trouble_in, trouble_with_git
from agent.population.candidate import SEED_ID
from tests.repositories import SOURCE, git, make_repository, refs

pytestmark = pytest.mark.usefixtures("plain_git")


@pytest.fixture
def lineage(tmp_path):
    (tmp_path / "seed").mkdir()
    return Lineage.open(tmp_path / "seed", tmp_path / "night", "night")


class Settings:
    def __init__(self, path, monkeypatch):
        self.path, self.patch = path, monkeypatch

    def say(self, text):
        self.path.write_text(text)
        self.patch.setenv("GIT_CONFIG_GLOBAL", str(self.path))


@pytest.fixture
def settings(tmp_path, monkeypatch):
    return Settings(tmp_path / "gitconfig", monkeypatch)


class TestTheRunsOwnRepository:
    def commit_twice(self, lineage, tmp_path):
        lineage.check()
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        again = Lineage.open(tmp_path / "seed", tmp_path / "night", "night")  # as a resume does
        again.commit("0001", {"model.py": SOURCE + "x = 1\n"}, [seed.sha], "one")
        again.pack([seed.sha])
        own = tmp_path / "night" / OWN_REPOSITORY
        listed = git(tmp_path, f"--git-dir={own}", "for-each-ref", "--format=%(refname)").splitlines()
        assert listed == ["refs/heads/evolve/night/0001", "refs/heads/evolve/night/seed"]
        assert again.holds(seed.sha, {"model.py": SOURCE})

    @pytest.mark.parametrize(
        "text",
        [
            "[safe]\n\tbareRepository = explicit\n",
            "[core]\n\tautocrlf = true\n\tsafecrlf = true\n\tsharedRepository = world\n",
            "[init]\n\tdefaultBranch = evolve\n\ttemplateDir = /nowhere\n",
            "[init]\n\tdefaultObjectFormat = sha256\n[gc]\n\tauto = 1\n",
        ],
        ids=["explicit", "line ends", "init", "sha256"],
    )
    def test_works_under_settings_for_other_repositories(self, lineage, tmp_path, settings, text):
        settings.say(text)
        assert trouble_with_git() == ""
        self.commit_twice(lineage, tmp_path)

    def test_works_where_the_settings_come_by_the_environment(self, lineage, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.bareRepository")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "explicit")
        self.commit_twice(lineage, tmp_path)

    def test_works_where_its_owner_is_another_user_for_git(self, lineage, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        self.commit_twice(lineage, tmp_path)

    def test_is_not_the_repository_of_the_environment(self, lineage, tmp_path, monkeypatch):
        stranger = make_repository(tmp_path / "stranger")
        monkeypatch.setenv("GIT_DIR", str(stranger / ".git"))
        lineage.check()
        lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        monkeypatch.delenv("GIT_DIR")
        assert refs(stranger, "refs/heads/evolve") == []
        assert git(stranger, "config", "core.bare") == "false"
        assert refs(tmp_path / "night" / OWN_REPOSITORY, "refs/heads/evolve") == ["refs/heads/evolve/night/seed"]

    @pytest.mark.parametrize("broken", ["[core\n", "[core]\n\trepositoryFormatVersion = x\n\tcompression = much\n"])
    def test_settings_that_git_cannot_read_are_told_before_the_run(self, lineage, tmp_path, settings, broken):
        settings.say(broken)
        assert "git cannot write the branches of a run: fatal: bad" in trouble_with_git()
        with pytest.raises(UserError, match=r"git cannot write the branches of a run: fatal: bad .*config"):
            lineage.check()
        assert not (tmp_path / "night").exists()

    def test_the_rehearsal_leaves_nothing_behind(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = sorted(os.listdir(tmp_path))
        assert trouble_with_git() == ""
        assert sorted(os.listdir(tmp_path)) == before


class TestTheCurrentFolder:
    def test_a_repository_of_the_user_is_fine(self, tmp_path):
        assert trouble_in(make_repository(tmp_path / "project")) == ""

    def test_no_repository_is_fine(self, tmp_path):
        assert trouble_in(tmp_path) == ""

    def test_one_of_another_owner_is_told_with_the_remedy(self, tmp_path, monkeypatch):
        repository = make_repository(tmp_path / "project")
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert "safe.directory" in trouble_in(repository)
