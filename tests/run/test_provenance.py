import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.core.errors import UserError
from agent.core.paths import prompts_folder
from agent.run.provenance import accepted_changes, changed_digests, provenance

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"limits": {"hours": 8.0, "usd": None}, "llm": {"models": ["offline"]}}


@pytest.fixture
def seed(tmp_path):
    (tmp_path / "model.py").write_text("x = 1\n")
    return tmp_path


def now(config=CONFIG, basis=None):
    return SimpleNamespace(config=config, provenance=basis or {"seed/model.py": "a"})


BEFORE = {"config": CONFIG, "basis": {"seed/model.py": "a"}}


def test_code_prompts_seed_and_versions_are_in_it(seed):
    found = provenance(seed, ["model.py"], prompts_folder())
    expected = {
        "seed/model.py",
        "agent/search/evolve.py",
        "sandbox/launch/fork_server.py",
        "prompts/mutate.md",
        "version of torch",
    }
    assert expected <= set(found)
    assert "prompts/README.md" not in found  # it is for people
    assert found == provenance(seed, ["model.py"], prompts_folder())


def test_a_changed_seed_and_added_or_removed_prompts_are_listed_by_name(seed, tmp_path):
    prompts = tmp_path / "prompts"
    shutil.copytree(prompts_folder(), prompts)
    before = provenance(seed, ["model.py"], prompts)
    (seed / "model.py").write_text("x = 2\n")
    (prompts / "roles/poet.md").write_text("You are a poet.")
    (prompts / "mate.md").unlink()
    shown = changed_digests(before, provenance(seed, ["model.py"], prompts))
    assert shown == ["prompts/mate.md is gone", "prompts/roles/poet.md is new", "seed/model.py changed"]


def test_changed_versions_are_listed_with_both_values(seed):
    assert changed_digests({"version of torch": "2.12"}, {"version of torch": "2.13"}) == ["version of torch: 2.12 -> 2.13"]


def test_a_run_that_recorded_no_provenance_is_not_reported_as_changed():
    assert changed_digests({}, {"seed/model.py": "a"}) == []


def test_nothing_changed_is_nothing_to_accept():
    assert accepted_changes(BEFORE, now(), {}, False) == ()


def test_a_setting_that_changed_in_the_file_is_refused_with_both_values():
    with pytest.raises(UserError, match=r"limits\.hours: 8\.0 -> 12\.0[\s\S]*--accept-changes"):
        accepted_changes(BEFORE, now({**CONFIG, "limits": {"hours": 12.0}}), {}, False)


def test_changes_on_the_command_line_are_accepted_and_recorded():
    config = {**CONFIG, "limits": {"hours": 12.0, "usd": 5.0}}
    text = {"limits": {"hours": 12.0, "usd": 5.0}}
    assert accepted_changes(BEFORE, now(config), text, False) == ("limits.hours: 8.0 -> 12.0", "limits.usd: (not set) -> 5.0")
    with pytest.raises(UserError, match=r"seed/model\.py changed"):
        accepted_changes(BEFORE, now(config, {"seed/model.py": "b"}), text, False)


def test_what_is_accepted_is_kept_for_the_record():
    assert accepted_changes(BEFORE, now(basis={"seed/model.py": "b"}), {}, True) == ("seed/model.py changed",)


def test_a_long_list_is_cut_and_counted():
    many = {f"agent/{n:02d}.py": "b" for n in range(40)}
    with pytest.raises(UserError, match="and 29 more"):
        accepted_changes(BEFORE, now(basis=many), {}, False)
