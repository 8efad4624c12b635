"""What evolves in a run, what is frozen and what cannot evolve: decided for scripts, and told at the start of every run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent.core.text import list_names, one_line
from agent.genome import Genome, bare_name
from agent.genome.measuring import Measuring, find_measuring
from agent.genome.outline import what_stays
from agent.genome.seed_limits import broken_limits
from agent.journal.events import Advised, Told, Watch
from agent.run.config import Config

_SHOWN = 24
"""The most names that one line of the list has."""
_SHOWN_EACH = 6
"""The most for each reason why something cannot evolve."""


def measurement_frozen(config: Config, genome: Genome) -> tuple[Config, Genome, Measuring]:
    """Freeze what measures in a script, unless the user has said what is frozen. The run keeps the answer in its settings."""
    metrics = config.task.get("metrics")
    if config.task.get("name") != "script" or not isinstance(metrics, Mapping) or "frozen" in config.seed.model_fields_set:
        return config, genome, Measuring()
    found = find_measuring(genome, list(metrics))
    frozen = tuple(sorted(found.frozen))
    config = config.model_copy(update={"seed": config.seed.model_copy(update={"frozen": frozen})})
    return config, replace(genome, frozen=frozenset(frozen)), found


def tell_what_evolves(genome: Genome, found: Measuring, watch: Watch) -> None:
    """Tell in one list what evolves, what is frozen and why, what cannot evolve and why, and how to change it."""
    constants = [bare_name(one.name) for one in genome.constants if one.name not in genome.frozen]
    together = [f"constants ({list_names(constants, _SHOWN)})"] if genome.constant_groups else []
    staying = what_stays(genome)
    evolving = [block.name for block in genome.live_blocks if block.name not in staying] or [b.name for b in genome.live_blocks]
    watch(Told(f"evolves: {list_names([*evolving, *together], _SHOWN)}"))
    if genome.frozen:
        named = [f"{name} ({found.frozen[name]})" if name in found.frozen else name for name in sorted(genome.frozen)]
        why = ", so that no change wins by another measurement" if found.frozen else ""
        change = "seed.frozen says what is: --set 'seed.frozen=[]' frees all" if found.frozen else "by seed.frozen"
        watch(Told(f"frozen{why}: {list_names(named, _SHOWN)}; {change}"))
    if staying:
        watch(Told(f"cannot evolve: {'; '.join(_by_reason(staying))}"))
    if broken := broken_limits(genome):
        watch(Told(f"as the seed has it, and judged only for what an answer adds: {'; '.join(one_line(b, 200) for b in broken)}"))
    if found.left_free:
        watch(Advised(_left_free(found)))


def _left_free(found: Measuring) -> str:
    named = list_names([f"{name} ({reason})" for name, reason in found.left_free.items()], _SHOWN)
    return (
        f"not frozen, though a change there may win by another measurement: {named}; nothing else could evolve. Read each change "
        "that improves the metric, or move what measures into a function of its own: it is frozen then, or by "
        "--set 'seed.frozen=[\"NAME\"]'"
    )


def _by_reason(staying: Mapping[str, str]) -> Iterator[str]:
    for reason in dict.fromkeys(staying.values()):
        yield f"{list_names([one_line(name, 60) for name, why in staying.items() if why == reason], _SHOWN_EACH)} ({reason})"
