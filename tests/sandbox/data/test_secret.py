"""The secret behind every order: where it comes from, and that a run keeps it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import data
from sandbox.data import Secret
from sandbox.sandbox import TaskError

ROOT = Path(data.__file__).parents[2]


def test_a_cache_has_one_secret_that_only_its_owner_can_read(tmp_path):
    first, again = Secret.of(None, tmp_path / "new"), Secret.of(None, tmp_path / "new")
    assert first == again and first != Secret.of(None, tmp_path / "other")
    assert (tmp_path / "new/secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret"]


def test_a_run_goes_on_with_the_secret_that_it_began_with(tmp_path):
    kept = Secret.of(None, tmp_path / "here").text
    assert Secret.of(kept, tmp_path / "elsewhere").text == kept
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kept", ["", "xyz", 3, "ab" * 3, "A" * 40])
def test_a_secret_that_somebody_made_up_is_refused(kept, tmp_path):
    with pytest.raises(TaskError, match="leave it out"):
        Secret.of(kept, tmp_path)


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "secret").write_text("")
    with pytest.raises(TaskError, match="remove it"):
        Secret.of(None, tmp_path)


def test_processes_that_begin_at_once_agree(tmp_path):
    program = "import sys, pathlib; from sandbox.data import Secret; print(Secret.of(None, pathlib.Path(sys.argv[1])).text)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in running}) == 1


def test_orders_depend_on_the_secret_and_on_every_word_of_what_they_are_for():
    one, other = Secret("00" * 16), Secret("01" * 16)
    orders = [
        tuple(secret.permutation(50, *about))
        for secret in (one, other)
        for about in ((), ("a",), ("a", "b"), ("ab",), (b"a", "b", ""))
    ]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert tuple(one.permutation(50, "a")) == orders[1]
    assert one.fingerprint != other.fingerprint
