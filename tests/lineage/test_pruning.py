"""Branches that leave the list of branches, in real repositories."""

import pytest

from agent.core.errors import MachineError, UserError
from agent.lineage import OWN_REPOSITORY, Lineage, PlannedCommit
from agent.population.candidate import SEED_ID
from tests.repositories import SOURCE, assert_sound, git, make_repository, parents, refs, user_state

pytestmark = pytest.mark.usefixtures("plain_git")

HEADS, ASIDE = "refs/heads/evolve/night/", "refs/evolve/night/"


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "project")


@pytest.fixture
def lineage(repository):
    return Lineage.open(repository, repository.parent / "runs" / "night", "night")


@pytest.fixture
def commits(lineage):
    """The seed, three of it, one of the third, and a failure, which is not among them."""
    planned = [PlannedCommit(SEED_ID, {"model.py": SOURCE}, [], "seed")]
    planned += [
        PlannedCommit(f"000{n}", {"model.py": f"x = {n}\n"}, [SEED_ID if n < 4 else "0003"], f"number {n}", failed=n == 5)
        for n in range(1, 6)
    ]
    written = dict(zip([one.id for one in planned], lineage.commit_all(planned), strict=True))
    return {id: commit.sha for id, commit in written.items() if id != "0005"}


def ids(repository, folder):
    return [name.removeprefix(folder) for name in refs(repository, folder)]


KEEP = {SEED_ID, "0003", "0004"}


def test_the_others_move_under_refs_evolve_and_the_users_things_stay(repository, lineage, commits):
    (repository / "README.md").write_text("Changed.\n")
    before = user_state(repository)
    done = lineage.prune(commits, KEEP)
    assert (done.kept, done.moved, done.aside, done.left) == ((SEED_ID, "0003", "0004"), ("0001", "0002"), ("0001", "0002"), {})
    assert user_state(repository) == before
    assert ids(repository, HEADS) == ["0003", "0004", SEED_ID]
    assert ids(repository, ASIDE) == ["0001", "0002", "0005"]
    assert "0001" not in git(repository, "branch", "--list")
    assert_sound(repository)


def test_nothing_is_lost_and_every_name_leads_to_its_commit(repository, lineage, commits):
    lineage.prune(commits, KEEP)
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "-q", "--prune=now")
    for id, commit in commits.items():
        assert git(repository, "rev-parse", f"evolve/night/{id}") == commit
        assert lineage.holds(commit, {"model.py": SOURCE if id == SEED_ID else f"x = {int(id)}\n"})
    git(repository, "branch", "mine", "evolve/night/0001")
    git(repository, "merge", "-q", "evolve/night/0002")
    assert git(repository, "rev-parse", "mine") == commits["0001"]
    assert (repository / "model.py").read_text() == "x = 2\n"


def test_again_it_changes_nothing_and_undo_brings_all_back(repository, lineage, commits):
    everything = refs(repository, "refs")
    lineage.prune(commits, KEEP)
    once = refs(repository, "refs")
    again = lineage.prune(commits, KEEP)
    assert (again.kept, again.moved, again.restored, again.aside) == ((SEED_ID, "0003", "0004"), (), (), ("0001", "0002"))
    assert refs(repository, "refs") == once
    back = lineage.prune(commits, commits.keys())
    assert (back.restored, back.aside, refs(repository, "refs")) == (("0001", "0002"), (), everything)


def test_what_is_to_be_kept_again_becomes_a_branch_again(repository, lineage, commits):
    lineage.prune(commits, KEEP)
    done = lineage.prune(commits, {SEED_ID, "0002"})
    assert (done.restored, done.moved) == (("0002",), ("0003", "0004"))
    assert ids(repository, HEADS) == ["0002", SEED_ID]


def test_children_of_what_has_moved_can_be_written(repository, lineage, commits):
    lineage.prune(commits, KEEP)
    new = lineage.commit("0006", {"model.py": "x = 6\n"}, [commits["0001"]], "six")
    assert parents(repository, new.sha) == [commits["0001"]]
    done = lineage.prune({**commits, "0006": new.sha}, {SEED_ID, "0001", "0006"})
    assert done.restored == ("0001",)
    assert ids(repository, HEADS) == ["0001", "0006", SEED_ID]


def test_the_name_of_a_pruned_run_is_taken(repository, lineage, commits):
    lineage.prune(commits, {SEED_ID})
    lineage.prune(commits, set())
    with pytest.raises(UserError, match="branches of an earlier run 'night', such as refs/evolve/night/0001"):
        Lineage.open(repository, repository.parent / "runs" / "night", "night").check()


def test_a_branch_of_the_users_stays(repository, lineage, commits, tmp_path):
    """Checked out, here or in another work tree; with commits of the user's; of another name."""
    git(repository, "checkout", "-q", "evolve/night/0001")
    git(repository, "worktree", "add", "-q", str(tmp_path / "elsewhere place"), "evolve/night/0004")
    git(repository, "branch", "evolve/night/mine")
    git(repository, "update-ref", f"{HEADS}0002", git(repository, "rev-parse", "trunk"))
    before = user_state(repository)
    done = lineage.prune(commits, {SEED_ID})
    assert done.moved == ("0003",)
    assert done.left == {
        "0001": f"it is checked out in {repository}",
        "0002": "it holds other commits than the run made",
        "0004": f"it is checked out in {tmp_path / 'elsewhere place'}",
    }
    assert ids(repository, HEADS) == ["0001", "0002", "0004", "mine", SEED_ID]
    assert user_state(repository) == before


def test_a_branch_made_again_by_hand_is_no_second_copy(repository, lineage, commits):
    lineage.prune(commits, KEEP)
    git(repository, "branch", "evolve/night/0001", f"{ASIDE}0001")
    done = lineage.prune(commits, {*KEEP, "0001"})
    assert done.kept == (SEED_ID, "0001", "0003", "0004")
    assert ids(repository, ASIDE) == ["0002", "0005"]
    git(repository, "branch", "evolve/night/0002", f"{ASIDE}0002")
    assert lineage.prune(commits, KEEP).moved == ("0001", "0002")
    assert ids(repository, HEADS) == ["0003", "0004", SEED_ID]


def test_a_place_that_holds_another_commit_is_not_overwritten(repository, lineage, commits):
    git(repository, "update-ref", f"{ASIDE}0001", "trunk")
    done = lineage.prune(commits, KEEP)
    assert done.left == {"0001": "its place under refs/evolve/ holds another commit"}
    assert git(repository, "rev-parse", f"{ASIDE}0001") == git(repository, "rev-parse", "trunk")
    assert git(repository, "rev-parse", f"{HEADS}0001") == commits["0001"]


def test_branches_that_the_user_has_deleted_stay_away(repository, lineage, commits):
    git(repository, "branch", "-q", "-D", "evolve/night/0001", "evolve/night/0003")
    done = lineage.prune(commits, KEEP)
    assert (done.kept, done.moved) == ((SEED_ID, "0004"), ("0002",))


def test_all_or_nothing_where_git_cannot_write(repository, lineage, commits, monkeypatch):
    everything = refs(repository, "refs")
    monkeypatch.setattr("agent.lineage.commits._PAUSES", (0.01,))
    lock = repository / ".git" / f"{HEADS}0002.lock"
    lock.write_text("")
    with pytest.raises(MachineError, match="git cannot move the branches of night"):
        lineage.prune(commits, KEEP)
    assert refs(repository, "refs") == everything
    lock.unlink()
    assert lineage.prune(commits, KEEP).moved == ("0001", "0002")


def test_packed_references_move_too(repository, lineage, commits):
    git(repository, "pack-refs", "--all")
    lineage.prune(commits, KEEP)
    assert ids(repository, HEADS) == ["0003", "0004", SEED_ID]


def test_the_repository_of_a_run_itself(tmp_path):
    (tmp_path / "model.py").write_text(SOURCE)
    lineage = Lineage.open(tmp_path, tmp_path / "a run", "a run".replace(" ", "-"))
    with pytest.raises(UserError, match="is gone"):
        lineage.prune({}, set())
    seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
    one = lineage.commit("0001", {"model.py": "x = 1\n"}, [seed.sha], "one")
    assert lineage.prune({SEED_ID: seed.sha, "0001": one.sha}, {SEED_ID}).moved == ("0001",)
    own = tmp_path / "a run" / OWN_REPOSITORY
    assert lineage.place == f"git --git-dir='{own}'"
    assert git(tmp_path, f"--git-dir={own}", "rev-parse", "evolve/a-run/0001") == one.sha
