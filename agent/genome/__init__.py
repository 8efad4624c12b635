"""Source text as named blocks: reading, analysing, comparing and editing programs. The only room that imports libcst."""

from agent.genome.analysis import ENTRY_POINTS, StatementFacts, analyse_statements, bound_names, line_span, parse, source_lines
from agent.genome.constants import CONSTANTS, fixed_titles
from agent.genome.difference import changed_blocks, changed_names, diff, line_opcodes, same_meaning
from agent.genome.editor import Editor
from agent.genome.extraction import Violations, extract_code
from agent.genome.genome import Block, Genome, bare_name, read_genome
from agent.genome.outline import block_signature, call_sites, signatures

__all__ = [
    "CONSTANTS",
    "ENTRY_POINTS",
    "Block",
    "Editor",
    "Genome",
    "StatementFacts",
    "Violations",
    "analyse_statements",
    "bare_name",
    "block_signature",
    "bound_names",
    "call_sites",
    "changed_blocks",
    "changed_names",
    "diff",
    "extract_code",
    "fixed_titles",
    "line_opcodes",
    "line_span",
    "parse",
    "read_genome",
    "same_meaning",
    "signatures",
    "source_lines",
]
