"""Words and frozen blocks that change while a run works; real files."""

import pytest

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.population.candidate import SEED_ID, Candidate, Individual
from agent.search.steering import LIMIT, Steering

SEED = Individual(
    Candidate(SEED_ID, 0),
    Genome({"model.py": "def a():\n    return 1\n\n\ndef b():\n    return 2\n"}, frozenset({"b"})),
    Fitness({"accuracy": 0.5}),
)


@pytest.fixture
def steering(tmp_path):
    events = []
    steering = Steering(tmp_path / "guidance.md", tmp_path / "frozen.txt", frozenset({"b"}))
    steering.events, steering.folder = events, tmp_path
    return steering


def test_without_files_there_is_no_guidance(steering):
    steering.events += steering.poll()
    assert (steering.guidance, steering.frozen, steering.events) == ("", {"b"}, [])
    assert steering.apply(SEED) is SEED


def test_guidance_is_read_again_when_it_changes_and_journaled_then_only(steering):
    (steering.folder / "guidance.md").write_text("No attention, \x1b[31mplease.\n")
    for _ in range(3):
        steering.events += steering.poll()
    assert steering.guidance == "No attention, please."
    (steering.folder / "guidance.md").write_text("Attention after all, it is cheap enough.")
    steering.events += steering.poll()
    (steering.folder / "guidance.md").unlink()
    steering.events += steering.poll()
    assert [event.text for event in steering.events] == ["No attention, please.", "Attention after all, it is cheap enough.", ""]
    assert steering.guidance == ""


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x01binary", "é".encode("latin-1")])
def test_a_binary_file_is_left_out_and_reported(steering, data):
    (steering.folder / "guidance.md").write_bytes(data)
    steering.events += steering.poll()
    assert steering.guidance == "" and "not UTF-8" in steering.events[0].text


def test_a_huge_file_is_cut_and_a_folder_is_no_end_of_the_run(steering):
    (steering.folder / "guidance.md").write_text("é" * 10_000_000)
    (steering.folder / "frozen.txt").mkdir()
    steering.events += steering.poll()
    assert len(steering.guidance) < LIMIT + 20 and steering.guidance.endswith("[cut]")
    assert steering.frozen == {"b"} and "cannot be read" in steering.events[1].text


def test_other_blocks_can_be_frozen_and_let_go(steering):
    (steering.folder / "frozen.txt").write_text("# what must stay\na\n")
    steering.events += steering.poll()
    assert [block.name for block in steering.apply(SEED).genome.blocks] == ["b"]
    (steering.folder / "frozen.txt").write_text("")
    steering.events += steering.poll()
    assert [block.name for block in steering.apply(SEED).genome.blocks] == ["a", "b"]
    (steering.folder / "frozen.txt").unlink()
    steering.events += steering.poll()
    assert [block.name for block in steering.apply(SEED).genome.blocks] == ["a"]
