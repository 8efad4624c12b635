"""Any script: a command in a private copy of its project, and the metrics that it prints.

`settings` reads the tables, `project` packs the folder, `command` parses the command, `inside` runs it, `metrics` parses its
output, `task` is the task.
"""
