"""Bandits over prompts, operators and models: an arm that brought more for its cost is drawn more often.

A result is a gain (how much better, never negative) and a cost (dollars, seconds: one positive number). An arm is worth
E[gain] / E[cost], as in budgeted bandits (KUBE, Tran-Thanh et al. 2012), so that a cheap failure hurts less than an
expensive one. With `n` results of an arm, the arm drawn is the one with the largest

    (mean gain + width * sigma / sqrt(n)) / mean cost

- `ucb`: width = sqrt(2 ln N). UCB1 (Auer, Cesa-Bianchi, Fischer 2002) in the discounted form of Garivier and Moulines
  (2008), with sigma, the spread of the arm's gains, in place of their range (UCB-V, Audibert, Munos, Szepesvari 2009): few
  candidates gain anything, and a bonus of the size of the range would explore for the whole run.
- `thompson`: width from a standard normal. Gaussian Thompson sampling (Agrawal and Goyal 2013), discounted (Qi, Wang, Zhu 2023).
- `uniform`: nothing is learned; the paper's sampler.

Sigma is the estimate of a normal-gamma prior: a few results with the spread of all arms are added to the arm's own.
Gains are heavy-tailed and shrink as a search matures. They are divided by the median of the recent gains above zero and
cut at a multiple of it (truncated mean, Bubeck, Cesa-Bianchi, Lugosi 2013), so that neither the unit nor one lucky find
decides. Costs are divided by their mean.
A draw whose result has not arrived counts as an average result, as in WU-UCB (Liu et al. 2020). An arm with hardly any
results may have few draws in flight, so that draws spread over the arms.
A new arm starts with one imagined result a sigma above the average, and forgetting leads every arm back to it.

Where weights are a prior (operators), no arm takes all draws: an arm's chance is its weight times the formula's
value, and it starts with an average result. So the shares are those of the weights until results differ, and an arm that
brings twice as much for its cost as the others is drawn twice as often as its weight says.

No I/O. The state depends on the draws and results in their order and on no random number: `record_draw` and `credit` rebuild it.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from agent.population.candidate import Recipe
from agent.search.tally import Scale, Tally

Policy = Literal["uniform", "ucb", "thompson"]
Prompt = tuple[str | None, str]
"""(role or none, directive)."""
Role = str | None
Arm = TypeVar("Arm", bound=Hashable)

_PRIOR = 4.0
"""How many results with the spread of all arms are added to an arm's own."""
_UNTRIED = 3
"""An arm may have this many draws in flight beyond the number of its results, while other arms can be drawn."""


@dataclass(frozen=True)
class BanditSettings:
    """How the search chooses prompts, operators and models. `uniform` for all three is the paper's way."""

    prompts: Policy = "thompson"
    """How a role and a directive are drawn: evenly (`uniform`), or by what they brought (`ucb`, `thompson`)."""
    operators: Policy = "thompson"
    """How an operator is drawn."""
    models: Policy = "thompson"
    """How one of several models is drawn."""
    floor: float = 0.2
    """Share of the draws that is spread evenly, whatever the results."""
    window: float = 50.0
    """How many results of each choice are remembered, on average over the choices. Older ones fade."""

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ValueError("floor is a share, from 0 to 1")
        if not 1 <= self.window < math.inf:
            raise ValueError("window must be at least 1 and finite")


class Bandit(Generic[Arm]):
    """Draws arms and is credited with results. Two bandits are equal if they have the same state."""

    def __init__(
        self,
        arms: Iterable[Arm] | Mapping[Arm, float],
        policy: Policy,
        floor: float = 0.2,
        window: float = 50.0,
        *,
        prior: bool = False,
    ) -> None:
        """Arms in a mapping have a weight: their share of the uniform draws, those of the floor included; else all are alike.

        `floor`, `window`: see `BanditSettings`. `prior`: the weights are where the other draws start, too.
        The order of the arms is part of the state.
        """
        self._policy, self._floor, self._window, self._prior = policy, floor, window, prior
        self._weights: dict[Arm, float] = {}
        self._tallies: dict[Arm, Tally] = {}
        self._scale = Scale()
        for arm, weight in arms.items() if isinstance(arms, Mapping) else ((arm, 1.0) for arm in arms):
            self.add(arm, weight)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bandit) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def learns(self) -> bool:
        """Whether results change the draws."""
        return self._policy != "uniform"

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(self._tallies)

    def add(self, arm: Arm, weight: float = 1.0) -> None:
        """Adds an arm. Raises ValueError if it is there already, or its weight is not positive."""
        if arm in self._tallies or not 0 < weight < math.inf:
            raise ValueError(f"the arm {arm!r} is there already, or its weight {weight} is not positive")
        self._weights[arm], self._tallies[arm] = weight, Tally()

    def remove(self, arm: Arm) -> None:
        """Removes an arm; results that are still to come are ignored. Raises KeyError for an unknown arm."""
        del self._tallies[arm], self._weights[arm]

    def draw(self, rng: random.Random, forbidden: Collection[Arm] = ()) -> Arm:
        """An arm that is not forbidden this time; it is pending until `credit` or `cancel`.

        Raises LookupError if there is none.
        """
        arms = [arm for arm in self._tallies if arm not in forbidden]
        if not arms:
            raise LookupError("no arm to draw")
        if self._policy == "uniform" or rng.random() < self._floor:
            arm = rng.choices(arms, [self._weights[arm] for arm in arms])[0]
        elif self._prior:
            worth = self._worth(rng)
            chances = [self._weights[arm] * worth[arm] for arm in arms]
            arm = rng.choices(arms, chances if any(chances) else [self._weights[arm] for arm in arms])[0]
        else:
            arms = [a for a in arms if self._tallies[a].pending <= self._tallies[a].count + _UNTRIED] or arms
            worth = self._worth(rng)
            best = max(worth[arm] for arm in arms)
            arm = rng.choice([arm for arm in arms if worth[arm] == best])
        self.record_draw(arm)
        return arm

    def record_draw(self, arm: Arm) -> None:
        """Count a draw as pending, also one of an earlier process. An unknown arm is ignored."""
        if tally := self._tallies.get(arm):
            tally.pending += 1

    def cancel(self, arm: Arm) -> None:
        """Takes a draw back that will have no result."""
        tally = self._tallies.get(arm)
        if tally and tally.pending:
            tally.pending -= 1

    def credit(self, arm: Arm, reward: float, cost: float) -> None:
        """Adds the result of a draw. An arm that was never drawn is credited too; an unknown arm is ignored.

        Raises ValueError unless the reward is finite and not negative, the cost finite and positive.
        """
        if not (0 <= reward < math.inf and 0 < cost < math.inf):
            raise ValueError(f"a reward is at least 0 and a cost above 0, both finite: {reward=}, {cost=}")
        if arm not in self._tallies:
            return
        self.cancel(arm)
        gain = self._scale.measure(reward)
        keep = 1 - 1 / (self._window * len(self._tallies))
        for tally in self._tallies.values():
            tally.fade(keep)
        self._tallies[arm].add(gain, cost)

    def share(self) -> dict[Arm, float]:
        """The share of the recent draws that each arm had, at least its floor: an estimate for the next draws."""
        total = sum(self._weights.values())
        even = {arm: weight / total for arm, weight in self._weights.items()}
        if self._policy == "uniform":
            return even
        had = {arm: tally.count + tally.pending for arm, tally in self._tallies.items()}
        drawn = sum(had.values())
        above = {arm: max(0.0, had[arm] / drawn - self._floor * even[arm]) if drawn else even[arm] for arm in had}
        rest = sum(above.values())
        return {arm: self._floor * even[arm] + (1 - self._floor) * (above[arm] / rest if rest else even[arm]) for arm in had}

    def _worth(self, rng: random.Random) -> dict[Arm, float]:
        """The formula at the top for each arm, with imagined results added to the known ones.

        A gain of 0 and a typical gain of 1 are always added to all results, so that the average and sigma are never 0.
        """
        tallies = self._tallies.values()
        known, pending = sum([t.count for t in tallies]), sum([t.pending for t in tallies])
        errors = [t.errors() for t in tallies]
        average = (1.0 + sum([t.gain for t in tallies])) / (2.0 + known)
        variance = (0.5 + sum(errors)) / (2.0 + known)
        price = sum([t.cost for t in tallies]) / known if known else 1.0
        start = average + (0.0 if self._prior else math.sqrt(variance))
        width, thompson = math.sqrt(2 * math.log(2.0 + known + pending)), self._policy == "thompson"
        worth = {}
        for (arm, tally), error in zip(self._tallies.items(), errors, strict=True):
            imagined = 1 + tally.pending
            n = tally.count + imagined
            mean = (tally.gain + tally.pending * average + start) / n
            sigma_n = math.sqrt((error + _PRIOR * variance) / ((tally.count + _PRIOR) * n))
            high = mean + (rng.gauss(0.0, 1.0) if thompson else width) * sigma_n
            worth[arm] = high * n / (tally.cost / price + imagined) if high > 0 else 0.0
        return worth


class Bandits:
    """The bandits over roles, directives, operators and models. A recipe draws from those it needs; its result is credited
    to each. Roles and directives are chosen apart: four and six arms are told apart in a run, their 24 pairs are not.

    Each may be used directly: `add` for a late arm, `cancel` for an operator that had nothing to work on, `share`.
    """

    def __init__(
        self,
        settings: BanditSettings,
        roles: Iterable[str],
        directives: Iterable[str],
        operators: Mapping[str, float],
        models: Sequence[str],
    ) -> None:
        """`operators`: the share of each, from which results move it; 0: never drawn. A model named twice has double weight."""
        floor, window = settings.floor, settings.window
        self.roles: Bandit[Role] = Bandit((None, *sorted(roles)), settings.prompts, floor, window)
        self.directives: Bandit[str] = Bandit(sorted(directives), settings.prompts, floor, window)
        weighted = {name: weight for name, weight in operators.items() if weight}
        self.operators: Bandit[str] = Bandit(weighted, settings.operators, floor, window, prior=True)
        self.models: Bandit[str] = Bandit(Counter(models), settings.models, floor, window)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bandits) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def draw_prompt(self, rng: random.Random, forbidden: Collection[str] = ()) -> Prompt:
        """A role and a directive. `forbidden`: directives, at least one of which is left."""
        return self.roles.draw(rng), self.directives.draw(rng, forbidden)

    def draw_operator(self, rng: random.Random, forbidden: Collection[str] = ()) -> str:
        return self.operators.draw(rng, forbidden)

    def draw_model(self, rng: random.Random, forbidden: Collection[str] = ()) -> str:
        return self.models.draw(rng, forbidden)

    def record_draws(self, recipe: Recipe) -> None:
        """Count the draws of a recipe that an earlier process made."""
        self.operators.record_draw(recipe.operator)
        self.models.record_draw(recipe.model)
        if recipe.directive is not None:
            self.roles.record_draw(recipe.role)
            self.directives.record_draw(recipe.directive)

    def credit(self, recipe: Recipe, reward: float, cost: float, model: str | None = None) -> None:
        """Credit the bandits with the result of a recipe, see `Bandit.credit`. The reward of a failure or duplicate is 0.

        A candidate of two recipes is credited to both, each time with the whole reward and cost. `model`: the one that
        answered; if failover replaced the drawn one, that one is credited with 0.
        """
        self.operators.credit(recipe.operator, reward, cost)
        if model is not None and model != recipe.model:
            self.models.credit(recipe.model, 0.0, cost)
            self.models.credit(model, reward, cost)
        else:
            self.models.credit(recipe.model, reward, cost)
        if recipe.directive is not None:
            self.roles.credit(recipe.role, reward, cost)
            self.directives.credit(recipe.directive, reward, cost)
