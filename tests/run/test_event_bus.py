"""The garbage collector and what a run keeps."""

import gc

from agent.run.event_bus import FREEZE_EVERY, HeapFreezer


def test_what_is_kept_is_frozen_until_the_run_is_over():
    freezer, kept = HeapFreezer(), [[n] for n in range(5000)]
    gc.unfreeze()
    before = gc.get_freeze_count()
    for _ in range(FREEZE_EVERY - 1):
        freezer.add_settled()
    assert gc.get_freeze_count() == before
    freezer.add_settled()
    assert gc.get_freeze_count() >= before + len(kept)
    freezer.close()
    assert gc.get_freeze_count() == 0
