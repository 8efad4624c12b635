"""Real repositories, checked with git itself."""

import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.errors import MachineError, UserError
from agent.core.objectives import Objective
from agent.lineage import OWN_REPOSITORY, Lineage
from agent.population.candidate import SEED_ID
from tests.repositories import OTHER, SOURCE, assert_sound, git, make_repository, parents, refs, show, user_state

pytestmark = pytest.mark.usefixtures("plain_git")

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "project")


def opened(repository, seed=".", run="night", out=None):
    return Lineage.open(repository / seed, out or repository.parent / "runs" / run, run)


class TestTheUsersRepository:
    def test_stays_as_it_was_with_staged_unstaged_and_untracked_changes(self, repository):
        (repository / "README.md").write_text("Staged.\n")
        git(repository, "add", "README.md")
        (repository / "README.md").write_text("Staged, then changed.\n")
        (repository / "model.py").write_text("class Net:\n    width = 'not committed'\n")
        (repository / "notes.txt").write_text("untracked")
        before = user_state(repository)
        lineage = opened(repository)
        lineage.check()
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one")
        lineage.commit("0002", {"model.py": "class Net:\n    width = 3\n"}, [seed.sha], "two", failed=True)
        assert user_state(repository) == before
        assert_sound(repository)

    def test_gets_one_branch_for_each_individual_on_top_of_head(self, repository):
        head = git(repository, "rev-parse", "HEAD")
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        new = lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one")
        assert (seed.branch, new.branch) == ("evolve/night/seed", "evolve/night/0001")
        assert git(repository, "rev-parse", new.branch) == new.sha
        assert parents(repository, seed.sha) == [head]
        assert parents(repository, new.sha) == [seed.sha]
        assert show(repository, new.branch) == OTHER.encode()
        assert git(repository, "diff", "--stat", seed.branch, new.branch).startswith("model.py")
        assert show(repository, new.branch, "README.md") == b"Mine.\n"

    def test_needs_no_identity_and_the_commits_carry_the_projects(self, repository):
        git(repository, "config", "user.useConfigOnly", "true")
        commit = opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        shown = git(repository, "log", "-1", "--format=%an <%ae> %cn <%ce>", commit.sha)
        assert shown == "Guided Evolution <evolve@localhost> Guided Evolution <evolve@localhost>"

    def test_does_not_run_the_users_hooks(self, repository, tmp_path):
        witness = tmp_path / "ran"
        every = ("reference-transaction", "post-commit", "pre-commit", "commit-msg", "post-index-change", "update")
        for name in (*every, "prepare-commit-msg", "post-checkout", "post-rewrite", "pre-auto-gc"):
            hook = repository / ".git" / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(f"#!/bin/sh\necho {name} >> {witness}\n[ {name} = post-index-change ] || exit 1\n")
            hook.chmod(0o755)
        lineage = opened(repository)
        lineage.check()
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one", failed=True)
        assert not witness.exists(), witness.read_text()

    def test_is_not_asked_to_sign(self, repository):
        git(repository, "config", "commit.gpgSign", "true")
        git(repository, "config", "gpg.program", "false")
        commit = opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        assert "gpgsig" not in git(repository, "cat-file", "commit", commit.sha)

    def test_gets_no_file_from_a_split_index_or_a_monitor(self, repository, tmp_path):
        monitor = tmp_path / "monitor"
        monitor.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
        monitor.chmod(0o755)
        git(repository, "config", "core.splitIndex", "true")
        git(repository, "config", "core.fsmonitor", str(monitor))
        before = sorted(p.name for p in (repository / ".git").iterdir())
        opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        assert sorted(p.name for p in (repository / ".git").iterdir()) == before
        assert not (tmp_path / "asked").exists()

    def test_keeps_the_mode_of_a_file_that_is_executable(self, repository):
        (repository / "model.py").chmod(0o755)
        git(repository, "commit", "-q", "-a", "-m", "executable")
        commit = opened(repository).commit(SEED_ID, {"model.py": OTHER}, [], "seed")
        assert git(repository, "ls-tree", commit.sha, "model.py").startswith("100755 ")

    def test_messages_are_utf8_whatever_encoding_the_user_prefers(self, repository):
        git(repository, "config", "i18n.commitEncoding", "ISO-8859-1")
        commit = opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed ☃")
        raw = subprocess.run(["git", "cat-file", "commit", commit.sha], cwd=repository, capture_output=True, check=True)
        assert raw.stdout.endswith("\n\nseed ☃\n".encode())
        assert b"\nencoding " not in raw.stdout

    def test_is_the_one_the_seed_lies_in_and_not_the_one_of_the_environment(self, repository, tmp_path, monkeypatch):
        stranger = make_repository(tmp_path / "stranger")
        monkeypatch.setenv("GIT_DIR", str(stranger / ".git"))
        commit = opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        monkeypatch.delenv("GIT_DIR")
        assert refs(stranger, "refs/heads/evolve") == []
        assert git(repository, "rev-parse", commit.branch) == commit.sha

    def test_that_git_does_not_trust_is_refused_with_the_remedy(self, repository, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as in a container with the host's files
        with pytest.raises(UserError, match=r"safe\.directory"):
            opened(repository)

    @pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
    def test_that_cannot_be_written_is_refused_before_the_run(self, repository):
        (repository / ".git" / "objects").chmod(0o555)
        try:
            with pytest.raises(UserError, match="objects is read-only"):
                opened(repository).check()
        finally:
            (repository / ".git" / "objects").chmod(0o755)


class TestWhereTheSeedLies:
    def test_in_a_sub_folder_the_rest_of_the_tree_is_kept(self, tmp_path):
        files = {"models/tiny/model.py": SOURCE, "models/tiny/seed.toml": "", "setup.py": "x = 1\n", "a/b/c.txt": "c"}
        repository = make_repository(tmp_path / "project", files)
        genome = {"model.py": OTHER, "parts/head.py": SOURCE}
        commit = opened(repository, "models/tiny").commit("0001", genome, [], "one")
        listed = git(repository, "ls-tree", "-r", "--name-only", commit.sha).splitlines()
        assert set(listed) == {*files, "models/tiny/parts/head.py"}
        changed = git(repository, "diff", "--name-only", "HEAD", commit.sha).splitlines()
        assert changed == ["models/tiny/model.py", "models/tiny/parts/head.py"]

    def test_paths_with_odd_characters_are_kept(self, tmp_path):
        odd = "mödels, new/*a[b] 'c\""
        repository = make_repository(tmp_path / "my project", {f"{odd}/model.py": SOURCE})
        commit = opened(repository, odd).commit("0001", {"model.py": OTHER}, [], "one")
        assert show(repository, commit.sha, f"{odd}/model.py") == OTHER.encode()
        assert git(repository, "ls-tree", "-r", "-z", "--name-only", commit.sha).rstrip("\0") == f"{odd}/model.py"

    def test_through_a_link_to_the_folder_the_repository_behind_it_is_used(self, repository, tmp_path):
        (tmp_path / "link").symlink_to(repository)
        commit = opened(tmp_path, "link", out=tmp_path / "run").commit("0001", {"model.py": OTHER}, [], "one")
        assert show(repository, commit.branch) == OTHER.encode()
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("seed_is", ["in no repository", "ignored", "under a bare repository"])
    def test_where_no_repository_holds_it_the_run_gets_its_own_with_the_first_commit(self, tmp_path, seed_is):
        seed, run = tmp_path / "project" / "seed", tmp_path / "night"
        if seed_is == "ignored":
            make_repository(tmp_path / "project", {".gitignore": "seed/\n"})
        if seed_is == "under a bare repository":
            git(tmp_path, "init", "-q", "--bare", "project")
        seed.mkdir(parents=True)
        (seed / "model.py").write_text(SOURCE)
        lineage = Lineage.open(seed, run, "night")
        lineage.check()
        assert not run.exists()
        run.mkdir()
        commit = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        new = lineage.commit("0001", {"model.py": OTHER}, [commit.sha], "one")
        own = run / OWN_REPOSITORY
        assert [p.name for p in run.iterdir()] == [OWN_REPOSITORY]
        assert git(own, "rev-parse", "--is-bare-repository") == "true"
        assert refs(own, "refs/") == ["refs/heads/evolve/night/0001", "refs/heads/evolve/night/seed"]
        assert git(own, "ls-tree", "-r", "--name-only", new.sha) == "model.py"
        assert parents(own, commit.sha) == []
        assert_sound(own)
        if seed_is != "in no repository":
            assert refs(tmp_path / "project", "refs/heads/evolve") == []

    def test_a_run_with_its_own_repository_keeps_it_even_if_the_seed_got_one_since(self, tmp_path):
        seed, run = tmp_path / "seed", tmp_path / "night"
        seed.mkdir()
        run.mkdir()
        first = Lineage.open(seed, run, "night").commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        git(seed, "init", "-q")
        Lineage.open(seed, run, "night").commit("0001", {"model.py": OTHER}, [first.sha], "one")
        assert len(refs(run / OWN_REPOSITORY, "refs/heads/evolve/night")) == 2

    def test_an_own_repository_whose_making_was_interrupted_is_finished(self, tmp_path):
        (tmp_path / "seed").mkdir()
        (tmp_path / "night" / OWN_REPOSITORY / "objects").mkdir(parents=True)
        Lineage.open(tmp_path / "seed", tmp_path / "night", "night").commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        assert_sound(tmp_path / "night" / OWN_REPOSITORY)

    def test_on_an_unborn_head_the_seed_has_no_parent_and_head_stays_unborn(self, tmp_path):
        repository = tmp_path / "project"
        repository.mkdir()
        git(repository, "init", "-q", "-b", "trunk")
        (repository / "model.py").write_text(SOURCE)
        before = user_state(repository)
        lineage = opened(repository)
        lineage.check()
        commit = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        assert parents(repository, commit.sha) == []
        assert user_state(repository) == before
        assert refs(repository, "refs/") == ["refs/heads/evolve/night/seed"]

    def test_on_a_detached_head_the_seed_comes_upon_that_commit(self, repository):
        git(repository, "commit", "-q", "--allow-empty", "-m", "second")
        first = git(repository, "rev-parse", "HEAD~1")
        git(repository, "checkout", "-q", "--detach", first)
        before = user_state(repository)
        commit = opened(repository).commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        assert parents(repository, commit.sha) == [first]
        assert user_state(repository) == before

    def test_in_a_linked_worktree_its_head_counts_and_both_work_trees_stay(self, repository, tmp_path):
        linked = tmp_path / "linked"
        git(repository, "worktree", "add", "-q", "-b", "topic", str(linked))
        (linked / "README.md").write_text("Topic.\n")
        git(linked, "commit", "-q", "-a", "-m", "topic")
        admin = repository / ".git" / "worktrees" / "linked"
        before = user_state(repository), user_state(linked, admin)
        commit = opened(linked).commit(SEED_ID, {"model.py": OTHER}, [], "seed")
        assert (user_state(repository), user_state(linked, admin)) == before
        assert parents(repository, commit.sha) == [git(linked, "rev-parse", "topic")]
        assert show(repository, commit.branch, "README.md") == b"Topic.\n"

    def test_in_a_submodule_the_branches_go_to_the_submodule(self, repository, tmp_path):
        inner = make_repository(tmp_path / "inner", {"model.py": SOURCE})
        git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "part")
        git(repository, "commit", "-q", "-m", "with a part")
        commit = opened(repository, "part").commit(SEED_ID, {"model.py": OTHER}, [], "seed")
        assert refs(repository, "refs/heads/evolve") == []
        assert git(repository / "part", "rev-parse", commit.branch) == commit.sha


class TestNames:
    @pytest.mark.parametrize("run", ["my run", "a..b", "a.lock", ".hidden", "what?", "a~1", "x:y", "tab\t", "a\\b", "@{"])
    def test_a_run_whose_name_is_no_reference_is_the_users_mistake(self, repository, run):
        with pytest.raises(UserError, match="--out"):
            opened(repository, run=run).check()

    def test_a_name_that_is_no_reference_is_refused_for_an_own_repository_too(self, tmp_path):
        (tmp_path / "seed").mkdir()
        with pytest.raises(UserError, match="--out"):
            Lineage.open(tmp_path / "seed", tmp_path / "my run", "my run").check()

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("tagged", [False, True])
    @pytest.mark.parametrize("branch", ["evolve", "evolve/night"])
    def test_a_branch_in_the_way_is_named_and_nothing_is_written(self, repository, branch, tagged, packed):
        git(repository, "branch", branch)
        if tagged:  # makes the short name ambiguous
            git(repository, "tag", branch)
        if packed:
            git(repository, "pack-refs", "--all")
        before = refs(repository, "refs/"), git(repository, "count-objects")
        with pytest.raises(UserError, match=f"branch named {branch} is in the way"):
            opened(repository).check()
        assert (refs(repository, "refs/"), git(repository, "count-objects")) == before

    def test_branches_of_an_earlier_run_are_named_and_the_advice_given_removes_all_of_it(self, repository):
        earlier = opened(repository)
        seed = earlier.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        earlier.commit("0001", {"model.py": OTHER}, [seed.sha], "one", failed=True)
        with pytest.raises(UserError, match=r"evolve/night/seed.*--out") as caught:
            opened(repository).check()
        advice = str(caught.value).rpartition("delete them: ")[2]
        subprocess.run(["sh", "-c", advice], cwd=repository, check=True, capture_output=True)
        opened(repository).check()
        assert [r for r in refs(repository, "refs/") if "evolve" in r] == []

    def test_failures_of_an_earlier_run_are_in_the_way_as_well(self, repository):
        opened(repository).commit("0001", {"model.py": OTHER}, [], "one", failed=True)
        with pytest.raises(UserError, match="earlier run"):
            opened(repository).check()

    def test_branches_of_other_runs_are_not_in_the_way(self, repository):
        opened(repository, run="night2").commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        git(repository, "branch", "evolved")
        git(repository, "branch", "topic/evolve/night")
        opened(repository).check()


class TestCommitting:
    def test_the_same_thing_twice_gives_the_same_commit(self, repository):
        lineage = opened(repository)
        first = lineage.commit("0001", {"model.py": OTHER}, [], "one")
        assert lineage.commit("0001", {"model.py": OTHER}, [], "one") == first
        assert opened(repository).commit("0001", {"model.py": OTHER}, [], "told differently") == first

    def test_another_content_or_other_parents_under_the_same_name_are_refused(self, repository):
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        first = lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one")
        with pytest.raises(MachineError, match="0001 exists"):
            lineage.commit("0001", {"model.py": SOURCE}, [seed.sha], "one")
        with pytest.raises(MachineError, match="0001 exists"):
            lineage.commit("0001", {"model.py": OTHER}, [], "one")
        assert git(repository, "rev-parse", first.branch) == first.sha

    def test_a_mated_candidate_has_two_parents_and_the_tree_of_the_first(self, repository):
        lineage = opened(repository)
        one = lineage.commit("0001", {"model.py": SOURCE, "one.py": "x = 1\n"}, [], "one")
        two = lineage.commit("0002", {"model.py": OTHER, "two.py": "x = 2\n"}, [], "two")
        new = lineage.commit("0003", {"model.py": SOURCE + OTHER}, [one.sha, two.sha], "child")
        assert parents(repository, new.sha) == [one.sha, two.sha]
        assert git(repository, "diff", "--name-only", one.sha, new.sha) == "model.py"
        assert lineage.commit("0003", {"model.py": SOURCE + OTHER}, [one.sha, two.sha], "child") == new

    def test_failures_are_kept_but_not_in_the_list_of_branches(self, repository):
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], "one", failed=True)
        assert commit.branch == "refs/evolve/night/0001"
        assert "evolve" not in git(repository, "branch", "--all")
        git(repository, "-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now")
        assert show(repository, commit.branch) == OTHER.encode()

    def test_locks_that_others_left_behind_do_not_matter(self, repository):
        for name in ("index.lock", "packed-refs.lock", "HEAD.lock", "config.lock"):
            (repository / ".git" / name).touch()
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], "one")
        assert git(repository, "rev-parse", commit.branch) == commit.sha

    def test_a_lock_that_a_killed_git_left_on_a_branch_is_forgotten(self, repository, monkeypatch):
        monkeypatch.setattr("agent.lineage.commits._PAUSES", (0.0, 0.0))
        lock = repository / ".git" / "refs" / "heads" / "evolve" / "night" / "0001.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        os.utime(lock, (time.time() - 60, time.time() - 60))
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], "one")
        assert git(repository, "rev-parse", commit.branch) == commit.sha

    def test_a_lock_that_is_given_back_is_waited_for(self, repository, monkeypatch):
        lock = repository / ".git" / "refs" / "heads" / "evolve" / "night" / "0001.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        monkeypatch.setattr("agent.lineage.commits.time.sleep", lambda seconds: lock.unlink(missing_ok=True))
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], "one")
        assert git(repository, "rev-parse", commit.branch) == commit.sha

    def test_a_reference_that_is_locked_is_the_machines_fault(self, repository, monkeypatch):
        monkeypatch.setattr("agent.lineage.commits._PAUSES", (0.0, 0.0))
        lock = repository / ".git" / "refs" / "heads" / "evolve" / "night" / "0001.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        with pytest.raises(MachineError, match=r"git cannot write refs/heads/evolve/night/0001: .*0001\.lock"):
            opened(repository).commit("0001", {"model.py": OTHER}, [], "one")

    def test_objects_that_cannot_be_written_are_the_machines_fault(self, repository):
        (repository / ".git" / "objects" / "pack").rmdir()
        for name in ("pack", *(f"{number:02x}" for number in range(256))):  # files for folders: also root cannot write there
            place = repository / ".git" / "objects" / name
            if not place.exists():
                place.touch()
        with pytest.raises(MachineError, match="git cannot write refs/heads/evolve/night/0001: "):
            for number in range(20):  # a blob may fall into a folder that is there
                opened(repository).commit("0001", {"model.py": f"x = {number}\n"}, [], "one")
        assert refs(repository, "refs/heads/evolve") == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
    def test_a_repository_that_is_read_only_is_the_machines_fault(self, repository):
        folders = [p for p in (repository / ".git").rglob("*") if p.is_dir()]
        for folder in folders:
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            with pytest.raises(MachineError, match="git cannot write"):
                opened(repository).commit("0001", {"model.py": OTHER}, [], "one")
        finally:
            for folder in folders:
                folder.chmod(0o755)

    def test_a_run_folder_that_cannot_take_a_repository_is_the_machines_fault(self, tmp_path):
        (tmp_path / "seed").mkdir()
        (tmp_path / "night").write_text("a file where the run's folder should be")
        with pytest.raises(MachineError, match="git cannot write"):
            Lineage.open(tmp_path / "seed", tmp_path / "night", "night").commit("0001", {"model.py": OTHER}, [], "one")

    def test_a_parent_that_has_gone_is_the_machines_fault(self, repository):
        with pytest.raises(MachineError, match="git cannot write"):
            opened(repository).commit("0001", {"model.py": OTHER}, ["1" * 40], "one")

    def test_a_missing_git_is_reported(self, repository, tmp_path):
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from agent.core.errors import UserError\nfrom agent.lineage import Lineage\n"
            "try:\n    Lineage.open(Path(sys.argv[1]), Path('run'), 'run').check()\n"
            "except UserError as error:\n    print(error)\n"
        )
        environment = {**os.environ, "PATH": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(python_path())}
        done = subprocess.run(
            [sys.executable, "-c", code, str(repository)], env=environment, capture_output=True, text=True, check=False
        )
        assert "git is not installed" in done.stdout, done.stderr

    @pytest.mark.parametrize("own", [False, True])
    def test_many_threads_at_once_do_not_mix_their_files(self, tmp_path, own):
        if own:
            place = tmp_path / "seed"
            place.mkdir()
        else:
            place = make_repository(tmp_path / "project")
        (tmp_path / "night").mkdir()
        lineage = Lineage.open(place, tmp_path / "night", "night")
        texts = {f"{number:04}": f"class Net:\n    width = {number}\n" for number in range(24)}
        with ThreadPoolExecutor(8) as pool:
            commits = list(pool.map(lambda id: lineage.commit(id, {"model.py": texts[id]}, [], id), texts))
        repository = tmp_path / "night" / OWN_REPOSITORY if own else place
        for id, commit in zip(texts, commits, strict=True):
            assert show(repository, commit.branch) == texts[id].encode()
            assert git(repository, "log", "-1", "--format=%s %an", commit.sha) == f"{id} Guided Evolution"
        assert_sound(repository)

    def test_two_writers_of_one_name_agree_or_one_is_refused(self, repository):
        def write(number):
            try:
                return opened(repository).commit("0001", {"model.py": f"x = {number}\n"}, [], "one").sha
            except MachineError:
                return None

        with ThreadPoolExecutor(6) as pool:
            shas = [sha for sha in pool.map(write, range(6)) if sha]
        assert shas == [git(repository, "rev-parse", "evolve/night/0001")]


def python_path():
    return [str(Path(__file__).resolve().parents[2]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


@pytest.mark.parametrize("own", [False, True])
def test_a_mark_at_the_beginning_of_a_file_stays_in_its_branches(tmp_path, own):
    """Programs are texts without it, and the file has it: a diff shows the change alone."""
    repository = make_repository(tmp_path / "project")
    (repository / "model.py").write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    if not own:
        git(repository, "commit", "-qam", "a mark")
    out = tmp_path / "runs/night"
    folder = repository if not own else tmp_path / "seed"
    if own:
        folder.mkdir()
        (folder / "model.py").write_bytes((repository / "model.py").read_bytes())
    lineage = Lineage.open(folder, out, "night", ["model.py"])
    seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
    lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one")
    place = out / OWN_REPOSITORY if own else repository
    assert show(place, "evolve/night/0001") == b"\xef\xbb\xbf" + OTHER.encode()
    assert show(place, "evolve/night/seed") == (folder / "model.py").read_bytes()


class TestNotes:
    """What is known of a commit only after it was made."""

    def test_stand_beside_the_commits_in_the_place_of_earlier_ones_and_the_user_has_them_nowhere_else(self, repository):
        git(repository, "notes", "add", "-m", "mine", "HEAD")
        before = user_state(repository)
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        one = lineage.commit("0001", {"model.py": OTHER}, [seed.sha], "one")
        lineage.annotate({seed.sha: "first", one.sha: "grün\n\nVerdict: better"})
        lineage.annotate({one.sha: "later\n---\nlast"})
        shown = git(repository, "log", "--notes=evolve/*", "--format=%s|%N", "-2", one.branch)
        assert shown == "one|later\n---\nlast\n\nseed|"
        assert user_state(repository) == before and git(repository, "notes", "show", "HEAD") == "mine"
        assert_sound(repository)

    def test_that_say_the_same_make_no_new_commit(self, repository):
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.annotate({seed.sha: "mean of two\n  accuracy 0.5"})
        first = git(repository, "rev-parse", "refs/notes/evolve/night")
        lineage.annotate({seed.sha: "mean of two\n  accuracy 0.5"})
        assert git(repository, "rev-parse", "refs/notes/evolve/night") == first
        lineage.annotate({seed.sha: "mean of three"})
        assert git(repository, "rev-parse", "refs/notes/evolve/night^") == first

    def test_none_make_nothing_and_many_are_kept(self, tmp_path):
        (tmp_path / "bare").mkdir()
        lineage = Lineage.open(tmp_path / "bare", tmp_path / "runs" / "night", "night")
        lineage.annotate({})
        assert not (tmp_path / "runs").exists()
        hashes = [lineage.commit(f"{n:04}", {"model.py": f"n = {n}\n"}, [], f"{n}").sha for n in range(70)]
        lineage.annotate({sha: f"note {n}" for n, sha in enumerate(hashes)})
        own = tmp_path / "runs" / "night" / OWN_REPOSITORY
        for n in (0, 33, 69):
            assert git(own, "notes", "--ref=evolve/night", "show", hashes[n]) == f"note {n}"

    def test_of_an_earlier_run_are_in_the_way_and_the_advice_removes_them(self, repository):
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lineage.annotate({seed.sha: "note"})
        git(repository, "branch", "-D", seed.branch)
        with pytest.raises(UserError, match="earlier run") as refused:
            opened(repository).check()
        subprocess.run(str(refused.value).split("delete them: ")[1], shell=True, cwd=repository, check=True)
        opened(repository).check()

    def test_that_cannot_be_written_are_the_machines_fault(self, repository, monkeypatch):
        monkeypatch.setattr("agent.lineage.commits._PAUSES", ())
        lineage = opened(repository)
        seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], "seed")
        lock = repository / ".git" / "refs" / "notes" / "evolve" / "night.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        with pytest.raises(MachineError, match="notes"):
            lineage.annotate({seed.sha: "note"})
        lock.unlink()
        lineage.annotate({seed.sha: "note"})


def test_neither_a_message_nor_a_note_holds_what_acts_on_a_terminal(repository):
    hostile = "told \x1b]0;t\x07 \x1b]8;;u\x1b\\\\ \x9b2J \u202e \u200b \ud800 \x00 end"
    lineage = opened(repository)
    seed = lineage.commit(SEED_ID, {"model.py": SOURCE}, [], hostile)
    lineage.annotate({seed.sha: hostile})
    for text in (
        git(repository, "log", "-1", "--format=%B", seed.sha),
        git(repository, "notes", f"--ref={lineage.notes_reference}", "show", seed.sha),
    ):
        assert text.startswith("told ") and text.endswith(" end") and text.isprintable()
