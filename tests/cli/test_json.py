"""docs/json.md lists what `--json` prints: the same keys, with values of the types that it names."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.journal.store import Journal
from agent.llm import CoolDownStarted
from agent.review.status import status

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/json.md").read_text()
SMALL = ("--set", "search.first_population=4", "--generations", "1", "--population", "4")
PLAIN = {
    "string": str, "boolean": bool, "null": type(None), "object": dict, "list": list, "integer": int, "number": (int, float),
}  # fmt: skip


def documented(command):
    """Key -> type of the table below the heading of a command; what `show RUN ID` prints includes `show RUN`."""
    section = PAGE.split(f"## `{command} --json`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|", section, re.MULTILINE)
    found = {key: kind for keys, kind in rows for key in re.findall(r"`([^`]+)`", keys)}
    return {**documented("evolve show RUN"), **found} if command == "evolve show RUN ID" else found


def is_of(value, kind):
    if " or " in kind:
        return any(is_of(value, one) for one in kind.replace(", or ", " or ").split(" or "))
    if kind.startswith("list of "):
        return isinstance(value, list) and all(is_of(one, kind.removeprefix("list of ")) for one in value)
    if kind.startswith("map of "):
        return isinstance(value, dict) and all(is_of(one, kind.partition(" to ")[2]) for one in value.values())
    return isinstance(value, PLAIN[kind]) and (kind == "boolean" or not isinstance(value, bool))


def entries(document, kinds, prefix=""):
    """(key, value) of everything in a document down to what the page calls a map."""
    for one in document if isinstance(document, list) else [document]:
        for name, value in one.items():
            key = f"{prefix}{name}"
            yield key, value
            if value and "object" in kinds.get(key, "").split():
                yield from entries(value, kinds, f"{key}[]." if isinstance(value, list) else f"{key}.")


def check(command, *documents):
    kinds = documented(command)
    assert kinds
    printed = set()
    for document in documents:
        for key, value in entries(document, {k: v.removesuffix(", sometimes") for k, v in kinds.items()}):
            printed.add(key)
            assert key in kinds, f"{command} prints {key}, which docs/json.md does not list"
            assert is_of(value, kinds[key].removesuffix(", sometimes")), f"{command}: {key} is no {kinds[key]}: {value!r}"
    always = {key for key, kind in kinds.items() if not kind.endswith(", sometimes")}
    assert always <= printed, f"docs/json.md lists what {command} does not print"


@pytest.fixture(scope="module")
def run(evolve, tmp_path_factory):
    place = tmp_path_factory.mktemp("json")
    shutil.copytree(ROOT / "seeds/tiny_cnn", place / "seed", ignore=shutil.ignore_patterns("__pycache__"))
    done = evolve("run", "seed", "--llm", "offline", "--out", "run", *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "run"


@pytest.fixture(scope="module")
def confirmed(run, evolve, tmp_path_factory):
    """The same run, confirmed."""
    place = tmp_path_factory.mktemp("confirmed") / "run"
    shutil.copytree(run, place)
    done = evolve("confirm", place, "--trainings", "2", "--members", "2")
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def printed(evolve):
    def call(*arguments):
        done = evolve(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_status(run, confirmed, printed, tmp_path):
    shutil.copy(run / "journal.db", tmp_path / "journal.db")
    with closing(Journal(tmp_path / "journal.db")) as journal:
        journal.record(CoolDownStarted("m", 60.0, "it does not answer", alone=True))
        under_way = status(journal, "run", alive=True)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("UPDATE events SET data = json_set(data, '$.config.run.null', json('true')) WHERE kind = 'started'")
        db.commit()
    with closing(Journal(tmp_path / "journal.db")) as journal:
        null = status(journal, "run", alive=False)
    check("evolve status RUN", printed("status", run), under_way, null, printed("status", confirmed))


def test_confirm(confirmed, printed, evolve):
    done = evolve("confirm", confirmed, "--force", "--trainings", "1", "--members", "1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    check("evolve confirm RUN", document)
    assert document == printed("status", confirmed)["confirmation"]
    assert printed("status", confirmed)["seal_openings"] == 2


def test_reproduce(run, confirmed, printed, evolve):
    listed = printed("show", run)
    (trained, *_) = [one["id"] for one in listed if one["outcome"] == "trained"]
    documents = [printed("reproduce", confirmed, trained)]
    with closing(sqlite3.connect(confirmed / "journal.db")) as db:
        db.execute("UPDATE events SET data = json_set(data, '$.basis.data', 'x') WHERE kind = 'started'")
        db.commit()
    documents.append(printed("reproduce", confirmed, trained))
    assert documents[1]["readings"][0]["differences"]
    check("evolve reproduce RUN ID", *documents)


def test_show(run, printed):
    listed = printed("show", run)
    check("evolve show RUN", listed)
    check("evolve show RUN ID", *(printed("show", run, one["id"]) for one in listed[:2]))
    check("evolve show RUN ID --steps", *(printed("show", run, one["id"], "--steps") for one in listed[-2:]))


def test_prune(confirmed, printed):
    documents = [printed("prune", confirmed), printed("prune", confirmed, "--undo")]
    assert documents[0]["moved"]
    check("evolve prune RUN", *documents)


def test_lessons_and_arms(run, printed):
    lessons = printed("show", run, "--lessons")
    assert lessons
    check("evolve show RUN --lessons", lessons)
    check("evolve show RUN --arms", printed("show", run, "--arms"))


def test_compare(run, printed):
    check("evolve compare RUN...", printed("compare", run, run))


def test_doctor(evolve, printed):
    known = json.loads(evolve("doctor", "--json").stdout)  # it fails where no run can be started
    check("evolve doctor", known, json.loads(evolve("doctor", "--llm", "offline", "--json").stdout))


def test_check_task(printed):
    check("evolve check-task SEED", printed("check-task", "seeds/own_task"))


def test_every_command_with_json_has_a_section(evolve):
    for command in ("status", "confirm", "reproduce", "show", "prune", "compare", "doctor", "check-task"):
        assert "--json" in evolve(command, "--help").stdout
        assert f"## `evolve {command}" in PAGE
