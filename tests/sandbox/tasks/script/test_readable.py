"""Data that a script reads in place: named from the project or from where the user stands, found by the script's own path."""

import os

import pytest

from sandbox import TaskError
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured
from sandbox.tasks.script.readable import MOST_LEVELS, ReadablePlace


@pytest.fixture
def places(tmp_path):
    """home/work/proj, with data in it and in each folder above."""
    project = tmp_path / "home/work/proj"
    for folder in (project, project.parent, project.parents[1]):
        (folder / "data").mkdir(parents=True)
        (folder / "data/a.txt").write_text(folder.name)
    return project.resolve()


@pytest.mark.parametrize(
    ("name", "here", "folder", "link"),
    [
        ("data", ".", "proj", "data"),
        ("../data", ".", "work", "../data"),
        ("../../data/", "/", "home", "../../data"),
        ("{}/data", "/", "work", "../data"),
        ("{}/data/a.txt", "/", "work", "../data/a.txt"),
        ("data/../../data", "..", "work", "../data"),
        ("work/data", "../..", "work", "../data"),  # seen from where the user stands
        ("./work/proj/data/a.txt", "../..", "proj", "data/a.txt"),
    ],
)
def test_the_link_lies_where_the_script_looks(places, name, here, folder, link):
    found = ReadablePlace.find(name.format(places.parent), places, places / here)
    read = found.real if found.real.is_file() else found.real / "a.txt"
    assert (read.read_text(), found.link) == (folder, link)
    again = ReadablePlace.find(found.name, places, places.parents[2])  # a resume from another folder
    assert (again.real, again.link) == (found.real, found.link)


def test_links_to_data_are_found_where_they_lie(places, tmp_path):
    (tmp_path / "far").mkdir()
    (places.parent / "linked").symlink_to(tmp_path / "far")
    found = ReadablePlace.find("../linked", places, places)
    assert (found.real, found.link) == ((tmp_path / "far").resolve(), "../linked")


def test_what_lies_too_far_up_is_readable_by_its_absolute_path(places):
    deep = places.joinpath(*"abcdef")
    deep.mkdir(parents=True)
    found = ReadablePlace.find(str(places.parent / "data"), deep, deep)
    assert found.link == "" and len(deep.relative_to(places.parent).parts) > MOST_LEVELS


@pytest.mark.parametrize("name", ["..", "../../..", "{}", "nowhere", "../nowhere"])
def test_what_holds_the_project_or_is_not_there_is_refused(places, name):
    with pytest.raises(TaskError, match=r"holds your home folder or the whole project|there is no .*nowhere, nor .*nowhere"):
        ReadablePlace.find(name.format(places), places, places.parent)


def test_a_script_reads_it_by_the_path_that_it_has(places, cache, warm, monkeypatch):
    monkeypatch.chdir(places.parents[1])
    names = ["data", "work/data", str(places.parents[1] / "data")]
    text = "\n".join(["total = 0", *(f"total += len(open('{p}/a.txt').read())" for p in ("../data", "../../data", "data")),
                      f"total += len(open('{places.parent}/data/a.txt').read())", "print('loss:', total)"])  # fmt: skip
    (places / "train.py").write_text(text)
    task = {"name": "script", "command": "python train.py", "metrics": {"loss": "min"}, "readable": names}
    opened = open_task(task, {"time_limit": "60s"}, {}, ("train.py",), cache, folder=places)
    measured = opened.evaluate(Job({"train.py": text}, 0), warm)
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 4 * 4
    assert [os.path.isabs(name) for name in opened.pins["readable"]] == [False, True, True]
