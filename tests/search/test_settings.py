"""How many generations a limit of variants allows."""

import pytest

from agent.search.settings import SearchSettings


@pytest.mark.parametrize(("variants", "generations"), [(None, 34), (40, 4), (41, 5), (8, 0), (3, 0), (10_000, 34)])
def test_only_generations_that_can_begin_are_counted(variants, generations):
    settings = SearchSettings(generations=34, population=8, first_population=8, schedule="generational")
    assert settings.within(variants).stages == generations
