"""The report's charts as coordinates, from which `templates/report.html.j2` makes SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.text import format_number

WIDTH, HEIGHT, MARGIN = 640, 220, 44
"""Size of a chart in SVG units; axes and their labels are in the margin."""
GREY, BLUE, ORANGE = "#b8c4d0", "#2563eb", "#d97706"

Point = tuple[float, float]


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    anchor: str
    """`start`, `middle` or `end`: which end of the text lies at x."""
    text: str


@dataclass(frozen=True)
class Chart:
    """One chart, in SVG units from the upper left corner."""

    axes: str
    """An SVG path."""
    labels: tuple[Label, ...]
    line: str = ""
    """An SVG path."""
    dots: tuple[Dot, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT


def step_chart(points: Sequence[Point], across: str, up: str) -> Chart:
    """A value that changes in steps, such as a hypervolume over trained variants. `across`, `up`: names of the axes."""
    scale = _Scale(points)
    (x, y), *rest = points
    line = f"M{scale.x(x):.1f} {scale.y(y):.1f}" + "".join(f"H{scale.x(x):.1f}V{scale.y(y):.1f}" for x, y in rest)
    return Chart(_AXES, scale.labels(across, up), line=line)


def scatter_chart(everyone: Sequence[Point], front: Sequence[Point], seed: Point, across: str, up: str) -> Chart:
    """All trained variants in grey, the front in blue and the seed in orange on top."""
    scale = _Scale([*everyone, *front, seed])
    marks = [(everyone, 3.0, GREY), (front, 4.5, BLUE), ([seed], 4.5, ORANGE)]
    dots = [
        Dot(round(scale.x(x), 1), round(scale.y(y), 1), radius, colour) for points, radius, colour in marks for x, y in points
    ]
    return Chart(_AXES, scale.labels(across, up), dots=tuple(dots))


_AXES = f"M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}"


class _Scale:
    """Maps values to places between the margins."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._left, self._right = _range([x for x, _ in points])
        self._low, self._high = _range([y for _, y in points])

    def x(self, value: float) -> float:
        return MARGIN + (value - self._left) / (self._right - self._left) * (WIDTH - 2 * MARGIN)

    def y(self, value: float) -> float:
        return HEIGHT - MARGIN - (value - self._low) / (self._high - self._low) * (HEIGHT - 2 * MARGIN)

    def labels(self, across: str, up: str) -> tuple[Label, ...]:
        """The ends of both axes and their names."""
        bottom, right = HEIGHT - MARGIN, WIDTH - MARGIN
        return (
            Label(MARGIN, bottom + 16, "start", format_number(self._left)),
            Label(right, bottom + 16, "end", format_number(self._right)),
            Label(WIDTH / 2, bottom + 30, "middle", across),
            Label(MARGIN - 6, bottom, "end", format_number(self._low)),
            Label(MARGIN - 6, MARGIN + 4, "end", format_number(self._high)),
            Label(MARGIN, MARGIN - 12, "start", up),
        )


def _range(values: Sequence[float]) -> Point:
    """The smallest and the largest value; a range around the value if all are equal."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
