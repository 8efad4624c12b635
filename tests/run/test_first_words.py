"""What a run says before its search: here, of a seed whose trainings do not differ."""

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.run.first_words import doubt_noise

PRINTED, COUNTED = Objective("loss", "min", "printed by the script"), Objective("parameters", "min")


@pytest.mark.parametrize(
    ("objectives", "sigma", "told"),
    [
        ((PRINTED,), {"loss": 0.0}, True),
        ((PRINTED,), {"loss": 0.01}, False),
        ((PRINTED, COUNTED), {"loss": 0.01, "parameters": 0.0}, False),  # a count does not depend on chance
        ((PRINTED, COUNTED), {"loss": 0.0, "parameters": 0.0}, True),
    ],
)
def test_a_script_that_seeds_itself_is_told_of(objectives, sigma, told):
    found = []
    doubt_noise(Noise(sigma, dict.fromkeys(sigma, 1.0)), objectives, found.append)
    assert [("the same loss to the digit" in one.text, "EVOLVE_SEED" in one.text) for one in found] == [(True, True)] * told


def test_where_noise_is_not_measured_nothing_is_told():
    found = []
    doubt_noise(None, (PRINTED,), found.append)
    assert not found
