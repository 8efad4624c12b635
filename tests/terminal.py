"""What a command shows on a real terminal: a pseudo-terminal of a given width."""

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def on_terminal(*arguments, columns):
    """(all that the command showed, with its codes; its exit code)"""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
        os.execve(sys.executable, command, {**kept, "TERM": "xterm", "PYTHONPATH": str(ROOT)})
    shown = b""
    try:
        while data := os.read(terminal, 1 << 16):
            shown += data
    except OSError:  # the command has ended
        pass
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
