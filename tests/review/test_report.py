"""The report, from a journal written event by event; hostile text stays text."""

from contextlib import closing
from html.parser import HTMLParser

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.journal.confirmations import read_confirmations
from agent.journal.events import (
    Answered,
    Bred,
    Committed,
    Learned,
    Proposed,
    Retrained,
    RunEnded,
    RunStarted,
    SealOpened,
    SeedRepeated,
    Settled,
    ShortlistFrozen,
    VerdictsReached,
)
from agent.journal.store import Journal
from agent.llm import Completion, Usage
from agent.memory import lesson_of
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe, Variant
from agent.review.report import write_report
from agent.review.status import status

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 1000})
EVIL = "<script>alert(1)</script> `x` | \x1b[31m [link](javascript:alert(1)) </pre><img src=x onerror=alert(1)>"


def individual(id, accuracy, parameters, text="def a():\n    return 1\n", **options):
    recipes = (Recipe("mutate", (SEED_ID,), ("a",), "m", 1, None, "complex"),) if id != SEED_ID else ()
    fitness = Fitness({"accuracy": accuracy, "parameters": parameters})
    return Individual(Candidate(id, 0, recipes), Genome({"model.py": text}), fitness, **options)


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        config = {"objectives": {"accuracy": "max", "parameters": "min"}, "search": {}, "llm": {"models": ["m"]}}
        journal.record(RunStarted(config, "full", ()))
        seed = individual(SEED_ID, 0.5, 1000)
        journal.record(Settled(seed))
        for number, accuracy in ((1, 0.49), (2, 0.51)):
            journal.record(SeedRepeated(number, Fitness({"accuracy": accuracy, "parameters": 1000}), "", 1.0))
        better = individual("0001", 0.56, 900, f"def a():\n    return {EVIL!r}\n", intention=EVIL)
        journal.record(Proposed(better.candidate))
        journal.record(Answered("0001", 0, Completion(f"Intention: {EVIL}", "stop", Usage(10, 5), 0.25, 1.0, "m")))
        journal.record(Bred(Variant(better.candidate, better.genome, EVIL)))
        journal.record(Settled(better))
        journal.record(Committed("0001", "evolve/r/0001", "0" * 40))
        journal.record(Learned(lesson_of(better, seed, f"Intention: {EVIL}\n", (), OBJECTIVES, NOISE)))
        worse = Candidate("0002", 0, better.candidate.recipes)
        journal.record(Proposed(worse))
        journal.record(Settled(Failure(worse, "fit", f"ValueError: {EVIL}")))
        journal.record(RunEnded("failed", f"1 times: {EVIL}"))
        yield journal


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.attributes, self.text = [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data


def test_it_reports_the_results_of_the_run(journal, tmp_path):
    write_report(journal, "night", tmp_path / "r.html", tmp_path / "r.md")
    page, text = Tags((tmp_path / "r.html").read_text()), (tmp_path / "r.md").read_text()
    for told in (page.text, text):
        assert "evolve/r/0001" in told and "0.25 USD" in told and "1 trained" in told and "1 failed" in told
        assert "0.56 (+6.0 sigma, " in told and "900 (-10.0%)" in told and "accuracy 0.01" in told
        assert "Best of 1: " in told and "is expected by luck alone" in told
        assert "isolation full" in told
        assert "0.2500 USD for each trained variant" in told and "tokens and " in told
    assert page.found.count("svg") == 2 and page.found.count("circle") == 3  # trained, front, seed
    assert not [name for name in tmp_path.iterdir() if name.suffix == ".tmp"]


def test_hostile_text_is_text_on_the_page_and_a_code_span_in_markdown(journal, tmp_path):
    write_report(journal, "night", tmp_path / "r.html", tmp_path / "r.md")
    page = Tags((tmp_path / "r.html").read_text())
    assert not {"script", "img", "a"} & set(page.found) and not [a for a in page.attributes if a.startswith("on")]
    assert "<script>alert(1)</script>" in page.text and "\x1b" not in page.text
    from markdown_it import MarkdownIt

    tokens = [child for token in MarkdownIt().parse((tmp_path / "r.md").read_text()) for child in token.children or [token]]
    assert not [t for t in tokens if t.type in ("html_block", "html_inline", "link_open")]


def test_a_run_without_a_trained_seed_has_a_report_too(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        write_report(journal, "night", tmp_path / "r.html", tmp_path / "r.md")
    assert "# night" in (tmp_path / "r.md").read_text()


class TestConfirmation:
    """The seed, a copy of it and a member, trained twice each."""

    def written(self, journal, tmp_path, accuracies, last=None):
        search = {SEED_ID: {"accuracy": 0.5, "parameters": 1000.0}, "0001": {"accuracy": 0.56, "parameters": 900.0}}
        members = {SEED_ID: search[SEED_ID], "null-1": None, "0001": search["0001"]}
        plan = tuple((id, 10 + place) for place, id in enumerate(list(members) * 2))
        journal.record(ShortlistFrozen(1, members, {"null-1": {}}, plan, 2.0, True, "its own, 9 images"), SealOpened(1))
        for (id, seed), accuracy in list(zip(plan, accuracies, strict=True))[:last]:
            parameters = 900.0 if id == "0001" else 1000.0
            values = None if accuracy is None else {"accuracy": accuracy, "parameters": parameters}
            journal.record(Retrained(1, id, seed, values, values, f"fit: {EVIL}" if values is None else "", 1.0))
        if last is None:
            (one,) = read_confirmations(journal)
            journal.record(VerdictsReached(1, one.judge(OBJECTIVES)))
        write_report(journal, "night", tmp_path / "r.html", tmp_path / "r.md")
        return Tags((tmp_path / "r.html").read_text()), (tmp_path / "r.md").read_text()

    def test_before_one_it_says_that_there_was_none(self, journal, tmp_path):
        write_report(journal, "night", tmp_path / "r.html", tmp_path / "r.md")
        for page in ("r.html", "r.md"):
            assert "sealed test split: never opened" in (tmp_path / page).read_text()

    def test_verdicts_stand_with_what_they_are_based_on(self, journal, tmp_path):
        page, text = self.written(journal, tmp_path, [0.500, 0.501, 0.5005, 0.501, 0.500, 0.5005])
        for shown in (page.text, text):
            for part in (
                "its own, 9 images", "opened once", "better on parameters; not shown to be no worse on accuracy", "-100 (-10.0%)",
                "a copy of the seed: not confirmed", "2 trainings of each program", "adjusted by Holm for 1 comparison;",
            ):  # fmt: skip
                assert part in shown, part
        assert "THE CHECK FAILED" not in text

    def test_a_failed_check_is_an_alarm(self, journal, tmp_path):
        page, text = self.written(journal, tmp_path, [0.500, 0.901, 0.5005, 0.501, 0.900, 0.5005])
        assert "**THE CHECK FAILED" in text and "THE CHECK FAILED" in page.text
        assert 'class="alarm"' in (tmp_path / "r.html").read_text()
        assert status(journal, "night", alive=False)["confirmation"]["check_failed"] is True

    def test_one_that_is_not_finished_says_so(self, journal, tmp_path):
        page, text = self.written(journal, tmp_path, [0.500, 0.501, 0.5005, 0.501, 0.500, 0.5005], last=4)
        for shown in (page.text, text):
            assert "4 of 6 trainings made: undecided until the rest is" in shown
            assert "undecided: 1 of its 2 trainings were made" in shown

    def test_reasons_of_failures_are_no_markup(self, journal, tmp_path):
        page, _ = self.written(journal, tmp_path, [0.500, 0.501, None, 0.501, 0.500, 0.5005])
        assert not {"script", "img", "a"} & set(page.found)
        assert "1 of 2 of its trainings failed" in page.text
