"""Imports of an answer: what the new code reads, once, where a person would have put it."""

import pytest

from agent.genome import Genome
from agent.genome.analysis import parse
from agent.genome.imports import Import, imports_of, with_imports
from tests.genome.programs import fenced

SORTED = """import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .parts import gate


class Net(nn.Module):
    pass
"""


def added(text, line):
    """The lines that are new, and the line above each."""
    new = with_imports(text, list(imports_of(parse(line).body[0])))
    before, after = text.splitlines(), new.splitlines()
    assert len(after) >= len(before)
    at = next(n for n, one in enumerate(after) if n >= len(before) or one != before[n])
    count = len(after) - len(before)
    assert before[at:] == after[at + count :], new
    return after[at - 1] if at else "", after[at : at + count]


@pytest.mark.parametrize(
    ("line", "above"),
    [
        ("import functools", ""),
        ("import itertools", ""),
        ("import sys", "import os"),
        ("from collections import deque", "import os"),
        ("from typing import Any", "import os"),
        ("import einops", ""),
        ("import torchvision", "import torch.nn.functional as F"),
        ("from torch.optim import SGD", "from torch import nn"),
        ("from einops import rearrange", "import torch.nn.functional as F"),
        ("from torch import nn as layers", "from torch import nn"),
        ("from .zoo import net", "from .parts import gate"),
        ("from .a import net", ""),
    ],
)
def test_an_import_goes_where_it_belongs_sorted(line, above):
    assert added(SORTED, line) == (above, [line])


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("from torch import nn\n", "from torch import Tensor", "from torch import Tensor, nn\n"),
        ("from m import b, a\n", "from m import c", "from m import b, a, c\n"),
        ("from m import a  # noqa\n", "from m import b", "from m import a  # noqa\nfrom m import b\n"),
        ("from m import (\n    a,\n)\n", "from m import b", "from m import (\n    a,\n)\nfrom m import b\n"),
        (f"from m import {'a' * 80}\n", "from m import b", f"from m import {'a' * 80}\nfrom m import b\n"),
        ("import torch\n", "import math", "import math\n\nimport torch\n"),
        ("import math\n", "import torch", "import math\n\nimport torch\n"),
        ("import math\nimport torch\n", "import einops", "import math\nimport einops\nimport torch\n"),
        ("import torch\nimport math\n", "import einops", "import torch\nimport einops\nimport math\n"),
        ('"""Doc."""\n\nx = 1\n', "import math", '"""Doc."""\n\nimport math\n\nx = 1\n'),
        ('"""Doc."""\nx = 1\n', "import math", '"""Doc."""\n\nimport math\n\nx = 1\n'),
        ("#!/usr/bin/python\n# Mine.\nx = 1\n", "import math", "#!/usr/bin/python\n# Mine.\n\nimport math\n\nx = 1\n"),
        ("# Mine.\nimport torch\n", "import math", "# Mine.\nimport math\n\nimport torch\n"),
        ("import torch\r\nx = 1\r\n", "from torch import nn", "import torch\r\nfrom torch import nn\r\nx = 1\r\n"),
        ("import torch", "import einops", "import einops\nimport torch"),
        ("import torch", "import zarr", "import torch\nimport zarr\n"),
        ("import torch\n", "from __future__ import annotations", "from __future__ import annotations\n\nimport torch\n"),
        ("x = 1\n", "import math", "import math\n\nx = 1\n"),
        ("", "import math", "import math\n"),
        ("def f():\n    pass\nimport torch\n", "import math", "import math\n\ndef f():\n    pass\nimport torch\n"),
        ("import a; x = 1\n", "import b", "import b\n\nimport a; x = 1\n"),
    ],
)
def test_files_of_many_forms(text, line, expected):
    assert with_imports(text, list(imports_of(parse(line).body[0]))) == expected
    parse(expected)


def test_two_forms_of_one_import_are_the_same():
    assert Import("torch.nn", "", "nn").origin == Import("torch", "nn").origin
    assert Import("torch.nn", "", "nn").binds == "nn" and Import("a.b").binds == "a"


MODEL = '''"""A model."""

import os

import torch
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return torch.relu(x)


def build_model(num_classes, in_channels):
    return Net()
'''


@pytest.mark.parametrize("free", [False, True], ids=["block", "program"])
@pytest.mark.parametrize(
    ("imports", "change"),
    [
        ("import torch, math\nimport torch.nn as nn\nimport numpy as np\nfrom typing import Optional\n", "torch.tanh(x)"),
        ("from torch import nn\nimport os, torch\nimport torch\n", "torch.tanh(x)"),
        ("import torch.nn.functional as F\nfrom torch import Tensor, nn\n", "torch.tanh(x)"),
    ],
)
def test_imports_that_are_there_or_that_nothing_reads_leave_no_trace(editor, free, imports, change):
    genome = Genome({"model.py": MODEL})
    code = f"{imports}\nclass Net(nn.Module):\n    def forward(self, x):\n        return {change}"
    new = editor.apply(genome, () if free else ("Net",), fenced(code))
    assert new.files["model.py"] == MODEL.replace("torch.relu(x)", change)


def test_of_several_names_the_one_that_is_read_is_added(editor):
    code = "from math import pi, sqrt\n\nclass Net(nn.Module):\n    def forward(self, x):\n        return torch.relu(x) * pi"
    new = editor.apply(Genome({"model.py": MODEL}), ("Net",), fenced(code))
    expected = MODEL.replace("torch.relu(x)", "torch.relu(x) * pi").replace("import os\n", "import os\nfrom math import pi\n")
    assert new.files["model.py"] == expected
