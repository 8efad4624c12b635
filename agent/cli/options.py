"""Options that several commands share, and the settings that they set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from agent.budget.limits import LIMITS
from agent.cli.output import print_to_stderr

_Command = TypeVar("_Command", bound=Callable[..., Any])

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
RUN = click.argument("run", type=click.Path(path_type=Path))
DETACH = click.option("--detach", is_flag=True, help="Work in the background; output goes to run.log in the run folder.")
SET = click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting, as in search.p_eot=0.5.")


def limit_options(command: _Command) -> _Command:
    """Add an option for each limit of what a run may spend."""
    for limit in reversed(LIMITS):
        flag = f"--{limit.key.replace('_', '-')}"
        command = click.option(flag, type=limit.value_type, metavar=limit.metavar, help=limit.help)(command)
    return command


def notification_options(command: _Command) -> _Command:
    """Add the options for notifications; the command gets them as `notifications`. A run does not store them."""

    @click.option(
        "--notify", metavar="URL", envvar="EVOLVE_NOTIFY", help="Post a small JSON when the run ends or waits for models."
    )
    @click.option("--on-finish", metavar="COMMAND", envvar="EVOLVE_ON_FINISH", help="Start this at the end, without a shell.")
    @functools.wraps(command)
    def with_notifications(*arguments: Any, notify: str | None, on_finish: str | None, **options: Any) -> Any:
        from agent.cli.notify import Notifications

        return command(*arguments, notifications=Notifications.of(notify, on_finish, print_to_stderr), **options)

    return cast(_Command, with_notifications)


_SETTING_OF_FLAG: Mapping[str, str] = {
    "llm_models": "llm.models",
    "api_base": "llm.api_base",
    "generations": "search.generations",
    "population": "search.population",
    "schedule": "search.schedule",
    "slots": "sandbox.slots",
    "unsafe_no_sandbox": "sandbox.unsafe_no_sandbox",
    "random_seed": "run.seed",
    "null": "run.null",
    "dataset": "task.dataset",
}
"""The settings that the flags of `run` set, by the parameter of the flag; every other parameter is a limit of `[limits]`."""


def named_settings(flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings that the user named, as nested tables, from the values of flags; None: not named."""
    tables: dict[str, dict[str, Any]] = {}
    for flag, value in flags.items():
        if value is not None:
            table, _, key = _SETTING_OF_FLAG.get(flag, f"limits.{flag}").partition(".")
            tables.setdefault(table, {})[key] = value
    return tables
