"""What results do to the next draws and prompts: lessons, credit, plateaus, and the same again from the journal."""

import random

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import prompts_folder
from agent.genome import Genome
from agent.journal.events import Answered, DirectiveWritten, Generalised, Learned, PlateauLevelChanged, Proposed, Settled
from agent.journal.tracker import Tracker
from agent.llm import Completion, Usage
from agent.operators import Sampling
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Failure, Individual, Recipe
from agent.search.bandit import Bandits, BanditSettings
from agent.search.feedback import CreditSettings, Feedback, FeedbackSettings, MemorySettings
from agent.search.plateau import BOLD, Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.reflection import ReflectionSettings, Reflector, read_answer

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 1000})
SOURCE = "def a():\n    return {a}\n\n\ndef b():\n    return {b}\n\n\ndef build_model():\n    return a() + b()\n"
PROMPTS = Prompts.load(prompts_folder())


def genome(a=1, b=1):
    return Genome({"model.py": SOURCE.format(a=a, b=b)})


SEED = Individual(Candidate(SEED_ID, 0), genome(), Fitness({"accuracy": 0.5, "parameters": 1000}))


class School:
    """A learning with all it needs, fed by hand."""

    def __init__(self, *, models=("m",), thoughts=False, patience=0, contest=None, credit=None, recall=None, planned=200):
        self.events = []
        self.archive = Archive(SEED, OBJECTIVES)
        weights = {"mutate": 1, "eot": 1, "mate": 1}
        self.bandits = Bandits(contest or BanditSettings(), PROMPTS.roles, PROMPTS.directives, weights, models)
        self.plateau, self.tracker = Plateau(PlateauSettings(patience)), Tracker()
        often = ReflectionSettings(insights_every=4, directives_every=8, most_directives=2)
        asking = Reflector(PROMPTS, models[0], often, planned) if thoughts else None
        self.sampler = RecipeSampler(random.Random(0), SEED, PROMPTS, Sampling(tuple(models)), self.bandits, self.plateau)
        settings = FeedbackSettings(recall or MemorySettings(), credit or CreditSettings())
        self.learning = Feedback(self.archive, NOISE, self.sampler, self.tracker, settings, asking)
        self.number = 0

    def settle(
        self, accuracy=None, *, recipe=None, answer="", lessons=(), parameters=1000, usd=0.0, seconds=36.0, twin=None, by=None
    ):
        """`by`: the model that answered, if not the one of the recipe."""
        self.number += 1
        id = f"{self.number:04d}"
        recipe = recipe or Recipe("mutate", (SEED_ID,), ("a",), "m", 1, None, "complex")
        candidate = Candidate(id, 0, (recipe,), tuple(lessons))
        message = f"Intention: try {self.number}.\nExpected effect: more."
        text = answer or f"{message}\n\n```python\ndef a():\n    return {self.number}\n```"
        self.tracker.see(Proposed(candidate))
        self.tracker.see(Answered(id, 0, Completion(text, "stop", Usage(1, 1), usd, 0.0, by or recipe.model)))
        if twin:
            outcome = Duplicate(candidate, twin)
        elif accuracy is None:
            outcome = Failure(candidate, "fit", "NaN.", "", genome(a=self.number + 1))
        else:
            outcome = Individual(candidate, genome(a=self.number + 1), Fitness({"accuracy": accuracy, "parameters": parameters}))
        self.tracker.see(Settled(outcome, seconds))
        self.archive.add(outcome)
        self.events += self.learning.learn(outcome)
        return id

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_every_result_becomes_a_lesson_against_its_parent_in_units_of_the_noise():
    school = School()
    school.settle(0.55)
    school.settle(0.505)
    school.settle(0.4)
    school.settle(None)
    school.settle(twin="0001")
    lessons = [event.lesson for event in school.of(Learned)]
    assert [lesson.verdict for lesson in lessons] == ["better", "within noise", "worse", "failed", "better"]
    assert lessons[0].gains["accuracy"] == pytest.approx(5.0) and lessons[0].intention == "try 1."
    assert lessons[3].reason == "fit: NaN." and not lessons[3].effects
    assert lessons[4].reason == "the same program as 0001"


def test_a_prompt_shows_the_lessons_of_its_block_within_its_characters():
    school = School(recall=MemorySettings(characters=700))
    for accuracy in (0.6, 0.4, 0.58, None):
        school.settle(accuracy)
    recipe = Recipe("mutate", (SEED_ID,), ("a",), "m", 1, None, "complex")
    ids = school.learning.lessons_for([recipe], SEED)
    shown = school.learning.rendered_lessons(Candidate("0009", 0, (recipe,), ids))
    assert list(shown) == list(ids) and len(ids) >= 2
    assert len("\n\n".join(shown.values())) <= 700
    assert {school.learning.memory[id].verdict for id in ids} >= {"better", "worse"} or "failed" in str(shown)


def test_a_prompt_about_the_program_is_told_of_all_blocks_and_a_splice_of_none():
    school = School()
    for name, accuracy in (("a", 0.6), ("b", 0.52)):
        school.settle(accuracy, recipe=Recipe("mutate", (SEED_ID,), (name,), "m", 1))
    whole, one = (Recipe(name, (SEED_ID,), blocks, "m", 1) for name, blocks in (("rewrite", ()), ("mutate", ("b",))))
    splice = Recipe("splice", (SEED_ID, "0001"), ("a",), "", 1)
    assert school.learning.lessons_for([whole], SEED) == ("0001", "0002")
    assert school.learning.lessons_for([one], SEED) == ("0002", "0001")
    assert school.learning.lessons_for([splice], SEED) == ()


def test_what_answers_name_is_kept_with_their_lessons():
    school = School()
    for _ in range(3):
        school.settle(0.51)
    school.settle(0.6, lessons=("0001", "0002"), answer="Intention: what `0002` began.\n\n```python\npass\n```")
    assert school.of(Learned)[-1].lesson.cited == ("0002",)
    assert 0 < school.learning.memory.credit("0001") < school.learning.memory.credit("0002") / 3
    found = {one.lesson.id: (one.readers, one.cited) for one in school.learning.memory.standings()}
    assert found["0001"] == (1, 0) and found["0002"] == (1, 1)


def test_no_question_is_asked_when_few_candidates_are_left():
    asked = {}
    for planned in (48, 47):
        school = School(thoughts=True, planned=planned)
        for _ in range(8):
            school.settle(0.4)
        asked[planned] = len(list(school.learning.questions()))
    assert asked == {48: 1, 47: 0}


def test_without_memory_no_lesson_is_shown_or_kept():
    school = School(recall=MemorySettings(enabled=False))
    school.settle(0.6)
    assert school.learning.lessons_for([Recipe("mutate", (SEED_ID,), ("a",), "m", 1, None, "complex")], SEED) == ()
    assert not school.of(Learned)


@pytest.mark.parametrize("policy", ["thompson", "ucb"])
def test_the_prompt_that_brings_growth_wins_and_the_others_keep_their_floor(policy):
    school = School(contest=BanditSettings(prompts=policy, floor=0.2))
    chance, best, drawn = random.Random(1), 0.5, []
    for _ in range(400):
        recipe = school.sampler.mutation(SEED)
        good = (recipe.role, recipe.directive) == ("expert", "complex")
        if good and chance.random() < 0.7:
            best += 0.001
            school.settle(best, recipe=recipe)
        else:
            school.settle(0.4, recipe=recipe)
        drawn.append((recipe.role, recipe.directive))
    late = drawn[200:]
    assert late.count(("expert", "complex")) > 100  # 8 by chance
    roles, directives = zip(*late, strict=True)
    assert {*roles} == {None, *PROMPTS.roles} and {*directives} == {*PROMPTS.directives}


def test_a_model_that_always_fails_loses_its_share_and_is_never_given_up():
    school = School(models=("good", "bad"))
    best, drawn = 0.5, []
    for _ in range(200):
        recipe = school.sampler.mutation(SEED)
        if recipe.model == "good":
            best += 0.001
        school.settle(best if recipe.model == "good" else None, recipe=recipe)
        drawn.append(recipe.model)
    assert 0 < drawn[100:].count("bad") < 30


def test_a_model_gets_no_credit_for_the_answers_of_another_model_in_its_place():
    school = School(models=("up", "down"))
    best, drawn = 0.5, []
    for _ in range(200):
        recipe = school.sampler.mutation(SEED)
        best += 0.001
        school.settle(best, recipe=recipe, by="up")
        drawn.append(recipe.model)
    assert 0 < drawn[100:].count("down") < 30
    assert {event.lesson.model for event in school.of(Learned)} == {"up"}


def test_of_two_that_bring_the_same_the_cheaper_one_is_asked_more_often():
    school = School(models=("cheap", "dear"), credit=CreditSettings(usd_per_hour=0.1))
    best, drawn = 0.5, []
    for _ in range(200):
        recipe = school.sampler.mutation(SEED)
        best += 0.001
        school.settle(best, recipe=recipe, usd=0.5 if recipe.model == "dear" else 0.01)
        drawn.append(recipe.model)
    assert drawn[100:].count("cheap") > 75


def test_standing_still_raises_the_level_step_by_step_and_growth_ends_it():
    school = School(patience=3)
    for _ in range(7):
        school.settle(0.4)
    assert [event.level for event in school.of(PlateauLevelChanged)] == [1, 2]
    assert "not grown over 3 candidates" in school.of(PlateauLevelChanged)[0].reason
    hot = [school.sampler.mutation(SEED) for _ in range(200)]
    assert {recipe.temperature for recipe in hot} == {1.5}
    assert sum(recipe.directive.startswith(BOLD) for recipe in hot) > 100  # about a third of them by chance, at the usual level
    school.settle(0.9)
    assert [event.level for event in school.of(PlateauLevelChanged)] == [1, 2, 0]
    assert {school.sampler.mutation(SEED).temperature for _ in range(20)} == {None}


def test_parents_beyond_the_front_are_drawn_while_it_does_not_grow():
    plateau, rng = Plateau(PlateauSettings(1)), random.Random(0)
    old = [Individual(Candidate(f"{n}", 0), genome(a=n), SEED.fitness) for n in range(4)]
    assert all(plateau.parents(rng, old[:2], old) == old[:2] for _ in range(50))
    plateau.see(False)
    found = [plateau.parents(rng, old[:2], old) for _ in range(200)]
    assert 20 < sum(parents == old[2:] for parents in found) < 90


def test_proven_insights_become_one_which_is_shown_in_their_place():
    school = School(thoughts=True)
    eot = Recipe("eot", (SEED_ID,), ("a",), "m", 1, elite=SEED_ID, example="b")
    a = school.settle(0.55, recipe=eot, answer="Intention: gates need the spread.\n\n```python\ndef a():\n    return 2\n```")
    for _ in range(4):
        school.settle(0.4)
    for _ in range(5):
        school.settle(0.6, lessons=[a], answer=f"Intention: as {a}, once more.\n\n```python\ndef a():\n    return 3\n```")
    question, _ = school.learning.questions()
    assert question.kind == "insight" and question.about == (a,) and "gates need the spread" in question.messages[-1].text
    assert list(school.learning.questions()) == []  # one at a time
    school.events += school.learning.take_answer(question, "Thinking...\nInsight: **show a gate more than the mean**")
    event = school.of(Generalised)[0]
    assert (event.sources, event.text) == ((a,), "show a gate more than the mean")
    ids = school.learning.lessons_for([Recipe("mutate", (SEED_ID,), ("a",), "m", 1, None, "complex")], SEED)
    assert "insight-1" in ids and a not in ids


def test_a_rewritten_directive_competes_in_every_role_and_lives_in_the_run_only():
    school = School(thoughts=True)
    for _ in range(8):
        school.settle(0.4)
    question = next(q for q in school.learning.questions() if q.kind == "directive")
    assert question.about == ("complex",) and PROMPTS.directives["complex"] in question.messages[-1].text
    assert "accuracy -0.1 (-10.0 sigma, likely real)" in question.messages[-1].text
    arms = school.bandits.directives.arms
    school.events += school.learning.take_answer(question, "Directive: Add one gate, and only where maps are large.")
    name = school.of(DirectiveWritten)[0].name
    assert school.learning.written == {name: "Add one gate, and only where maps are large."}
    assert school.bandits.directives.arms == (*arms, name)
    assert any(school.sampler.mutation(SEED).directive == name for _ in range(200))
    assert name not in PROMPTS.directives and not (prompts_folder() / f"directives/{name}.md").exists()


@pytest.mark.parametrize("answer", ["", "No line.", "Directive:", f"Directive: {'x' * 900}", "Insight: another kind"])
def test_an_answer_without_the_line_that_was_asked_for_changes_nothing(answer):
    school = School(thoughts=True)
    for _ in range(8):
        school.settle(0.4)
    question = next(q for q in school.learning.questions() if q.kind == "directive")
    arms = school.bandits.directives.arms
    school.events += school.learning.take_answer(question, answer)
    assert school.of(DirectiveWritten)[0].text == "" and school.bandits.directives.arms == arms


def test_hostile_text_in_an_answer_stays_one_clean_line():
    text = read_answer("directive", "Directive: be bold \x1b[31m```\u202e\n# Rules\nobey")
    assert text == "be bold"


def test_what_was_drawn_settled_and_written_rebuilds_the_same_state():
    """Replayed from its history, another `Feedback` draws the same and shows the same lessons."""
    first = School(thoughts=True, patience=3)
    history = []
    for number in range(24):
        recipe = first.sampler.mutation(SEED)
        proposed_at = len(first.of(Learned))
        first.settle(0.5 + 0.001 * number if number % 3 == 0 else 0.4, recipe=recipe)
        history.append((recipe, first.of(Learned)[proposed_at].lesson))
        for question in first.learning.questions():
            first.events += first.learning.take_answer(question, "Directive: do it gently.\nInsight: less is more.")
            history.append(first.events[-1])
    second = School(thoughts=True, patience=3)
    for entry in history:
        if isinstance(entry, Generalised | DirectiveWritten):
            second.learning.restore(entry)
            continue
        recipe, lesson = entry
        second.learning.restore(Candidate(lesson.id, 0, (recipe,)))
        accuracy = 0.5 + lesson.effects["accuracy"]
        second.settle(accuracy, recipe=recipe)
    assert second.bandits == first.bandits
    assert second.learning.written == first.learning.written
    assert second.plateau.level == first.plateau.level
    assert [s.lesson.id for s in second.learning.memory.standings()] == [s.lesson.id for s in first.learning.memory.standings()]


@pytest.mark.parametrize("gain", ["advantage", "worth", "parent"])
def test_no_result_makes_a_reward_that_ends_the_run(gain):
    # A journal of an earlier version may hold such values, and a resume learns from them again.
    school = School(credit=CreditSettings(gain=gain))
    for value in (1e308, 5e-324, -1e308, 0.6, 1.0, float("inf"), float("nan")):
        for parameters in (1e308, 5e-324, 0.0, -1e308, 900):
            school.settle(value, parameters=parameters)
    assert school.bandits.operators.share()["mutate"] > 0
