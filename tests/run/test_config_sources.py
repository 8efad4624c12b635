import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.errors import UserError
from agent.core.objectives import Constraint, Objective
from agent.core.paths import seeds_folder
from agent.run.config import Config, RunSection, SeedSection
from agent.run.config_sources import PRESETS, load, read
from agent.search.settings import SearchSettings

SEED_TOML = """
[seed]
files = ["model.py"]
frozen = ["build_model"]
[task]
name = "image-classification"
dataset = "digits"
[budget]
epochs = 5
[objectives]
accuracy = "max"
parameters = "min"
[constraints]
parameters = "<= 1000"
[search]
generations = 1
population = 1
first_population = 1
elites = 1
recent = 1
[llm]
temperature = [0.1, 0.1]
max_tokens = [1, 1]
"""


@pytest.fixture
def seed(tmp_path):
    folder = tmp_path / "seed"
    folder.mkdir()
    (folder / "model.py").write_text("def build_model():\n    pass\n")
    (folder / "seed.toml").write_text(SEED_TOML)
    return folder


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


class TestLayers:
    def test_later_sources_win_and_leave_what_they_do_not_name(self, seed, written):
        file = written(
            'preset = "paper"\n[search]\npopulation = 3\nelites = 3\nrecent = 3\n[llm]\nmax_tokens = [3, 3]\n'
        )
        config = load(str(seed), file, {"search": {"elites": 4, "recent": 4}}, ["search.recent=5"])
        assert config.search.generations == 1  # the seed's
        assert config.llm.temperature == tuple(PRESETS["paper"]["llm"]["temperature"])  # the preset's, over the seed's
        assert config.llm.max_tokens == (3, 3)  # the file's, over the preset's
        assert config.search.population == 3
        assert config.search.elites == 4  # the flag's, over the file's
        assert config.search.recent == 5  # of --set, over all
        assert config.search.p_mate == SearchSettings().p_mate

    def test_of_several_assignments_the_last_one_wins(self, seed):
        assert load(str(seed), None, {}, ["run.seed=1", "run.seed=2"]).run.seed == 2

    def test_a_preset_may_be_named_in_any_source_and_is_kept_in_the_runs_file(self, seed):
        config = load(str(seed), None, {}, ["preset=paper"])
        assert config.preset == "paper"
        assert config.llm.max_tokens == (600, 1400)
        assert tomllib.loads(config.to_toml())["preset"] == "paper"

    def test_loading_changes_neither_presets_nor_flags(self, seed):
        flags = {"llm": {"models": ["a"]}}
        load(str(seed), None, flags, ["preset=paper", "llm.models=['b']", "llm.temperature=[1, 2]"])
        assert flags == {"llm": {"models": ["a"]}}
        assert PRESETS["paper"]["llm"]["temperature"] == [0.05, 0.4]

    def test_objectives_replace_the_seeds_as_a_whole_and_keep_their_order(self, seed, written):
        config = load(str(seed), written('[objectives]\nseconds = "min"\naccuracy = "max"\n'), {}, [])
        assert config.objective_list() == (Objective("seconds", "min"), Objective("accuracy", "max"))

    def test_constraints_are_added_and_overridden_one_by_one(self, seed):
        config = load(str(seed), None, {}, ["constraints.accuracy=>= 0.5", "constraints.parameters=< 7"])
        assert config.constraint_list() == (Constraint("parameters", "<", 7.0), Constraint("accuracy", ">=", 0.5))

    def test_a_data_set_that_is_a_folder_is_named_by_its_whole_path(self, seed, tmp_path, monkeypatch):
        (tmp_path / "pictures").mkdir()
        (tmp_path / "digits").mkdir()
        monkeypatch.chdir(tmp_path)
        for named, kept in (
            ("./pictures", str(tmp_path / "pictures")),
            ("pictures", str(tmp_path / "pictures")),
            ("digits", "digits"),
            ("some/where", "some/where"),
        ):
            assert load(str(seed), None, {"task": {"dataset": named}}, []).task["dataset"] == kept

    def test_the_seeds_folder_is_absolute_and_cannot_be_pointed_elsewhere(self, seed, monkeypatch):
        monkeypatch.chdir(seed.parent)
        config = load("seed", None, {}, ["seed.folder=/elsewhere"])
        assert config.seed.folder == str(seed.resolve())


class TestMistakesAreBlamedOnTheirSource:
    def test_an_unknown_key_of_the_seed(self, seed):
        (seed / "seed.toml").write_text(SEED_TOML + "tempertaure = 1\n")
        with pytest.raises(UserError, match=r"seed/seed\.toml: unknown key llm\.tempertaure; did you mean "):
            load(str(seed), None, {}, [])

    def test_an_unknown_key_of_the_file(self, seed, written):
        with pytest.raises(UserError, match=r"mine\.toml: unknown key search\.generation; did you mean "):
            load(str(seed), written("[search]\ngeneration = 3\n"), {}, [])

    def test_an_unknown_table_of_the_file(self, seed, written):
        with pytest.raises(UserError, match=r"mine\.toml: unknown key serach; did you mean "):
            load(str(seed), written("[serach]\ngenerations = 3\n"), {}, [])

    def test_an_unknown_key_of_an_assignment(self, seed):
        with pytest.raises(UserError, match=r"--set run\.sead=3: unknown key run\.sead; did you mean "):
            load(str(seed), None, {}, ["run.seed=1", "run.sead=3"])

    def test_a_flag_out_of_range(self, seed):
        with pytest.raises(UserError, match=r"the command line: search.*population must be at least 1"):
            load(str(seed), None, {"search": {"population": 0}}, [])

    def test_a_mistake_that_a_later_source_would_mend_is_told_all_the_same(self, seed, written):
        with pytest.raises(UserError, match=r"mine\.toml"):
            load(str(seed), written("[run]\nseed = 'x'\n"), {}, ["run.seed=1"])

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[run]\nseed = 'x'\n", r"run\.seed"),
            ("[llm]\nmodels = 'offline'\n", r"llm\.models"),
            ("[llm]\nmodels = [1]\n", r"llm\.models\.0"),
            ("[llm]\ntemperature = 0.5\n", r"llm\.temperature"),
            ("[llm]\ntemperature = [0.1, 0.2, 0.3]\n", r"llm\.temperature"),
            ("[llm]\ntemperature = [0.4, 0.05]\n", r"llm\.temperature.*range"),
            ("[llm]\ntemperature = [-1.0, 0.05]\n", r"llm\.temperature.*range"),
            ("[llm]\ntemperature = [0.0, inf]\n", r"llm\.temperature.*range"),
            ("[llm]\nmax_tokens = [1400, 600]\n", r"llm\.max_tokens.*range"),
            ("[llm]\nmax_tokens = [0, 600]\n", r"llm\.max_tokens.*range"),
            ("[llm]\nconcurrency = 0\n", r"llm\.concurrency"),
            ("[llm]\ndeadline_seconds = 0\n", r"llm\.deadline_seconds"),
            ("[llm]\nrepairs = -1\n", r"llm\.repairs"),
            ("[sandbox]\nslots = 1.5\n", r"sandbox\.slots"),
            ("[search]\np_mate = 1.1\n", "p_mate is a probability"),
            ("[search]\np_eot = -0.1\n", "p_eot is a probability"),
            ("[search]\np_mutate = nan\n", "p_mutate is a probability"),
            ("[search]\ngenerations = -1\n", "generations"),
            ("[search]\ngenerations = 'many'\n", r"search\.generations"),
            ("[objectives]\naccuracy = 'max'\n", "at least two objectives"),
            ("[objectives]\n", "at least two objectives"),
            ("[objectives]\naccuracy = 'up'\nparameters = 'min'\n", r"objectives\.accuracy"),
            ("[constraints]\nparameters = 5\n", r"constraints\.parameters"),
            ("search = 3\n", "search"),
            ("seed = 3\n", "seed"),
            ("task = 'cifar'\n", "task"),
            ("preset = 'papper'\n", "no preset 'papper'; known: paper"),
            ("preset = ['paper']\n", "no preset"),
            ("[preset]\npaper = true\n", "no preset"),
        ],
    )
    def test_a_value_that_cannot_be(self, seed, written, text, told):
        with pytest.raises(UserError, match=told) as caught:
            load(str(seed), written(text), {}, [])
        assert "mine.toml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_table_laid_over_a_plain_value_of_an_open_table_replaces_it(self, seed):
        config = load(str(seed), None, {}, ["task.loader=3", "task.loader.threads=2"])
        assert config.task["loader"] == {"threads": 2}

    @pytest.mark.parametrize("text", ["a = ", "[llm\n", "x = 1\nx = 2\n"])
    def test_text_that_is_no_toml(self, seed, written, text):
        with pytest.raises(UserError, match=r"mine\.toml is not valid TOML: ."):
            load(str(seed), written(text), {}, [])

    def test_a_seed_toml_that_is_no_toml(self, seed):
        (seed / "seed.toml").write_text("[seed")
        with pytest.raises(UserError, match=r"seed\.toml is not valid TOML"):
            load(str(seed), None, {}, [])

    def test_a_file_that_is_missing_no_text_or_a_folder(self, seed, tmp_path):
        (tmp_path / "latin.toml").write_bytes(b"x = '\xe4'")
        for name, told in (
            ("absent.toml", "There is no file"),
            ("latin.toml", "cannot be read"),
            (".", "cannot be read"),
        ):
            with pytest.raises(UserError, match=told):
                load(str(seed), tmp_path / name, {}, [])


class TestWhereTheSeedIs:
    def test_a_bare_file_needs_no_seed_toml_and_takes_the_defaults(self, tmp_path, monkeypatch):
        (tmp_path / "net.py").write_text("from elsewhere import build_model\n")
        monkeypatch.chdir(tmp_path)
        config = load("net.py", None, {"task": {"dataset": "digits"}}, [])
        assert config.seed == SeedSection(folder=str(tmp_path.resolve()), files=("net.py",))
        assert config.objectives == Config().objectives
        assert config.task["dataset"] == "digits"

    def test_a_bare_file_in_a_folder_with_a_seed_toml_does_not_read_it(self, seed):
        assert load(str(seed / "model.py"), None, {"task": {"dataset": "digits", "model": "Net"}}, []).seed.frozen == ()

    def test_a_bare_file_that_does_not_exist(self, tmp_path):
        with pytest.raises(UserError, match=r"no file .*net\.py"):
            load(str(tmp_path / "net.py"), None, {}, [])

    def test_a_folder_without_seed_toml(self, tmp_path):
        with pytest.raises(UserError, match=r"has no seed\.toml"):
            load(str(tmp_path), None, {}, [])

    @pytest.mark.parametrize("name", ["nowhere", "./nowhere/", "seeds/nowhere", "", "\0", "/", "model.txt"])
    def test_a_place_that_is_no_seed(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "model.txt").write_text("")
        with pytest.raises(UserError, match=r"no seed at|has no seed\.toml"):
            load(name, None, {}, [])

    @pytest.mark.parametrize("name", ["tiny_cnn", "seeds/tiny_cnn", "tiny_cnn/", "seeds/tiny_cnn/"])
    def test_the_name_of_a_shipped_seed_is_enough_anywhere(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert load(name, None, {}, []).seed.folder == str((seeds_folder() / "tiny_cnn").resolve())

    def test_a_folder_of_the_users_own_with_that_name_comes_first(self, seed, monkeypatch):
        seed.rename(seed.parent / "tiny_cnn")
        monkeypatch.chdir(seed.parent)
        assert load("tiny_cnn", None, {}, []).seed.folder == str(seed.parent.resolve() / "tiny_cnn")

    def test_another_path_that_ends_like_a_shipped_seed_is_not_taken_for_it(self, tmp_path):
        with pytest.raises(UserError, match="no seed at"):
            load(str(tmp_path / "tiny_cnn"), None, {}, [])

    @pytest.mark.parametrize("name", sorted(p.name for p in seeds_folder().iterdir() if (p / "seed.toml").is_file()))
    def test_every_shipped_seed_loads(self, name):
        config = load(name, None, {}, [])
        config.constraint_list()
        for file in seeds_folder().joinpath(name).glob("*.toml"):
            load(name, file, {}, [])


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("budget.x=3", 3),
            ("budget.x = 3 ", 3),
            ("budget.x=3.5", 3.5),
            ("budget.x=true", True),
            ("budget.x=[1, 2]", [1, 2]),
            ("budget.x=120s", "120s"),
            ("budget.x=two words", "two words"),
            ('budget.x="3"', "3"),
            ("budget.x='a = b'", "a = b"),
            ("budget.x=a=b", "a=b"),
            ("budget.x=https://h/v1?a=b", "https://h/v1?a=b"),
            ("budget.x=", ""),
            ("budget.x={a = 1}", {"a": 1}),
            ("budget.x.y=1", {"y": 1}),
        ],
    )
    def test_values_are_toml_or_else_plain_text(self, seed, text, value):
        assert load(str(seed), None, {}, [text]).budget["x"] == value

    def test_an_assignment_sets_its_key_and_no_other(self, seed):
        config = load(str(seed), None, {}, ["run.seed=1\n[search]\npopulation = 9", "budget.x=1\ny = 2"])  # fmt: skip
        assert config.search.population == 1

    def test_a_name_with_dots_and_slashes_is_quoted_as_in_toml(self, seed):
        config = load(str(seed), None, {}, ['llm.prices."openai/gpt-4.1"=[2.0, 8.0]'])
        assert config.llm.prices == {"openai/gpt-4.1": (2.0, 8.0)}

    @pytest.mark.parametrize("text", ["", "search.generations", "=5", " =5", "search.generations 5"])
    def test_without_a_key_or_an_equals_sign_the_form_is_told(self, seed, text):
        with pytest.raises(UserError, match="key=value"):
            load(str(seed), None, {}, [text])

    @pytest.mark.parametrize("text", ["search..x=1", ".search=1", "search.=1", "search=1", "a b=1"])
    def test_keys_that_cannot_be_are_refused(self, seed, text):
        with pytest.raises(UserError, match="--set"):
            load(str(seed), None, {}, [text])

    def test_a_value_of_the_wrong_type_is_blamed_on_its_assignment(self, seed):
        with pytest.raises(UserError, match=r"^--set sandbox\.slots=many: sandbox\.slots: "):
            load(str(seed), None, {}, ["sandbox.slots=many"])


class TestSecrets:
    def test_keys_of_the_environment_do_not_reach_the_runs_file(self, seed, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-hidden")
        assert "sk-hidden" not in load(str(seed), None, {"llm": {"models": ["openai/m"]}}, []).to_toml()

    def test_there_is_no_place_for_a_key(self, seed, written):
        with pytest.raises(UserError, match=r"unknown key llm\.api_key") as caught:
            load(str(seed), written("[llm]\napi_key = 'sk-hidden'\n"), {}, [])
        assert "sk-hidden" not in str(caught.value)


# What TOML can hold: no lone surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    assignment=st.tuples(
        st.lists(st.sampled_from(["seed", "task", "x", "llm", "search", "p_mate", "", "preset"])), text
    )
)
def test_no_assignment_ends_in_anything_but_a_configuration_or_a_sentence(seed, assignment):
    path, value = assignment
    try:
        config = load(str(seed), None, {}, ["task.x=1", f"{'.'.join(path)}={value}"])
    except UserError:
        return
    assert isinstance(config, Config)


def test_a_loaded_configuration_comes_back_and_cannot_be_changed(seed, tmp_path):
    config = load(str(seed), None, {}, ["preset=paper", "budget.time_limit=120s"])
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read(tmp_path / "config.toml") == config
    with pytest.raises(ValueError, match="frozen"):
        config.run = RunSection(seed=1)


def test_a_runs_file_that_was_damaged_is_told_with_its_path(tmp_path):
    (tmp_path / "config.toml").write_text("[search]\nxyz = 1\n")
    with pytest.raises(UserError, match=r"config\.toml: unknown key search\.xyz"):
        read(tmp_path / "config.toml")


class TestAssignmentsOfOneTable:
    def test_objectives_may_be_set_one_by_one(self, seed):
        config = load(str(seed), None, {}, ["objectives.latency=min", "run.seed=3", "objectives.accuracy=max"])
        assert config.objectives == {"latency": "min", "accuracy": "max"} and config.run.seed == 3

    def test_shares_of_operators_too(self, seed):
        config = load(str(seed), None, {}, ["search.operators.mutate=0.5", "search.operators.splice=0.5"])
        assert config.search.operators == {"mutate": 0.5, "splice": 0.5}

    def test_one_alone_is_told_to_be_too_few(self, seed):
        with pytest.raises(UserError, match=r"--set objectives.latency=min.*at least two"):
            load(str(seed), None, {}, ["objectives.latency=min"])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("epochs", "budget.epochs"),
        ("search.popluation", "search.population"),
        ("population", "search.population"),
        ("limit.usd", "limits"),
        ("llm.max-tokens", "llm.max_tokens"),
        ("sandbox.slot", "sandbox.slots"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(seed, key, meant):
    with pytest.raises(UserError, match=f"unknown key .*did you mean .*{meant}"):
        load(str(seed), None, {}, [f"{key}=1"])


def test_a_key_like_no_other_is_only_unknown(seed):
    with pytest.raises(UserError, match=r"unknown key llm\.zzqq\.$"):
        load(str(seed), None, {}, ["llm.zzqq=1"])


def test_files_that_begin_with_a_byte_order_mark_are_read(seed, written):
    (seed / "seed.toml").write_text("\ufeff" + SEED_TOML)
    mine = written("\ufeff[run]\nseed = 5\n")
    assert load(str(seed), mine, {}, []).run.seed == 5
