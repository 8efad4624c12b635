"""A seed's own task: a `task.py` next to the seed defines how its program is trained, how it predicts, and how it is scored.

`task_file` reads the file, `splits` its data, `settings` the tables. `task` takes a candidate through the stages, `inside` runs
them in the sandbox, and `check` tests for authors whether their file keeps the contract.
"""
