"""Modules that every kind of task uses.

On the trusted side: `task` (the interface), `job`, `settings`, `stages`, `weights`, `progress`, `latency`. Inside the sandbox:
`state`, `seeding`, `probe`.
"""
