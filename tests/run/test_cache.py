"""Where data is kept if the user's cache folder cannot be written."""

import errno
import os
import tempfile

import pytest

from agent.core.errors import UserError
from agent.run.cache import with_cache, write_trouble


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("EVOLVE_CACHE", str(tmp_path / "file/cache"))
    (tmp_path / "file").write_text("a file, below which nothing can be made")
    return tmp_path / "tmp"


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x").write_text("data")
    return folder


def test_a_temporary_folder_takes_its_place_and_is_told(temporary):
    told = []
    first = with_cache(write, told.append)
    assert first.parent == temporary and (first.stat().st_mode & 0o777) == 0o700
    assert "cannot be written" in told[0] and str(first) in told[0]
    assert with_cache(write, told.append) == first  # the next run finds what is there


def test_a_folder_that_another_user_could_have_prepared_is_not_used(temporary):
    planted = temporary / f"guided-evolution-cache-{os.getuid()}"
    planted.mkdir(mode=0o777)
    planted.chmod(0o777)
    assert with_cache(write, lambda text: None) != planted


def test_what_is_in_a_read_only_cache_is_used(temporary, monkeypatch):
    monkeypatch.setenv("EVOLVE_CACHE", "/proc")
    told = []
    assert with_cache(lambda folder: folder, told.append) == os.path.realpath("/proc") or not told


def test_a_full_disk_is_not_taken_for_a_missing_right(temporary):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        with_cache(full, lambda text: None)


def test_without_any_place_the_user_is_told(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary.parent / "file/tmp"))
    with pytest.raises(UserError, match="EVOLVE_CACHE"):
        with_cache(write, lambda text: None)


def test_writing_is_tried_and_nothing_is_left(tmp_path):
    assert write_trouble(tmp_path / "not/yet") == "" and not list(tmp_path.iterdir())
    assert write_trouble(tmp_path / "x") == ""
    (tmp_path / "file").write_text("")
    assert write_trouble(type(tmp_path)("/proc/self")) != ""
