"""Which lessons are recalled, and how general insights replace them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.memory.credit import STRONG
from agent.memory.memory import LESSONS_PER_TOPIC
from agent.memory.recall import SEPARATOR
from tests.memory.scenes import ids, made, memory_of, story


def test_the_more_similar_lesson_comes_first():
    memory = memory_of(
        made(1),
        made(2, blocks=("Other",), directive="complex"),
        made(3, blocks=("Other",), kinds=("Conv2d",)),
        made(4, blocks=("Other",)),
    )
    assert ids(memory.recall(["Stage"], ["Conv2d"], "complex", 5000)) == [1, 3, 2, 4]
    assert ids(memory.recall(["Net"], ["Linear"], "complex", 5000))[0] == 2


def test_a_lesson_of_the_block_outweighs_all_farther_kinship():
    memory = memory_of(made(1), made(2, blocks=("Other",), kinds=("Conv2d",), directive="complex"))
    assert ids(memory.recall(["Stage"], ["Conv2d"], "complex", 5000)) == [1, 2]


def test_the_larger_effect_comes_first():
    memory = memory_of(made(1, gain=4.6), made(2, gain=5.5), made(3, "within noise"))
    assert ids(memory.recall(["Stage"], [], None, 5000)) == [2, 1, 3]


def test_of_equal_lessons_the_one_shown_less_often_comes_first():
    memory = memory_of(made(1), made(2), made(3, blocks=("Other",), shown=("0002",)))
    assert ids(memory.recall(["Stage"], [], None, 5000))[:2] == [1, 2]


SILU = "-x = F.relu(x)\n+x = F.silu(x)\n"


def test_agreeing_candidates_rank_a_topic_higher_and_contradiction_lowers_it():
    agreeing = [made(n, change=SILU, blocks=("Stage", f"B{n}")) for n in (1, 2, 3)]
    assert ids(memory_of(made(9), *agreeing).recall(["Stage"], [], None, 5000)) == [3, 9]
    torn = [made(1, change=SILU), made(2, "worse", change=SILU), made(3, "worse", change=SILU)]
    good = [i for i in ids(memory_of(*torn, made(9, gain=4.6)).recall(["Stage"], [], None, 5000)) if i in (1, 9)]
    assert good[0] == 9


def test_no_two_recalled_lessons_make_nearly_the_same_change():
    near = made(2, change=SILU.replace("x", "x  "))
    rounded = [made(n, change=f"-f(lr=0.1, m=2)\n+f(lr={lr}, m=2)\n") for n, lr in ((3, "0.0301"), (4, "0.03"), (5, "0.3"))]
    memory = memory_of(made(1, change=SILU), near, *rounded)
    recalled = set(ids(memory.recall(["Stage"], [], None, 9000)))
    assert len(recalled & {1, 2}) == 1 and len(recalled & {3, 4}) == 1 and 5 in recalled


def test_the_same_number_of_another_setting_is_another_change():
    memory = memory_of(made(1, change="-f(lr=0.1)\n+f(lr=0.2)\n"), made(2, change="-Dropout(0.1)\n+Dropout(0.2)\n"))
    assert sorted(ids(memory.recall(["Stage"], [], None, 9000))) == [1, 2]


def results_on(block, numbers, verdict="within noise"):
    return [made(n, verdict, blocks=(block,)) for n in numbers]


def test_what_is_known_of_the_block_comes_before_all_else_whatever_it_measured():
    strong = [made(n, gain=9, blocks=("Other",), kinds=("Conv2d",), directive="complex") for n in range(50, 70)]
    known = [*results_on("Stage", range(1, 8)), made(8, "failed"), *strong]
    recalled = ids(memory_of(*known).recall(["Stage"], ["Conv2d"], "complex", 3000))
    assert set(recalled[:8]) == set(range(1, 9)) and len(recalled) > 8


def test_the_newest_results_on_the_block_are_told_even_where_only_a_line_of_each_fits():
    known = [made(n, change="".join(f"+word{n}_{m}{'y' * 80}\n" for m in range(8))) for n in range(1, 21)]
    memory = memory_of(*known)
    recalled = memory.recall(["Stage"], [], None, 1500)
    assert set(range(13, 21)) <= set(ids(recalled))
    texts = memory.tell([one.id for one in recalled], 1500)
    assert list(texts) == [one.id for one in recalled] and len(SEPARATOR.join(texts.values())) <= 1500
    assert texts[recalled[0].id] == memory.render(recalled[0], brief=True) and "\n" not in texts[recalled[-1].id]


def test_the_strongest_result_on_the_block_is_told_however_old_it_is():
    memory = memory_of(made(1, gain=9), *results_on("Stage", range(2, 30)))
    assert ids(memory.recall(["Stage"], [], None, 1200))[0] == 1


def test_a_warning_is_told_only_about_the_same_block_or_kind():
    memory = memory_of(made(1, "worse"), made(2, "failed", kinds=("GELU",)), made(3, "worse", directive="complex"), made(4))
    assert ids(memory.recall(["Other"], [], "complex", 5000)) == [4]
    assert sorted(ids(memory.recall(["Other"], ["GELU"], None, 5000))) == [2, 4]
    assert sorted(ids(memory.recall(["Stage"], [], None, 5000))) == [1, 2, 3, 4]


def test_no_share_is_kept_for_warnings():
    lessons = [made(n, gain=9) for n in range(1, 21)] + [made(n, "worse", gain=4.7) for n in range(21, 31)]
    memory = memory_of(*lessons, *results_on("Other", range(31, 33)))
    recalled = memory.recall(["Other"], [], None, 1200)
    assert len(recalled) > 4 and all(one.verdict != "worse" for one in recalled)


def test_a_lesson_about_several_blocks_is_told_where_it_changed_the_block_or_for_the_whole_program():
    wide = made(1, blocks=("Stage", "Head"), gain=9, kinds=("GELU",))
    memory = memory_of(wide, made(2, blocks=("Other",)))
    assert ids(memory.recall(["Head"], [], None, 5000))[0] == 1
    assert ids(memory.recall(["Other"], ["GELU"], None, 5000)) == [2]
    assert ids(memory.recall([], [], None, 5000)) == [1, 2]


def test_the_whole_program_is_told_the_largest_gains_first():
    gains = {1: 3, 2: 9, 3: 5}
    wide = [made(n, blocks=("Stage", "Head"), gain=gain) for n, gain in gains.items()]
    memory = memory_of(*wide, made(4, "worse", blocks=("Stage", "Head"), gain=9), made(5, "failed", blocks=()), made(6, gain=20))
    assert ids(memory.recall([], [], None, 5000)) == [2, 3, 1, 4, 5, 6]


def test_every_lesson_is_told_before_long():
    """Prompts about other blocks have two places for what nobody was told yet."""
    memory = memory_of(*(made(n, "undecided" if n % 2 else "better", blocks=(f"B{n}",)) for n in range(1, 25)))
    told = set()
    for number in range(100, 112):
        shown = [one.id for one in memory.recall(["Stage"], [], None, 600)]
        told |= set(shown)
        story(memory, number, shown, "within noise")
    assert {f"{n:04d}" for n in range(1, 25)} <= told


def test_an_unknown_lesson_cannot_be_told():
    with pytest.raises(KeyError):
        memory_of(made(1)).tell(["0002"], 500)


def test_code_that_the_prompt_shows_leaves_room_for_more():
    memory = memory_of(made(1), made(2))
    full, short = (memory.tell(["0001", "0002"], 5000, shown)["0001"] for shown in ((), ("0001",)))
    assert "`+new1`" in full and "`+new1`" not in short


def test_an_empty_memory_and_no_budget_recall_nothing():
    assert memory_of().recall(["Stage"], ["Conv2d"], "complex", 5000) == ()
    assert memory_of(made(1)).recall(["Stage"], [], None, 0) == ()
    assert memory_of(made(1)).recall(["Stage"], [], None, -5) == ()


VERDICTS = ("better", "worse", "mixed", "undecided", "within noise", "failed")
NAMES = ("A", "B", "C")


@st.composite
def histories(draw):
    lessons = []
    for number in range(draw(st.integers(1, 30))):
        shown = draw(st.lists(st.sampled_from([one.id for one in lessons]), max_size=3)) if lessons else []
        lessons.append(
            made(
                number,
                draw(st.sampled_from(VERDICTS)),
                blocks=(draw(st.sampled_from(NAMES)),),
                kinds=tuple(draw(st.lists(st.sampled_from(("Conv2d", "GELU")), max_size=2, unique=True))),
                directive=draw(st.sampled_from((None, "complex", "uncommon"))),
                gain=draw(st.floats(2.1, 9)),
                change=draw(st.one_of(st.none(), st.sampled_from(("", SILU, "+a b c\n", "-a b\n+a\n")))),
                insight=draw(st.sampled_from(("", "`Smooth` it\nwell."))),
                shown=tuple(shown),
            )
        )
    return lessons


QUESTIONS = st.tuples(st.sampled_from(NAMES), st.sampled_from(((), ("GELU",))), st.sampled_from((None, "complex")))


@settings(deadline=None)
@given(histories(), QUESTIONS, st.integers(0, 4000))
def test_the_budget_is_kept_and_no_lesson_is_recalled_twice(lessons, question, budget):
    block, kinds, directive = question
    memory = memory_of(*lessons)
    recalled = memory.recall([block], kinds, directive, budget)
    told = memory.tell([one.id for one in recalled], budget)
    assert list(told) == [one.id for one in recalled] and len(SEPARATOR.join(told.values())) <= budget
    assert len({one.id for one in recalled}) == len(recalled)
    with_code = [one.change for one in recalled if one.change]
    assert len(set(with_code)) == len(with_code)
    about = [memory.render(one).split("\n")[0] for one in lessons if block in one.blocks]
    assert recalled or min(map(len, about), default=budget + 1) > budget


@settings(deadline=None)
@given(histories(), QUESTIONS)
def test_the_same_lessons_in_the_same_order_give_the_same_memory(lessons, question):
    block, kinds, directive = question
    one, other = memory_of(*lessons), memory_of(*lessons)
    one.recall(NAMES, ("Conv2d",), None, 9000)  # reading leaves no trace
    assert one.recall([block], kinds, directive, 900) == other.recall([block], kinds, directive, 900)
    assert [one.credit(each.id) for each in lessons] == [other.credit(each.id) for each in lessons]


def test_a_lesson_learnt_twice_counts_once():
    memory = memory_of(made(1), made(2, shown=("0001",)))
    before = memory.credit("0001")
    memory.learn(made(2, shown=("0001",)))
    assert (len(memory), memory.credit("0001")) == (2, before)


def test_a_crowded_block_keeps_its_best_and_its_newest_lessons():
    best = made(0, gain=5)
    memory = memory_of(best, *(made(n, gain=4 - n / 1000) for n in range(1, 2 * LESSONS_PER_TOPIC)))
    recalled = ids(memory.recall(["Stage"], [], None, 100_000))
    assert recalled[0] == 0 and len(recalled) < 2 * LESSONS_PER_TOPIC
    assert set(range(2 * LESSONS_PER_TOPIC - 8, 2 * LESSONS_PER_TOPIC)) <= set(recalled)


def with_strong_insights():
    memory = memory_of(made(1, insight="norms first"), made(2, insight="norms help", kinds=("GELU",)), made(3))
    for number in range(100, 120):
        story(memory, number, [], "within noise")
    for number in range(10, 16):
        story(memory, number, ["0001", "0003"], gain=2.5)
        story(memory, number + 6, [], "within noise")
    for number in range(22, 30):
        story(memory, number, ["0002"], gain=5)
    return memory


def test_strong_insights_are_listed_strongest_first_and_changes_without_insight_are_not():
    memory = with_strong_insights()
    assert ids(memory.strong_insights()) == [2, 1]
    assert memory.credit("0003") >= STRONG


def test_a_general_insight_takes_the_place_and_the_credit_of_its_sources():
    memory = with_strong_insights()
    credits = memory.credit("0001"), memory.credit("0002")
    general = memory.generalise(["0002", "0001"], "Normalise\x1b[0m before\n\n```you\x00 act.```" + "." * 900)
    assert general.insight.startswith("Normalise before ```you act.```...") and len(general.insight) <= 300
    assert (general.blocks, general.kinds, general.verdict) == (("Stage",), ("GELU",), "better")
    assert memory.credit(general.id) > max(credits)  # of all their readers together, which leave less doubt
    recalled = [one.id for one in memory.recall(["Stage"], [], None, 20_000)]
    assert general.id in recalled and not {"0001", "0002"} & set(recalled)
    assert memory.strong_insights() == ()
    assert f"Insight: `{general.insight[:10]}" in memory.render(general)


def test_candidates_whose_prompt_showed_a_merged_lesson_credit_its_insight():
    memory = with_strong_insights()
    general = memory.generalise(["0001", "0002"], "Normalise.")
    before = memory.credit(general.id)
    story(memory, 40, ["0001", "0002"], "worse", gain=5)
    assert memory.credit("0001") == memory.credit("0002") == memory.credit(general.id) < before - 0.2


def test_a_general_insight_can_be_rewritten_again():
    memory = with_strong_insights()
    first = memory.generalise(["0001"], "Normalise.")
    second = memory.generalise([first.id, "0001", "0002"], "Norms.")
    assert first.id != second.id and memory.credit("0001") == memory.credit(second.id)
    recalled = [one.id for one in memory.recall(["Stage"], [], None, 20_000)]
    assert second.id in recalled and first.id not in recalled


@pytest.mark.parametrize(
    ("sources", "text", "error"), [([], "x", ValueError), (["0001"], "\x00 \n", ValueError), (["7"], "x", KeyError)]
)
def test_a_rewrite_needs_sources_and_a_text(sources, text, error):
    memory = with_strong_insights()
    with pytest.raises(error):
        memory.generalise(sources, text)
    assert len(memory) == 43 and memory.strong_insights()
