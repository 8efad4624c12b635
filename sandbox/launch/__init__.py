"""How the processes of a sandbox are started, supervised and ended.

The trusted side: `client` (a sandbox over a warm process), `subprocess_backend` (a sandbox without one), `start` (starts the
processes), `opening` (chooses among them), `detect` (finds the level of isolation), `protocol`, `output`.
The processes that it starts: `fork_server`, `slot_server` and, supervising each call, `supervisor` and `scratch`.
"""
