"""The table of limits: one entry is all that a limit needs."""

import math
from dataclasses import fields

import pytest
from click.testing import CliRunner

from agent.budget import Budget, RunLimits, check_prices
from agent.budget.limits import CHECKS, LIMITS
from agent.cli.main import cli
from agent.core.errors import UserError
from agent.journal.events import RunStarted
from agent.run import config_sources
from tests.budget.simulation import run_candidate, start_budget

NO_LIMITS = ("reserve", "grace_seconds")
"""Fields of `RunLimits` that only configure how limits are kept."""


def test_every_field_has_an_entry_and_every_entry_a_field():
    names = [field.name for field in fields(RunLimits) if field.name not in NO_LIMITS]
    assert [limit.key for limit in LIMITS] == names
    assert sorted(limit.key for limit in CHECKS) == sorted(names)


@pytest.mark.parametrize("command", ["run", "resume"])
def test_every_entry_is_a_flag_with_its_help_in_the_order_of_the_fields(command):
    shown = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
    places = [shown.index(f"--{limit.key.replace('_', '-')} {limit.metavar or ''}") for limit in LIMITS]
    assert places == sorted(places)
    assert all(limit.help in shown for limit in LIMITS)


def test_limits_that_are_exceeded_together_are_named_in_the_order_of_the_table():
    exceeded = {"variants": 1, "hours": 1e-9, "usd": 1e-9, "tokens": 1, "gpu_hours": 1e-9}
    order = [limit.key for limit in CHECKS if limit.key in exceeded]
    while exceeded:
        budget = Budget(RunLimits(**exceeded, grace_seconds=0.0))
        budget.see(RunStarted({}, "full", ()))
        budget.spend.usd, budget.spend.tokens, budget.spend.gpu_seconds, budget.spend.variants = 1.0, 10, 10.0, 1
        refused = budget.admits_breeding().limit
        assert refused == next(key for key in order if key in exceeded)
        del exceeded[refused]


class TestLimits:
    def test_without_limits_everything_is_admitted(self, manual):
        budget = start_budget(manual)
        run_candidate(budget, "0001", usd=1e6, tokens=(10**9, 10**9), seconds=1e6, gpus=8)
        manual.pass_(1e9)
        assert budget.admits_breeding() is None
        assert budget.admits_evaluation("0001") is None
        assert budget.seconds_left() is None

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("hours", 0), ("usd", -1.0), ("tokens", 0), ("gpu_hours", math.nan), ("variants", 0), ("usd", math.inf)),
            *(("reserve", 0.95), ("reserve", -0.1), ("grace_seconds", -1)),
            *(("until", "25:00"), ("until", "7 o'clock"), ("until", "")),
        ],
    )
    def test_a_limit_that_makes_no_sense_is_refused_by_its_name(self, key, value):
        with pytest.raises(ValueError, match=f"^{key} "):
            RunLimits(**{key: value})

    def test_they_are_a_section_of_the_configuration_and_come_back_from_its_file(self, tmp_path):
        (tmp_path / "model.py").write_text("def build_model(num_classes, in_channels): ...\n")
        flags = {"limits": {"hours": 8.0, "until": "7:30", "usd": 5.0, "tokens": 10**6, "gpu_hours": 2.5, "variants": 100}}
        loaded = config_sources.load(str(tmp_path / "model.py"), None, flags, ["limits.reserve=0.2", "task.dataset=digits"])
        assert loaded.limits == RunLimits(8.0, "7:30", 5.0, 10**6, 2.5, 100, 0.2)
        (tmp_path / "config.toml").write_text(loaded.to_toml())
        assert config_sources.read(tmp_path / "config.toml").limits == loaded.limits

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("limits.usd=0", "limits: usd must be"),
            ("limits.hour=3", "unknown key limits.hour"),
            ("limits.until=late", "until must be"),
        ],
    )
    def test_a_mistake_in_the_section_is_the_users(self, tmp_path, text, message):
        (tmp_path / "model.py").write_text("def build_model(num_classes, in_channels): ...\n")
        with pytest.raises(UserError, match=message):
            config_sources.load(str(tmp_path / "model.py"), None, {}, [text])

    @pytest.mark.parametrize(
        ("flag", "value"),
        [("--hours", "0"), ("--until", "24:00"), ("--usd", "0"), ("--tokens", "0"), ("--gpu-hours", "-1"), ("--variants", "0")],
    )
    def test_the_flags_reach_the_section(self, evolve, tmp_path, flag, value):
        (tmp_path / "model.py").write_text("def build_model(num_classes, in_channels): ...\n")
        done = evolve("run", tmp_path / "model.py", "--llm", "offline", "--out", tmp_path / "run", flag, value)
        assert done.returncode == 2
        assert f"limits: {flag[2:].replace('-', '_')} must be" in done.stderr
        assert not (tmp_path / "run").exists()


class TestPrices:
    PRICES = {"gpt-x": (1e-6, 2e-6)}

    def test_dollars_cannot_be_limited_for_a_model_of_unknown_price(self):
        with pytest.raises(UserError, match=r'price of local/lama is unknown: give llm\.prices\."local/lama"'):
            check_prices(RunLimits(usd=5.0), ["gpt-x", "local/lama"], self.PRICES.get)

    def test_other_limits_need_no_prices(self):
        check_prices(RunLimits(hours=1, tokens=5), ["local/lama"], self.PRICES.get)

    def test_known_prices_and_the_offline_model_pass(self):
        check_prices(RunLimits(usd=5.0), ["gpt-x", "offline"], self.PRICES.get)
