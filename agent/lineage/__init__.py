"""The git side of a run: where the branches of individuals go, how they are written, what their commits say.

`Lineage` is the place and its rules, `Branches` writes to it in batches, off the threads that breed and train.
"""

from agent.lineage.lineage import OWN_REPOSITORY, Commit, Lineage
from agent.lineage.message import message
from agent.lineage.stream import Planned
from agent.lineage.writer import Branches

__all__ = ["OWN_REPOSITORY", "Branches", "Commit", "Lineage", "Planned", "message"]
