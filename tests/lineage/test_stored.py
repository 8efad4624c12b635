"""Branches hold what `git add` would store. Real repositories: git itself says what that is."""

import pytest

from agent.lineage import OWN_REPOSITORY, Lineage
from agent.population.candidate import SEED_ID
from tests.repositories import git, make_repository, refs, show, user_state

pytestmark = pytest.mark.usefixtures("plain_git")

LF = "class Net:\n    width = 1\n    text = 'a'\n"
CRLF = LF.replace("\n", "\r\n")
MIXED = LF.replace("\n", "\r\n", 1)


def repository_of(folder, committed, attributes="", settings=(), *, path="m/model.py"):
    """A repository with a committed file, and the rules that hold since then."""
    repository = make_repository(folder, {path: committed, "README.md": "Mine.\n"})
    if attributes:
        (repository / ".gitattributes").write_text(attributes)
        git(repository, "add", ".gitattributes")
        git(repository, "commit", "-q", "-m", "Rules")
    for name, value in settings:
        git(repository, "config", name, value)
    return repository


def opened(repository, seed="m", files=("model.py",)):
    return Lineage.open(repository / seed, repository.parent / "runs" / "night", "night", files)


def added(repository, text, path="m/model.py"):
    """The blob that `git add` makes of a text, tried in a copy of the index."""
    old = (repository / path).read_bytes()
    (repository / path).write_bytes(text.encode())
    try:
        git(repository, "-c", "core.safecrlf=false", "add", path)
        return git(repository, "rev-parse", f":{path}")
    finally:
        (repository / path).write_bytes(old)
        git(repository, "reset", "-q", "--", path)


RULES = {
    "nothing": ("", ()),
    "autocrlf": ("", [("core.autocrlf", "true")]),
    "autocrlf input, and safe": ("", [("core.autocrlf", "input"), ("core.safecrlf", "true")]),
    "eol=crlf": ("*.py text eol=crlf\n", ()),
    "eol alone": ("*.py eol=lf\n", ()),
    "text": ("*.py text\n", ()),
    "text=auto": ("* text=auto\n", ()),
    "the old name": ("*.py crlf=input\n", ()),
    "no text": ("*.py -text\n", [("core.autocrlf", "true")]),
    "binary": ("*.py binary\n", [("core.autocrlf", "true")]),
    "ident": ("*.py ident\n", ()),
    "encoding": ("*.py working-tree-encoding=ISO-8859-1\n", ()),
    "a macro": ("[attr]ours text eol=crlf ident\n*.py ours\n", ()),
}


class TestLikeGitAdd:
    @pytest.mark.parametrize("text", [LF, CRLF, MIXED, LF + "# $Id: 123 $\n"], ids=["LF", "CRLF", "mixed", "ident"])
    @pytest.mark.parametrize("committed", [LF, CRLF], ids=["LF in HEAD", "CRLF in HEAD"])
    @pytest.mark.parametrize("rules", RULES)
    def test_a_variant_is_the_blob_that_git_would_add(self, tmp_path, rules, committed, text):
        attributes, settings = RULES[rules]
        repository = repository_of(tmp_path / "project", committed, attributes, settings)
        expected = added(repository, text)
        commit = opened(repository).commit("0001", {"model.py": text}, [], "one")
        found = git(repository, "rev-parse", f"{commit.sha}:m/model.py")
        if rules in ("nothing", "ident", "encoding") and committed == LF and "\r" in text:
            assert b"\r" not in show(repository, commit.sha, "m/model.py")  # what git knows with LF stays so
        else:
            assert found == expected

    @pytest.mark.parametrize("rules", RULES)
    def test_the_seed_as_it_is_checked_out_is_the_blob_of_head(self, tmp_path, rules):
        attributes, settings = RULES[rules]
        repository = repository_of(tmp_path / "project", LF, attributes, settings)
        (repository / "m/model.py").unlink()
        git(repository, "checkout", "-q", "--", "m/model.py")
        before = user_state(repository)
        lineage = opened(repository)
        text = (repository / "m/model.py").read_bytes().decode()
        seed = lineage.commit(SEED_ID, {"model.py": text}, [], "seed")
        assert git(repository, "diff", "--stat", "HEAD", seed.sha) == ""
        assert user_state(repository) == before
        git(repository, "checkout", "-q", seed.branch)
        assert git(repository, "status", "--porcelain") == ""
        assert lineage.holds(seed.sha, {"model.py": text})

    def test_a_clone_of_another_system_whose_line_ends_no_rule_explains_gives_no_whole_file_diff(self, tmp_path):
        repository = repository_of(tmp_path / "project", LF)
        (repository / "m/model.py").write_bytes(CRLF.encode())
        changed = CRLF.replace("width = 1", "width = 2")
        commit = opened(repository).commit("0001", {"model.py": changed}, [], "one")
        assert git(repository, "diff", "--numstat", "HEAD", commit.sha) == "1\t1\tm/model.py"

    def test_a_file_that_is_not_committed_yet_follows_the_rules_too(self, tmp_path):
        repository = repository_of(tmp_path / "project", LF, "*.py text eol=crlf\n")
        (repository / "m/new.py").write_bytes(CRLF.encode())
        commit = opened(repository, files=("new.py",)).commit(SEED_ID, {"new.py": CRLF}, [], "seed")
        assert show(repository, commit.sha, "m/new.py") == LF.encode()

    def test_the_same_commit_twice_is_accepted(self, tmp_path):
        repository = repository_of(tmp_path / "project", LF, "*.py ident text eol=crlf\n")
        lineage = opened(repository)
        first = lineage.commit("0001", {"model.py": CRLF + "# $Id: x $\r\n"}, [], "one")
        assert opened(repository).commit("0001", {"model.py": CRLF + "# $Id: x $\r\n"}, [], "one") == first

    def test_a_name_that_git_would_take_for_a_pattern(self, tmp_path):
        path = "m/[a]* x.py"
        repository = repository_of(tmp_path / "project", LF, "*.py text eol=crlf\n", path=path)
        commit = opened(repository, files=("[a]* x.py",)).commit("0001", {"[a]* x.py": CRLF}, [], "one")
        assert show(repository, commit.sha, path) == LF.encode()


class TestFilters:
    @pytest.mark.parametrize("kind", ["clean", "process", "required"])
    def test_a_filter_that_is_a_program_keeps_the_branches_out_of_the_repository(self, tmp_path, kind):
        witness = tmp_path / "ran"
        value = "true" if kind == "required" else f"touch {witness}; tr a-z A-Z"
        repository = repository_of(tmp_path / "project", LF)
        (repository / ".git" / "info" / "attributes").write_text("*.py filter=hide\n")
        git(repository, "config", f"filter.hide.{kind}", value)
        lineage = opened(repository)
        (note,) = lineage.notes
        assert "m" not in note.split() and "model.py passes through the filter 'hide'" in note and OWN_REPOSITORY in note
        commit = lineage.commit(SEED_ID, {"model.py": LF}, [], "seed")
        assert refs(repository, "refs/heads/evolve") == []
        assert show(tmp_path / "runs" / "night" / OWN_REPOSITORY, commit.sha) == LF.encode()
        assert not witness.exists()

    def test_a_filter_of_other_files_or_without_a_program_does_not_matter(self, tmp_path):
        attributes = "*.bin filter=lfs\n*.py filter=gone\n*.ipynb filter=strip\n"
        settings = [("filter.lfs.clean", "false"), ("filter.lfs.required", "true"), ("filter.strip.clean", "false")]
        repository = repository_of(tmp_path / "project", LF, attributes, settings)
        lineage = opened(repository)
        assert lineage.notes == []
        commit = lineage.commit(SEED_ID, {"model.py": LF}, [], "seed")
        assert show(repository, commit.sha, "m/model.py") == LF.encode()

    def test_a_file_that_git_would_refuse_to_add_is_told_before_the_run(self, tmp_path):
        repository = repository_of(tmp_path / "project", LF)
        (repository / ".gitattributes").write_text("*.py working-tree-encoding=UTF-16\n")
        (note,) = opened(repository).notes
        assert "git cannot store model.py" in note and OWN_REPOSITORY in note
