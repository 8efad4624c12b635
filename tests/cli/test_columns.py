"""Tables at widths where not everything fits."""

import pytest

from agent.cli.columns import NO_BREAK, Column, table_rows

IDS = ["0001", "0002"]
OUTCOMES = [f"accuracy{NO_BREAK}0.9437  parameters{NO_BREAK}5,178", "smoke: the pass raised a RuntimeError: mat1 and mat2"]
COLUMNS = [
    Column("id", IDS),
    Column("operator", ["mutate", "rewrite"], rank=1),
    Column("block", ["Stage, TinyCNN", "build_optimizer"], rank=2),
    Column("role", ["an expert of long standing", ""], rank=3),
    Column("outcome", OUTCOMES, flexible=True),
]


def text(width, columns=COLUMNS):
    return "\n".join(line for lines in table_rows(columns, width) for line in lines)


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40, 30])
def test_no_fact_is_cut_and_nothing_is_wider_than_the_screen(width):
    shown = text(width)
    words = shown.replace("outcome:", "").split()
    for fact in ("0001", "0002", "accuracy", "0.9437", "5,178", "RuntimeError:", "mat2"):
        assert fact in words
    assert max(map(len, shown.splitlines())) <= width
    assert all(f"{name} {value}" in shown for name, value in (("accuracy", "0.9437"), ("parameters", "5,178")))


def test_what_matters_least_is_left_out_first():
    heads = [text(width).splitlines()[0].split() for width in (200, 70, 52, 36)]
    assert heads == [
        ["id", "operator", "block", "role", "outcome"],
        ["id", "operator", "block", "outcome"],
        ["id", "operator", "outcome"],
        ["id", "outcome"],
    ]


def test_a_row_of_wide_facts_stands_on_several_lines():
    wide = [Column("id", ["0001"]), Column("accuracy", ["0.7775 (+4.3 sigma, undecided)"]), Column("loss", ["0.31"], right=True)]
    assert text(24, wide).splitlines() == ["0001", "    accuracy: 0.7775", "    (+4.3 sigma,", "    undecided)", "    loss: 0.31"]


def test_a_column_that_is_worth_one_line_is_cut():
    columns = [Column("id", ["1"]), Column("intention", ["make it wider " * 9], flexible=True, cuts=True, rank=1)]
    assert [len(lines) for lines in table_rows(columns, 60)] == [1, 1]
    assert text(60, columns).endswith("…")
