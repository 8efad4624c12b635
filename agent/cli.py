"""The `evolve` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.errors import MachineError, UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
_RUN = click.argument("run", type=click.Path(path_type=Path))
_DETACH = click.option("--detach", is_flag=True, help="Work in the background; output goes to run.log in the run folder.")


def main() -> None:
    """Exit codes: 0 done, 1 the run failed, 2 the user's mistake, 130 stopped by the user."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    except MachineError as error:
        click.echo(f"Failed: {error}", err=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:  # the reader of our output has gone (`evolve show | head`)
        code = 0
        sys.stderr.close()
    sys.exit(code)


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
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting, as in search.p_eot=0.5.")
@click.option("--generations", type=int, help="Generations after the first population.")
@click.option("--population", type=int, help="Offspring of each generation.")
@click.option("--hours", type=float, help="Wall time that the run may take.")
@click.option("--until", metavar="HH:MM", help="Local time by which the run ends, such as 07:30.")
@click.option("--usd", type=float, help="Dollars that all models together may cost.")
@click.option("--tokens", type=int, help="Tokens of all prompts and answers together.")
@click.option("--gpu-hours", type=float, help="GPU time of all evaluations together.")
@click.option("--variants", type=int, help="Children that are drawn at most, whatever becomes of them.")
@click.option("--schedule", help="steady (default): no slot waits; generational: the paper's loop, exactly repeatable.")
@click.option("--slots", type=int, help="Evaluations at once.")
@click.option("--seed", "chance", type=int, help="Seed of all chance in the search.")
@click.option("--dataset", help="Data set of the task, such as digits.")
@click.option("--unsafe-no-sandbox", is_flag=True, help="Run generated code even if this machine cannot isolate it.")
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
    hours: float | None,
    until: str | None,
    usd: float | None,
    tokens: int | None,
    gpu_hours: float | None,
    variants: int | None,
    schedule: str | None,
    slots: int | None,
    chance: int | None,
    dataset: str | None,
    unsafe_no_sandbox: bool,
    detach: bool,
) -> None:
    """Start a run from SEED: a folder with a seed.toml, or a .py file."""
    from agent.config import RunFolder, load
    from agent.llm import model_names

    flags: dict[str, dict[str, Any]] = {
        "llm": {"models": model_names(llm) if any(llm) else None, "api_base": api_base},
        "limits": {
            "hours": hours, "until": until, "usd": usd, "tokens": tokens, "gpu_hours": gpu_hours, "variants": variants
        },
        "search": {"generations": generations, "population": population, "schedule": schedule},
        "sandbox": {"slots": slots, "unsafe_no_sandbox": unsafe_no_sandbox or None},
        "run": {"seed": chance},
        "task": {"dataset": dataset},
    }
    given = {table: {k: v for k, v in keys.items() if v is not None} for table, keys in flags.items()}
    config = load(seed, config_file, {t: keys for t, keys in given.items() if keys}, assignments)
    folder = RunFolder(out) if out else _experiment().free_folder(config, Path(seed).stem)
    if detach:
        _detach(folder, [*(a for a in sys.argv[1:] if a != "--detach"), *([] if out else ["--out", str(folder.root)])])
    else:
        _drive(folder, lambda watch: _experiment().start(config, folder, watch))


@cli.command()
@_RUN
@_DETACH
def resume(run: Path, detach: bool) -> None:
    """Go on with a run that stopped or crashed."""
    folder = _folder(run)
    if detach:
        _detach(folder, [a for a in sys.argv[1:] if a != "--detach"])
    else:
        _drive(folder, lambda watch: _experiment().resume(folder, watch))


@cli.command()
@_RUN
@click.option("--now", is_flag=True, help="Do not wait for what is under way.")
def stop(run: Path, now: bool) -> None:
    """Ask a run that another process works on to come to its end; wait until it has."""
    import os
    import signal
    import time

    from agent.lock import owner

    folder = _folder(run)
    pid = owner(folder.lock)
    if pid is None:
        raise UserError(f"No process is working on {run}.")
    for _ in range(2 if now else 1):
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)
    while owner(folder.lock) == pid:
        time.sleep(0.2)
    click.echo(f"Stopped. Go on with:  evolve resume {run}", err=True)


@cli.command()
@_RUN
@_AS_JSON
@click.option("--watch", is_flag=True, help="Again every two seconds, until the run ends.")
def status(run: Path, as_json: bool, watch: bool) -> None:
    """Counts, front, spend and isolation of a run."""
    import time

    from agent import terminal

    folder = _folder(run)
    while True:
        facts = _status(folder)
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
    from agent import learned, summary, terminal

    folder = _folder(run)
    if id is not None and (lessons or arms):
        raise UserError("--lessons and --arms are of a whole run: leave the ID out.")
    with _journal(folder) as journal:
        if lessons:
            told = learned.lessons(journal)
            _print_json(told) if as_json else terminal.print_lessons(told, _status(folder))
        elif arms:
            ranked = learned.arms(journal, [member["id"] for member in _status(folder)["front"]])
            _print_json(ranked) if as_json else terminal.print_arms(ranked)
        elif id is not None:
            facts = summary.variant(journal, id)
            _print_json(facts) if as_json else terminal.print_variant(facts, _status(folder))
        else:
            listed = summary.variants(journal)
            _print_json(listed) if as_json else terminal.print_run(listed, _status(folder))


@cli.command()
@_RUN
@click.argument("id")
def diff(run: Path, id: str) -> None:
    """The change of one variant against the seed."""
    from agent import summary, terminal

    with _journal(_folder(run)) as journal:
        terminal.print_diff(summary.variant(journal, id)["diff"])


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@_AS_JSON
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Runs side by side: hypervolume over trained variants and over dollars, with the noise."""
    from contextlib import ExitStack

    from agent import comparison, terminal

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
    from agent import doctor as examination
    from agent import terminal

    facts = examination.examine(llm, api_base)
    _print_json(facts) if as_json else terminal.print_doctor(facts)
    if not examination.healthy(facts):
        sys.exit(1)


def _experiment() -> Any:
    from agent import experiment

    return experiment


def _drive(folder: Any, work: Callable[[Any], None]) -> None:
    """Runs with the live view, then says what came of it and how to go on."""
    from agent import terminal

    with terminal.Live(folder.name) as live:
        try:
            work(live.see)
        except KeyboardInterrupt:
            begun = folder.journal.is_file()
            live.say(f"Stopped. Go on with:  evolve resume {folder.root}" if begun else "Stopped; nothing was begun.")
            raise
        except MachineError:
            if folder.journal.is_file():
                live.say(f"When the cause is mended, go on with:  evolve resume {folder.root}")
            raise
    terminal.print_status(_status(folder))
    click.echo(f"Look closer with:  evolve show {folder.root}", err=True)


def _detach(folder: Any, arguments: list[str]) -> None:
    """The same command in a session of its own; returns when it works on the run, or with its words when it cannot."""
    import os
    import subprocess
    import tempfile
    import time

    from agent.lock import owner

    folder.root.parent.mkdir(parents=True, exist_ok=True)
    descriptor, log = tempfile.mkstemp(prefix=f".{folder.name}-", suffix=".log", dir=folder.root.parent)
    with open(descriptor, "r+") as file:
        command = [sys.executable, "-m", "agent.cli", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        while process.poll() is None and owner(folder.lock) != process.pid:
            time.sleep(0.05)
        if process.poll():
            file.seek(0)
            click.echo(file.read(), err=True, nl=False)
            os.unlink(log)
            sys.exit(process.returncode)
    os.replace(log, folder.log)
    click.echo(f"Working on {folder.root} in process {process.pid}.", err=True)
    click.echo(f"Watch with:  evolve status {folder.root} --watch\nStop with:   evolve stop {folder.root}", err=True)


def _folder(run: Path) -> Any:
    from agent.config import RunFolder

    folder = RunFolder(run)
    if not folder.journal.is_file():
        raise UserError(f"{run} holds no run: there is no {folder.journal.name} in it.")
    return folder


def _journal(folder: Any) -> Any:
    from contextlib import closing

    from agent.journal import Journal

    return closing(Journal(folder.journal, read_only=True))


def _status(folder: Any) -> dict[str, Any]:
    from agent import summary
    from agent.lock import is_locked

    with _journal(folder) as journal:
        return dict(summary.status(journal, folder.name, alive=is_locked(folder.lock)))


def _print_json(facts: Any) -> None:
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
