"""A seed's own task: a `task.py` beside it says how its program is trained, how it predicts, and what that is worth.

`source` reads the file, `splits` its data, `task` takes a candidate through the stages, `inside` runs them in the sandbox,
and `check` is the contract that authors run.
"""
