"""The wait for the first candidate: other candidates send no call until it is done."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.core.errors import Halted
from agent.run.admission import Admission, FirstCandidate


def test_other_candidates_wait_until_the_first_is_done():
    first_candidate, passed = FirstCandidate(), threading.Event()
    admission = Admission(first_candidate=first_candidate)
    admission.before_call("0001")
    admission.before_call("0001")  # its repair goes too
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(admission.before_call, "0002")
        other.add_done_callback(lambda _: passed.set())
        assert not passed.wait(0.3)
        first_candidate.done()
        other.result(timeout=10)


def test_they_do_not_wait_for_ever():
    admission = Admission(first_candidate=FirstCandidate(seconds=0.1))
    admission.before_call("0001")
    began = time.monotonic()
    admission.before_call("0002")
    assert time.monotonic() - began >= 0.05


def test_waiting_candidates_are_released_when_the_run_is_stopped():
    admission = Admission(first_candidate=FirstCandidate())
    admission.before_call("0001")
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(admission.before_call, "0002")
        admission.stop("stopped by the user")
        with pytest.raises(Halted):
            other.result(timeout=10)
