import math
import random
from types import SimpleNamespace

import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.population.candidate import Candidate, Individual
from agent.population.selection import elites, front, nsga2, parents, spea2

every = settings(deadline=None)

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
VALUES = st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.integers(1, 30))


def population(values):
    return [
        Individual(Candidate(str(i), 0), Genome({}), Fitness({"accuracy": a, "parameters": p}))
        for i, (a, p) in enumerate(values)
    ]


populations = st.lists(VALUES, min_size=1, max_size=24).map(population)


def undominated(individuals):
    return [
        i for i in individuals if not any(o.fitness.dominates(i.fitness, OBJECTIVES) for o in individuals)
    ]


@every
@given(populations)
def test_the_front_is_undominated_with_each_fitness_once(people):
    found = front(people, OBJECTIVES)
    assert {i.fitness for i in found} == {i.fitness for i in undominated(people)}
    assert len({i.fitness for i in found}) == len(found)


@every
@given(populations, st.integers(1, 30))
def test_selectors_return_as_many_as_asked_and_no_stranger(people, count):
    for select in (elites, parents):
        chosen = select(people, OBJECTIVES, count)
        assert len(chosen) == min(count, len(people))
        assert {id(c) for c in chosen} <= {id(p) for p in people}


@every
@given(populations)
def test_nsga2_prefers_the_first_front(people):
    first = undominated(people)
    chosen = parents(people, OBJECTIVES, len(first))
    assert {i.id for i in chosen} == {i.id for i in first}


@every
@given(populations)
def test_spea2_keeps_only_undominated_where_there_are_enough(people):
    first = undominated(people)
    kept = elites(people, OBJECTIVES, max(1, len(first) - 1))
    assert {i.id for i in kept} <= {i.id for i in first}


def deap_chooses(selector, costs, count):
    from deap import base

    kind = type("Costs", (base.Fitness,), {"weights": (-1.0,) * len(costs[0])})
    wrapped = [SimpleNamespace(fitness=kind(row), number=number) for number, row in enumerate(costs)]
    random.seed(0)
    return [one.number for one in getattr(tools, selector)(wrapped, count)]


def spea2_as_published(costs, count):
    """Section 3 of the publication, step by step; of individuals that it ranks alike, the one with the smaller costs."""
    everyone = sorted(range(len(costs)), key=lambda i: costs[i])

    def dominates(i, j):
        return all(a <= b for a, b in zip(costs[i], costs[j], strict=True)) and costs[i] != costs[j]

    strength = {i: sum(dominates(i, j) for j in everyone) for i in everyone}
    raw = {i: sum(strength[j] for j in everyone if dominates(j, i)) for i in everyone}

    def neighbours(i, among):
        return sorted(math.dist(costs[i], costs[j]) for j in among if j != i)

    archive = [i for i in everyone if raw[i] == 0]
    if len(archive) < count:
        k = math.isqrt(len(costs))
        fitness = {i: raw[i] + 1 / (neighbours(i, everyone)[k - 1] + 2) for i in everyone}
        return archive + sorted((i for i in everyone if raw[i]), key=lambda i: fitness[i])[: count - len(archive)]
    while len(archive) > count:
        archive.remove(min(archive, key=lambda i: neighbours(i, archive)))
    return archive


GRIDS = st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 8)] * n), min_size=2, max_size=24))


def of_a_run(objectives, size):
    """Costs as they come up: anywhere, on a front, and some of both."""
    chance = random.Random(size)
    costs = [tuple(chance.random() for _ in range(objectives)) for _ in range(size)]
    front = [(n / size, 1 - n / size + chance.random() / 10**6, *[0.5] * (objectives - 2)) for n in range(size)]
    return costs, front, [*costs[: size // 2], *front[size // 2 :]]


SIZES = pytest.mark.parametrize(("objectives", "size", "count"), [(2, 45, 44), (2, 52, 8), (3, 60, 10), (3, 44, 10)])


@every
@given(GRIDS, st.data())
def test_rankings_are_those_of_the_publications(rows, data):
    costs = [tuple(float(value) for value in row) for row in rows]
    count = data.draw(st.integers(1, len(costs) - 1))
    assert spea2(costs, count) == spea2_as_published(costs, count)
    assert nsga2(costs, count) == deap_chooses("selNSGA2", costs, count)


@SIZES
def test_rankings_are_those_of_the_publications_at_the_sizes_of_a_run(objectives, size, count):
    for rows in of_a_run(objectives, size):
        assert spea2(rows, count) == spea2_as_published(rows, count)
        assert nsga2(rows, count) == deap_chooses("selNSGA2", rows, count)


@SIZES
def test_the_order_of_a_population_does_not_decide_what_spea2_keeps(objectives, size, count):
    for rows in of_a_run(objectives, size):
        shuffled = random.Random(count).sample(rows, len(rows))
        assert {rows[i] for i in spea2(rows, count)} == {shuffled[i] for i in spea2(shuffled, count)}


def test_spea2_keeps_variety_in_both_objectives():
    """Unscaled, the two of nearly equal size would be thinned although they differ most in accuracy."""
    people = population([(0.9, 1000), (0.5, 999), (0.505, 995), (0.1, 900)])
    assert "1" not in {i.id for i in elites(people, OBJECTIVES, 3)} or "2" not in {i.id for i in elites(people, OBJECTIVES, 3)}
    assert "0" in {i.id for i in elites(people, OBJECTIVES, 3)}

