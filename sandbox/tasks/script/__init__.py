"""Anybody's script: a command in a private copy of its project, and the metrics that it prints.

`project` packs the folder, `command` says what may be run, `inside` runs it, `metrics` reads its words, `task` is the task.
"""
