"""Commit messages, as git itself reads them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
SEED = Individual(Candidate(SEED_ID, 0), Genome({"model.py": SOURCE}), Fitness({"accuracy": 0.5, "parameters": 1234567.0}))


def trailers(text, folder):
    """As git reads them."""
    read = git(folder, "interpret-trailers", "--parse", input=text.encode("utf-8", "surrogateescape"))
    return [tuple(line.split(": ", 1)) for line in read.splitlines()]


def failed(reason, recipe=RECIPE):
    return commit_message(Failure(Candidate("0001", 1, (recipe,)), "fit", reason), SEED, OBJECTIVES)


FAILED_TRAILERS = [
    ("Variant", "0001"), ("Operator", "mutate"), ("Block", "Net"), ("Role", "expert"), ("Directive", "complex"),
    ("Model", "gpt-x"),
]  # fmt: skip


class TestMessages:
    def test_an_individual_is_compared_with_the_seed_and_has_trailers_for_programs(self, tmp_path):
        mating = Recipe("mate", ("0001", "0002"), ("Head",), "other/model", 8)
        fitness = Fitness({"accuracy": 0.91234567, "parameters": 1000.0})
        meant = "wider\x1b[2J\n---\nVariant: 9"
        new = Individual(Candidate("0003", 1, (mating, RECIPE)), Genome({"model.py": OTHER}), fitness, intention=meant)
        text = commit_message(new, SEED, OBJECTIVES, 0.0125)
        subject, output, body, _ = text.split("\n\n")
        assert output == "Intention: wider --- Variant: 9"
        assert subject == "0003: mate+mutate Head, Net: accuracy 0.9123, parameters 1,000"
        comparison, basis = body.splitlines()
        assert comparison == "Against the seed: accuracy 0.5 -> 0.9123, parameters 1,234,567 -> 1,000"
        assert basis.startswith("By the first training.") and "git log --notes=" in basis
        assert trailers(text, tmp_path) == [
            ("Variant", "0003"), ("Operator", "mate+mutate"), ("Block", "Head, Net"), ("Role", "expert"),
            ("Directive", "complex"), ("Model", "other/model, gpt-x"), ("Accuracy", "0.91234567"),
            ("Parameters", "1000"), ("Cost-USD", "0.012500"),
        ]  # fmt: skip
        stood_in = commit_message(new, SEED, OBJECTIVES, 0.0125, ("third",))
        assert dict(trailers(stood_in, tmp_path))["Model"] == "third"

    def test_the_seed_is_not_compared_with_itself(self, tmp_path):
        text = commit_message(SEED, SEED, OBJECTIVES, 0.0)
        assert text.startswith("seed: accuracy 0.5, ")
        assert "Against" not in text
        assert dict(trailers(text, tmp_path))["Operator"] == "seed"

    def test_a_failure_has_its_stage_and_reason_and_no_numbers(self, tmp_path):
        text = failed("RuntimeError: shapes 3 and 4\n  in line 12")
        assert text.startswith("0001: mutate Net: failed at fit\n\n")
        assert "RuntimeError: shapes 3 and 4" in text
        assert trailers(text, tmp_path) == FAILED_TRAILERS

    def test_a_subject_is_one_line_of_at_most_200_characters(self, tmp_path):
        recipe = Recipe("re\nwrite", ("seed",), ("Block" * 50,), "m", 1)
        text = failed("why", recipe)
        assert len(text.partition("\n")[0]) == 200
        assert text.splitlines()[1] == ""
        assert dict(trailers(text, tmp_path))["Variant"] == "0001"

    def test_of_many_blocks_four_are_named_and_a_splice_names_no_model(self, tmp_path):
        freely = Recipe("rewrite", ("seed",), (), "m", 1)
        changed = tuple(f"Block{number}" for number in range(6))
        fitness = Fitness({"accuracy": 1, "parameters": 2})
        new = Individual(Candidate("0003", 1, (freely,)), Genome({}), fitness, changed=changed)
        text = commit_message(new, SEED, OBJECTIVES)
        assert text.startswith("0003: rewrite Block0, Block1, Block2, Block3 and 2 more: accuracy 1, parameters 2\n")
        assert dict(trailers(text, tmp_path))["Block"] == "Block0, Block1, Block2, Block3 and 2 more"
        assert failed("why", freely).startswith("0001: rewrite: failed at fit\n")
        assert "Model" not in failed("why", Recipe("splice", ("seed", "0001"), ("Net",), "", 1))

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
        assert git(repository, "log", "-1", "--format=%s", commit.sha) == "0001: mutate Net: failed at fit"
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
