"""The `evolve` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import io
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from agent.cli import streams
from agent.cli.options import AS_JSON, DETACH, RUN, SET, limit_options, named_settings, notification_options
from agent.cli.output import print_json, print_line, print_to_stderr
from agent.core.errors import MachineError, UserError
from agent.run import signals

if TYPE_CHECKING:
    from agent.cli.notify import Notifications
    from agent.journal.events import Watch

_WATCH_SECONDS = 2
_STOP_POLL_SECONDS = 0.2


def main() -> NoReturn:
    """Run the command and end the process. Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 stopped by the user."""
    streams.prepare()
    signals.begin()
    code = _exit_code()
    if (trouble := streams.flushed()) and code == 0:
        print_to_stderr(f"Failed: {trouble}")
        code = 1
    signals.end(code)


def _exit_code() -> int:
    try:
        streams.check_arguments(sys.argv[1:])
        return cli.main(standalone_mode=False) or 0
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        print_to_stderr(told.getvalue(), end="")
        return 2
    except UserError as error:
        print_to_stderr(f"Error: {error}")
        return 2
    except MachineError as error:
        print_to_stderr(f"Failed: {error}")
        return 1
    except (KeyboardInterrupt, click.Abort):
        return signals.INTERRUPTED
    except BrokenPipeError:  # the program that reads the output has ended (`evolve show | head`)
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) and not streams.reader_has_ended() else 0
    except OSError as error:  # of a file system that nothing expected
        if not (trouble := streams.trouble(error)):
            print_to_stderr(traceback.format_exc())
        print_to_stderr(f"Failed: {trouble}" if trouble else "")
        return 1
    except Exception:  # a bug of this program
        print_to_stderr(traceback.format_exc())
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
@SET
@click.option("--generations", type=int, help="Generations after the first population.")
@click.option("--population", type=int, help="Candidates of each generation.")
@limit_options
@click.option("--schedule", help="steady (default): no slot waits; generational: the paper's loop, exactly repeatable.")
@click.option("--slots", metavar="N|N/gpu|cpu:N", help="Trainings at once; with GPUs there, N of them share these.")
@click.option("--seed", "random_seed", type=int, help="Seed of all randomness in the search.")
@click.option("--null", is_flag=True, default=None, help="A/A: edits that change nothing, no model; all it finds is chance.")
@click.option("--dataset", help="Data set: digits, a hub id such as uoft-cs/cifar10, or a folder of parquet files or images.")
@click.option("--source", "sources", multiple=True, metavar="FILE", help="A file that evolves; several evolve together.")
@click.option("--command", metavar="'python FILE'", help="Run this in a copy of the seed's folder; needs --metric.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME:min|max", help="A number that the command prints.")
@click.option(
    "--unsafe-no-sandbox", is_flag=True, default=None, help="Run generated code even if this machine cannot isolate it."
)
@notification_options
@DETACH
def run(
    seed: str,
    out: Path | None,
    config_file: Path | None,
    llm: tuple[str, ...],
    command: str | None,
    metrics: tuple[str, ...],
    sources: tuple[str, ...],
    assignments: tuple[str, ...],
    notifications: Notifications,
    detach: bool,
    **flags: Any,
) -> None:
    """Start a run from SEED: a folder with a seed.toml, or a .py file."""
    from agent.cli import launch
    from agent.llm import model_names
    from agent.run import runner
    from agent.run.config_sources import load
    from agent.run.folder import RunFolder
    from agent.run.script_flags import with_script

    named = named_settings({**flags, "llm_models": model_names(llm) if any(llm) else None})
    tables = with_script(named, command, metrics)
    config = load(seed, config_file, tables, assignments, sources, print_to_stderr)
    folder = RunFolder(out) if out else runner.free_folder(config, Path(seed).resolve().stem)
    if detach:
        chosen_folder = [] if out else ["--out", str(folder.root)]
        launch.detach(folder, [*_arguments_without_detach(), *chosen_folder])
    else:
        launch.run_in_foreground(folder, lambda watch: runner.start(config, folder, watch), notifications)


@cli.command()
@RUN
@SET
@limit_options
@click.option("--accept-changes", is_flag=True, help="Go on although code, prompts, seed or settings have changed.")
@notification_options
@DETACH
def resume(
    run: Path, assignments: tuple[str, ...], accept_changes: bool, notifications: Notifications, detach: bool, **limits: Any
) -> None:
    """Go on with a run that stopped or crashed, or has reached a limit that is now raised.

    Limits hold for the run as a whole. What --set and they change is recorded.
    """
    from agent.cli import launch
    from agent.cli.reading import find_run
    from agent.run import runner
    from agent.run.config_sources import command_line_table

    folder = find_run(run)
    changed = command_line_table(named_settings(limits), assignments)
    if detach:
        launch.detach(folder, _arguments_without_detach())
    else:

        def work(watch: Watch) -> None:
            runner.resume(folder, watch, changed, accept=accept_changes)

        launch.run_in_foreground(folder, work, notifications)


@cli.command()
@RUN
@click.option("--now", is_flag=True, help="Do not wait for what is under way.")
def stop(run: Path, now: bool) -> None:
    """Ask a run that another process works on to come to its end; wait until it has."""
    import os
    import signal
    import time

    from agent.cli.reading import find_run
    from agent.run.folder import owner

    folder = find_run(run)
    pid = owner(folder.lock)
    if pid is None:
        raise UserError(f"No process is working on {run}.")
    for _ in range(2 if now else 1):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        time.sleep(_STOP_POLL_SECONDS)
    if not now:
        click.echo("Asked; it finishes what is under way ...", err=True)
    while owner(folder.lock) == pid:
        time.sleep(_STOP_POLL_SECONDS)
    print_to_stderr(f"Stopped. Go on with:  evolve resume {run}")


@cli.command()
@RUN
@AS_JSON
@click.option("--watch", is_flag=True, help="Again every two seconds, until the run ends.")
def status(run: Path, as_json: bool, watch: bool) -> None:
    """Counts, front, spend and isolation of a run."""
    import time

    from agent.cli.reading import find_run, read_status
    from agent.cli.tables import print_status

    folder = find_run(run)
    while True:
        facts = read_status(folder)
        if watch and not as_json:
            click.clear()
        print_json(facts) if as_json else print_status(facts)
        if not watch or facts["state"] != "running":
            return
        time.sleep(_WATCH_SECONDS)


@cli.command()
@RUN
@click.argument("id", required=False)
@click.option("--lessons", is_flag=True, help="What the run has learned, with evidence and credit.")
@click.option("--arms", is_flag=True, help="How models, operators and prompts fared.")
@click.option("--steps", is_flag=True, help="Of one candidate: each step from the seed to it, with its diff and effect.")
@AS_JSON
def show(run: Path, id: str | None, lessons: bool, arms: bool, steps: bool, as_json: bool) -> None:
    """The front of a run, or one candidate: metrics, lineage, diff, prompt, answer."""
    from agent.cli import candidate, tables
    from agent.cli.front import print_run
    from agent.cli.reading import find_run, open_journal, read_status
    from agent.review import candidates, learning

    folder = find_run(run)
    if id is not None and (lessons or arms):
        raise UserError("--lessons and --arms are of a whole run: leave the ID out.")
    if id is None and steps:
        raise UserError("--steps are those to one candidate: name its ID.")
    with open_journal(folder) as journal:
        if lessons:
            learned = learning.lessons(journal)
            print_json(learned) if as_json else tables.print_lessons(learned, read_status(folder))
        elif arms:
            ranked = learning.arms(journal, [member["id"] for member in read_status(folder)["front"]])
            print_json(ranked) if as_json else tables.print_arms(ranked)
        elif id is not None and steps:
            way = candidates.steps(journal, id)
            print_json(way) if as_json else candidate.print_steps(way, read_status(folder))
        elif id is not None:
            facts = candidates.candidate(journal, id)
            print_json(facts) if as_json else candidate.print_candidate(facts, read_status(folder))
        elif as_json:
            print_json(candidates.candidates(journal))
        else:
            print_run(candidates.candidate_lines(journal), read_status(folder))


@cli.command()
@RUN
@click.option("--trainings", type=click.IntRange(min=1), help="Trainings of each program; else as configured (5).")
@click.option("--members", type=click.IntRange(min=1), help="Members of the front at most; else as configured (5).")
@click.option("--force", is_flag=True, help="Once more, although the run was confirmed: another opening of the test split.")
@click.option("--accept-changes", is_flag=True, help="Go on although code, prompts, seed or settings have changed.")
@notification_options
@AS_JSON
def confirm(
    run: Path,
    trainings: int | None,
    members: int | None,
    force: bool,
    accept_changes: bool,
    notifications: Notifications,
    as_json: bool,
) -> None:
    """Train the front again on fresh training seeds, open the sealed test split once, and judge each member."""
    from agent.cli import launch
    from agent.cli.confirmation import print_confirmation
    from agent.cli.reading import find_run
    from agent.run.confirmation import Request
    from agent.run.confirming import confirm as confirm_run

    folder, request = find_run(run), Request(trainings, members, force)

    def show(facts: dict[str, Any]) -> None:
        print_json(facts["confirmation"]) if as_json else print_confirmation(facts)

    def work(watch: Watch) -> None:
        confirm_run(folder, watch, request, accept=accept_changes)

    launch.run_in_foreground(folder, work, notifications, show, confirms=True)


@cli.command()
@RUN
@click.argument("id")
@click.option("--all", "every", is_flag=True, help="All recorded trainings of it, not only that of the search.")
@AS_JSON
def reproduce(run: Path, id: str, every: bool, as_json: bool) -> None:
    """Train one program of a run again exactly as recorded, and compare; ID may be seed.

    Exit code 1 if it is not reproduced. The run is not changed.
    """
    from agent.cli.reading import find_run
    from agent.cli.reproduction import print_reproduction
    from agent.cli.reproduction import reproduce as train_again

    facts = train_again(find_run(run), id, every=every)
    print_json(facts) if as_json else print_reproduction(facts)
    if not facts["reproduced"]:
        sys.exit(1)


@cli.command()
@RUN
@click.argument("id")
@click.option("--parent", is_flag=True, help="Against its first parent: what its own recipe changed.")
def diff(run: Path, id: str, parent: bool) -> None:
    """The change of one candidate against the seed."""
    from agent.cli.candidate import print_diff
    from agent.cli.reading import find_run, open_journal
    from agent.review.candidates import candidate, program_diff, seed_characters

    with open_journal(find_run(run)) as journal:
        facts = candidate(journal, id)
        text = program_diff(journal, facts["parents"][0], facts["id"]) if parent else facts["diff"]
        print_diff(text, seed_characters(journal))


@cli.command()
@RUN
@click.option("--undo", is_flag=True, help="Make all of them branches again.")
@AS_JSON
def prune(run: Path, undo: bool, as_json: bool) -> None:
    """Keep the branches of the front, its ancestors and the seed; the others move to refs/evolve/, and nothing is lost."""
    from agent.cli.pruning import print_pruning
    from agent.cli.pruning import prune as prune_branches
    from agent.cli.reading import find_run

    facts = prune_branches(find_run(run), undo=undo)
    print_json(facts) if as_json else print_pruning(facts, run)


@cli.command()
@RUN
def report(run: Path) -> None:
    """Write report.html and report.md into the run folder."""
    from agent.cli.reading import find_run, save_report

    folder = find_run(run)
    try:
        save_report(folder)
    except OSError as error:
        raise MachineError(f"The report cannot be written: {error}.") from error
    print_line(f"{folder.report}\n{folder.report_markdown}")


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@AS_JSON
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Runs side by side: hypervolume over trained variants and over dollars, with the noise."""
    from contextlib import ExitStack

    from agent.cli.reading import find_run, open_journal
    from agent.cli.tables import print_comparison
    from agent.review import comparison

    with ExitStack() as stack:
        journals = {str(run): stack.enter_context(open_journal(find_run(run))) for run in runs}
        facts = comparison.compare(journals)
    print_json(facts) if as_json else print_comparison(facts)


@cli.command()
@click.option("--llm", help="Also check that this model can be reached.")
@click.option("--api-base", help="Address of an OpenAI-compatible endpoint.")
@AS_JSON
def doctor(llm: str | None, api_base: str | None, as_json: bool) -> None:
    """Isolation, devices, git, disk and, with --llm, the model: what this machine can do."""
    from agent.cli.doctor import examine, is_healthy, lines
    from agent.cli.tables import print_doctor

    facts = examine(llm, api_base)
    print_json(facts) if as_json else print_doctor(lines(facts))
    if not is_healthy(facts):
        sys.exit(1)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", help="Data set: digits, a hub id such as uoft-cs/cifar10, or a folder of parquet files or images.")
def init(file: Path, dataset: str | None) -> None:
    """Write a commented seed.toml for a bare model FILE; print its blocks, its data and a forecast."""
    from agent.cli.init import create

    for line in create(file, dataset):
        print_line(line)


@cli.command("new-task")
@click.argument("folder", type=click.Path(path_type=Path))
def new_task(folder: Path) -> None:
    """Write a seed with a task of its own into FOLDER: a small example that runs, to be changed."""
    from agent.cli.new_task import create

    print_line(create(folder))


@cli.command("check-task")
@click.argument("seed")
@AS_JSON
def check_task(seed: str, as_json: bool) -> None:
    """Try the task.py of SEED: the contract that it has to keep, and one evaluation of the seed."""
    from agent.cli.new_task import check
    from agent.cli.tables import print_checks

    checks = check(seed)
    print_json(checks) if as_json else print_checks(checks)
    if not all(one["passed"] for one in checks):
        sys.exit(2)


def _arguments_without_detach() -> list[str]:
    return [argument for argument in sys.argv[1:] if argument != "--detach"]
