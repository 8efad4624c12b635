"""Source text <-> named blocks. The only room that imports libcst."""

from agent.genome.genome import Block, Genome

__all__ = ["Block", "Genome"]
