"""What a run says before its search: here, of a seed whose trainings do not differ."""

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.run.first_words import doubt_noise

PRINTED, COUNTED = Objective("loss", "min", "printed by the script"), Objective("parameters", "min")


@pytest.mark.parametrize(
    ("objectives", "losses", "told"),
    [
        ((PRINTED,), (0.5, 0.5), True),
        ((PRINTED,), (0.5, 0.6), False),
        ((PRINTED, COUNTED), (0.5, 0.6), False),  # a count does not depend on chance
        ((PRINTED, COUNTED), (0.5, 0.5), True),
        ((COUNTED,), (0.5, 0.5), False),
    ],
)
def test_a_script_that_seeds_itself_is_told_of(objectives, losses, told):
    found = []
    noise = Noise.of([Fitness({"loss": loss, "parameters": 12.0}) for loss in losses], objectives)
    doubt_noise(noise, objectives, found.append)
    assert [("the same loss to the digit" in one.text, "EVOLVE_SEED" in one.text) for one in found] == [(True, True)] * told


def test_where_noise_is_not_measured_nothing_is_told():
    found = []
    doubt_noise(None, (PRINTED,), found.append)
    assert not found
