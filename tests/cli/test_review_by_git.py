"""A finished run as a reviewer meets it: in the messages and diffs of git, in `show`, and after `prune`."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agent.run.folder import locked
from tests import terminal
from tests.benchmarks.kill import copy_fast_seed
from tests.repositories import assert_sound, git, refs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--llm", "offline", "--slots", "2", "--set", "search.first_population=6", "--generations", "2", "--population", "4",
         "--set", "noise.trainings=2", "--set", "budget.steps=4", "--set", "constraints.accuracy=>= 0")  # fmt: skip


def rows(run, kind):
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as db:
        return {
            key: json.loads(data) for key, data in db.execute("SELECT key, data FROM events WHERE kind = ? ORDER BY seq", [kind])
        }


@pytest.fixture(scope="module")
def finished(evolve, tmp_path_factory):
    """A run in a user's repository that has work in progress, as (repository, run folder)."""
    project = tmp_path_factory.mktemp("reviewed") / "project"
    project.mkdir()
    copy_fast_seed(project)
    git(project, "init", "-q", "-b", "main")
    (project / "notes.txt").write_text("one\n")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "start")
    (project / "notes.txt").write_text("two\n")
    done = evolve("run", "seed", "--out", "runs/night", *SMALL, cwd=project)
    assert done.returncode == 0, done.stderr
    return project, project / "runs/night"


@pytest.fixture
def copied(finished, tmp_path):
    """The same, to be changed. The recorded path of the seed leads to the copy."""
    project = tmp_path / "project"
    shutil.copytree(finished[0], project)
    with closing(sqlite3.connect(project / "runs/night/journal.db")) as db:
        db.execute("UPDATE events SET data = replace(data, ?, ?)", (str(finished[0]), str(project)))
        db.commit()
    config = project / "runs/night/config.toml"
    config.write_text(config.read_text().replace(str(finished[0]), str(project)))
    return project, project / "runs/night"


@pytest.fixture
def printed(evolve):
    def call(*arguments, **options):
        done = evolve(*arguments, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def changed_lines(diff):
    return [line for line in diff.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]


def trained(printed, run):
    return [one for one in printed("show", run) if one["outcome"] == "trained"]


class TestCommits:
    def test_a_subject_says_what_changed_and_what_it_did(self, finished, printed):
        project, run = finished
        for one in trained(printed, run):
            subject, body = (git(project, "log", "-1", f"--format={part}", one["branch"]) for part in ("%s", "%b"))
            found = re.fullmatch(r"(.+?): (.+); accuracy (\S+( pt)?)( \(.+?\))?, parameters (\S+)", subject)
            assert found and len(subject) <= 100, subject
            assert found[1] == one["block"] or re.search(r" and \d more$", found[1])
            assert found[2].removesuffix("...") in one["intention"]
            first = one["readings"][0]
            assert (
                found[6] == "same"
                if first["parameters"] == rows(run, "settled")["seed"]["fitness"]["parameters"]
                else "%" in found[6]
            )
            assert "Verdict against the seed: " in body and "the seed (mean of 3)" in body
            for parent in one["parents"]:
                assert parent == "seed" or f"Verdict against parent {parent}: " in body
            assert f"Made by {one['operator']}" in body

    def test_the_diff_of_a_commit_holds_the_change_and_nothing_else(self, finished, printed, evolve):
        project, run = finished
        for one in trained(printed, run)[::2]:
            assert git(project, "diff", "--name-only", f"{one['branch']}^", one["branch"]) == "seed/model.py"
            own = git(project, "diff", f"{one['branch']}^", one["branch"])
            assert changed_lines(own) == changed_lines(evolve("diff", run, one["id"], "--parent").stdout) != []
            shown = git(project, "log", "-p", "--first-parent", "-1", "--format=", one["branch"])
            assert changed_lines(shown) == changed_lines(own)

    def test_failures_say_where_they_failed(self, finished):
        project, run = finished
        failed = [data["branch"] for data in rows(run, "committed").values() if data["branch"].startswith("refs/")]
        for name in failed:
            assert re.search(r"; failed at \w+$", git(project, "log", "-1", "--format=%s", name))


class TestShow:
    def test_the_steps_make_the_candidate_of_the_seed(self, finished, printed, tmp_path):
        project, run = finished
        longest = []
        for one in trained(printed, run)[-5:]:
            steps = printed("show", run, one["id"], "--steps")
            assert steps[-1]["id"] == one["id"] and steps[0]["parents"][0] == "seed"
            assert [step["parents"][0] for step in steps[1:]] == [step["id"] for step in steps[:-1]]
            longest = max(longest, steps, key=len)
        assert len(longest) >= 2
        shutil.copy(project / "seed/model.py", tmp_path / "model.py")
        for step in longest:
            subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=step["diff"], text=True, check=True)
            assert [one["id"] for one in step["against"]] == [*(p for p in step["parents"][:1] if p != "seed"), "seed"]
        branch = f"evolve/night/{longest[-1]['id']}"
        assert (tmp_path / "model.py").read_text().strip() == git(project, "show", f"{branch}:seed/model.py")

    def test_the_same_facts_as_in_the_commit_and_the_steps_as_text(self, finished, printed, evolve):
        _, run = finished
        ways = [printed("show", run, one["id"], "--steps") for one in trained(printed, run)[-5:]]
        steps = max(ways, key=len)
        shown = evolve("show", run, steps[-1]["id"]).stdout
        assert f"verdict against the seed: {steps[-1]['against'][-1]['verdict']}" in shown
        assert changed_lines(printed("show", run, steps[-1]["id"])["diff"]) == changed_lines(
            shown.partition("change against the seed")[2].partition("\nprompt to ")[0]
        )
        told = evolve("show", run, steps[-1]["id"], "--steps").stdout
        assert "\x1b" not in told
        assert re.findall(r"^step (\d+) of \d+: (\d+)", told, re.MULTILINE) == [
            (str(n), step["id"]) for n, step in enumerate(steps, start=1)
        ]
        assert changed_lines(told) == [line for step in steps for line in changed_lines(step["diff"])]

    def test_on_a_terminal_the_diff_has_colours(self, finished, printed):
        _, run = finished
        added = {
            one["id"]: line
            for one in trained(printed, run)
            for line in changed_lines(printed("show", run, one["id"], "--steps")[-1]["diff"])
            if line.startswith("+") and len(line) < 60
        }
        id, line = next(iter(added.items()))
        for arguments in (("show", run, id), ("show", run, id, "--steps"), ("diff", run, id)):
            assert re.search(r"\x1b\[92[;\d]*m" + re.escape(line), on_terminal(*arguments))

    @pytest.mark.parametrize("arguments", [["--steps"], ["0001", "--steps", "--lessons"], ["0999", "--steps"]])
    def test_what_makes_no_sense_is_refused(self, finished, evolve, arguments):
        refused = evolve("show", finished[1], *arguments)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1


def on_terminal(*arguments):
    """What the command shows on a terminal, with its colours."""
    shown, code = terminal.on_terminal(*arguments, columns=120)
    assert code == 0, shown
    return shown


def with_ancestors(ids, parents):
    found = set()
    while ids:
        found |= set(ids)
        ids = [parent for id in ids for parent in parents.get(id, ())]
    return found


class TestPrune:
    def test_the_front_and_what_it_came_from_stay_and_the_run_goes_on(self, copied, printed, evolve):
        project, run = copied
        before, journal = printed("status", run), (run / "journal.db").read_bytes()
        done = evolve("prune", run)
        assert done.returncode == 0, done.stderr
        parents = {one["id"]: one["parents"] for one in printed("show", run)}
        keep = with_ancestors([one["id"] for one in before["front"]], parents) | {"seed"}
        branches = {name.rpartition("/")[2] for name in refs(project, "refs/heads/evolve/night")}
        everything = {one["id"] for one in trained(printed, run)} | {"seed"}
        assert branches == keep < everything
        assert {name.rpartition("/")[2] for name in refs(project, "refs/evolve/night")} >= everything - keep
        assert f"{len(everything - keep)}. Nothing is lost" in done.stdout
        for command in re.findall(r"^  git (log .*|branch NAME .*?)(?:    #.*)?$", done.stdout, re.MULTILINE):
            assert git(project, *command.replace("NAME", "mine").split()) or "mine" in refs(project, "refs/heads/mine")[0]
        assert (run / "journal.db").read_bytes() == journal
        assert printed("status", run)["front"] == before["front"]
        for one in trained(printed, run):
            assert git(project, "rev-parse", one["branch"]) == rows(run, "committed")[one["id"]]["commit"]

        gone = sorted(everything - keep)[0]
        assert printed("reproduce", run, gone)["source"]["in_git"] is True
        assert (project / "notes.txt").read_text() == "two\n"

        resumed = evolve("resume", run, "--set", "search.generations=3", "--accept-changes", cwd=project)
        assert resumed.returncode == 0, resumed.stderr
        more = {one["id"] for one in trained(printed, run)} - everything
        assert more and {f"refs/heads/evolve/night/{id}" for id in more} < {*refs(project, "refs/heads/evolve/night")}
        facts = printed("prune", run)
        assert set(facts["kept"]) >= {one["id"] for one in printed("status", run)["front"]} | {"seed"}
        assert set(facts["kept"]) | set(facts["aside"]) == everything | more | {"seed"}
        assert printed("prune", run)["moved"] == []
        assert printed("prune", run, "--undo")["aside"] == []
        assert {name.rpartition("/")[2] for name in refs(project, "refs/heads/evolve/night")} == everything | more
        assert_sound(project)

    def test_the_runs_own_repository(self, evolve, printed, tmp_path):
        copy_fast_seed(tmp_path)
        done = evolve("run", "seed", "--out", "run", *SMALL, "--set", "search.generations=0", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        run = tmp_path / "run"
        moved = printed("prune", run)["moved"]
        assert moved
        told = evolve("prune", run).stdout
        assert f"git --git-dir={run}/lineage.git branch NAME evolve/run/{moved[-1]}" in told
        run = run.rename(tmp_path / "renamed")  # the branches keep their names
        assert printed("prune", run, "--undo")["restored"] == moved

    def test_while_a_process_works_on_the_run_it_is_refused(self, copied, evolve):
        project, run = copied
        before = refs(project, "refs")
        with locked(run / "lock"):
            refused = evolve("prune", run)
        assert refused.returncode == 2
        assert refused.stderr == f"Error: Another process is working on {run}; watch it with `evolve status`.\n"
        assert refs(project, "refs") == before

    def test_a_repository_that_is_gone_and_a_run_without_branches_are_told_in_one_sentence(self, copied, evolve):
        project, run = copied
        shutil.rmtree(project / ".git")
        refused = evolve("prune", run)
        assert (refused.returncode, refused.stderr) == (
            2,
            "Error: The repository that the branches of night were written to is gone.\n",
        )
        with closing(sqlite3.connect(run / "journal.db")) as db:
            db.execute("DELETE FROM events WHERE kind = 'committed'")
            db.commit()
        refused = evolve("prune", run)
        assert (refused.returncode, refused.stderr) == (2, f"Error: {run} has no branches: its seed was never trained.\n")
        assert evolve("prune", project).returncode == 2
