import pytest

from agent.journal.store import Journal
from tests.review.small_run import EVENTS


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def small_run(journal):
    for event in EVENTS:
        journal.record(event)
    return journal
