"""A small run as a list of events: candidates of every outcome, one of them in flight."""

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Asked, Bred, Committed, GenerationEnded, Proposed, RunStarted, Settled
from agent.llm import Completion, Message, Usage
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Recipe, Variant

SOURCE = "class Net:\n    width = 8\n\n\ndef rate():\n    return 1\n"
CONFIG = {"objectives": {"accuracy": "max", "parameters": "min"}, "search": {"generations": 2, "schedule": "generational"}}


def genome(width, rate=1):
    return Genome({"model.py": SOURCE.replace("8", str(width)).replace("return 1", f"return {rate}")})


def fitness(accuracy, parameters):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def candidate(id, generation=0, **recipe):
    return Candidate(id, generation, (Recipe(**{**MUTATION, **recipe}),))


MUTATION = {
    "operator": "mutate", "parents": (SEED_ID,), "blocks": ("Net",), "model": "gpt-x", "seed": 1,
    "role": "expert", "directive": "complex", "temperature": 0.3,
}  # fmt: skip


def asked(id, call, text="Improve it.", model="gpt-x"):
    return Asked(id, call, model, (Message("system", "You are."), Message("user", text)), 0.3, None)


def answered(id, call, usd, tokens=(10, 5), text="code"):
    return Answered(id, call, Completion(text, "stop", Usage(*tokens), usd, 1.0, "gpt-x"))


def bred(candidate, genes):
    return Bred(Variant(candidate, genes, f"try {candidate.id}"))


def trained(candidate, genes, measured, seconds=1.0):
    evidence = Evidence({"fit": seconds, "predict": seconds / 4}, 1000, ((1.0, 0.5),), {"Net": 3}, {}, (), "full", ("seccomp",))
    return Settled(Individual(candidate, genes, measured, evidence))


BETTER, SMALLER, WORSE = candidate("0001"), candidate("0002"), candidate("0003", blocks=("rate",), role=None)
TWIN, BROKEN, BLANK = candidate("0004", 1), candidate("0005", 1), candidate("0006", 1, model="free")
MATED = Candidate(
    "0007", 2,
    (
        Recipe("mate", ("0001", "0002"), ("Net",), "gpt-x", 2, temperature=0.1),
        Recipe("eot", ("0001",), ("rate",), "other", 3, elite="0002", example="Net", temperature=0.9),
    ),
)  # fmt: skip
EVENTS = (
    RunStarted(CONFIG, "full", ("seccomp",)),
    Settled(Individual(Candidate(SEED_ID, 0), genome(8), fitness(0.5, 100.0), Evidence({"fit": 2.0}))),
    Committed(SEED_ID, "evolve/night/seed", "a" * 40),
    Proposed(BETTER), asked("0001", 0), answered("0001", 0, 0.25), bred(BETTER, genome(9)),
    trained(BETTER, genome(9), fitness(0.9, 100.0)), Committed("0001", "evolve/night/0001", "b" * 40),
    Proposed(SMALLER), asked("0002", 0), answered("0002", 0, 0.5), bred(SMALLER, genome(4)),
    trained(SMALLER, genome(4), fitness(0.6, 50.0)),
    Proposed(WORSE), asked("0003", 0), answered("0003", 0, None), bred(WORSE, genome(8, 2)),
    trained(WORSE, genome(8, 2), fitness(0.4, 100.0)),
    GenerationEnded(0, ("0001", "0002", "0003"), ("0001",), ("0001", "0002"), 1.5),
    Proposed(TWIN), asked("0004", 0), answered("0004", 0, 0.0), bred(TWIN, genome(4)), Settled(Duplicate(TWIN, "0002")),
    Proposed(BROKEN), asked("0005", 0), answered("0005", 0, 1.0), bred(BROKEN, genome(7)),
    Settled(Failure(BROKEN, "fit", "out of memory", "Traceback")),
    Proposed(BLANK), asked("0006", 0, model="free"), answered("0006", 0, 0.0, text="no"),
    asked("0006", 1, "Again."), answered("0006", 1, 0.125, text="still no"),
    Settled(Failure(BLANK, "answer", "no code")),
    GenerationEnded(1, ("0001", "0002", "0003"), ("0001",), ("0001", "0002"), 1.5),
    Proposed(MATED), asked("0007", 0),
)  # fmt: skip
