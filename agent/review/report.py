"""The report of a run as one self-contained HTML page and as Markdown, written through the templates in `templates/`.

Text of candidates and models is hostile. In HTML every value is escaped, and stripped of control characters, by the
template engine; in Markdown such text stands in code spans (the filter `quote`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.core.files import write_whole
from agent.core.text import clean, format_sigma, quote
from agent.journal.header import objectives_of, units_of
from agent.journal.store import Journal
from agent.memory import GAINS
from agent.population.candidate import SEED_ID
from agent.review.candidates import program_diff
from agent.review.charts import Chart, scatter_chart, step_chart
from agent.review.comparison import Trained, growth, trained
from agent.review.confirmation import (
    CHECK_FAILED,
    MEANING,
    basis_text,
    difference_text,
    is_alarming,
    openings_text,
    p_text,
    progress_text,
    shrinkage_text,
    verdict_text,
)
from agent.review.cost import cost_lines
from agent.review.facts import Facts, format_changes, format_distance, format_price, format_value, luck_lines, retraining_lines
from agent.review.learning import lessons
from agent.review.null import null_alarms, null_lines
from agent.review.status import status

if TYPE_CHECKING:
    from jinja2 import Environment

LESSONS, FAILURES = 12, 5
"""How many lessons and reasons of failures are shown at most."""
_NAMED_BLOCKS = 4
"""How many blocks of a lesson are named."""
_REASON = 300
"""Characters of the reason why a run ended."""
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(journal: Journal, run: str, html: Path, markdown: Path, *, alive: bool = False) -> None:
    """Write both files by rename, so that nobody reads half a file. Raises OSError."""
    content, templates = _content(journal, run, alive), _environment()
    for path, template in ((html, "report.html.j2"), (markdown, "report.md.j2")):
        write_whole(path, templates.get_template(template).render(content))


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        finalize=lambda value: clean(value) if type(value) is str else value,  # a Markup comes from a template, and is clean
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clean"], environment.filters["quote"] = clean, quote
    return environment


def _content(journal: Journal, run: str, alive: bool) -> dict[str, Any]:
    """The values for the templates."""
    facts = status(journal, run, alive=alive)
    individuals = trained(journal)
    return {
        "run": run,
        "summary": _summary(facts),
        "counts": ", ".join(f"{count} {kind}" for kind, count in facts["counts"].items()),
        "noise": _noise(facts),
        "worth": f"{facts['worth']:.2f}",
        "cost": ". ".join(cost_lines(facts["cost"])),
        "columns": [f"{name} (self-reported)" if name in facts["self_reported"] else name for name in facts["objectives"]],
        "rows": _rows(facts),
        "warning": " ".join(f"{name} is self-reported: {reason}." for name, reason in facts["self_reported"].items()),
        "null": " ".join(null_lines(facts)),
        "null_alarms": null_alarms(facts),
        "confirmation": _confirmation(facts),
        "openings": openings_text(facts),
        "diffs": {member["id"]: program_diff(journal, SEED_ID, member["id"]) for member in facts["front"]},
        "growth": _growth(journal, individuals),
        "trained": _scatter(facts, individuals),
        "lessons": _best_lessons(journal, facts),
        "failures": list(facts["failures"].items())[:FAILURES],
    }


def _summary(facts: Facts) -> str:
    """State, duration, calls, dollars and isolation in one line."""
    spend = facts["spend"]
    minutes = spend["seconds"] / 60
    duration = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    reason = f" ({quote(facts['reason'], _REASON)})" if facts["reason"] else ""  # it may hold a candidate's text
    calls = f"{spend['llm_calls']:,} model calls, {format_price(spend, 2)}"
    return f"{facts['state']}{reason}; {duration}; {calls}; isolation {facts['isolation']}"


def _noise(facts: Facts) -> str:
    """What one sigma is, and what the best of so many candidates reaches by luck alone."""
    sigma = (facts["noise"] or {"sigma": {}})["sigma"]
    values = ", ".join(f"{name} {format_sigma(value)}" for name, value in sigma.items() if value)
    if not values:
        return "The noise was not measured, or there is none."
    lines = [*luck_lines(facts), *retraining_lines(facts, reasons=False)]
    luck = "".join(f" {line[0].upper()}{line[1:]}." for line in lines)
    return f"One sigma of the seed over training seeds: {values}.{luck}"


def _rows(facts: Facts) -> list[Facts]:
    """The seed and the front: each value with its distance from the seed's."""
    if facts["seed"]["fitness"] is None:
        return []
    first = {"values": [format_value(facts["seed"], name) for name in facts["objectives"]], "intention": "where it began"}
    rows = [{"id": SEED_ID, "trainings": facts["seed"]["trainings"], "branch": "", **first}]
    for member in facts["front"]:
        if member["id"] != SEED_ID:
            values = [f"{format_value(member, name)} {_distance(facts, member, name)}" for name in facts["objectives"]]
            own = {"values": values, "intention": clean(member["intention"])}
            rows.append({"id": member["id"], "trainings": member["trainings"], "branch": member["branch"] or "", **own})
    return rows


def _distance(facts: Facts, member: Facts, name: str) -> str:
    return format_distance(facts, name, member["fitness"][name], member["trainings"])


def _confirmation(facts: Facts) -> Facts | None:
    """The verdicts of the last confirmation as rows of a table, with what they are based on; None if there was none."""
    found = facts["confirmation"]
    if not found:
        return None
    columns, rows = ["id"], []
    for name in facts["objectives"]:
        columns += [name, "p (Holm)", "shrinkage"] if name in found["sigma"] else [name]
    for one in found["verdicts"]:
        cells = [one["id"]]
        for objective in one["objectives"]:
            noisy = objective["objective"] in found["sigma"]
            tested = [p_text(objective), shrinkage_text(objective)] if noisy else []
            cells += [difference_text(objective, noisy=noisy), *tested]
        cells += [str(one["trainings"]), str(len(one["failures"]))]
        rows.append({"cells": cells, "verdict": verdict_text(one), "alarm": is_alarming(one)})
    unfinished = "" if found["state"] == "complete" else progress_text(found, alive=facts["state"] == "running")
    return {
        "columns": [*columns, "n", "failed"],
        "rows": rows,
        "basis": basis_text(found),
        "meaning": MEANING,
        "unfinished": unfinished,
        "alarm": CHECK_FAILED if found["check_failed"] else "",
    }


def _best_lessons(journal: Journal, facts: Facts) -> list[Facts]:
    """The changes that gained most, in units of the noise: action, effects, and the explanation of its author."""
    helpful = [one for one in lessons(journal) if one["verdict"] in GAINS and sum(one["gains"].values()) > 0]
    helpful.sort(key=lambda one: -sum(one["gains"].values()))
    return [
        {
            "id": one["id"],
            "action": _action(one),
            "effects": format_changes(facts, one["effects"]),
            "explanation": clean(one["insight"] or one["intention"] or "no reason given"),
        }
        for one in helpful[:LESSONS]
    ]


def _action(lesson: Facts) -> str:
    directive = f" ({lesson['directive'].replace('_', ' ')})" if lesson["directive"] else ""
    return f"{lesson['operator']}{directive} of {', '.join(lesson['blocks'][:_NAMED_BLOCKS])}"


def _growth(journal: Journal, individuals: list[Trained]) -> Chart | None:
    """Worth over trained variants; None while nothing but the seed is trained."""
    units = units_of(journal)
    points = growth(individuals, objectives_of(journal), units.scale) if units else []
    values = [(float(point["trained"]), float(point["worth"])) for point in points]
    return step_chart(values, "trained variants", "worth") if len(values) >= 2 else None


def _scatter(facts: Facts, individuals: list[Trained]) -> Chart | None:
    """The first objective over the second; None where there is nothing to show."""
    others = [*{one.id: one.fitness for one in individuals if one.id != SEED_ID}.values()]
    names = list(facts["objectives"])
    if not others or len(names) < 2:
        return None
    up, across = names[:2]
    everyone = [(fitness[across], fitness[up]) for fitness in others]
    front = [(member["fitness"][across], member["fitness"][up]) for member in facts["front"]]
    seed = facts["seed"]["fitness"]
    return scatter_chart(everyone, front, (seed[across], seed[up]), across, up)
