"""What batch systems send to every process of a job: the run comes to its end, and what is under way is finished."""

import os
import signal

import pytest

from tests.run.test_whole_runs import descendants, events, settings, wait_for


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_stops_the_run_and_fails_no_candidate(start, tmp_path, number):
    process = start("run", "seed", "--llm", "offline", "--out", "run", *settings(search__generations=6))
    run = tmp_path / "run"
    wait_for(run, "settled", 2, process)
    for pid in (*descendants(process.pid), process.pid):
        os.kill(pid, number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    (ended,) = events(run, "ended").values()
    assert ended == {"state": "stopped", "reason": f"stopped by {number.name}"}
    assert all(one["outcome"] != "failed" for one in events(run, "settled").values())
    resumed = start("resume", "run")
    _, output = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
