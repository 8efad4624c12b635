"""The table of limits: one entry and its field are all that a limit needs."""

from dataclasses import fields

import pytest
from click.testing import CliRunner

from agent.budget import Budget, RunLimits
from agent.budget.limits import LIMITS, limits_in_order
from agent.cli.main import cli
from agent.journal.events import RunStarted

NO_LIMITS = ("reserve", "grace_seconds")
"""Fields of `RunLimits` that only say how limits are kept."""


def test_every_field_has_an_entry_and_every_entry_a_field():
    names = [field.name for field in fields(RunLimits) if field.name not in NO_LIMITS]
    assert [limit.key for limit in limits_in_order()] == names
    assert sorted(limit.key for limit in LIMITS) == sorted(names)


@pytest.mark.parametrize("command", ["run", "resume"])
def test_every_entry_is_a_flag_with_its_help_in_the_order_of_the_fields(command):
    shown = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
    places = [shown.index(f"--{limit.key.replace('_', '-')} {limit.metavar or ''}") for limit in limits_in_order()]
    assert places == sorted(places)
    assert all(limit.help in shown for limit in LIMITS)


def test_limits_that_are_exceeded_together_are_named_in_the_order_of_the_table():
    exceeded = {"variants": 1, "hours": 1e-9, "usd": 1e-9, "tokens": 1, "gpu_hours": 1e-9}
    order = [limit.key for limit in LIMITS if limit.key in exceeded]
    while exceeded:
        budget = Budget(RunLimits(**exceeded, grace_seconds=0.0))
        budget.see(RunStarted({}, "full", ()))
        budget.spend.usd, budget.spend.tokens, budget.spend.gpu_seconds, budget.spend.variants = 1.0, 10, 10.0, 1
        refused = budget.admits_breeding().limit
        assert refused == next(key for key in order if key in exceeded)
        del exceeded[refused]
