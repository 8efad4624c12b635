"""Source text <-> named blocks. The only room that imports libcst, and only where text is edited."""

from agent.genome.answer import Violations
from agent.genome.changes import alike, changed_blocks
from agent.genome.editor import Editor
from agent.genome.genome import Block, Genome, diff, read_genome
from agent.genome.outline import callers, heads, signatures

__all__ = [
    "Block",
    "Editor",
    "Genome",
    "Violations",
    "alike",
    "callers",
    "changed_blocks",
    "diff",
    "heads",
    "read_genome",
    "signatures",
]
