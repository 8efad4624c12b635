"""A run's journal -> one self-contained HTML page and the same as Markdown, for the morning after.

Text of candidates and models is hostile: in HTML it is escaped, in Markdown it stands in code spans.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from agent.core.objectives import change_text, effect_text
from agent.core.text import clean, quote
from agent.journal.store import Journal
from agent.review import comparison
from agent.review import learning as learned
from agent.review import status as summary

Facts = Mapping[str, Any]

LESSONS, FAILURES = 12, 5
"""How many of them are shown at most."""
_WIDTH, _HEIGHT, _MARGIN = 640, 220, 44

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #b8c4d0; font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: 13px/1.45 ui-monospace, monospace; } pre { background: #f3f6f9; padding: .7rem; overflow-x: auto; }
h1 { margin-bottom: 0; } .sub { color: #5a6b7b; margin-top: .2rem; } details { margin: .3rem 0; } summary { cursor: pointer; }
svg text { font: 11px system-ui, sans-serif; fill: #5a6b7b; } .gain { color: #18794e; } .loss { color: #b42318; }
"""


def write(journal: Journal, run: str, html: Path, markdown: Path, *, alive: bool = False) -> None:
    """By rename: a reader never meets half a file. Raises OSError."""
    facts = _facts(journal, run, alive)
    for path, text in ((html, _html(facts)), (markdown, _markdown(facts))):
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


def _facts(journal: Journal, run: str, alive: bool) -> dict[str, Any]:
    status = summary.status(journal, run, alive=alive)
    points = comparison.points(journal) if status["seed"]["fitness"] else []
    diffs = {member["id"]: summary.changes(journal, member["id"]) for member in status["front"]}
    lessons = [one for one in learned.lessons(journal) if one["verdict"] in ("helped", "mixed")]
    lessons = [one for one in lessons if sum(one["gains"].values()) > 0]
    lessons.sort(key=lambda one: -sum(one["gains"].values()))
    trained = [
        one["fitness"] for one in summary.variants(journal) if one["fitness"] is not None and len(status["objectives"]) >= 2
    ]
    return {**status, "points": points, "diffs": diffs, "lessons": lessons[:LESSONS], "trained": trained}


def _sub(facts: Facts) -> str:
    spend = facts["spend"]
    minutes = spend["seconds"] / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    unknown = spend["calls_without_a_known_price"]
    usd = f"{spend['usd']:.2f} USD" + (f" and {unknown} calls of unknown price" if unknown else "")
    usd = "price unknown" if unknown and unknown == spend["llm_calls"] else usd
    reason = f" ({quote(facts['reason'], 300)})" if facts["reason"] else ""  # it may hold what a candidate said
    return f"{facts['state']}{reason}; {time}; {spend['llm_calls']:,} model calls, {usd}; isolation {facts['isolation']}"


def _counts(facts: Facts) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in facts["counts"].items())


def _noise(facts: Facts) -> str:
    sigma = (facts["noise"] or {"sigma": {}})["sigma"]
    told = ", ".join(f"{name} {_number(value)}" for name, value in sigma.items() if value)
    return f"One sigma of the seed over training seeds: {told}." if told else "The noise was not measured, or there is none."


def _marked(facts: Facts) -> list[str]:
    """The objectives' names as column heads."""
    return [f"{name} (self-reported)" if name in facts["self_reported"] else name for name in facts["objectives"]]


def _warning(facts: Facts) -> str:
    return " ".join(f"{name} is self-reported: {reason}." for name, reason in facts["self_reported"].items())


def _rows(facts: Facts) -> list[tuple[str, list[str], str, str]]:
    """(id, values with their change, branch, intention) of the seed and the front."""
    seed = facts["seed"]["fitness"]
    if seed is None:
        return []
    rows = [("seed", [_number(seed[name]) for name in facts["objectives"]], "", "where it began")]
    for member in facts["front"]:
        if member["id"] != "seed":
            values = [f"{_number(member['fitness'][name])} {_change(facts, name, member)}" for name in facts["objectives"]]
            rows.append((member["id"], values, member["branch"] or "", clean(member["intention"])))
    return rows


def _change(facts: Facts, name: str, member: Facts) -> str:
    return change_text(facts, name, member["fitness"][name])


def _markdown(facts: Facts) -> str:
    names = _marked(facts)
    lines = [f"# {facts['run']}", "", _sub(facts) + ".", "", f"Children: {_counts(facts)}. {_noise(facts)}"]
    lines += [f"Hypervolume {facts['hypervolume']:.4f} (the seed alone: 1).", "", "## Front", ""]
    lines += [f"| id | {' | '.join(names)} | branch | last intention |", f"|---|{'---|' * len(names)}---|---|"]
    for id, values, branch, meant in _rows(facts):
        told = quote(meant, 200).replace("|", "\\|") if meant else ""
        lines.append(f"| {id} | {' | '.join(values)} | {f'`{branch}`' if branch else ''} | {told} |")
    lines += ["", _warning(facts)] if facts["self_reported"] else []
    if facts["lessons"]:
        lines += ["", "## What helped most", ""]
        lines += [f"- `{one['id']}` {_deed(one)}: {_effects(facts, one)}. {quote(_said(one), 240)}" for one in facts["lessons"]]
    if facts["failures"]:
        lines += ["", "## Most frequent failures", ""]
        lines += [f"- {count} x {quote(reason, 200)}" for reason, count in list(facts["failures"].items())[:FAILURES]]
    return "\n".join([*lines, ""])


def _html(facts: Facts) -> str:
    e = escape
    names = list(facts["objectives"])
    head = "".join(f"<th class=n>{e(name)}</th>" for name in _marked(facts))
    rows = "".join(
        f"<tr><td>{e(id)}</td>{''.join(f'<td class=n>{e(value)}</td>' for value in values)}"
        f"<td><code>{e(branch)}</code></td><td>{e(meant[:200])}</td></tr>"
        for id, values, branch, meant in _rows(facts)
    )
    diffs = "".join(
        f"<details><summary>{e(id)}: its change against the seed</summary><pre>{e(clean(text))}</pre></details>"
        for id, text in facts["diffs"].items()
        if text
    )
    lessons = "".join(
        f"<tr><td>{e(one['id'])}</td><td>{e(_deed(one))}</td><td>{e(_effects(facts, one))}</td>"
        f"<td>{e(clean(_said(one))[:240])}</td></tr>"
        for one in facts["lessons"]
    )
    failures = "".join(
        f"<tr><td class=n>{count}</td><td>{e(clean(reason)[:300])}</td></tr>"
        for reason, count in list(facts["failures"].items())[:FAILURES]
    )
    parts = [
        f"<h1>{e(facts['run'])}</h1><p class=sub>{e(_sub(facts))}</p>",
        f"<p>Children: {e(_counts(facts))}. {e(_noise(facts))}</p>",
        f"<h2>Front</h2><table><tr><th>id</th>{head}<th>branch</th><th>last intention</th></tr>{rows}</table>"
        f"<p>{e(_warning(facts))}</p>{diffs}",
        f"<h2>Growth</h2><p>Hypervolume {facts['hypervolume']:.4f}; the seed alone has 1.</p>{_growth(facts['points'])}",
        f"<h2>All that was trained</h2>{_scatter(facts, names)}" if facts["trained"] else "",
        f"<h2>What helped most</h2><table><tr><th>id</th><th>what</th><th>change against its parent</th>"
        f"<th>why, as its author said</th></tr>{lessons}</table>"
        if lessons
        else "",
        f"<h2>Most frequent failures</h2><table>{failures}</table>" if failures else "",
    ]
    title = f"<meta charset=utf-8><title>{e(facts['run'])}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en>{title}<body>{''.join(parts)}</body></html>\n"


def _deed(lesson: Facts) -> str:
    directive = f" ({lesson['directive'].replace('_', ' ')})" if lesson["directive"] else ""
    return f"{lesson['operator']}{directive} of {', '.join(lesson['blocks'][:4])}"


def _said(lesson: Facts) -> str:
    return str(lesson["insight"] or lesson["intention"] or "nothing was said")


def _effects(facts: Facts, lesson: Facts) -> str:
    """What it measured against its parent, up or down."""
    return ", ".join(f"{name} {effect_text(facts, name, change)}" for name, change in lesson["effects"].items())


def _growth(points: Sequence[Facts]) -> str:
    """Hypervolume over trained variants, as steps."""
    values = [(float(point["trained"]), float(point["hypervolume"])) for point in points]
    if len(values) < 2:
        return ""
    scale = _Scale(values)
    path = f"M{scale.at(*values[0])}" + "".join(f"H{scale.x(x):.1f}V{scale.y(y):.1f}" for x, y in values[1:])
    return scale.svg(f"<path d='{path}' fill=none stroke='#2563eb' stroke-width=2 />", "trained variants", "hypervolume")


def _scatter(facts: Facts, names: Sequence[str]) -> str:
    """The first objective over the second: every trained variant, the front, the seed."""
    y, x = names[:2]
    everyone = [(one[x], one[y]) for one in facts["trained"]]
    front = [(member["fitness"][x], member["fitness"][y]) for member in facts["front"]]
    seed = (facts["seed"]["fitness"][x], facts["seed"]["fitness"][y])
    scale = _Scale([*everyone, *front, seed])
    dots = [(point, "#b8c4d0", 3) for point in everyone] + [(point, "#2563eb", 4.5) for point in front] + [(seed, "#d97706", 4.5)]
    drawn = "".join(f"<circle cx={scale.x(a):.1f} cy={scale.y(b):.1f} r={r} fill='{colour}' />" for (a, b), colour, r in dots)
    legend = "<p class=sub>Blue: the front. Orange: the seed. Grey: everything else.</p>"
    return scale.svg(drawn, escape(x), escape(y)) + legend


class _Scale:
    """Data -> places in a drawing, with a little air around."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        (self._left, self._right), (self._low, self._high) = (_span([p[axis] for p in points]) for axis in (0, 1))

    def x(self, value: float) -> float:
        return _MARGIN + (value - self._left) / (self._right - self._left) * (_WIDTH - 2 * _MARGIN)

    def y(self, value: float) -> float:
        return _HEIGHT - _MARGIN + (value - self._low) / (self._high - self._low) * (2 * _MARGIN - _HEIGHT)

    def at(self, x: float, y: float) -> str:
        return f"{self.x(x):.1f} {self.y(y):.1f}"

    def svg(self, drawn: str, across: str, up: str) -> str:
        bottom, right = _HEIGHT - _MARGIN, _WIDTH - _MARGIN
        frame = f"<path d='M{_MARGIN} {_MARGIN}V{bottom}H{right}' fill=none stroke='#b8c4d0' />"
        words = [
            (_MARGIN, bottom + 16, "start", _number(self._left)),
            (right, bottom + 16, "end", _number(self._right)),
            (_WIDTH / 2, bottom + 30, "middle", across),
            (_MARGIN - 6, bottom, "end", _number(self._low)),
            (_MARGIN - 6, _MARGIN + 4, "end", _number(self._high)),
            (_MARGIN, _MARGIN - 12, "start", up),
        ]
        texts = "".join(f"<text x={x} y={y} text-anchor={anchor}>{word}</text>" for x, y, anchor, word in words)
        return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width={_WIDTH} height={_HEIGHT} role=img>{frame}{drawn}{texts}</svg>"


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
