import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.errors import UserError
from agent.core.objectives import Constraint
from agent.run.config import Config, LlmSection, RunSection, SandboxSection, SeedSection, cache_folder
from agent.run.config_sources import read
from agent.run.folder import RunFolder
from agent.search.settings import SearchSettings


class TestConstraints:
    @pytest.mark.parametrize(
        "text", ["5", "<=5", "== 5", "<= five", "<= ", "", "<= 1 2", "at most 5", "<= nan", "<= inf"]
    )
    def test_a_constraint_that_cannot_be_parsed_is_reported_with_its_name(self, text):
        config = Config(constraints={"parameters": text})
        with pytest.raises(UserError, match=r"constraints\.parameters"):
            config.constraint_list()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("<= 518230", Constraint("p", "<=", 518230.0)),
            ("  >  1_000 ", Constraint("p", ">", 1000.0)),
            (">= 5e-1", Constraint("p", ">=", 0.5)),
            ("<  -3", Constraint("p", "<", -3.0)),
        ],
    )
    def test_a_constraint_is_a_relation_and_a_number(self, text, expected):
        assert Config(constraints={"p": text}).constraint_list() == (expected,)


# What TOML can hold: no lone surrogates, and integers of 64 bits.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
whole = st.integers(-(2**63), 2**63 - 1)
real = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    text | whole | real | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(text, plain, max_size=4)


def ordered(values):
    return st.tuples(values, values).map(lambda pair: tuple(sorted(pair)))


probability = st.floats(0, 1)
positive = st.integers(1, 10**6)
slots = st.integers(1, 9999) | st.sampled_from(["2/gpu", "cpu:3"])
configs = st.builds(
    Config,
    preset=st.sampled_from([None, "paper"]),
    seed=st.builds(SeedSection, folder=text, files=st.lists(text).map(tuple), frozen=st.lists(text).map(tuple)),
    task=tables,
    budget=tables,
    objectives=st.dictionaries(text, st.sampled_from(["max", "min"]), min_size=2, max_size=4),
    constraints=st.dictionaries(text, text, max_size=3),
    search=st.builds(
        SearchSettings,
        generations=st.integers(0, 10**6),
        first_population=positive,
        population=positive,
        elites=positive,
        eot_elites=positive,
        p_mate=probability,
        p_mutate=probability,
        p_eot=probability,
        recent=st.integers(0, 100),
    ),
    llm=st.builds(
        LlmSection,
        models=st.lists(text, max_size=3).map(tuple),
        api_base=st.none() | text,
        temperature=st.none() | ordered(st.floats(0, 2)),
        max_tokens=ordered(positive),
        deadline_seconds=st.floats(0, 1e6, exclude_min=True),
        concurrency=positive,
        repairs=st.integers(0, 9),
        prices=st.dictionaries(text, st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)), max_size=3),
    ),
    sandbox=st.builds(SandboxSection, slots=slots, threads=positive, unsafe_no_sandbox=st.booleans()),
    run=st.builds(RunSection, seed=whole, training_seed=whole),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configs)
def test_a_configuration_is_read_from_its_file_unchanged(tmp_path, config):
    folder = RunFolder(tmp_path)
    folder.config.write_text(config.to_toml(), encoding="utf-8")
    assert read(folder.config) == config
    assert read(folder.config).objective_list() == config.objective_list()  # in order as well


def test_data_sets_are_kept_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EVOLVE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "guided-evolution"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "guided-evolution"
    monkeypatch.setenv("EVOLVE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
