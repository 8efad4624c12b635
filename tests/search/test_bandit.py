import random
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent.population.candidate import Recipe
from agent.search.bandit import Bandit, Bandits, BanditSettings

LEARNING = pytest.mark.parametrize("policy", ["ucb", "thompson"])
EVERY = pytest.mark.parametrize("policy", ["uniform", "ucb", "thompson"])
SEEDS = range(10)
FLOOR = 0.2


def play(bandit, world, sampler, seed, in_flight=4, start=0):
    """The arms drawn, in order. `world(arm, time, chance)` gives reward and cost, which arrive `in_flight` draws later."""
    rng, chance, waiting, drawn = random.Random(seed), random.Random(1000 + seed), deque(), []
    for time in range(start, start + sampler):
        arm = bandit.draw(rng)
        drawn.append(arm)
        waiting.append((arm, *world(arm, time, chance)))
        if len(waiting) > in_flight:
            bandit.credit(*waiting.popleft())
    for result in waiting:
        bandit.credit(*result)
    return drawn


def gaining(probabilities):
    """Each arm gains with its probability, heavy-tailed (no variance), less and less as time goes by; all cost the same."""
    return lambda arm, time, chance: (
        chance.paretovariate(1.5) * 0.99**time if chance.random() < probabilities[arm] else 0.0,
        1.0,
    )


def beyond_floor(arms, rest):
    """The share of an arm that has its part of the floor and `rest` of all that is not floor."""
    return FLOOR / arms + (1 - FLOOR) * rest


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_the_arm_that_gains_most_often_wins_though_gains_are_heavy_tailed_and_shrink(policy, seed):
    bandit = Bandit("abcd", policy, FLOOR)
    drawn = play(bandit, gaining({"a": 0.05, "b": 0.1, "c": 0.7, "d": 0.1}), 800, seed)
    assert Counter(drawn[-200:])["c"] / 200 > beyond_floor(4, 0.5)
    assert bandit.share()["c"] > beyond_floor(4, 0.5)


@LEARNING
def test_among_all_prompts_the_best_is_found_within_a_run(policy):
    """24 arms: on average over the seeds the best has several times the even share."""
    best = []
    for seed in SEEDS:
        drawn = play(Bandit(range(24), policy, FLOOR), gaining([0.05] * 23 + [0.5]), 600, seed, in_flight=8)
        best.append(Counter(drawn[-200:])[23] / 200)
    assert sum(best) / len(best) > 4 / 24


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_with_equal_gain_the_cheaper_wins_and_an_expensive_one_wins_if_it_is_worth_it(policy, seed):
    def alike(arm, _time, chance):
        return float(chance.random() < 0.4), {"cheap": 1.0, "dear": 4.0}[arm] * chance.uniform(0.5, 1.5)

    def worth_it(arm, _time, chance):
        likely, size, cost = {"cheap": (0.1, 1, 1.0), "dear": (0.9, 3, 4.0)}[arm]
        return size * chance.expovariate(1) * (chance.random() < likely), cost * chance.uniform(0.5, 1.5)

    for world, winner in ((alike, "cheap"), (worth_it, "dear")):
        drawn = play(Bandit(["cheap", "dear"], policy, FLOOR), world, 400, seed)
        assert Counter(drawn[-200:])[winner] / 200 > beyond_floor(2, 0.6)


@LEARNING
def test_failures_that_cost_little_hurt_less_than_failures_that_cost_much(policy):
    """Both gain half the time, one unit for one unit of cost; the failures of one stop early."""

    def world(arm, _time, chance):
        gained = chance.random() < 0.5
        return float(gained), 1.0 if gained or arm == "late" else 0.02

    early = [Counter(play(Bandit(["early", "late"], policy, FLOOR), world, 400, seed)[-200:])["early"] for seed in SEEDS]
    assert min(early) / 200 > beyond_floor(2, 0.6)


@LEARNING
@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(0, 3))
def test_the_units_of_rewards_and_costs_change_nothing(policy, reward_unit, cost_unit, seed):
    world = gaining([0.1, 0.2, 0.5])

    def other_units(arm, time, chance):
        reward, cost = world(arm, time, chance)
        return reward * 2.0**reward_unit, cost * 2.0**cost_unit

    one, other = Bandit(range(3), policy), Bandit(range(3), policy)
    assert play(one, world, 60, seed) == play(other, other_units, 60, seed)
    assert one.share() == other.share()


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_one_lucky_find_does_not_decide(policy, seed):
    world = gaining({"steady": 0.6, "lucky": 0.05})

    def with_luck(arm, time, chance):
        return (1e9, 1.0) if arm == "lucky" and time == first else world(arm, time, chance)

    rng = random.Random(seed)
    first = next(t for t in range(100) if Bandit(["steady", "lucky"], "uniform").draw(rng) == "lucky")
    drawn = play(Bandit(["steady", "lucky"], policy, FLOOR), with_luck, 500, seed)
    assert Counter(drawn[-200:])["steady"] / 200 > beyond_floor(2, 0.6)


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_when_the_best_arm_changes_the_draws_follow(policy, seed):
    def world(arm, time, chance):
        return (chance.expovariate(1) if chance.random() < (0.6 if arm == "ab"[time >= 400] else 0.05) else 0.0), 1.0

    bandit = Bandit("abc", policy, FLOOR)
    drawn = play(bandit, world, 1000, seed)
    assert Counter(drawn[200:400])["a"] / 200 > beyond_floor(3, 0.5)
    assert Counter(drawn[-200:])["b"] / 200 > beyond_floor(3, 0.5)
    assert max(bandit.share(), key=bandit.share().get) == "b"


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_an_arm_that_always_fails_sinks_to_its_floor_and_no_deeper(policy, seed):
    drawn = play(Bandit("abcd", policy, FLOOR), gaining({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.0}), 1600, seed)
    share = Counter(drawn[-800:])["d"] / 800
    floor = FLOOR / 4
    assert floor - 3 * (floor / 800) ** 0.5 < share < 2 * floor


@LEARNING
def test_where_all_fail_nobody_is_preferred(policy):
    drawn = Counter(a for seed in SEEDS for a in play(Bandit("abcd", policy), lambda *_: (0.0, 1.0), 200, seed))
    assert chi_square(drawn, dict.fromkeys("abcd", 0.25)) < 16.3


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_an_arm_added_late_competes_at_once_and_wins_if_it_is_better(policy, seed):
    bandit, world = Bandit("abc", policy, FLOOR), gaining({"a": 0.1, "b": 0.3, "c": 0.1, "new": 0.9})
    play(bandit, world, 300, seed)
    bandit.add("new")
    drawn = play(bandit, world, 400, seed, start=300)
    assert Counter(drawn[:20])["new"] >= 3
    assert Counter(drawn[-200:])["new"] / 200 > beyond_floor(4, 0.5)


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_draws_before_the_first_reward_are_spread(policy, seed):
    bandit, rng = Bandit(range(10), policy), random.Random(seed)
    drawn = Counter(bandit.draw(rng) for _ in range(20))
    assert len(drawn) >= 7
    assert max(drawn.values()) <= 5


@LEARNING
@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_arm_is_not_given_all_the_draws_until_its_first_reward(policy, seed):
    bandit, rng = Bandit("abc", policy), random.Random(seed)
    play(bandit, gaining({"a": 0.2, "b": 0.3, "c": 0.2}), 300, seed)
    bandit.add("new")
    drawn = [bandit.draw(rng) for _ in range(20)]
    assert 1 <= drawn.count("new") <= 10  # 4 by merit, the others by the floor


@LEARNING
def test_a_new_arm_is_favoured_before_anything_is_known_of_it(policy):
    """Among ten known and equal arms, without any floor, the new one has half of the first four sampler."""
    first = Counter()
    for seed in range(40):
        bandit, rng = Bandit(range(10), policy, floor=0.0), random.Random(seed)
        play(bandit, gaining([0.3] * 10), 400, seed)
        bandit.add("new")
        first.update(bandit.draw(rng) for _ in range(4))
    assert first["new"] / first.total() > 0.5


@LEARNING
def test_of_equal_arms_any_may_be_the_first(policy):
    assert {Bandit("abc", policy, floor=0.0).draw(random.Random(seed)) for seed in range(20)} == set("abc")


def chi_square(drawn, expected):
    total = drawn.total()
    assert drawn.keys() <= expected.keys()
    return sum((drawn[arm] - share * total) ** 2 / (share * total) for arm, share in expected.items())


def test_uniform_is_uniform_whatever_was_gained():
    bandit = Bandit(range(24), "uniform")
    drawn = Counter(play(bandit, gaining([0.0] * 23 + [1.0]), 24_000, 0))
    assert chi_square(drawn, dict.fromkeys(range(24), 1 / 24)) < 49.7  # 23 degrees of freedom, p = 0.001
    assert set(bandit.share().values()) == {1 / 24}


def test_uniform_keeps_the_weights():
    bandit = Bandit({"mutate": 0.75, "eot": 0.25}, "uniform")
    drawn = Counter(play(bandit, gaining({"mutate": 0.0, "eot": 1.0}), 10_000, 0))
    assert chi_square(drawn, {"mutate": 0.75, "eot": 0.25}) < 10.8  # 1 degree of freedom, p = 0.001
    assert bandit.share() == {"mutate": 0.75, "eot": 0.25}


@EVERY
def test_the_same_chance_and_results_give_the_same_draws(policy):
    world = gaining([0.1, 0.2, 0.5])
    one, same, other = (play(Bandit(range(3), policy), world, 300, seed) for seed in (1, 1, 2))
    assert one == same != other


ASKED = {"rewrite": 0.65, "eot": 0.2, "mate": 0.1, "splice": 0.05}


@LEARNING
def test_a_prior_is_kept_until_results_differ(policy):
    """The first 40 draws of 100 runs, all operators alike: the shares that were asked for, within 5 points."""
    world, drawn = gaining(dict.fromkeys(ASKED, 0.4)), Counter()
    for seed in range(100):
        drawn.update(play(Bandit(ASKED, policy, FLOOR, prior=True), world, 40, seed))
    assert all(drawn[arm] / drawn.total() == pytest.approx(share, abs=0.05) for arm, share in ASKED.items())


@LEARNING
def test_a_prior_gives_way_to_results(policy):
    """The operator that was to make a tenth is the only one that gains anything: it makes several times as much."""
    late = Counter()
    for seed in SEEDS:
        drawn = play(Bandit(ASKED, policy, FLOOR, prior=True), gaining({**dict.fromkeys(ASKED, 0.0), "mate": 0.5}), 400, seed)
        late.update(drawn[-200:])
    assert late["mate"] / late.total() > 0.35


rewards = st.one_of(st.just(0.0), st.floats(1e-9, 1e9))
costs = st.floats(1e-6, 1e6)
moves = st.lists(
    st.one_of(
        st.just(("draw",)),
        st.tuples(st.just("credit"), st.integers(0, 9), rewards, costs),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("add"), st.integers(0, 9), st.floats(0.1, 10)),
        st.tuples(st.just("remove"), st.integers(0, 9)),
    ),
    max_size=60,
)


def perform(bandit, moves, rng):
    """Does the moves, those on draws with one of the draws in flight; gives what would be read from a journal."""
    journal, waiting = [], []
    for move, *details in moves:
        if move == "draw" and bandit.arms:
            waiting.append(bandit.draw(rng))
            journal.append(("record_draw", waiting[-1]))
        elif move in ("credit", "cancel") and waiting:
            journal.append((move, waiting.pop(details[0] % len(waiting)), *details[1:]))
            getattr(bandit, move)(*journal[-1][1:])
        elif (move == "add" and details[0] not in bandit.arms) or (move == "remove" and details[0] in bandit.arms):
            journal.append((move, *details))
            getattr(bandit, move)(*details)
    return journal


@EVERY
@given(moves, st.integers(0, 5))
def test_the_same_draws_and_results_in_order_rebuild_the_state_without_chance(policy, moves, seed):
    bandit, again = Bandit(range(4), policy), Bandit(range(4), policy)
    journal = perform(bandit, moves, random.Random(seed))
    for move, *details in journal:
        getattr(again, move)(*details)
    assert again == bandit
    assert again.share() == bandit.share()
    if bandit.arms:
        assert [again.draw(random.Random(9)) for _ in range(5)] == [bandit.draw(random.Random(9)) for _ in range(5)]
        bandit.credit(bandit.arms[0], 1.0, 1.0)
        assert again != bandit


@EVERY
@given(moves, st.floats(0, 1), st.integers(0, 5))
def test_shares_add_up_and_none_is_below_its_floor(policy, moves, floor, seed):
    bandit = Bandit({0: 1.0, 1: 2.0, 2: 0.5}, policy, floor)
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    for move, arm, *details in perform(bandit, moves, random.Random(seed)):
        if move == "add":
            weights[arm] = details[0]
    share = bandit.share()
    assert tuple(share) == bandit.arms
    if share:
        total = sum(weights[arm] for arm in share)
        assert sum(share.values()) == pytest.approx(1)
        assert all(part >= floor * weights[arm] / total - 1e-12 for arm, part in share.items())


@LEARNING
def test_the_share_is_that_of_the_recent_draws_those_in_flight_included(policy):
    bandit = Bandit("abc", policy, floor=0.3, window=1e9)
    for arm in "aaabbbaabb":
        bandit.record_draw(arm)
    assert bandit.share() == pytest.approx({"a": 0.45, "b": 0.45, "c": 0.1})  # c has its floor, the others what is left
    for arm in "aaabbbaa":
        bandit.credit(arm, 0.0, 1.0)
    for arm in "aacccccccc":
        bandit.record_draw(arm)
    assert bandit.share() == pytest.approx({"a": 0.35, "b": 0.25, "c": 0.4}, abs=1e-6)


@given(st.integers(2, 30), st.floats(0.1, 1.0), st.sampled_from(["ucb", "thompson"]), st.integers(0, 99))
def test_every_arm_is_drawn_at_least_as_often_as_its_floor_says(arms, floor, policy, seed):
    """One arm takes all the gains; the others' draws are at least the floor's, within five deviations of chance."""
    drawn = Counter(play(Bandit(range(arms), policy, floor), lambda arm, *_: (float(arm == 0), 1.0), 1000, seed))
    part = floor / arms
    assert min(drawn[arm] for arm in range(arms)) > 1000 * part - 5 * (1000 * part) ** 0.5 - 1


def test_a_draw_that_came_to_nothing_leaves_no_trace():
    bandit, untouched = Bandit("ab", "thompson"), Bandit("ab", "thompson")
    bandit.cancel(bandit.draw(random.Random(0)))
    assert bandit == untouched
    bandit.cancel("a")
    assert bandit == untouched


def test_a_removed_arm_is_not_drawn_and_its_late_results_are_ignored():
    bandit, rng = Bandit("abc", "thompson"), random.Random(0)
    while bandit.draw(rng) != "b":
        pass
    bandit.remove("b")
    before = bandit.share()
    bandit.credit("b", 5.0, 1.0)
    bandit.cancel("b")
    assert bandit.arms == ("a", "c")
    assert bandit.share() == before
    assert "b" not in {bandit.draw(rng) for _ in range(100)}


@EVERY
def test_a_forbidden_arm_is_not_drawn_this_time(policy):
    bandit, rng = Bandit("abc", policy), random.Random(0)
    play(bandit, gaining({"a": 1.0, "b": 0.0, "c": 0.0}), 50, 0)
    assert {bandit.draw(rng, forbidden={"a"}) for _ in range(100)} == {"b", "c"}
    assert "a" in {bandit.draw(rng) for _ in range(100)}
    with pytest.raises(LookupError):
        bandit.draw(rng, forbidden="abc")


@pytest.mark.parametrize(("reward", "cost"), [(-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0), (1, -1), (1, float("nan"))])
def test_a_result_that_is_no_gain_or_no_cost_is_refused_and_changes_nothing(reward, cost):
    bandit = Bandit("ab", "ucb")
    with pytest.raises(ValueError, match="reward is at least 0"):
        bandit.credit("a", reward, cost)
    assert bandit == Bandit("ab", "ucb")


def test_an_arm_competes_once_and_with_a_weight():
    bandit = Bandit("ab", "ucb")
    for arm, weight in (("a", 1.0), ("c", 0.0), ("c", float("inf"))):
        with pytest.raises(ValueError, match=r"the arm '[ac]'"):
            bandit.add(arm, weight)


@pytest.mark.parametrize("wrong", [{"floor": -0.1}, {"floor": 1.1}, {"window": 0}, {"policy": "x"}, {"prompts": "greedy"}])
def test_a_contest_that_makes_no_sense_is_refused(wrong):
    assert TypeAdapter(BanditSettings).validate_python({"models": "ucb", "floor": 0.1}) == BanditSettings(models="ucb", floor=0.1)
    with pytest.raises(ValidationError):
        TypeAdapter(BanditSettings).validate_python(wrong)


ROLES, DIRECTIVES = ("expert", "magoo"), ("significant", "complex")


def bandits(contest=None, models=("large", "small")):
    return Bandits(contest or BanditSettings(), ROLES, DIRECTIVES, {"mutate": 0.75, "eot": 0.25}, models)


def recipe(bandits, rng):
    """As a search draws one: first what to do, then with which prompt, then whom to ask."""
    operator = bandits.draw_operator(rng)
    role, directive = bandits.draw_prompt(rng) if operator == "mutate" else (None, None)
    return Recipe(operator, ("seed",), ("Net",), bandits.draw_model(rng), 0, role, directive)


def test_uniform_for_all_is_the_paper():
    paper = bandits(BanditSettings("uniform", "uniform", "uniform"), models=("a", "a", "b"))
    assert paper.operators.share() == {"mutate": 0.75, "eot": 0.25}
    assert paper.models.share() == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}  # as a choice from the list would be
    assert paper.roles.arms == (None, "expert", "magoo") and paper.directives.arms == ("complex", "significant")
    drawn = Counter(paper.draw_prompt(rng) for rng in [random.Random(0)] for _ in range(6_000))
    assert chi_square(drawn, {(r, d): 1 / 6 for r in paper.roles.arms for d in paper.directives.arms}) < 20.5  # p = 0.001


def test_an_operator_that_is_switched_off_does_not_compete():
    assert Bandits(BanditSettings(), ROLES, DIRECTIVES, {"mutate": 1.0, "eot": 0.0}, ["m"]).operators.arms == ("mutate",)


@pytest.mark.parametrize("seed", SEEDS)
def test_prompt_operator_and_model_that_gain_win_each_in_its_contest(seed):
    contest, rng, chance, in_flight = bandits(), random.Random(seed), random.Random(seed), deque()
    for _ in range(1000):
        in_flight.append(recipe(contest, rng))
        if len(in_flight) > 6:
            done = in_flight.popleft()
            likely = {"eot": 0.0}.get(done.operator, 0.8 if (done.role, done.directive) == ("magoo", "complex") else 0.1)
            gain = chance.expovariate(1) if chance.random() < likely else 0.0
            contest.credit(done, gain, 3.0 if done.model == "large" else 1.0)
    roles, directives = contest.roles.share(), contest.directives.share()
    assert max(roles, key=roles.get) == "magoo" and max(directives, key=directives.get) == "complex"
    assert contest.operators.share()["mutate"] > 0.85
    assert contest.models.share()["small"] > beyond_floor(2, 0.7)


def test_a_result_is_credited_to_what_had_a_part_in_it_and_to_nothing_else():
    rng = random.Random(0)
    for operator, role, directive in (("mate", None, None), ("eot", None, None), ("mutate", "expert", "complex")):
        contest, fresh = bandits(), bandits()
        done = Recipe(operator, ("seed",), ("Net",), "small", 0, role, directive)
        contest.record_draws(done)
        contest.credit(done, 1.0, 2.0)
        assert contest.models != fresh.models
        assert (contest.operators == fresh.operators) == (operator == "mate")
        assert (contest.roles == fresh.roles) == (contest.directives == fresh.directives) == (directive is None)
        contest.draw_prompt(rng)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99), rewards, costs), max_size=60), st.integers(0, 5))
def test_an_interrupted_competition_is_rebuilt_from_its_recipes_and_results(steps, seed):
    contest, again, rng, in_flight, journal = bandits(), bandits(), random.Random(seed), [], []
    for settle, which, reward, cost in steps:
        if settle and in_flight:
            journal.append(("credit", in_flight.pop(which % len(in_flight)), reward, cost))
            contest.credit(*journal[-1][1:])
        else:
            in_flight.append(recipe(contest, rng))
            journal.append(("record_draws", in_flight[-1]))
    for move, *details in journal:
        getattr(again, move)(*details)
    assert again == contest
    assert [recipe(again, random.Random(n)) for n in range(5)] == [recipe(contest, random.Random(n)) for n in range(5)]
