"""The garbage collector and what a run keeps."""

import gc

from agent.run.event_bus import FREEZE_EVERY, FrozenHeap


def test_what_is_kept_is_frozen_until_the_run_is_over():
    heap, kept = FrozenHeap(), [[n] for n in range(5000)]
    gc.unfreeze()
    before = gc.get_freeze_count()
    for _ in range(FREEZE_EVERY - 1):
        heap.add_settled()
    assert gc.get_freeze_count() == before
    heap.add_settled()
    assert gc.get_freeze_count() >= before + len(kept)
    heap.close()
    assert gc.get_freeze_count() == 0
