"""What a program's text has memorised, in parameters."""

import random
from pathlib import Path

import pytest

from sandbox.tasks.common.literals import literal_parameters

SEEDS = Path(__file__).parents[4] / "seeds"
NOISE = random.Random(0).randbytes(3000).hex()


@pytest.mark.parametrize(
    "path", sorted({*SEEDS.rglob("model.py"), *SEEDS.rglob("fast.py")}), ids=lambda path: path.parent.name + "/" + path.name
)
def test_ordinary_programs_have_memorised_nothing(path):
    assert literal_parameters({path.name: path.read_text()}) == 0


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (f"T = '{NOISE}'", 750, 900),  # 3,000 bytes
        (f"T = bytes.fromhex('{NOISE}')", 750, 900),
        (f"T = [{', '.join(repr(NOISE[i : i + 90]) for i in range(0, 5400, 90))}]", 340, 360),  # in short pieces
        (f"# {NOISE}", 750, 900),
        (f'"""{NOISE}"""', 750, 900),
        (f"def f():\n    '{NOISE}'", 750, 900),
        (f"T = 0x{NOISE}", 750, 750),
        (f"T = {[i / 7 for i in range(500)]}", 500, 500),
        (f"T = {{{', '.join(f'{i}: ({i}, {i})' for i in range(100))}}}", 300, 300),
        ("T = (0.485, 0.456, 0.406)\nU = [[64, 128], [256, 512]]", 0, 0),
        ("'''Plain words, told at length.'''" + "\n# of many lines" * 500, 0, 0),
        ("# " + "-" * 100, 0, 3),
        ("x = (", 0, 0),
    ],
    ids=(
        *("hex", "bytes", "pieces", "comment", "documentation", "docstring", "number"),
        *("list", "dict", "few", "prose", "rule", "broken"),
    ),
)
def test_what_counts(text, least, most):
    assert least <= literal_parameters({"model.py": text}) <= most
