"""The table of children in a prompt: whatever the room, nobody that was measured is passed over in silence."""

import re
from dataclasses import replace

import pytest

from agent.core.objectives import Fitness
from agent.operators.children import MAX_SHORT, table
from agent.operators.front import describe_front
from agent.operators.measurements import gains
from agent.operators.others import _ranked


def many(half_way, count):
    """The scene with more children of the seed, each smaller and worse than the one before, half of them on the front."""
    pattern = half_way.context.individuals["0007"]
    fitnesses = [Fitness({"accuracy": (300 - n - 40 * (n % 2)) / 355, "parameters": 300_000.0 - 5_000 * n}) for n in range(count)]
    more = [
        replace(pattern, candidate=replace(pattern.candidate, id=f"{100 + n:04d}"), fitness=one)
        for n, one in enumerate(fitnesses)
    ]
    everyone, front = (*half_way.context.everyone, *more), (*half_way.context.front, *more[::2])
    return replace(half_way.context, everyone=everyone, front=front)


@pytest.mark.parametrize("room", [0, 700, 4000])
def test_everyone_is_told_of_in_a_row_or_in_short(half_way, room):
    context = many(half_way, 20)
    text = table(context, {"the program above": half_way.seed}, room, gains(context))
    rows = set(re.findall(r"^- `(\w+)`", text, re.MULTILINE))
    short = text.partition("- others measured (accuracy / parameters): ")[2].split("\n")[0]
    assert {*rows, *re.findall(r"`(\w+)`", short)} >= {one.id for one in context.everyone}
    assert not rows & {*re.findall(r"`(\w+)`", short)}
    told = dict(re.findall(r"`(\w+)`(\*?) ", short))
    assert all((star == "*") is (id in context.front_ids) for id, star in told.items())


def test_of_very_many_the_newest_are_told(half_way):
    context = many(half_way, 60)
    short = table(context, {"the program above": half_way.seed}, 0, gains(context)).partition("- others measured")[2]
    ids = re.findall(r"`(\w+)`", short)
    assert len(ids) == MAX_SHORT and ids[-1] == "0159"


def test_the_front_says_how_many_of_its_steps_it_does_not_tell(half_way):
    context = many(half_way, 20)
    assert re.search(r"\. \d+ narrower steps not told\.", describe_front(context))
    assert "narrower" not in describe_front(replace(context, front=context.front[:4]))


def test_the_code_of_those_comes_first_that_are_worth_most_against_the_program(half_way):
    context = many(half_way, 10)
    parent = context.known["0104"]  # 280,000 parameters: all that follows is smaller and a little worse
    ranked = [one.id for one in _ranked(context, parent, gains(context), (), {"seed", parent.id})]
    front = [id for id in ranked if id in context.front_ids]
    noise, (accuracy, parameters) = context.noise, context.brief.objectives

    def ahead(id):
        one = context.known[id].fitness
        return noise.gain(accuracy, one["accuracy"] - parent.fitness["accuracy"]) + noise.gain(
            parameters, one["parameters"] - parent.fitness["parameters"], parent.fitness["parameters"]
        )

    assert front == sorted(front, key=lambda id: -ahead(id)) and ranked[: len(front)] == front
