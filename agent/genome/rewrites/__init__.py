"""Classical genetic programming on PyTorch code: a catalogue of rewrites by libcst, text in, text out.

The `offline` model is made of these. Each keeps a block's name, its call sites and the sizes of its tensors.
"""

from agent.genome.rewrites.catalogue import CATALOGUE, Change, merge, mutate, transfer

__all__ = ["CATALOGUE", "Change", "merge", "mutate", "transfer"]
