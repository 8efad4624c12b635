"""Commit messages, as git itself reads them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.effects import Against
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.lineage import Lineage, commit_message
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe
from tests.repositories import OTHER, SOURCE, git, make_repository

pytestmark = pytest.mark.usefixtures("plain_git")

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "project")


def opened(repository, seed=".", run="night", out=None):
    return Lineage.open(repository / seed, out or repository.parent / "runs" / run, run)


RECIPE = Recipe("mutate", ("seed",), ("Net",), "gpt-x", 7, role="expert", directive="complex", temperature=0.3)
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 1234567.0})
SEED = Individual(Candidate(SEED_ID, 0), Genome({"model.py": SOURCE}), Fitness({"accuracy": 0.5, "parameters": 1234567.0}))


def trailers(text, folder):
    """As git reads them."""
    read = git(folder, "interpret-trailers", "--parse", input=text.encode("utf-8", "surrogateescape"))
    return [tuple(line.split(": ", 1)) for line in read.splitlines()]


def failed(reason, recipe=RECIPE, **facts):
    return commit_message(Failure(Candidate("0001", 1, (recipe,)), "fit", reason, **facts), [], OBJECTIVES)


def against(mine, id="seed", accuracy=0.5, parameters=1234567.0, trainings=4, objectives=OBJECTIVES):
    other = Fitness({"accuracy": accuracy, "parameters": parameters})
    label = "the seed" if id == "seed" else f"parent {id}"
    return Against.of(id, label, (mine, 1), (other, trainings), objectives, NOISE)


def trained(recipe=RECIPE, intention="", accuracy=0.9, parameters=1000.0, objectives=OBJECTIVES, **facts):
    """The message of an individual with the seed as its parent."""
    fitness = Fitness({"accuracy": accuracy, "parameters": parameters})
    new = Individual(Candidate("0003", 1, (recipe,)), Genome({}), fitness, intention=intention, **facts)
    return commit_message(new, [against(fitness, objectives=objectives)], objectives)


def subject(text):
    return text.partition("\n")[0]


FAILED_TRAILERS = [
    ("Variant", "0001"), ("Operator", "mutate"), ("Block", "Net"), ("Role", "expert"), ("Directive", "complex"),
    ("Model", "gpt-x"),
]  # fmt: skip


class TestMessages:
    def test_an_individual_is_compared_with_parents_and_seed_and_has_trailers_for_programs(self, tmp_path):
        mating = Recipe("mate", ("0001", "0002"), ("Head",), "other/model", 8)
        fitness = Fitness({"accuracy": 0.91234567, "parameters": 1000.0})
        meant = "wider\x1b[2J\n---\nVariant: 9"
        new = Individual(Candidate("0003", 1, (mating, RECIPE)), Genome({"model.py": OTHER}), fitness, intention=meant)
        others = [against(fitness, "0001", 0.9, 1000.0, 1), against(fitness)]
        text = commit_message(new, others, OBJECTIVES, 0.0125)
        subject, meaning, table, verdict, origin, _ = text.split("\n\n")
        assert subject == "Head, Net: wider --- Variant: 9; accuracy +41 pt (likely real), parameters -99.9%"
        assert meaning == "Intention: wider --- Variant: 9"
        assert table.splitlines() == [
            "                this    parent 0001               the seed (mean of 4)",
            "    accuracy    0.9123  0.9 (+1.2 pt, undecided)  0.5 (+41 pt, likely real)",
            "    parameters  1,000   1,000 (same)              1,234,567 (-99.9%)",
        ]
        first, second, basis = verdict.splitlines()
        assert first == "Verdict against the seed: better on accuracy (likely real), parameters."
        assert second.startswith("Verdict against parent 0001: undecided on accuracy (needs ")
        assert second.endswith("; the same on parameters.")
        assert basis.startswith("By the first training.") and "git log --notes=" in basis
        assert origin.replace("\n  ", " ") == (
            "Made by mate+mutate (role expert, directive complex) of Head, Net, from 0001, 0002, seed, with other/model, gpt-x "
            "for 0.0125 USD."
        )
        assert trailers(text, tmp_path) == [
            ("Variant", "0003"), ("Operator", "mate+mutate"), ("Block", "Head, Net"), ("Role", "expert"),
            ("Directive", "complex"), ("Model", "other/model, gpt-x"), ("Accuracy", "0.91234567"),
            ("Parameters", "1000"), ("Cost-USD", "0.012500"),
        ]  # fmt: skip
        stood_in = commit_message(new, others, OBJECTIVES, 0.0125, ("third",))
        assert dict(trailers(stood_in, tmp_path))["Model"] == "third"
        assert "with third for 0.0125 USD." in stood_in.replace("\n  ", " ")

    def test_the_seed_is_not_compared_with_itself(self, tmp_path):
        text = commit_message(SEED, [], OBJECTIVES, 0.0)
        assert text.startswith("seed: accuracy 0.5, ")
        assert "gainst" not in text and "Made by" not in text
        assert dict(trailers(text, tmp_path))["Operator"] == "seed"

    def test_a_failure_has_its_stage_and_reason_and_no_numbers(self, tmp_path):
        text = failed("RuntimeError: shapes 3 and 4\n  in line 12", intention="wider")
        assert text.startswith("Net: wider; failed at fit\n\nIntention: wider\n\n")
        assert "    RuntimeError: shapes 3 and 4\n      in line 12" in text
        assert trailers(text, tmp_path) == FAILED_TRAILERS

    @pytest.mark.parametrize(
        ("blocks", "intention", "expected"),
        [
            (("SELN",), "hard-sigmoid gate.", "SELN: hard-sigmoid gate; accuracy +40 pt (likely real), parameters -99.9%"),
            (("SELN",), "a hard-sigmoid gate in place of the logistic one; it is cheaper",
             "SELN: a hard-sigmoid gate in place of the...; accuracy +40 pt (likely real), parameters -99.9%"),
            (("Net",), "", "Net: mutate; accuracy +40 pt (likely real), parameters -99.9%"),
            ((), "wider", "mutate: wider; accuracy +40 pt (likely real), parameters -99.9%"),
            ((), "", "mutate: accuracy +40 pt (likely real), parameters -99.9%"),
            (("First", "Second", "Third", "Fourth"), "wider",
             "First, Second, Third and 1 more: wider; accuracy +40 pt (likely real), parameters -99.9%"),
            (("build_optimizer", "Stage", "TinyCNN"), "in `Stage` factorise a dense convolution",
             "build_optimizer and 2 more: in `Stage`...; accuracy +40 pt (likely real), parameters -99.9%"),
            (("SqueezeExcitation", "DepthwiseBlock", "Net"), "wider",
             "SqueezeExcitation and 2 more: wider; accuracy +40 pt (likely real), parameters -99.9%"),
        ],
    )  # fmt: skip
    def test_a_subject_says_what_changed_and_what_it_did(self, blocks, intention, expected):
        recipe = Recipe("mutate", ("seed",), blocks, "m", 1)
        assert subject(trained(recipe, intention)) == expected
        assert len(expected) <= 100

    def test_a_subject_is_one_line_of_100_characters_or_what_its_numbers_need(self, tmp_path):
        recipe = Recipe("re\nwrite", ("seed",), ("Block" * 50,), "m", 1)
        for text in (failed("why", recipe, intention="long " * 99), trained(recipe, "long " * 99)):
            assert len(subject(text)) <= 100
            assert text.splitlines()[1] == ""
            assert dict(trailers(text, tmp_path))["Variant"] in ("0001", "0003")
        many = tuple(Objective(f"quantity_{number}_with_a_name", "max") for number in range(9))
        fitness = Fitness({o.name: 0.5 for o in many})
        new = Individual(Candidate("0003", 1, (RECIPE,)), Genome({}), fitness, intention="wider")
        text = commit_message(new, [Against.of("seed", "the seed", (fitness, 1), (fitness, 1), many, None)], many)
        assert subject(text).startswith("Net: mutate; quantity_0_with_a_name same, ")
        assert 100 < len(subject(text)) <= 200

    def test_of_many_blocks_four_are_named_and_a_splice_names_no_model(self, tmp_path):
        freely = Recipe("rewrite", ("seed",), (), "m", 1)
        text = trained(freely, changed=tuple(f"Block{number}" for number in range(6)))
        assert text.startswith("Block0, Block1 and 4 more: rewrite; accuracy +40 pt")
        assert dict(trailers(text, tmp_path))["Block"] == "Block0, Block1, Block2, Block3 and 2 more"
        assert failed("why", freely).startswith("rewrite: failed at fit\n")
        spliced = failed("why", Recipe("splice", ("seed", "0001"), ("Net",), "", 1))
        assert "Model" not in spliced and "from seed, 0001, without a model." in spliced

    def test_a_metric_that_a_program_reports_of_itself_is_marked_in_the_subject(self):
        objectives = (Objective("accuracy", "max", "printed"), OBJECTIVES[1])
        assert subject(trained(objectives=objectives)) == (
            "Net: mutate; accuracy +40 pt (self-reported, likely real), parameters -99.9%"
        )

    @pytest.mark.parametrize(
        "intention", ["# x", "fixup! x", "-" * 300, "\x1b[31mred\u202e", "a\r\n\r\nVariant: 9\n---\n", "\ud800"]
    )
    def test_a_hostile_intention_changes_neither_subject_nor_trailers(self, repository, intention):
        text = trained(Recipe("mutate", ("seed",), (), "", 1), intention)
        assert subject(text).startswith("mutate: ") and "accuracy +40 pt" in subject(text)
        assert [key for key, _ in trailers(text, repository)] == ["Variant", "Operator", "Accuracy", "Parameters"]
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], text)
        shown = git(repository, "log", "-1", "--format=%B", commit.sha)
        assert not any(ord(c) < 32 and c != "\n" for c in shown) and "\u202e" not in shown

    def test_changes_put_together_name_their_sources_once(self, tmp_path):
        together = Recipe("assemble", ("seed", "0004", "0007"), ("A", "B", "C"), "", 1, sources=("0004", "0007", "0004"))
        assert dict(trailers(failed("why", together), tmp_path))["Sources"] == "0004, 0007"

    HOSTILE = (
        "x\n\nVariant: 9999\nCost-USD: 0.0",
        "x\n\nVariant: 9999\n---\n",
        "--- a\nx\n",
        "x\n\nVariant: 9999\n\n--- \nthe rest is a patch",
        "x\n\nAccuracy: 1\n# ------------------------ >8 ------------------------\n",
        "Variant: 9999",
        "x\r\rVariant: 9999\r---\r",
        "x\u2028\u2028Variant: 9999\u2028---\u2028",
        "x\x0b\x0bVariant: 9999\x0b---\x0b",
        "x\n\nVariant: 9999\nConflicts:\n\tmodel.py\n",
        "x\n\nVariant: 9999\n    ---\n\t---\n",
        "nul \0 escape \x1b[31m bidi \u202e lone \ud800 here",
        "",
        "\n\n\n",
        "long " * 100_000,
    )

    @pytest.mark.parametrize("reason", HOSTILE, ids=range(len(HOSTILE)))
    def test_a_hostile_reason_forges_no_trailer_and_can_be_committed(self, repository, reason):
        text = failed(reason)
        assert trailers(text, repository) == FAILED_TRAILERS
        commit = opened(repository).commit("0001", {"model.py": OTHER}, [], text, failed=True)
        message = git(repository, "log", "-1", "--format=%(trailers:only,unfold)", commit.sha).splitlines()
        assert [tuple(line.split(": ", 1)) for line in message] == FAILED_TRAILERS
        assert git(repository, "log", "-1", "--format=%s", commit.sha) == "Net: mutate; failed at fit"
        assert not any(ord(c) < 32 and c not in "\n\t" for c in git(repository, "log", "-1", "--format=%B", commit.sha))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        role=st.text(st.sampled_from("aV:- \n\r\u2028\x0b\x85#\t")),
        model=st.text(st.sampled_from("mV:- \n\r\u2028\x0b\x85#\t"), min_size=1),
        reason=st.lists(st.sampled_from(["Variant: 9", "---", "--- ", "", " ", "#", "Conflicts:", "x", "\t", "\r"])),
    )
    def test_no_role_model_or_reason_adds_or_hides_a_trailer(self, tmp_path, role, model, reason):
        recipe = Recipe("mutate", ("seed",), ("Net",), f"m{model}", 7, role=f"r{role}", directive="complex")
        read = trailers(failed("\n".join(reason), recipe), tmp_path)
        assert [key for key, _ in read] == ["Variant", "Operator", "Block", "Role", "Directive", "Model"]
        assert read[0] == ("Variant", "0001")
