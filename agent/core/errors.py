"""The exceptions of this project. A candidate's fault is not an exception: it is a `Failure` value."""


class UserError(Exception):
    """The user made a mistake. The message says where and how to correct it; raised before anything is spent (exit code 2)."""


class Halted(Exception):
    """Requested work was not started, or not finished, because the run is ending. A resume does it later."""


class MachineError(Exception):
    """Something outside the program failed (provider, git, disk). The run stops and can be resumed (exit code 1)."""
