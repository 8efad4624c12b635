"""A null edit is another program to everything that compares programs, and the same one to Python."""

import ast
import dis
import random
from pathlib import Path
from types import CodeType

import pytest

from agent.core.paths import seeds_folder
from agent.genome import Editor, Genome, read_genome
from agent.operators import DrawContext
from agent.operators.null import NullEdit, with_number

SEEDS = sorted(path.parent for path in seeds_folder().glob("*/model.py"))
SOURCES = [
    "def f(x): return x\n",
    "def f(x):\n    '''Only this.'''\n",
    "def f(x):\n    '''This.'''; return x\n",
    "def f(x): \\\n    return x\n",
    "def f(\n    x,\n):\n    # first\n    return x  # last\n",
    "@cached\nasync def f(x):\n    '''Doc.'''\n\n    @inner\n    def g():\n        return x\n    return g\n",
    "class C: pass\n",
    "class C:\n    '''Doc.'''\n",
    "class C(NamedTuple):\n    a: int\n    b: int = 2\n",
    "def f():\n\tglobal x\n\tx = 'ä'\n",
    "def f():\n    yield from '''\nlines\n'''\n",
]


def compiled(source):
    """What Python makes of a source, without positions and the instruction that does nothing."""

    def plain(code):
        constants = [plain(one) if isinstance(one, CodeType) else one for one in code.co_consts]
        steps = [(one.opname, one.arg) for one in dis.get_instructions(code) if one.opname != "NOP"]
        return code.co_name, steps, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags

    return plain(compile(source, "model.py", "exec", dont_inherit=True))


@pytest.mark.parametrize("source", SOURCES)
def test_any_definition_can_get_one(source):
    edited = with_number(source, 4711)
    assert compiled(edited) == compiled(source)
    assert Genome({"model.py": edited}).fingerprint != Genome({"model.py": source}).fingerprint
    assert with_number(edited, 4712) != edited and compiled(with_number(edited, 4712)) == compiled(source)


def test_it_is_one_line_where_that_can_be():
    source = "def f(\n    x,\n):\n    # first\n    return x  # last\n"
    assert with_number(source, 7) == source.replace("    return", "    7  # changes nothing\n    return")


@pytest.mark.parametrize("folder", SEEDS, ids=lambda path: path.name)
def test_the_editor_takes_every_null_edit_of_every_seed(folder: Path, half_way):
    """Twenty edits on top of each other: no two give the same program, and all of them compile to the seed."""
    genome = read_genome(folder, ["model.py"])
    seen = {genome.fingerprint}
    with_seed = half_way.seed.__class__(half_way.seed.candidate, genome, half_way.seed.fitness)
    editor = Editor(processes=1)
    try:
        current = genome
        for number in range(20):
            context = DrawContext(random.Random(number), half_way.prompts, None, with_seed, with_seed)
            recipe = NullEdit().draw(context)
            current = editor.apply(current, (), NullEdit().answer(recipe, current, half_way.context))
            assert isinstance(current, Genome), current
            assert current.fingerprint not in seen
            seen.add(current.fingerprint)
    finally:
        editor.close()
    assert compiled(current.files["model.py"]) == compiled(genome.files["model.py"])
    numbers = [node for node in ast.walk(ast.parse(current.files["model.py"])) if isinstance(node, ast.Expr)]
    assert sum(isinstance(one.value, ast.Constant) and isinstance(one.value.value, int) for one in numbers) == 20


def test_of_several_files_it_names_the_one_that_it_edits(half_way):
    files = {"a.py": "def build():\n    return 1\n", "b.py": "def build():\n    return 2\n"}
    genome = Genome(files, entry_points=frozenset({"build"}))
    one = half_way.seed.__class__(half_way.seed.candidate, genome, half_way.seed.fitness)
    editor = Editor(processes=1)
    try:
        for number in range(6):
            recipe = NullEdit().draw(DrawContext(random.Random(number), half_way.prompts, None, one, one))
            edited = editor.apply(genome, (), NullEdit().answer(recipe, genome, half_way.context))
            file = recipe.blocks[0].partition(":")[0]
            assert isinstance(edited, Genome) and [path for path in files if edited.files[path] != files[path]] == [file]
    finally:
        editor.close()
