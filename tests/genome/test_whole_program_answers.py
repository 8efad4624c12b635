"""Whole-program answers in full, as a model writes them for `rewrite`: none is refused, and each candidate trains."""

from pathlib import Path

import pytest
import torch

from agent.core.paths import seeds_folder
from agent.genome import Genome, Violations, read_genome

ANSWERS = sorted((Path(__file__).parent / "answers").glob("*.md"))


def seed_of(answer):
    return read_genome(seeds_folder() / answer.stem.rpartition("_")[0], ["model.py"], ["build_model"])


def trains(genome):
    """Builds for several sizes, and takes one step as the framework does."""
    torch.set_num_threads(1)
    space = {"__name__": "model"}
    exec(compile(genome.files["model.py"], "model.py", "exec"), space)
    for channels, side in ((3, 17), (1, 32)):
        assert space["build_model"](10, channels)(torch.rand(4, channels, side, side)).shape == (4, 10)
    model = space["build_model"](10, 1)
    optimizer, scheduler = space["build_optimizer"](model, 10)
    images = torch.rand(4, 1, 8, 8)
    if "augment" in space:
        images = space["augment"](images, torch.Generator().manual_seed(0))
    loss = space.get("loss", torch.nn.functional.cross_entropy)(model(images), torch.tensor([1, 2, 3, 4]))
    loss.backward()
    optimizer.step()
    scheduler.step()
    return bool(loss.isfinite())


def test_there_are_five_answers_for_each_seed():
    assert len(ANSWERS) == 10


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda path: path.stem)
def test_a_whole_program_answer_gives_a_program_that_trains(editor, answer):
    seed = seed_of(answer)
    candidate = editor.apply(seed, (), answer.read_text())
    assert not isinstance(candidate, Violations), candidate.reasons
    assert candidate != seed
    assert trains(candidate)


def test_blocks_that_an_answer_made_superfluous_are_gone_and_the_seeds_dead_one_stays(editor):
    (answer,) = (path for path in ANSWERS if path.stem == "exquisitenet_v2_stem")
    candidate = editor.apply(seed_of(answer), (), answer.read_text())
    assert isinstance(candidate, Genome)
    names = {block.name for block in candidate.all_blocks}
    assert names >= {"SE", "Stem", "EVE", "ME", "build_model"} and not names & {"FCT", "DW"}
