"""The git branches of a run: one for each individual, written without touching the user's HEAD, index or work tree.

`Lineage` names the branches and writes commits; `BranchWriter` calls it in batches from its own thread, so that no other
thread waits for git.
"""

from agent.lineage.fast_import import PlannedCommit
from agent.lineage.lineage import Commit, Lineage
from agent.lineage.message import commit_message
from agent.lineage.pruning import Pruned
from agent.lineage.rehearsal import trouble_in, trouble_with_git
from agent.lineage.repository import OWN_REPOSITORY
from agent.lineage.writer import BranchWriter

__all__ = [
    "OWN_REPOSITORY",
    "BranchWriter",
    "Commit",
    "Lineage",
    "PlannedCommit",
    "Pruned",
    "commit_message",
    "trouble_in",
    "trouble_with_git",
]
