"""Classical genetic programming on PyTorch code: a catalogue of rule-based rewrites, text in, text out.

The `offline` model answers with these. Each keeps a block's name, its call sites and the sizes of its tensors.
"""

from agent.genome.rewrites.catalogue import CATALOGUE, fits, merge, mutate, transfer
from agent.genome.rewrites.change import Change
from agent.genome.rewrites.patches import apply_diffs
from agent.genome.rewrites.program import apply_insight, revise

__all__ = ["CATALOGUE", "Change", "apply_diffs", "apply_insight", "fits", "merge", "mutate", "revise", "transfer"]
