"""What every operator in the registry must keep to."""

import random
from dataclasses import FrozenInstanceError

import pytest

from agent.genome import extract_code
from agent.operators import OPERATORS, DrawContext, ModelFreeOperator, PromptOperator, Sampling, noun


@pytest.mark.parametrize("name", OPERATORS)
class TestEveryOperator:
    @pytest.fixture
    def operator(self, name):
        return OPERATORS[name]

    @pytest.fixture
    def draw(self, operator, half_way, prompts, gained):
        people = half_way.context.individuals

        def draw(number=0, **choices):
            given = {"partner": people["0007"], "elites": [people["0007"]], "measured": gained(half_way), **choices}
            return operator.draw(
                DrawContext(random.Random(number), prompts, Sampling(("m",)), half_way.seed, people["0004"], **given)
            )

        return draw

    def test_it_has_a_name_a_noun_and_a_share_and_no_state(self, operator, name):
        assert operator.name == name and noun(name) == operator.noun and operator.share >= 0
        with pytest.raises(FrozenInstanceError):
            operator.share = 1

    def test_its_recipe_names_it_and_the_first_parent(self, draw, name):
        recipe = draw()
        assert recipe.operator == name and recipe.parents[0] == "0004"

    def test_all_random_choices_come_from_the_generator(self, draw):
        assert [draw(n) for n in range(9)] == [draw(n) for n in range(9)]
        assert len({draw(n) for n in range(9)}) > 1

    def test_it_asks_a_model_or_answers_itself(self, draw, operator, half_way, prompts):
        recipe, base = draw(), half_way.context.individuals["0004"].genome
        assert isinstance(operator, PromptOperator) != isinstance(operator, ModelFreeOperator)
        if isinstance(operator, PromptOperator):
            system, user = operator.prompt(prompts, recipe, base, half_way.context)
            assert (system.role, user.role, recipe.model) == ("system", "user", "m")
            assert operator.prompt(prompts, recipe, base, half_way.context) == (system, user)
        else:
            assert recipe.model == "" and operator.intention(recipe)
            assert isinstance(extract_code(operator.answer(recipe, base, half_way.context), recipe.blocks), str)

    def test_without_a_partner_and_elites_it_draws_from_the_parent_or_nothing(self, draw):
        recipe = draw(partner=None, elites=())
        assert recipe is None or recipe.parents == ("0004", *dict.fromkeys(recipe.sources if recipe.blocks else ()))


def test_what_is_no_operator_is_called_by_its_own_name():
    assert noun("insight") == "insight"
