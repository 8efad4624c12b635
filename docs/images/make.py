"""Draws the picture of the README, once for light and once for dark pages: `python docs/images/make.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parent
WIDTH, HEIGHT = 1000, 424
BOX_WIDTH, BOX_HEIGHT, STEP = 156, 82, 203
TOP, BOTTOM = 50, 226
LEFT = 16


@dataclass(frozen=True)
class Palette:
    """Colours of one version of the picture."""

    page: str
    box: str
    line: str
    text: str
    faint: str
    arrow: str
    trusted: str
    danger: str
    danger_box: str
    memory: str
    memory_box: str


LIGHT = Palette(
    page="#ffffff", box="#f6f8fa", line="#c3ccd6", text="#1f2328", faint="#59636e", arrow="#6b7683",
    trusted="#1a7f37", danger="#c2410c", danger_box="#fff4ec", memory="#0969da", memory_box="#ecf5ff",
)  # fmt: skip
DARK = Palette(
    page="#0d1117", box="#161b22", line="#3d444d", text="#f0f6fc", faint="#9198a1", arrow="#8b949e",
    trusted="#3fb950", danger="#f0883e", danger_box="#2b1d13", memory="#58a6ff", memory_box="#12233a",
)  # fmt: skip


def column(number: int) -> int:
    """Left edge of the boxes of a column, 0 to 4."""
    return LEFT + number * STEP


def text(x: float, y: float, words: str, colour: str, size: float = 12.5, *, bold: bool = False, anchor: str = "middle") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size:g}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def box(p: Palette, x: float, y: float, title: str, *lines: str, line: str = "", fill: str = "") -> str:
    middle = x + BOX_WIDTH / 2
    parts = [
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="9" fill="{fill or p.box}" '
        f'stroke="{line or p.line}" stroke-width="1.4"/>',
        text(middle, y + 26, title, p.text, 16, bold=True),
        *(text(middle, y + 48 + 17 * i, words, p.faint) for i, words in enumerate(lines)),
    ]
    return "\n".join(parts)


def arrow(path: str, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes} marker-end="url(#head-{colour[1:]})"/>'


def head(colour: str) -> str:
    return (
        f'<marker id="head-{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0.8 L9.5 5 L0 9.2 Z" fill="{colour}"/></marker>'
    )


def branches(p: Palette) -> str:
    """A small commit graph: the seed, and what came of it."""
    x, y = LEFT + 26, BOTTOM + 41
    dots = {"seed": (x, y), "a": (x + 74, y - 26), "b": (x + 74, y + 26), "c": (x + 148, y - 26), "d": (x + 148, y + 26)}
    lines = [("seed", "a"), ("seed", "b"), ("a", "c"), ("b", "d"), ("a", "d")]
    parts = []
    for one, other in lines:
        (x1, y1), (x2, y2) = dots[one], dots[other]
        middle = (x1 + x2) / 2
        curve = f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
        parts.append(f'<path d="{curve}" fill="none" stroke="{p.trusted}" stroke-width="2"/>')
    dot = f'r="6.5" fill="{p.page}" stroke="{p.trusted}" stroke-width="2.4"'
    parts += [f'<circle cx="{a}" cy="{b}" {dot}/>' for a, b in dots.values()]
    parts += [
        text(x, y + 24, "seed", p.faint, 12),
        text(x + 162, y - 22, "evolve/night/0009", p.text, 12.5, anchor="start"),
        text(x + 162, y + 30, "evolve/night/0015", p.text, 12.5, anchor="start"),
        text(x + 140, BOTTOM - 12, "git branches", p.text, 16, bold=True),
    ]
    return "\n".join(parts)


def journal(p: Palette) -> str:
    """A band below everything else: each step is written there."""
    y, height, words = 344, 62, LEFT + 172
    return "\n".join([
        f'<rect x="{LEFT}" y="{y}" width="{WIDTH - 2 * LEFT}" height="{height}" rx="9" '
        f'fill="{p.box}" stroke="{p.line}" stroke-width="1.4"/>',
        text(LEFT + 24, y + 26, "journal", p.text, 16, bold=True, anchor="start"),
        text(LEFT + 24, y + 47, "one SQLite file", p.faint, anchor="start"),
        *(
            text(words, y + below, sentence, p.faint, 13.5, anchor="start")
            for below, sentence in (
                (26, "Every decision, prompt, answer and measurement is written here before it is used."),
                (47, "After kill -9 a resumed run pays for no recorded answer twice and repeats no finished training."),
            )
        ),
    ])  # fmt: skip


def picture(p: Palette) -> str:
    top, bottom = TOP + BOX_HEIGHT / 2, BOTTOM + BOX_HEIGHT / 2
    middle = column(2) + BOX_WIDTH / 2
    parts = [
        *(arrow(f"M{column(i) + BOX_WIDTH} {top:g} H{column(i + 1) - 4}", p.arrow) for i in range(4)),
        arrow(f"M{column(4) + BOX_WIDTH / 2:g} {TOP + BOX_HEIGHT} V{BOTTOM - 4}", p.arrow),
        *(arrow(f"M{column(i)} {bottom:g} H{column(i - 1) + BOX_WIDTH + 4}", p.arrow) for i in (4, 3)),
        arrow(f"M{column(2)} {bottom:g} H{LEFT + 322}", p.arrow),
        # An answer that breaks a rule goes back.
        arrow(
            f"M{column(4) + 60} {TOP} C{column(4) + 60} {TOP - 30} {column(3) + 96} {TOP - 30} {column(3) + 96} {TOP - 4}",
            p.danger, dashed=True,
        ),
        text((column(3) + column(4) + BOX_WIDTH) / 2, TOP - 30, "sent back with the reason", p.danger, 12),
        box(p, column(0), TOP, "seed", "your model.py and", "a seed.toml"),
        box(p, column(1), TOP, "blocks", "each top-level class", "and function"),
        box(p, column(2), TOP, "prompt", "parents' code, task,", "lessons, directive"),
        box(p, column(3), TOP, "answer", "of one or more LLMs,", "or of rules (offline)"),
        box(p, column(4), TOP, "checks", "parses, keeps its", "contract, is new"),
        box(p, column(4), BOTTOM, "sandbox", "smoke, fit, predict:", "no keys, no network", line=p.danger, fill=p.danger_box),
        box(p, column(3), BOTTOM, "score", "computed outside, from", "labels it never saw", line=p.trusted),
        box(p, column(2), BOTTOM, "front", "two or more objectives,", "SPEA-2 and NSGA-II"),
        # What was measured goes into the next prompts: the only edge that points back.
        arrow(f"M{middle:g} {BOTTOM} V{TOP + BOX_HEIGHT + 4}", p.memory),
        f'<rect x="{middle - 78:g}" y="{(TOP + BOX_HEIGHT + BOTTOM) / 2 - 23:g}" width="156" height="44" rx="22" '
        f'fill="{p.memory_box}" stroke="{p.memory}" stroke-width="1.4"/>',
        text(middle, (TOP + BOX_HEIGHT + BOTTOM) / 2 - 4, "memory", p.memory, 13.5, bold=True),
        text(middle, (TOP + BOX_HEIGHT + BOTTOM) / 2 + 12, "what each change did", p.faint, 11.5),
        branches(p),
        journal(p),
    ]  # fmt: skip
    title = "The loop: seed, blocks, prompt, answer, checks, sandbox, score, front, git branches; memory leads back to the prompt"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, Liberation Sans, sans-serif">',
        f"<title>{escape(title)}</title>",
        f"<defs>{''.join(head(colour) for colour in (p.arrow, p.danger, p.memory))}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="{p.page}"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def main() -> None:
    for name, palette in (("loop-light", LIGHT), ("loop-dark", DARK)):
        (FOLDER / f"{name}.svg").write_text(picture(palette), encoding="utf-8")


if __name__ == "__main__":
    main()
