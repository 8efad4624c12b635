"""`evolve doctor` says of git what a run would."""

import json

import pytest

from tests.repositories import make_repository

pytestmark = pytest.mark.usefixtures("plain_git")


def git_facts(evolve, folder, **environment):
    done = evolve("doctor", "--json", cwd=folder, env=environment)
    return done.returncode, json.loads(done.stdout)["git"]


def test_settings_that_forbid_other_bare_repositories_do_not_matter(evolve, tmp_path):
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.bareRepository", "GIT_CONFIG_VALUE_0": "explicit"}
    code, git = git_facts(evolve, tmp_path, **settings)
    assert code == 0 and git["works"] and "here" not in git


def test_a_repository_of_another_owner_is_told_with_the_remedy(evolve, tmp_path):
    code, git = git_facts(evolve, make_repository(tmp_path / "project"), GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert code == 1 and git["works"] and "git config --global --add safe.directory" in git["here"]


def test_a_git_that_cannot_write_is_told(evolve, tmp_path):
    (tmp_path / "broken").write_text("[core\n")
    code, git = git_facts(evolve, tmp_path, GIT_CONFIG_GLOBAL=str(tmp_path / "broken"))
    assert code == 1 and not git["works"] and "bad config" in git["reason"]
