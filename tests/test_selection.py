import random

from hypothesis import given
from hypothesis import strategies as st

from agent.fitness import Fitness, Objective
from agent.genome import Genome
from agent.individual import Birth, Individual
from agent.selection import elites, front, hypervolume, parents

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
VALUES = st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.integers(1, 30))


def population(values):
    return [
        Individual(Birth(str(i), 0), Genome({}), Fitness({"accuracy": a, "parameters": p}))
        for i, (a, p) in enumerate(values)
    ]


populations = st.lists(VALUES, min_size=1, max_size=24).map(population)


def undominated(individuals):
    return [
        i for i in individuals if not any(o.fitness.dominates(i.fitness, OBJECTIVES) for o in individuals)
    ]


@given(populations)
def test_front_is_what_nobody_dominates_each_fitness_once(people):
    found = front(people, OBJECTIVES)
    assert {i.fitness for i in found} == {i.fitness for i in undominated(people)}
    assert len({i.fitness for i in found}) == len(found)


@given(populations, st.integers(1, 30))
def test_selectors_return_as_many_as_asked_and_no_stranger(people, count):
    for select in (elites, parents):
        chosen = select(people, OBJECTIVES, count)
        assert len(chosen) == min(count, len(people))
        assert {id(c) for c in chosen} <= {id(p) for p in people}


@given(populations)
def test_nsga2_prefers_the_first_front(people):
    first = undominated(people)
    chosen = parents(people, OBJECTIVES, len(first))
    assert {i.id for i in chosen} == {i.id for i in first}


@given(populations)
def test_spea2_keeps_only_undominated_where_there_are_enough(people):
    first = undominated(people)
    kept = elites(people, OBJECTIVES, max(1, len(first) - 1))
    assert {i.id for i in kept} <= {i.id for i in first}


@given(populations, st.integers(1, 10))
def test_selectors_agree_with_deap_called_directly(people, count):
    from deap import base, creator, tools

    if not hasattr(creator, "OracleCosts"):
        creator.create("OracleCosts", base.Fitness, weights=(-1.0, -1.0))
        creator.create("Oracle", list, fitness=creator.OracleCosts)
    losses, sizes = [-p.fitness["accuracy"] for p in people], [p.fitness["parameters"] for p in people]

    def unit(value, among):
        return (value - min(among)) / ((max(among) - min(among)) or 1)

    def oracle(selector):
        wrapped = []
        for person, loss, size in zip(people, losses, sizes, strict=True):
            one = creator.Oracle([person.id])
            one.fitness.values = (unit(loss, losses), unit(size, sizes))
            wrapped.append(one)
        random.seed(0)
        return [one[0] for one in selector(wrapped, count)]

    if count < len(people):
        assert [i.id for i in parents(people, OBJECTIVES, count)] == oracle(tools.selNSGA2)
        assert [i.id for i in elites(people, OBJECTIVES, count)] == oracle(tools.selSPEA2)


def test_spea2_keeps_variety_in_both_objectives():
    """Unscaled, the two of nearly equal size would be thinned although they differ most in accuracy."""
    people = population([(0.9, 1000), (0.5, 999), (0.505, 995), (0.1, 900)])
    assert "1" not in {i.id for i in elites(people, OBJECTIVES, 3)} or "2" not in {i.id for i in elites(people, OBJECTIVES, 3)}
    assert "0" in {i.id for i in elites(people, OBJECTIVES, 3)}


def test_hypervolume_of_the_seed_alone_is_one():
    seed = Fitness({"accuracy": 0.8, "parameters": 500})
    assert hypervolume([seed], OBJECTIVES, seed) == 1.0
    assert hypervolume([], OBJECTIVES, seed) == 0.0


def test_hypervolume_in_numbers():
    seed = Fitness({"accuracy": 0.5, "parameters": 100})
    half_size = Fitness({"accuracy": 0.5, "parameters": 50})
    perfect = Fitness({"accuracy": 1.0, "parameters": 100})
    assert hypervolume([half_size], OBJECTIVES, seed) == 1.5
    assert hypervolume([perfect], OBJECTIVES, seed) == 2.0
    assert hypervolume([half_size, perfect], OBJECTIVES, seed) == 2.5


@given(populations)
def test_a_larger_set_never_has_less_hypervolume(people):
    seed = Fitness({"accuracy": 0.5, "parameters": 15})
    fitnesses = [i.fitness for i in people]
    assert hypervolume(fitnesses, OBJECTIVES, seed) >= hypervolume(fitnesses[:-1], OBJECTIVES, seed) - 1e-12
