"""A limit that the seed breaks is told, and judged only for what an answer adds."""

import pytest

from agent.genome import Genome, Violations
from agent.genome.extraction import MAX_CHARACTERS, MAX_LINE
from agent.genome.seed_limits import broken_limits
from tests.genome.programs import fenced

SMALL = "def f(x):\n    return x\n\n\ndef g():\n    return f(1)\n"
LONG_LINE = f"TABLE = '{'a' * 3_000}'\n"
LARGE = "".join(f"# {'-' * 97}\n" for _ in range(3_000))


def given(answer, editor, source, block=()):
    return editor.apply(Genome({"model.py": source}, entry_points=frozenset()), block, fenced(answer))


def test_a_seed_within_the_limits_breaks_none():
    assert broken_limits(Genome({"model.py": SMALL})) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (LONG_LINE, f"line 7 of model.py has 3,010 characters, and {MAX_LINE:,} is the limit"),
        (LARGE, f"model.py has {len(SMALL + LARGE):,} characters, and {MAX_CHARACTERS:,} is the limit"),
        ("def h():\n    return plt.show()\n", "model.py reads plt, which nothing in it binds"),
        ("from math import *\n", "star imports"),
        ("def h():\n    return f()\n", "h calls f(), which does not fit"),
        ("class A(B): pass\nclass B: pass\n", "A reads B on import before it is bound"),
    ],
)
def test_each_limit_that_a_seed_breaks_is_told_and_no_answer_is_refused_for_it(editor, more, told):
    source = SMALL + more
    assert [told in one for one in broken_limits(Genome({"model.py": source}))] == [True]
    new = given("def f(x):\n    return x + 1", editor, source, ("f",))
    assert isinstance(new, Genome) and new.files["model.py"] == source.replace("return x\n", "return x + 1\n")


def test_an_answer_may_repeat_a_long_line_and_add_no_longer_one(editor):
    source = SMALL.replace("return x\n", f"return x  # {'a' * 3_000}\n")
    line = next(line for line in source.split("\n") if len(line) > MAX_LINE)
    assert isinstance(given(f"def f(x):\n    x = x + 1\n{line}", editor, source), Genome)
    refused = given(f"def f(x):\n    x = x + 1\n{line}aa", editor, source)
    assert isinstance(refused, Violations) and f"A line has {len(line) + 2:,} characters" in refused.reasons[0]
    refused = given(f"def f(x):\n    return x  # {'a' * 2_500}", editor, SMALL)
    assert isinstance(refused, Violations) and f"{MAX_LINE:,} is the limit" in refused.reasons[0]


def test_a_program_that_is_too_long_may_be_changed_and_an_answer_adds_no_more_than_others(editor):
    source = SMALL + LARGE
    less, more = ("".join(f"    # {'-' * 93}\n" for _ in range(lines)) for lines in (1_900, 2_100))
    assert isinstance(given(f"def f(x):\n{less}    return x + 1", editor, source), Genome)
    refused = given(f"def f(x):\n{more}    return x + 1", editor, source)
    assert isinstance(refused, Violations) and "is the limit" in refused.reasons[0]
    refused = given(f"def f(x):\n{more}    return x + 1", editor, SMALL)
    assert isinstance(refused, Violations) and f"{MAX_CHARACTERS:,} is the limit" in refused.reasons[0]


@pytest.mark.parametrize(
    "opening",
    [
        "globals().update(vars(args))",
        "globals()['other'] = 3",
        "for k, v in settings: globals()[k] = v",
        "vars().update(settings)",
        "exec(open('configurator.py').read())",
        "sys.modules[__name__].__dict__.update(settings)",
        "from settings import *",
        "import builtins\nbuiltins.other = 3",
        "__builtins__.other = 3",
        "try:\n    from fast import other\nexcept ImportError:\n    other = None",
        "if TYPE_CHECKING:\n    from fast import other",
        "def h():\n    return other",
        "def h():\n    global other\n    other = 1",
    ],
)
def test_a_name_that_may_be_bound_in_another_way_is_no_fault(editor, opening):
    new = given("def f(x):\n    return x + other", editor, f"{opening}\n\n\n{SMALL}", ("f",))
    assert isinstance(new, Genome), new.reasons


@pytest.mark.parametrize(
    "reading",
    ["model = globals()['f']", "model = globals().get('f')", "def h():\n    return locals()", "import fast as other2",
     "vars(args)", "def h():\n    other = 1\n    return other", "def h():\n    from fast import other\n    return other"],
)  # fmt: skip
def test_a_name_that_is_bound_nowhere_is(editor, reading):
    refused = given("def f(x):\n    return x + other", editor, f"{reading}\n\n\n{SMALL}", ("f",))
    assert isinstance(refused, Violations) and refused.reasons == ("The name `other` is not defined.",)


def test_an_answer_does_not_open_the_names_itself(editor):
    refused = given("def f(x):\n    globals()['other'] = 1\n    return x + other", editor, SMALL, ("f",))
    assert isinstance(refused, Violations)


def test_an_import_that_the_file_has_from_elsewhere_is_not_added(editor):
    source = f"from common import *\n\n\ndef h(x):\n    return F.relu(x)\n\n\n{SMALL}"
    new = given("def f(x):\n    return F.gelu(x)", editor, source, ("f",))
    assert isinstance(new, Genome) and "import torch.nn.functional" not in new.files["model.py"]
