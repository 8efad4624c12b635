"""The task `script`: a command runs in a private copy of its project, and the metrics that it prints are read.

`settings` reads the tables, `project` packs the folder, `command` parses the command, `inside` runs it, `metrics` parses its
output, `task` is the task.
"""
