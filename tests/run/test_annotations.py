"""The notes of a run: nothing that keeps git from writing them ends anything."""

from contextlib import closing

from agent.core.errors import UserError
from agent.journal.events import Advised
from agent.journal.store import Journal
from agent.lineage import Lineage
from agent.run.annotations import annotate


def test_what_keeps_git_from_writing_them_is_said_and_raises_nothing(tmp_path):
    told = []

    def none():
        raise UserError("git is not installed.")

    with closing(Journal(tmp_path / "journal.db")) as journal:
        annotate(none, journal, told.append)
        assert [type(one) for one in told] == [Advised] and "git is not installed" in told[0].text


def test_a_run_that_has_nothing_to_add_writes_none(tmp_path):
    told = []
    with closing(Journal(tmp_path / "journal.db")) as journal:
        annotate(lambda: Lineage.open(tmp_path, tmp_path / "run", "run"), journal, told.append)
    assert not told and not (tmp_path / "run").exists()
