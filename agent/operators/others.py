"""The code of other individuals that a prompt shows: what they have and the program shown has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import unified_diff

from agent.core.text import fence, list_names
from agent.genome import Block, Genome, bare_name, changed_blocks, same_meaning
from agent.genome.difference import line_opcodes
from agent.operators.compare import missing_statements
from agent.operators.context import Context
from agent.population.candidate import Individual

MOST = 2
"""Individuals whose code is shown."""
WHOLE_SHARE = 0.6
"""A block of which at least this share of lines is new is shown whole."""
ALIKE_SHARE = 0.5
"""A block that has so large a share of its lines in common with one of another name is shown as a change of that one."""
MAX_COMPARED = 30
"""Individuals whose code is compared with the program, the best ones."""
MAX_LINES = 400
"""Longer blocks are not compared."""


def code_of_others(
    context: Context,
    base: Genome,
    parent: Individual,
    room: int,
    gains: Mapping[str, float],
    *,
    blocks: Collection[str] = (),
    without: Collection[Individual] = (),
) -> dict[str, str]:
    """By id, fenced: the new code of those who are worth most (see `_ranked`), at most `room` characters.

    The first may take all the room: one program that can be read whole is worth more than pieces of two. Up to `MOST` of them,
    one if the prompt shows another individual's code already. `gains`: by id, see `measurements.gains`; `blocks`: those to be
    rewritten, another version of them comes first; `without`: those whose code the prompt shows already: what others have of
    them is not shown again.
    """
    hidden = {*(one.id for one in without), context.seed.id, parent.id, *_ancestors(parent, context)}
    most = 1 if without else MOST
    shown: dict[str, str] = {}
    covered: set[str] = set()
    for one in _ranked(context, parent, gains, blocks, hidden)[:MAX_COMPARED]:
        if len(shown) == most:
            break
        names = [name for name in _own_blocks(one, base, [context.seed, *without]) if name not in covered]
        mine = [name for name in names if name in {*one.candidate.about(one.changed)}]
        if not mine:
            continue
        order = sorted(names, key=lambda name: (name not in mine, name not in blocks, -_news(base, one.genome, name)))
        text = new_code(base, one.genome, order, room, whole=bool(shown))
        if text:
            shown[one.id] = fence(text, "python")
            covered.update(mine)
            room -= len(text)
    return shown


def _ranked(
    context: Context, parent: Individual, gains: Mapping[str, float], blocks: Collection[str], hidden: Collection[str]
) -> list[Individual]:
    """The front, and those whose own change gained something real: of the blocks to be rewritten first, then the front.

    Of the front those first that are worth most against the parent, in units of the noise and steps of 10 %: what was gained
    against a seed that all have left behind says little.
    """
    worthy = [one for id, one in context.known.items() if gains[id] > 0 or id in context.front_ids]
    found = [one for one in worthy if one.id not in hidden]
    return sorted(
        found,
        key=lambda one: (
            {*one.candidate.about(one.changed)}.isdisjoint(blocks),
            one.id not in context.front_ids,
            -_ahead(one, parent, context) if one.id in context.front_ids else -gains[one.id],
        ),
    )


def _ahead(one: Individual, parent: Individual, context: Context) -> float:
    noise, pairs = context.noise, [(o, parent.fitness[o.name]) for o in context.brief.objectives]
    return sum(noise.gain(o, one.fitness[o.name] - before, before) for o, before in pairs)


def _ancestors(one: Individual, context: Context) -> set[str]:
    """Their changes are in the program already."""
    found: set[str] = set()
    current = context.parent_of(one)
    while current is not None and current.id not in found:
        found.add(current.id)
        current = context.parent_of(current)
    return found


def _own_blocks(one: Individual, base: Genome, others: Iterable[Individual]) -> list[str]:
    """The blocks that differ from those of `base` and that are not as one of the others has them."""
    known = [{block.name: block for block in other.genome.all_blocks} for other in others]
    names = changed_blocks(base, one.genome)
    return [name for name in names if not any(name in own and same_meaning(own[name], one.genome.block(name)) for own in known)]


def _news(base: Genome, other: Genome, name: str) -> int:
    """How many lines are new in a block: what carries a change is seldom its small helpers."""
    block = other.block(name)
    return len(_new_lines(_counterpart(base, block), block))


def new_code(
    base: Genome, other: Genome, names: Iterable[str], room: int, *, as_diff: bool = False, whole: bool = False
) -> str:
    """The new code of as many blocks as fit whole, each with the new definitions that it needs, then the names of the others; if
    none fits, as many lines of the first as fit, or nothing if only the `whole` is of use.

    A piece of a definition is of little use: its reader would have to invent the rest. `as_diff`: lines begin as those of a
    diff do, and the lines that went are shown where most of a block stays.
    """
    sign, lines_of = ("+", _diff_lines) if as_diff else ("", _new_lines)
    kept: dict[str, None] = {}
    """The pieces of code that are shown, in their order."""
    left_out: dict[str, int] = {}
    first: list[str] = []
    for name in names:
        block = other.block(name)
        pieces = [_statement(text, base, other, sign, lines_of) for text in missing_statements(block, other, base)]
        pieces.append("\n".join(lines_of(_counterpart(base, block), block)))
        first = first or pieces[-1].splitlines()
        new = [piece for piece in dict.fromkeys(pieces) if piece not in kept]
        if (size := sum(len(piece) + 1 for piece in new)) <= room:
            kept, room = kept | dict.fromkeys(new), room - size
        else:
            left_out[name] = pieces[-1].count("\n") + 1
    if not kept:
        return "" if whole else _first_lines(first, room)
    shown = "\n".join(kept)
    missing = [f"{bare_name(name)} ({lines} lines)" for name, lines in left_out.items()]
    return "\n".join([shown, *([f"# left out: {list_names(missing)}"] if missing else [])])


def _statement(text: str, base: Genome, other: Genome, sign: str, lines_of: Callable[[Block | None, Block], list[str]]) -> str:
    """A definition or a constant that a block needs."""
    block = next((one for one in other.all_blocks if one.source.strip() == text.strip()), None)
    lines = lines_of(_counterpart(base, block), block) if block else [sign + line for line in _code_lines(text)]
    return "\n".join(lines)


def _counterpart(base: Genome, new: Block) -> Block | None:
    """The block of this name, else one of the same kind that shares at least `ALIKE_SHARE` of the lines: models give the same
    mechanism other names."""
    same = next((block for block in base.all_blocks if block.name == new.name), None)
    lines = Counter(map(str.strip, _code_lines(new.source)))
    if same is not None or lines.total() > MAX_LINES:
        return same
    shares = {b: (lines & Counter(map(str.strip, _code_lines(b.source)))).total() for b in base.all_blocks if b.kind == new.kind}
    best = max(shares, key=lambda block: shares[block], default=None)
    return best if best and shares[best] >= ALIKE_SHARE * lines.total() else None


def _first_lines(lines: Sequence[str], room: int) -> str:
    """As many whole lines as fit, then how many more there are; empty if none fits."""
    kept: list[str] = []
    for line in lines:
        if (room := room - len(line) - 1) < 0:
            break
        kept.append(line)
    rest = len(lines) - len(kept)
    return "\n".join([*kept, *([f"# and {rest:,} more line{'s' if rest > 1 else ''}"] if rest else [])]) if kept else ""


def _new_lines(old: Block | None, new: Block) -> list[str]:
    """The block whole if most of it is new, else its new lines below its name, with dots where something is left out."""
    after = _code_lines(new.source)
    before = _code_lines(old.source) if old else []
    if not before or max(len(before), len(after)) > MAX_LINES:
        return after
    added = _added(before, after)
    if _is_mostly(added, after):
        return after
    like = f", as {bare_name(old.name)} above" if old and old.name != new.name else ""
    lines, end = [f"# in {new.kind} {bare_name(new.name)}{like}"], 0
    for start, stop in added or [(0, len(after))]:
        if start > end:
            lines.append(_indent(after[start]) + "...")
        lines += after[start:stop]
        end = stop
    return lines


def _diff_lines(old: Block | None, new: Block) -> list[str]:
    """The same as a diff, with the lines that went where most of the block stays."""
    before, after = _code_lines(old.source) if old else [], _code_lines(new.source)
    renamed = old is not None and old.name != new.name
    if not before or renamed or max(len(before), len(after)) > MAX_LINES or _is_mostly(_added(before, after), after):
        return [f"+{line}" for line in after]
    hunks = list(unified_diff(before, after, n=1, lineterm=""))[2:]
    return [f"@@ {new.kind} {bare_name(new.name)} @@" if line.startswith("@@") else line for line in hunks]


def _added(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Where the lines stand that came: (first, behind the last) of each run of them."""
    return [(k, m) for tag, _, _, k, m in line_opcodes(before, after) if tag in ("insert", "replace")]


def _is_mostly(added: Sequence[tuple[int, int]], after: Sequence[str]) -> bool:
    return sum(m - k for k, m in added) >= WHOLE_SHARE * len(after)


def _code_lines(source: str) -> list[str]:
    """Without empty lines and lines that are a comment or a docstring."""
    lines = [line.rstrip() for line in source.splitlines()]
    return [line for line in lines if line.strip() and not _is_comment(line.strip())]


def _is_comment(line: str) -> bool:
    return line.startswith("#") or (line.startswith('"""') and line.endswith('"""') and len(line) >= 6)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
