"""Prompts, operators and models compete for the budget: what brought more for its cost is drawn more often.

A result is a gain (how much better, never negative) and a cost (dollars, seconds: one positive number). An arm is worth
E[gain] / E[cost], the order of the budgeted bandits (KUBE, Tran-Thanh et al. 2012), so that a cheap failure hurts less than a
dear one. With `n` results of an arm, the one drawn is that with the largest

    (mean gain + width * sigma / sqrt(n)) / mean cost

- `ucb`: width = sqrt(2 ln N). UCB1 (Auer, Cesa-Bianchi, Fischer 2002) in the discounted form of Garivier and Moulines
  (2008), with the spread of all recent gains, sigma, in place of their range: few children gain anything, and a bonus of
  the size of the range would explore for the whole run.
- `thompson`: width from a standard normal. Gaussian Thompson sampling (Agrawal and Goyal 2013), discounted (Raj and Kalyani 2017).
- `uniform`: nothing is learned; the paper's draws.

Gains are heavy-tailed and shrink as a search matures: they are cut at a high quantile of the recent ones (truncated mean,
Bubeck, Cesa-Bianchi, Lugosi 2013) and divided by it, so no unit and no lucky find decides. Costs are divided by their mean.
A draw whose result has not arrived counts as an average one, as in WU-UCB (Liu et al. 2020): many draws in flight spread.
A new arm starts with one imagined result a sigma above the average, and forgetting leads every arm back to it.

No I/O. The state follows from the draws and results in their order, and from no random number: `drawn` and `credit` rebuild it.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from agent.individual import Recipe

Policy = Literal["uniform", "ucb", "thompson"]
Prompt = tuple[str | None, str]
"""(role or none, directive)."""
Arm = TypeVar("Arm", bound=Hashable)

_GAINS = 100
"""So many of the last gains above zero give the scale."""
_CUT = 0.05
"""This share of them, the largest, is cut."""


@dataclass(frozen=True)
class Contest:
    """How prompts, operators and models are drawn; `uniform` for all three is the paper."""

    prompts: Policy = "thompson"
    operators: Policy = "thompson"
    models: Policy = "thompson"
    floor: float = 0.2
    """This share of the draws is spread over all arms whatever they brought."""
    window: float = 50.0
    """So many results of each arm are remembered, on average over the arms; older ones fade."""

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ValueError("floor is a share, from 0 to 1")
        if not 1 <= self.window < math.inf:
            raise ValueError("window must be at least 1 and finite")


@dataclass(slots=True)
class _Tally:
    """The faded sums over results; a gain is in units of the scale at its time, from 0 to 1."""

    count: float = 0.0
    gain: float = 0.0
    square: float = 0.0
    """Of the gains."""
    cost: float = 0.0
    pending: int = 0
    """Draws whose result has not arrived; they do not fade."""

    def fade(self, keep: float) -> None:
        self.count *= keep
        self.gain *= keep
        self.square *= keep
        self.cost *= keep

    def add(self, gain: float, cost: float) -> None:
        self.count += 1
        self.gain += gain
        self.square += gain * gain
        self.cost += cost


class Bandit(Generic[Arm]):
    """Arms that are drawn and credited. Two are equal if they have the same state."""

    def __init__(
        self, arms: Iterable[Arm] | Mapping[Arm, float], policy: Policy, floor: float = 0.2, window: float = 50.0
    ) -> None:
        """Arms in a mapping have a weight: their share of the uniform draws, those of the floor included; else all are alike.

        `floor`, `window`: see `Contest`. The order of the arms is part of the state.
        """
        self._policy, self._floor, self._window = policy, floor, window
        self._weights: dict[Arm, float] = {}
        self._tallies: dict[Arm, _Tally] = {}
        self._all = _Tally()
        self._scale = _Scale()
        for arm, weight in arms.items() if isinstance(arms, Mapping) else ((arm, 1.0) for arm in arms):
            self.add(arm, weight)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bandit) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(self._tallies)

    def add(self, arm: Arm, weight: float = 1.0) -> None:
        """Competes from now on. Raises ValueError if it does already."""
        if arm in self._tallies or not 0 < weight < math.inf:
            raise ValueError(f"the arm {arm!r} is there already, or its weight {weight} is not positive")
        self._weights[arm], self._tallies[arm] = weight, _Tally()

    def remove(self, arm: Arm) -> None:
        """Not drawn any more; results that are still to come are ignored. Raises KeyError for a stranger."""
        self._all.pending -= self._tallies.pop(arm).pending
        del self._weights[arm]

    def draw(self, rng: random.Random, forbidden: Collection[Arm] = ()) -> Arm:
        """An arm that is not forbidden this time. It is pending until `credit` or `cancel`. Raises LookupError if none is left."""
        arms = [arm for arm in self._tallies if arm not in forbidden]
        if not arms:
            raise LookupError("no arm to draw")
        if self._policy == "uniform" or rng.random() < self._floor:
            arm = rng.choices(arms, [self._weights[arm] for arm in arms])[0]
        else:
            worth = self._worth(arms, rng)
            best = max(worth)
            arm = rng.choice([arm for arm, value in zip(arms, worth, strict=True) if value == best])
        self.drawn(arm)
        return arm

    def drawn(self, arm: Arm) -> None:
        """What `draw` does to the state: for draws that an earlier process made. A stranger is ignored."""
        if tally := self._tallies.get(arm):
            tally.pending += 1
            self._all.pending += 1

    def cancel(self, arm: Arm) -> None:
        """The draw came to nothing and will have no result: as if it had not been."""
        tally = self._tallies.get(arm)
        if tally and tally.pending:
            tally.pending -= 1
            self._all.pending -= 1

    def credit(self, arm: Arm, reward: float, cost: float) -> None:
        """The result of a draw; one that was never drawn counts as well, a stranger is ignored.

        Raises ValueError unless the reward is finite and not negative, the cost finite and positive.
        """
        if not (0 <= reward < math.inf and 0 < cost < math.inf):
            raise ValueError(f"a reward is at least 0 and a cost above 0, both finite: {reward=}, {cost=}")
        if arm not in self._tallies:
            return
        self.cancel(arm)
        gain = self._scale.measure(reward)
        keep = 1 - 1 / (self._window * len(self._tallies))
        for tally in (self._all, *self._tallies.values()):
            tally.fade(keep)
        for tally in (self._all, self._tallies[arm]):
            tally.add(gain, cost)

    def share(self) -> dict[Arm, float]:
        """The part of the recent draws that each arm had, at least its floor: what it can expect of the next ones."""
        total = sum(self._weights.values())
        even = {arm: weight / total for arm, weight in self._weights.items()}
        if self._policy == "uniform":
            return even
        had = {arm: tally.count + tally.pending for arm, tally in self._tallies.items()}
        drawn = sum(had.values())
        above = {arm: max(0.0, had[arm] / drawn - self._floor * even[arm]) if drawn else even[arm] for arm in had}
        rest = sum(above.values())
        return {arm: self._floor * even[arm] + (1 - self._floor) * (above[arm] / rest if rest else even[arm]) for arm in had}

    def _worth(self, arms: Sequence[Arm], rng: random.Random) -> list[float]:
        """The optimistic gain for its cost of each arm: the formula at the top, with what is imagined added to what is known.

        One gain of 0 and one of 1 are always imagined among all results, so that the average and sigma are never 0.
        """
        everything, sqrt, gauss, thompson = self._all, math.sqrt, rng.gauss, self._policy == "thompson"
        average = (everything.gain + 1) / (everything.count + 2)
        sigma = sqrt((everything.square + 1) / (everything.count + 2) - average * average)
        price = everything.cost / everything.count if everything.count else 1.0
        width = sqrt(2 * math.log1p(everything.count + everything.pending))
        start = average + sigma
        worth = []
        for arm in arms:
            tally = self._tallies[arm]
            imagined = 1 + tally.pending
            n = tally.count + imagined
            mean = (tally.gain + start + tally.pending * average) / n
            cost = (tally.cost / price + imagined) / n
            spread = gauss(0.0, 1.0) if thompson else width
            worth.append(max(0.0, mean + spread * sigma / sqrt(n)) / cost)
        return worth


class _Scale:
    """Gains in units of a large recent one, from 0 to 1."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scale) and self._recent == other._recent

    __hash__ = None  # type: ignore[assignment]

    def measure(self, reward: float) -> float:
        """The reward itself is among those that it is compared with: the first one is 1."""
        if reward == 0:
            return 0.0
        self._recent.append(reward)
        insort(self._ordered, reward)
        if len(self._recent) > _GAINS:
            del self._ordered[bisect_left(self._ordered, self._recent.popleft())]
        cut = self._ordered[-1 - int(_CUT * len(self._ordered))]
        return min(1.0, reward / cut)


class Competition:
    """Three bandits. A recipe draws from those it needs, and its result is credited to all that had a part in it.

    The bandits may be used directly: `add` for a late arm, `cancel` for an operator that had nothing to work on, `share`.
    """

    def __init__(
        self,
        contest: Contest,
        roles: Iterable[str],
        directives: Iterable[str],
        operators: Mapping[str, float],
        models: Sequence[str],
    ) -> None:
        """`operators`: the share of each in the paper's draws; one with 0 does not compete. A model named twice weighs double."""
        named = sorted(directives)
        prompts: list[Prompt] = [(role, directive) for role in (None, *sorted(roles)) for directive in named]
        floor, window = contest.floor, contest.window
        self.prompts: Bandit[Prompt] = Bandit(prompts, contest.prompts, floor, window)
        weighted = {name: weight for name, weight in operators.items() if weight}
        self.operators: Bandit[str] = Bandit(weighted, contest.operators, floor, window)
        self.models: Bandit[str] = Bandit(Counter(models), contest.models, floor, window)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Competition) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def draw_prompt(self, rng: random.Random, forbidden: Collection[Prompt] = ()) -> Prompt:
        return self.prompts.draw(rng, forbidden)

    def draw_operator(self, rng: random.Random, forbidden: Collection[str] = ()) -> str:
        return self.operators.draw(rng, forbidden)

    def draw_model(self, rng: random.Random, forbidden: Collection[str] = ()) -> str:
        return self.models.draw(rng, forbidden)

    def drawn(self, recipe: Recipe) -> None:
        """A recipe that an earlier process drew: the state becomes what it was after that."""
        self.operators.drawn(recipe.operator)
        self.models.drawn(recipe.model)
        if recipe.directive is not None:
            self.prompts.drawn((recipe.role, recipe.directive))

    def cancelled(self, recipe: Recipe) -> None:
        """A recipe that was drawn and will never be settled."""
        self.operators.cancel(recipe.operator)
        self.models.cancel(recipe.model)
        if recipe.directive is not None:
            self.prompts.cancel((recipe.role, recipe.directive))

    def settled(self, recipe: Recipe, reward: float, cost: float) -> None:
        """What came of it: 0 for a failure or a duplicate. See `Bandit.credit`.

        A child of two recipes settles both, each with the whole reward and cost.
        """
        self.operators.credit(recipe.operator, reward, cost)
        self.models.credit(recipe.model, reward, cost)
        if recipe.directive is not None:
            self.prompts.credit((recipe.role, recipe.directive), reward, cost)
