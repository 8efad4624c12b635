"""A run in small for tests of the budget: a clock set by hand, events, and the loop of a steady run."""

import heapq
import itertools
from collections import deque
from datetime import datetime
from zoneinfo import ZoneInfo

from agent.budget import Budget, Clock, Guess, RunLimits
from agent.budget.clock import RunTime
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Asked, Bred, Proposed, RunStarted, Settled
from agent.llm import Completion, Usage
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Variant

BERLIN = ZoneInfo("Europe/Berlin")
GENOME = Genome({"model.py": "class Net:\n    width = 8\n"})
SEED = Individual(Candidate(SEED_ID, 0), GENOME, Fitness({"accuracy": 0.5}), Evidence({"fit": 40.0, "predict": 20.0}))
START = RunStarted({}, "full", ())


def at(text, zone=BERLIN):
    """A moment from its local time; of two the first."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


class ManualClock:
    """A clock that is set by hand."""

    def __init__(self, wall=None):
        self.seconds, self.wall = 1000.0, at("2025-06-01 22:00") if wall is None else wall
        self.clock = Clock(lambda: self.seconds, lambda: self.wall, BERLIN)

    def pass_(self, seconds):
        self.seconds += seconds
        self.wall += seconds

    def time(self, budget):
        return RunTime(budget.spend.seconds, budget.spend.started, self.wall, BERLIN)


def start_budget(manual, guess=None, slots=1, concurrency=1, **limits):
    budget = Budget(RunLimits(**limits), slots=slots, concurrency=concurrency, clock=manual.clock, guess=guess or Guess())
    budget.see(START)
    return budget


def answer(usd, tokens=(0, 0), seconds=1.0):
    return Completion("code", "stop", Usage(*tokens), usd, seconds, "gpt-x")


def draw(budget, *ids):
    for id in ids:
        budget.see(Proposed(Candidate(id, 0)))


def ask(budget, id, call=0):
    budget.see(Asked(id, call, "gpt-x", (), None, None))


def breed(budget, id, usd=0.0, tokens=(0, 0), seconds=1.0):
    """Propose a candidate and breed it with one call."""
    draw(budget, id)
    ask(budget, id)
    budget.see(Answered(id, 0, answer(usd, tokens, seconds)))
    budget.see(Bred(Variant(Candidate(id, 0), GENOME)))


def settle(budget, id, seconds=None, gpus=0.0):
    """Settle a candidate: trained if it was evaluated, else a duplicate."""
    candidate = Candidate(id, 0)
    trained = Individual(candidate, GENOME, Fitness({"accuracy": 0.5}))
    budget.see(Settled(Duplicate(candidate, SEED_ID) if seconds is None else trained, seconds, gpus))


def run_candidate(budget, id, usd=0.0, tokens=(0, 0), seconds=None, gpus=0.0):
    breed(budget, id, usd, tokens)
    settle(budget, id, seconds, gpus)


class Run:
    """A steady run on a clock by hand: the product's loop in small, with chance for the models and the machine."""

    def __init__(self, budget, manual, chance, *, slots, concurrency, ahead, cost, breed_seconds, evaluate_seconds, gpus=1.0):
        self.budget, self.manual, self.chance = budget, manual, chance
        self.slots, self.concurrency, self.ahead = slots, concurrency, ahead
        self.cost, self.breed_seconds, self.evaluate_seconds, self.gpus = cost, breed_seconds, evaluate_seconds, gpus
        self.record = budget.see
        self.paid, self.costs, self.settled, self.refusal = [], {}, 0, None
        self.last_out = []
        self._ids = (f"{n:04d}" for n in itertools.count(1))
        self._plan = itertools.count()

    def go(self, stop=lambda run: False):
        """Run until nothing is under way, or `stop` returns true."""
        events, took = [], {}
        proposed, breeding, ready, running = deque(), set(), deque(), set()
        while not stop(self):
            while not self.refusal and len(proposed) + len(breeding) + len(ready) < self.ahead:
                self.refusal = self.budget.admits_breeding()
                if not self.refusal:
                    proposed.append(id := next(self._ids))
                    self.costs[id] = self.cost(self.chance)
                    self.record(Proposed(Candidate(id, 0)))
            while proposed and len(breeding) < self.concurrency:
                id = proposed.popleft()
                if self.budget.admits_call(id):
                    continue
                breeding.add(id)
                self.last_out = list(breeding)
                self.record(Asked(id, 0, "gpt-x", (), None, None))
                took[id] = self.breed_seconds(self.chance)
                heapq.heappush(events, (self.manual.seconds + took[id], next(self._plan), id))
            while ready and len(running) < self.slots:
                id = ready.popleft()
                if not self.budget.admits_evaluation(id):
                    running.add(id)
                    took[id] = self.evaluate_seconds(self.chance)
                    heapq.heappush(events, (self.manual.seconds + took[id], next(self._plan), id))
            if not events:
                return self
            moment, _, id = heapq.heappop(events)
            self.manual.pass_(moment - self.manual.seconds)
            candidate = Candidate(id, 0)
            if id in breeding:
                breeding.remove(id)
                self.paid.append(self.costs[id])
                self.record(Answered(id, 0, answer(self.costs[id], (100, 50), took[id])))
                if self.chance.random() < 0.2:
                    self.settled += 1
                    self.record(Settled(Failure(candidate, "contract", "no code")))
                else:
                    self.record(Bred(Variant(candidate, GENOME)))
                    ready.append(id)
            else:
                running.remove(id)
                self.settled += 1
                self.record(Settled(Individual(candidate, GENOME, Fitness({})), took[id], self.gpus))
        return self
