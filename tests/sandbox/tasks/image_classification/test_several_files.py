"""Several source files are one program, for images too (for own tasks and scripts see their folders)."""

from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured


def test_a_classifier_of_several_files_is_trained(cache, warm, honest_source, honest):
    head, _, build = honest_source.partition("def build_model")
    files = {
        "model.py": f"from nets.small import Net\n\n\ndef build_model{build}",
        "nets/__init__.py": "WIDTH = 8\n",
        "nets/small.py": head.replace("import ctypes", "from . import WIDTH\nimport ctypes").replace("8, 3,", "WIDTH, 3,"),
    }
    task = open_task({"dataset": "digits"}, {"epochs": 3}, {}, tuple(files), cache)
    measured = task.evaluate(Job(files, 0), warm)
    assert isinstance(measured, Measured), measured
    assert measured.values == honest
    assert measured.parameters_by_block == {"Net": honest["parameters"]}
