"""The collector and what a run keeps."""

import gc

from agent.events import Settled
from agent.heap import EVERY, Heap
from agent.individual import SEED_ID, Birth, Duplicate


def test_what_was_kept_is_left_alone_until_the_run_is_over():
    heap, kept = Heap(), [[n] for n in range(5000)]
    gc.unfreeze()
    before = gc.get_freeze_count()
    for _ in range(EVERY - 1):
        heap.see(Settled(Duplicate(Birth("0001", 0), SEED_ID)))
    assert gc.get_freeze_count() == before
    heap.see(Settled(Duplicate(Birth("0002", 0), SEED_ID)))
    assert gc.get_freeze_count() >= before + len(kept)
    heap.close()
    assert gc.get_freeze_count() == 0
