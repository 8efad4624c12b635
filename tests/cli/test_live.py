"""The live view of a run: what it counts, and that its output never ends the run."""

import io
import os

from agent.cli.live import Live
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Bred, Proposed, Repaired, RunStarted, Settled
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe, Variant

RECIPE = Recipe("mutate", (SEED_ID,), ("Net",), "m", 1)
GENOME = Genome({"model.py": "x = 1\n"})


def test_it_counts_what_is_bred_and_what_is_evaluated(monkeypatch, capsys):
    first, second, third = (Candidate(f"000{n}", 2, (RECIPE,)) for n in (1, 2, 3))
    with Live("night") as live:
        for event in (Proposed(first), Proposed(second), Proposed(third), Bred(Variant(first, GENOME))):
            live.see(event)
        assert str(live._head()).startswith("272 candidates planned   proposed 3   trained 0")
        assert str(live._head()).endswith("breeding 2   in evaluation 1")
        live.see(Repaired(Variant(first, GENOME), "it did not build"))
        live.see(Settled(Individual(first, GENOME, Fitness({"accuracy": 0.5}))))
        live.see(Settled(Failure(second, "answer", "no [bold]code[/bold]")))
        assert str(live._head()).endswith("invalid 1   failed 0   duplicate 0   breeding 1   in evaluation 0")
    shown = capsys.readouterr().err
    assert "0001  mutate Net: accuracy 0.5" in shown
    assert "0002  mutate Net: stopped at answer: no [bold]code[/bold]" in shown


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
