"""The git side of a run: one branch for each individual, written without touching the user's HEAD, index or work tree.

`Lineage` knows where the branches go and writes commits; `BranchWriter` calls it in batches, from a thread of its own, so
that the threads that breed and train do not wait for git.
"""

from agent.lineage.fast_import import PlannedCommit
from agent.lineage.lineage import Commit, Lineage
from agent.lineage.message import commit_message
from agent.lineage.repository import OWN_REPOSITORY
from agent.lineage.writer import BranchWriter

__all__ = ["OWN_REPOSITORY", "BranchWriter", "Commit", "Lineage", "PlannedCommit", "commit_message"]
