import ast
import textwrap
from difflib import unified_diff

import pytest

from agent.genome.layout import keep_layout, without_trailing_blanks

OLD = textwrap.dedent('''\
    class Net(nn.Module):
        """A small net.

        Two layers.
        """

        # How wide it is.
        width = 8  # channels

        def __init__(self, classes, *, bias=True):
            super().__init__()
            self.conv = nn.Conv2d(
                3,
                self.width,
                kernel_size=3,
            )

            # The head.
            self.head = nn.Linear(self.width, classes, bias=bias)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            return self.head(x.mean((2, 3)))
''').rstrip("\n")


def plain(text):
    """What the code says, blanks in docstrings aside."""
    return ast.dump(ast.parse(text)).replace(" ", "").replace("\\t", "")


def changed_lines(new):
    merged = keep_layout(OLD, new)
    assert plain(merged) == plain(new)
    diff = list(unified_diff(OLD.split("\n"), merged.split("\n"), lineterm="", n=0))[2:]
    return [line for line in diff if not line.startswith("@@")]


def test_other_quotes_wrapping_blank_lines_and_dropped_comments_leave_the_text_as_it_was():
    new = textwrap.dedent("""\
        class Net(nn.Module):
            '''A small net.

            Two layers.
            '''
            width = 8
            def __init__(self, classes, *, bias = True):
                super().__init__()
                self.conv = nn.Conv2d(3, self.width, kernel_size=3)
                self.head = nn.Linear(self.width, classes, bias=bias)
            def forward(self, x):
                x = torch.relu( self.conv(x) )

                return self.head(x.mean((2, 3)))
        """).rstrip("\n")
    assert keep_layout(OLD, new) == OLD


def test_only_the_statement_that_changes_is_in_the_diff():
    new = OLD.replace("torch.relu", "torch.tanh").replace("            3,\n", "").replace("nn.Conv2d(", "nn.Conv2d(3,")
    new = new.replace("# The head.", "").replace("  # channels", "")
    assert changed_lines(new) == ["-        x = torch.relu(self.conv(x))", "+        x = torch.tanh(self.conv(x))"]


def test_a_new_method_comes_with_its_own_layout_and_a_removed_one_leaves_no_hole():
    new = OLD.replace("    def forward", "    # Counts.\n    def count(self):\n        return 1\n\n    def forward")
    assert changed_lines(new) == ["+    # Counts.", "+    def count(self):", "+        return 1", "+"]
    without = OLD.replace("    # How wide it is.\n    width = 8  # channels\n\n", "")
    assert changed_lines(without) == ["-", "-    # How wide it is.", "-    width = 8  # channels"]


def test_a_new_comment_above_code_that_stays_is_kept_where_there_was_none():
    new = OLD.replace("        x = torch.relu", "        # Not negative.\n        x = torch.relu").replace("(2, 3)", "(3, 2)")
    assert changed_lines(new)[0] == "+        # Not negative." and len(changed_lines(new)) == 3


def test_a_changed_head_keeps_the_body():
    new = OLD.replace("def forward(self, x):", "def forward(self, x, scale=1):").replace("            # The head.\n", "")
    assert changed_lines(new) == ["-    def forward(self, x):", "+    def forward(self, x, scale=1):"]


@pytest.mark.parametrize("unit", ["  ", "\t", "   "])
def test_another_indentation_is_no_change(unit):
    lines = OLD.replace("torch.relu", "torch.tanh").split("\n")
    other = "\n".join(line if "3," in line else line.replace("    ", unit) for line in lines)
    assert changed_lines(other) == [
        "-        x = torch.relu(self.conv(x))",
        "+        x = torch.tanh(self.conv(x))",
    ]
    code = f"def f(x):\n{unit}# Why.\n{unit}if x:\n{unit}{unit}y = g(x,\n{unit}{unit}      1)\n{unit}return '''a\n  b'''"
    merged = keep_layout("def f(x):\n    return x", code)
    assert merged.startswith("def f(x):\n    # Why.\n    if x:\n        y = g(x,\n              1)\n    return '''a\n  b'''")


LOOP = textwrap.dedent("""\
    def fit(model, steps):
        # Warm up.
        for step in range(steps):
            rate = 1e-3  # small
            if step > 3:
                rate = 1e-2

                # Twice.
                rate *= 2
            else:
                rate = 0  # none yet
            with torch.no_grad():
                model.step(rate, )
        return model""")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate = 1e-2", "rate = 1e-4"),
        ("rate = 1e-3  # small", "rate = 2e-3"),
        ("rate = 0  # none yet", "rate = 1"),
        ("range(steps)", "range(2 * steps)"),
        ("model.step(rate, )", "model.step(2 * rate)"),
    ],
)
def test_only_the_line_that_changes_in_a_loop_or_branch_is_in_the_diff(old, new):
    changed = LOOP.replace(old, new)
    merged = keep_layout(LOOP, ast.unparse(ast.parse(changed)))
    expected = LOOP.replace(old, new if "range" in new else ast.unparse(ast.parse(new)))
    assert merged == expected


@pytest.mark.parametrize(
    "new",
    [
        "class Net(nn.Module): width = 8",
        "class Net(nn.Module):\n  width = 9\n  def forward(self, x):\n    return x",
        "class Net(nn.Module):\n    width = 8; depth = 2\n    def forward(self, x): return x",
        "class Net(nn.Module):\n\twidth = 8\n\n\tdef forward(self, x):\n\t\treturn self.head(x.mean((2, 3)))",
        "def Net(classes):\n    return 1",
        "Net = 3",
        "@dataclass\nclass Net(nn.Module):\n    width = 8",
    ],
)
def test_code_of_any_other_form_means_what_the_answer_said(new):
    merged = keep_layout(OLD, new)
    assert ast.dump(ast.parse(merged)) == ast.dump(ast.parse(new))


def test_blanks_at_the_ends_of_lines_go_except_in_strings_of_several_lines():
    text = 'def f():   \n    """Doc.  \n\n    """  \n    \n    return f"""a  \n{1}  \n"""\t\n'
    assert without_trailing_blanks(text) == 'def f():\n    """Doc.  \n\n    """\n\n    return f"""a  \n{1}  \n"""\n'
    new = "def f():  \n    x = 2   \n\t\n    return x "
    assert keep_layout("def f():\n    return 1", new) == "def f():\n    x = 2\n\n    return x"
