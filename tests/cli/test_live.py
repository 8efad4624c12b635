"""The live view of a run: what it counts, and that its output never ends the run."""

import io
import os

from agent.cli.live import Live
from agent.core.objectives import Fitness
from agent.core.verdicts import Verdict, Verdicts
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import (
    Bred,
    NoiseMeasured,
    ProgressReported,
    Proposed,
    Repaired,
    Retrained,
    RunStarted,
    SealOpened,
    SearchEnded,
    SeedRepeated,
    SeedTraining,
    Settled,
    ShortlistFrozen,
    VerdictsReached,
)
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe, Variant
from sandbox.tasks.common.job import Progress

RECIPE = Recipe("mutate", (SEED_ID,), ("Net",), "m", 1)
GENOME = Genome({"model.py": "x = 1\n"})


def test_it_counts_what_is_bred_and_what_is_evaluated(monkeypatch, capsys):
    first, second, third = (Candidate(f"000{n}", 2, (RECIPE,)) for n in (1, 2, 3))
    with Live("night") as live:
        for event in (Proposed(first), Proposed(second), Proposed(third), Bred(Variant(first, GENOME))):
            live.see(event)
        assert str(live._head()).startswith("248 candidates planned   proposed 3   trained 0")
        assert str(live._head()).endswith("breeding 2   in evaluation 1")
        live.see(Repaired(Variant(first, GENOME), "it did not build"))
        live.see(Settled(Individual(first, GENOME, Fitness({"accuracy": 0.5}))))
        live.see(Settled(Failure(second, "answer", "no [bold]code[/bold]")))
        assert str(live._head()).endswith("invalid 1   failed 0   duplicate 0   breeding 1   in evaluation 0")
    shown = capsys.readouterr().err
    assert "0001  mutate Net: accuracy 0.5" in shown
    assert "0002  mutate Net: stopped at answer: no [bold]code[/bold]" in shown


def test_it_says_what_goes_on_while_the_seed_trains(capsys):
    seed = Individual(Candidate(SEED_ID, 0), GENOME, Fitness({"accuracy": 0.5}))
    with Live("night") as live:
        live.see(SeedTraining(0, 3))
        assert str(live._head()) == "training the seed"
        live.see(Settled(seed))
        live.see(SeedTraining(1, 3))
        live.see(ProgressReported("seed/1", Progress(1, 2, 3, 4, 0.5, 0.5)))
        assert str(live._head()) == "measuring the noise: 1 of 3 trainings of the seed are made"
        live.see(SeedRepeated(1, Fitness({"accuracy": 0.4}), "", 1.0))
        live.see(SeedTraining(2, 3))
        assert not live._progress
        live.see(NoiseMeasured(None, WorthScale(())))
        assert str(live._head()).startswith("248 candidates planned")
    shown = capsys.readouterr().err.splitlines()
    assert shown[:4] == [
        "night: checking the settings and the seed",
        "training the seed",
        "seed: accuracy 0.5  in 0.0 s",
        "measuring the noise: 1 of 3 trainings of the seed are made",
    ]


def test_of_many_changes_since_the_last_start_the_first_are_named(capsys):
    config = {"search": {}, "task": {"name": "image-classification"}}
    with Live("night") as live:
        live.see(RunStarted(config, "full", (), accepted=tuple(f"file {n}" for n in range(150))))
    shown = capsys.readouterr().err
    assert "accepted: file 9\n" in shown and "file 10" not in shown and "and 140 more changes" in shown


def test_output_that_cannot_be_written_does_not_end_a_run(monkeypatch):
    """Neither a pipe whose reader has gone nor a line that a signal's handler broke into ends it."""
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr("sys.stderr", os.fdopen(write, "w", buffering=1))
    with Live("night") as live:
        for _ in range(3):
            live.print_line("is anybody there?")

    class Broken(io.StringIO):
        def write(self, text):
            raise RuntimeError("reentrant call")

    monkeypatch.setattr("sys.stderr", Broken())
    with Live("night") as live:
        live.print_line("is anybody there?")


def test_it_follows_a_confirmation(monkeypatch, capsys):
    values = {"accuracy": 0.9, "parameters": 9.0, "memory": 250.0}
    frozen = ShortlistFrozen(
        1, {SEED_ID: {"accuracy": 0.9, "parameters": 9.0}, "null-1": None, "0007": dict(values)}, {"null-1": {}},
        ((SEED_ID, 7), ("null-1", 8), ("0007", 9)), 2.0, True, "its own", left_out=3,
    )  # fmt: skip
    verdicts = (
        Verdict(SEED_ID, "seed", None, "", 1, (), {}),
        Verdict("null-1", "null", "better", "confirmed better on accuracy", 1, (), {}),
        Verdict("0007", "member", "undecided", "undecided: 1 of its trainings", 1, (), {}),
    )
    with Live("night") as live:
        for event in (
            SearchEnded("finished", "hours: all used"),
            frozen,
            SealOpened(1),
            ProgressReported("0007/9", Progress(1, 2, 3, 4, 0.5, 0.5)),
            Retrained(1, "0007", 9, values, {**values, "accuracy": 0.8}, "", 1.0),
            Retrained(1, "null-1", 8, None, None, "fit: [bold]NaN[/bold]", 1.0),
        ):
            live.see(event)
        assert str(live._head()) == "confirming the front: 2 of 3 trainings made by this process"
        assert not live._progress
        live.see(VerdictsReached(1, Verdicts(verdicts, 1, 2.0, {}, "failed", True)))
        assert str(live._head()).startswith("248 candidates planned")
    shown = capsys.readouterr().err
    for line in (
        "the search is over (hours: all used); its front is confirmed now",
        "to be confirmed: 0007 (3 more of the front are not); with the seed and 1 copies of it, 1 trainings each",
        "the sealed test split is opened, by confirmation 1 of this run",
        "confirming 0007, training seed 9: accuracy 0.9  parameters 9; test: accuracy 0.8  parameters 9\n",
        "confirming null-1, training seed 8: failed at fit: [bold]NaN[/bold]",
        "0007: undecided: 1 of its trainings",
        "THE CHECK FAILED",
    ):
        assert line in shown, line
