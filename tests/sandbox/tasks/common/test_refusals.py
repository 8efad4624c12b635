"""What the sandbox refuses is explained with what the program did, the line where it did it, and what to do instead."""

import pytest

from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured
from sandbox.tasks.common.refusals import refusal

HELPER = """\
import multiprocessing as mp


def load():
    worker = mp.Process(target=print)
    worker.start()
"""


@pytest.fixture
def run(tmp_path, cache, warm):
    """Runs a script beside `utils/data_loading.py`, which does not evolve."""

    def run_it(text):
        (tmp_path / "utils").mkdir()
        (tmp_path / "utils/data_loading.py").write_text(HELPER)
        (tmp_path / "train.py").write_text(text)
        task = {"name": "script", "command": "python train.py", "metrics": {"loss": "min"}}
        opened = open_task(task, {"time_limit": "60s"}, {}, ("train.py",), cache, folder=tmp_path)
        return opened.evaluate(Job({"train.py": text}, 0), warm)

    return run_it


@pytest.mark.parametrize(
    ("text", "begin", "remedy"),
    [
        (
            "from multiprocessing import Pool\ndef main():\n    with Pool(2) as pool:\n        pool.map(abs, [1])\nmain()",
            "It starts a process (Pool, train.py, line 3, in main):",
            "num_workers=0",
        ),
        (
            "from utils import data_loading\ndata_loading.load()",
            "It starts a process (worker.start, utils/data_loading.py, line 6, in load):",
            "num_workers=0",
        ),
        ("import os\nif os.fork() == 0:\n    pass", "It starts a process (os.fork, train.py, line 2", "threads"),
        ("import os\nos.popen('stty size').read()", "It starts a program (os.popen, train.py, line 2", "PermissionError"),
        (
            "import subprocess\ntry:\n    subprocess.check_output(['git', 'log'])\nexcept OSError as e:\n"
            "    raise RuntimeError('no git') from e",
            "It starts a program (subprocess.check_output, train.py, line 3",
            "do without the call",
        ),
        (
            "import shutil\nopen('a', 'w').close()\nshutil.copy2('a', 'b')",
            "It changes the times or rights of a file (shutil.copy2, train.py, line 3",
            "shutil.copyfile",
        ),
        (
            "import urllib.request as r\nr.urlretrieve('https://example.com/a')",
            "It needs the network (r.urlretrieve, train.py, line 2",
            "task.readable",
        ),
        ("import os\nos.nice(-1)", "It does what the sandbox refuses (os.nice, train.py, line 2", "leave the call out"),
        ("import os\nopen('a', 'w')\nos.remove('a')", "It removes or renames a file (os.remove, train.py, line 3", "doctor"),
        ("open('/data/list.txt')", "It uses a file outside of its copy of the project (open, train.py", "task.readable"),
        (
            "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--data', required=True)\n"
            "parser.parse_args()",
            "SystemExit: the program ended itself with 2: train.py: error: the following arguments are required: --data.",
            "",
        ),
        ("print('no folder ./x')\nraise SystemExit(1)", "SystemExit: the program ended itself with 1: no folder ./x.", ""),
        ("raise PermissionError('not yours')", "PermissionError: not yours (train.py, line 1, in <module>).", ""),
    ],
)
def test_a_refusal_names_what_was_done_where_and_what_to_do(run, text, begin, remedy):
    reason = run(text).reason
    assert reason.startswith(begin), reason
    assert remedy in reason


@pytest.mark.slow
def test_torch_compile_is_named(run):
    reason = run("import torch\nf = torch.compile(lambda x: x * 2 + 1)\nprint(f(torch.ones(4)))").reason
    assert reason.startswith("It starts a compiler (torch.compile, train.py, line 3") and "TORCHDYNAMO_DISABLE=1" in reason


def test_threads_temporary_files_and_plain_copies_work(run):
    measured = run(
        "import shutil, tempfile\nfrom concurrent.futures import ThreadPoolExecutor as Pool\n"
        "with tempfile.NamedTemporaryFile('w', delete=False) as f, Pool(2) as pool:\n    f.write('x')\n"
        "    list(pool.map(abs, [-1]))\n"
        "shutil.copyfile(f.name, 'copy')\nprint('loss: 1')"
    )
    assert isinstance(measured, Measured), measured


def test_a_forged_traceback_is_text_and_a_log_without_one_has_no_refusal():
    assert refusal("PermissionError: [Errno 1] Operation not permitted", ("train.py",)) == ""
    forged = 'Traceback (most recent call last):\n  File "train.py", line 3, in f\n    os.fork()\nPermissionError: [Errno 1]\n'
    assert len(refusal(forged * 2000, ("train.py",))) < 400
