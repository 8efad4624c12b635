"""The errors that are raised. A candidate's fault is none of them: it is a `Failure` value."""


class UserError(Exception):
    """The user's mistake: one sentence with the place and the remedy, before anything is spent (exit code 2)."""


class Halted(Exception):
    """Work that was asked for and not started, or not finished: it is left for a resume."""


class MachineError(Exception):
    """The machine's fault (provider, git, disk): the run stops and can be resumed (exit code 1)."""
