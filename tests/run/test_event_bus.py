"""The collector and what a run keeps."""

import gc

from agent.journal.events import Settled
from agent.population.candidate import SEED_ID, Candidate, Duplicate
from agent.run.event_bus import EVERY, CollectorTuning


def test_what_was_kept_is_left_alone_until_the_run_is_over():
    heap, kept = CollectorTuning(), [[n] for n in range(5000)]
    gc.unfreeze()
    before = gc.get_freeze_count()
    for _ in range(EVERY - 1):
        heap.see(Settled(Duplicate(Candidate("0001", 0), SEED_ID)))
    assert gc.get_freeze_count() == before
    heap.see(Settled(Duplicate(Candidate("0002", 0), SEED_ID)))
    assert gc.get_freeze_count() >= before + len(kept)
    heap.close()
    assert gc.get_freeze_count() == 0
