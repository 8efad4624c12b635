"""The `evolve` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from agent.budget.limits import limits_in_order
from agent.core.errors import MachineError, UserError
from agent.run import signals

_Command = TypeVar("_Command", bound=Callable[..., Any])

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
_RUN = click.argument("run", type=click.Path(path_type=Path))
_DETACH = click.option("--detach", is_flag=True, help="Work in the background; output goes to run.log in the run folder.")
_SET = click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting, as in search.p_eot=0.5.")


def _limits(command: _Command) -> _Command:
    """Adds an option for each limit of what a run may spend, all its processes together."""
    for limit in reversed(tuple(limits_in_order())):
        flag = f"--{limit.key.replace('_', '-')}"
        command = click.option(flag, type=limit.value_type, metavar=limit.metavar, help=limit.help)(command)
    return command


def _notification_options(command: _Command) -> _Command:
    """The options of who is told of a run's end. They are kept nowhere: a resume names them again."""
    for option in (
        click.option(
            "--notify", metavar="URL", envvar="EVOLVE_NOTIFY", help="Post a small JSON when the run ends or no model answers."
        ),
        click.option(
            "--on-finish", metavar="COMMAND", envvar="EVOLVE_ON_FINISH", help="Start this at the end, without a shell."
        ),
    )[::-1]:
        command = option(command)
    return command


def main() -> NoReturn:
    """Exit codes: 0 done, 1 the run failed, 2 the user's mistake, 130 stopped by the user."""
    signals.begin()
    signals.end(_exit_code())


def _exit_code() -> int:
    try:
        return cli.main(standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return 2
    except UserError as error:
        _mutter(f"Error: {error}")
        return 2
    except MachineError as error:
        _mutter(f"Failed: {error}")
        return 1
    except (KeyboardInterrupt, click.Abort):
        return signals.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`evolve show | head`)
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception:  # the outermost edge: a fault of ours
        traceback.print_exc()
        return 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="guided-evolution")
def cli() -> None:
    """Evolve the source code of a PyTorch model: LLMs rewrite its blocks, training decides.

    Start with:  evolve run seeds/exquisitenet_v2 --llm offline
    """


@cli.command()
@click.argument("seed")
@click.option("--llm", multiple=True, help="MODEL[,MODEL...]: offline, openai/NAME, a litellm name, cmd:COMMAND, inbox:FOLDER.")
@click.option("--api-base", help="Address of an OpenAI-compatible endpoint.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default runs/<seed>-<n>.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file over the seed's own.")
@_SET
@click.option("--generations", type=int, help="Generations after the first population.")
@click.option("--population", type=int, help="Offspring of each generation.")
@_limits
@click.option("--schedule", help="steady (default): no slot waits; generational: the paper's loop, exactly repeatable.")
@click.option("--slots", metavar="N|N/gpu|cpu:N", help="Trainings at once; with GPUs there, N of them share these.")
@click.option("--seed", "chance", type=int, help="Seed of all chance in the search.")
@click.option("--dataset", help="Data set: digits, a hub id such as uoft-cs/cifar10, or a folder of parquet files or images.")
@click.option("--source", "sources", multiple=True, metavar="FILE", help="A file that evolves; several evolve together.")
@click.option("--command", metavar="'python FILE'", help="Run this in a copy of the seed's folder; needs --metric.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME:min|max", help="A number that the command prints.")
@click.option("--unsafe-no-sandbox", is_flag=True, help="Run generated code even if this machine cannot isolate it.")
@_notification_options
@_DETACH
def run(
    seed: str,
    llm: tuple[str, ...],
    api_base: str | None,
    out: Path | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    generations: int | None,
    population: int | None,
    schedule: str | None,
    slots: str | None,
    chance: int | None,
    dataset: str | None,
    sources: tuple[str, ...],
    command: str | None,
    metrics: tuple[str, ...],
    unsafe_no_sandbox: bool,
    notify: str | None,
    on_finish: str | None,
    detach: bool,
    **limits: Any,
) -> None:
    """Start a run from SEED: a folder with a seed.toml, or a .py file."""
    from agent.llm import model_names
    from agent.run.config import load, with_script
    from agent.run.folder import RunFolder

    flags: dict[str, dict[str, Any]] = {
        "llm": {"models": model_names(llm) if any(llm) else None, "api_base": api_base},
        "limits": limits,
        "search": {"generations": generations, "population": population, "schedule": schedule},
        "sandbox": {"slots": slots, "unsafe_no_sandbox": unsafe_no_sandbox or None},
        "run": {"seed": chance},
        "task": {"dataset": dataset},
    }
    config = load(seed, config_file, with_script(_given(flags), command, metrics), assignments, sources)
    folder = RunFolder(out) if out else _experiment().free_folder(config, Path(seed).resolve().stem)
    notifications = _notifications(notify, on_finish)
    if detach:
        _driving().detach(folder, [*(a for a in sys.argv[1:] if a != "--detach"), *([] if out else ["--out", str(folder.root)])])
    else:
        _driving().drive(folder, lambda watch: _experiment().start(config, folder, watch), notifications)


@cli.command()
@_RUN
@_SET
@_limits
@click.option("--accept-changes", is_flag=True, help="Go on although code, prompts, seed or settings have changed.")
@_notification_options
@_DETACH
def resume(
    run: Path,
    assignments: tuple[str, ...],
    accept_changes: bool,
    notify: str | None,
    on_finish: str | None,
    detach: bool,
    **limits: Any,
) -> None:
    """Go on with a run that stopped or crashed, or has reached a limit that is now raised.

    Limits hold for the run as a whole. What --set and they change is recorded.
    """
    from agent.run.config import said

    folder = _folder(run)
    changed, notifications = said(_given({"limits": limits}), assignments), _notifications(notify, on_finish)
    if detach:
        _driving().detach(folder, [a for a in sys.argv[1:] if a != "--detach"])
    else:
        _driving().drive(folder, lambda watch: _experiment().resume(folder, watch, changed, accept=accept_changes), notifications)


@cli.command()
@_RUN
@click.option("--now", is_flag=True, help="Do not wait for what is under way.")
def stop(run: Path, now: bool) -> None:
    """Ask a run that another process works on to come to its end; wait until it has."""
    import os
    import signal
    import time

    from agent.run.folder import owner

    folder = _folder(run)
    pid = owner(folder.lock)
    if pid is None:
        raise UserError(f"No process is working on {run}.")
    for _ in range(2 if now else 1):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)
    if not now:
        click.echo("Asked; it finishes what is under way ...", err=True)
    while owner(folder.lock) == pid:
        time.sleep(0.2)
    click.echo(f"StageFailure. Go on with:  evolve resume {run}", err=True)


@cli.command()
@_RUN
@_AS_JSON
@click.option("--watch", is_flag=True, help="Again every two seconds, until the run ends.")
def status(run: Path, as_json: bool, watch: bool) -> None:
    """Counts, front, spend and isolation of a run."""
    import time

    from agent.cli import tables as terminal

    folder = _folder(run)
    while True:
        facts = _driving().status(folder)
        if watch and not as_json:
            click.clear()
        _print_json(facts) if as_json else terminal.print_status(facts)
        if not watch or facts["state"] != "running":
            return
        time.sleep(2)


@cli.command()
@_RUN
@click.argument("id", required=False)
@click.option("--lessons", is_flag=True, help="What the run has learnt, with evidence and credit.")
@click.option("--arms", is_flag=True, help="How models, operators and prompts fared.")
@_AS_JSON
def show(run: Path, id: str | None, lessons: bool, arms: bool, as_json: bool) -> None:
    """The front of a run, or one variant: metrics, lineage, diff, prompt, answer."""
    from agent.cli import tables as terminal
    from agent.review import learning as learned
    from agent.review import status as summary

    folder = _folder(run)
    if id is not None and (lessons or arms):
        raise UserError("--lessons and --arms are of a whole run: leave the ID out.")
    with _journal(folder) as journal:
        if lessons:
            told = learned.lessons(journal)
            _print_json(told) if as_json else terminal.print_lessons(told, _driving().status(folder))
        elif arms:
            ranked = learned.arms(journal, [member["id"] for member in _driving().status(folder)["front"]])
            _print_json(ranked) if as_json else terminal.print_arms(ranked)
        elif id is not None:
            facts = summary.variant(journal, id)
            _print_json(facts) if as_json else terminal.print_variant(facts, _driving().status(folder))
        else:
            if as_json:
                _print_json(summary.variants(journal))
            else:
                terminal.print_run(summary.outlines(journal), _driving().status(folder))


@cli.command()
@_RUN
@click.argument("id")
def diff(run: Path, id: str) -> None:
    """The change of one variant against the seed."""
    from agent.cli import tables as terminal
    from agent.review import status as summary

    with _journal(_folder(run)) as journal:
        terminal.print_diff(summary.variant(journal, id)["diff"])


@cli.command()
@_RUN
def report(run: Path) -> None:
    """Write report.html and report.md into the run folder."""
    folder = _folder(run)
    try:
        _driving().report(folder)
    except OSError as error:
        raise MachineError(f"The report cannot be written: {error}.") from error
    click.echo(f"{folder.report}\n{folder.report_markdown}")


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@_AS_JSON
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Runs side by side: hypervolume over trained variants and over dollars, with the noise."""
    from contextlib import ExitStack

    from agent.cli import tables as terminal
    from agent.review import comparison

    with ExitStack() as stack:
        journals = {str(run): stack.enter_context(_journal(_folder(run))) for run in runs}
        facts = comparison.compare(journals)
    _print_json(facts) if as_json else terminal.print_comparison(facts)


@cli.command()
@click.option("--llm", help="Also check that this model can be reached.")
@click.option("--api-base", help="Address of an OpenAI-compatible endpoint.")
@_AS_JSON
def doctor(llm: str | None, api_base: str | None, as_json: bool) -> None:
    """Isolation, devices, git, disk and, with --llm, the model: what this machine can do."""
    from agent.cli import doctor as examination
    from agent.cli import tables as terminal

    facts = examination.examine(llm, api_base)
    _print_json(facts) if as_json else terminal.print_doctor(examination.lines(facts))
    if not examination.healthy(facts):
        sys.exit(1)


@cli.command("new-task")
@click.argument("folder", type=click.Path(path_type=Path))
def new_task(folder: Path) -> None:
    """Write a seed with a task of its own into FOLDER: a small example that runs, to be changed."""
    from agent.cli import new_task as authoring

    click.echo(authoring.new_task(folder))


@cli.command("check-task")
@click.argument("seed")
@_AS_JSON
def check_task(seed: str, as_json: bool) -> None:
    """Try the task.py of SEED: the contract that it has to keep, and one evaluation of the seed."""
    from agent.cli import new_task as authoring
    from agent.cli import tables as terminal

    checks = authoring.check_task(seed)
    _print_json(checks) if as_json else terminal.print_checks(checks)
    if not all(check["passed"] for check in checks):
        sys.exit(2)


def _experiment() -> Any:
    from agent.run import runner as experiment

    return experiment


def _driving() -> Any:
    from agent.cli import launch as driving

    return driving


def _given(flags: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the user said, of all that could be said."""
    given = {table: {key: value for key, value in keys.items() if value is not None} for table, keys in flags.items()}
    return {table: keys for table, keys in given.items() if keys}


def _mutter(line: str) -> None:
    with suppress(OSError):  # the terminal may have gone
        click.echo(line, err=True)


def _notifications(notify: str | None, on_finish: str | None) -> Any:
    """Who is to be told of the end. Raises UserError for what cannot be an address or a program."""
    from agent.cli.notify import Notifications

    return Notifications.of(notify, on_finish, _mutter)


def _folder(run: Path) -> Any:
    from agent.run.folder import RunFolder

    folder = RunFolder(run)
    if not folder.journal.is_file():
        raise UserError(f"{run} holds no run: there is no {folder.journal.name} in it.")
    return folder


def _journal(folder: Any) -> Any:
    import gc
    from contextlib import closing

    from agent.journal.store import Journal

    gc.disable()  # all that is read is shown, and the process ends: of ten thousand children that is a quarter of the time
    return closing(Journal(folder.journal, read_only=True))


def _print_json(facts: Any) -> None:
    """A list has one line for each of its members: there may be ten thousand."""
    if isinstance(facts, list):
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in facts)
        click.echo(f"[\n{lines}\n]")
    else:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))

