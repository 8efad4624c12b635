"""The seed's commit holds what was measured, also what the user has not committed yet."""

import pytest

from agent.core.errors import UserError
from agent.lineage import OWN_REPOSITORY, Lineage
from agent.lineage.surroundings import MAX_FILE
from agent.population.candidate import SEED_ID
from tests.repositories import git, make_repository, refs, show, user_state

pytestmark = pytest.mark.usefixtures("plain_git")

COMMITTED = {"train.py": "import helper\n", "helper.py": "scale = 100\n", "same.py": "same = 1\n", "conf/a.yaml": "x: 1\n"}
NOW = {"helper.py": b"scale = 1\n", "extra.py": b"bonus = 1\n", "same.py": b"same = 1\n", "conf/a.yaml": b"x: 2\n"}


@pytest.fixture
def repository(tmp_path):
    files = {f"app/{name}": text for name, text in COMMITTED.items()}
    return make_repository(tmp_path / "project", {**files, "README.md": "Mine.\n"})


def lie_in(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def opened(repository, beside, seed="app"):
    return Lineage.open(repository / seed, repository.parent / "runs" / "night", "night", ("train.py",), beside)


def names_in(repository, commit):
    return git(repository, "ls-tree", "-r", "--name-only", commit).splitlines()


class TestTheSeedsCommit:
    def test_holds_what_is_changed_or_new_and_every_branch_comes_upon_it(self, repository):
        lie_in(repository / "app", NOW)
        before = user_state(repository)
        lineage = opened(repository, NOW)
        (note,) = lineage.notes
        assert "conf/a.yaml (changed), extra.py (new), helper.py (changed)" in note and "same.py" not in note
        seed = lineage.commit(SEED_ID, {"train.py": "import helper\n"}, [], "seed")
        one = lineage.commit("0001", {"train.py": "import helper, extra\n"}, [seed.sha], "one")
        for commit in (seed.sha, one.sha):
            for name, data in NOW.items():
                assert show(repository, commit, f"app/{name}") == data
        assert git(repository, "diff", "--name-only", seed.sha, one.sha) == "app/train.py"
        assert user_state(repository) == before

    def test_is_accepted_again_after_a_crash(self, repository):
        seed = opened(repository, NOW).commit(SEED_ID, {"train.py": "import helper\n"}, [], "seed")
        assert opened(repository, NOW).commit(SEED_ID, {"train.py": "import helper\n"}, [], "seed") == seed

    def test_says_nothing_where_all_is_committed(self, repository):
        lineage = opened(repository, {name: text.encode() for name, text in COMMITTED.items() if name != "train.py"})
        assert lineage.notes == []
        seed = lineage.commit(SEED_ID, {"train.py": "import helper\n"}, [], "seed")
        assert git(repository, "diff", "--name-only", "HEAD", seed.sha) == ""

    def test_line_ends_of_the_work_tree_are_no_change(self, repository):
        git(repository, "config", "core.autocrlf", "true")
        data = COMMITTED["helper.py"].replace("\n", "\r\n").encode()
        assert opened(repository, {"helper.py": data}).notes == []

    def test_identical_after_a_conversion_of_git_is_no_change(self, repository):
        (repository / ".gitattributes").write_text("*.py ident\n")
        (repository / "app/helper.py").write_text("# $Id$\n")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "Ident")
        assert opened(repository, {"helper.py": b"# $Id: 0123 $\n"}).notes == []

    def test_staged_but_not_committed_counts_as_new(self, repository):
        lie_in(repository / "app", {"extra.py": b"bonus = 1\n"})
        git(repository, "add", "-A")
        seed = opened(repository, {"extra.py": b"bonus = 1\n"}).commit(SEED_ID, {"train.py": ""}, [], "seed")
        assert "app/extra.py" in names_in(repository, seed.sha)

    def test_on_an_unborn_head_everything_is_new(self, tmp_path):
        repository = tmp_path / "project"
        repository.mkdir()
        git(repository, "init", "-q")
        lie_in(repository, NOW)
        lineage = opened(repository, NOW, ".")
        seed = lineage.commit(SEED_ID, {"train.py": ""}, [], "seed")
        assert names_in(repository, seed.sha) == sorted([*NOW, "train.py"])


def test_a_base_that_git_cannot_read_is_one_sentence(repository):
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(UserError, match="git cannot compare the files of"):
        opened(repository, NOW)


class TestWhatIsLeftOut:
    def test_what_git_ignores_is_named_and_not_published(self, repository):
        (repository / ".gitignore").write_text("secret*\nout/\n")
        beside = {"secret.json": b"{}", "out/deep/a.py": b"", "extra.py": b""}
        lie_in(repository / "app", beside)
        lineage = opened(repository, beside)
        held, left = lineage.notes
        assert "extra.py (new)" in held and "secret" not in held
        assert "out/deep/a.py (ignored by git), secret.json (ignored by git)" in left and "do not run" in left
        seed = lineage.commit(SEED_ID, {"train.py": ""}, [], "seed")
        assert not [n for n in names_in(repository, seed.sha) if "secret" in n or "out/" in n]

    def test_what_is_large_is_named(self, repository):
        beside = {"big.bin": b"\0" * (MAX_FILE + 1), "small.bin": b"\0"}
        held, left = opened(repository, beside).notes
        assert "small.bin" in held and "big.bin (too large)" in left

    def test_many_files_together_are_too_large_and_the_small_ones_are_kept(self, repository):
        beside = {f"{n:02}.bin": bytes([n]) * MAX_FILE for n in range(12)} | {"z.py": b"z = 1\n"}
        lineage = opened(repository, beside)
        seed = lineage.commit(SEED_ID, {"train.py": ""}, [], "seed")
        assert "app/z.py" in names_in(repository, seed.sha)
        assert "(too large)" in lineage.notes[1]

    def test_files_of_a_repository_inside_are_named(self, repository, tmp_path):
        inner = make_repository(tmp_path / "inner", {"lib.py": "x = 1\n"})
        git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "app/sub")
        git(repository, "commit", "-q", "-m", "with a part")
        make_repository(repository / "app" / "nested", {"own.py": "x = 1\n"})
        beside = {"sub/lib.py": b"x = 1\n", "nested/own.py": b"x = 1\n"}
        (note,) = opened(repository, beside).notes
        assert "nested/own.py (of another repository), sub/lib.py (of another repository)" in note

    def test_a_helper_behind_a_filter_is_named_and_its_program_does_not_run(self, repository, tmp_path):
        (repository / ".git" / "info" / "attributes").write_text("helper.py filter=hide\n")
        git(repository, "config", "filter.hide.clean", f"touch {tmp_path}/ran; cat")
        lineage = opened(repository, NOW)
        assert "helper.py (behind a filter)" in lineage.notes[1]
        seed = lineage.commit(SEED_ID, {"train.py": ""}, [], "seed")
        assert show(repository, seed.sha, "app/helper.py") == COMMITTED["helper.py"].encode()
        assert not (tmp_path / "ran").exists()


def test_the_runs_own_repository_holds_everything_and_nothing_is_said(tmp_path):
    (tmp_path / "seed").mkdir()
    lineage = Lineage.open(tmp_path / "seed", tmp_path / "night", "night", ("train.py",), NOW)
    assert lineage.notes == []
    seed = lineage.commit(SEED_ID, {"train.py": ""}, [], "seed")
    own = tmp_path / "night" / OWN_REPOSITORY
    assert names_in(own, seed.sha) == sorted([*NOW, "train.py"])
    assert refs(own, "refs/heads/evolve") == ["refs/heads/evolve/night/seed"]
