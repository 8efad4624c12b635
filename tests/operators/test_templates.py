import re
import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.core.errors import UserError
from agent.core.paths import prompts_folder
from agent.core.text import clean, fence, quote
from agent.operators.templates import Prompts, Template


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(prompts_folder(), tmp_path / "prompts")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_shipped_prompts_load():
    prompts = Prompts.load(prompts_folder())
    assert sorted(prompts.roles) == ["expert", "innovative_scientist", "magoo"]
    assert sorted(prompts.directives) == [
        "complex",
        "parameters",
        "reduce_size",
        "significant",
        "uncommon",
        "uncommon_parameters",
    ]


def test_every_role_and_directive_is_in_the_readme():
    readme = (prompts_folder() / "README.md").read_text()
    prompts = Prompts.load(prompts_folder())
    for name in (*prompts.roles, *prompts.directives):
        assert f"| {name} |" in readme


def test_the_headings_that_the_offline_model_reads_are_in_the_templates():
    templates = "\n".join(path.read_text() for path in prompts_folder().glob("*.md") if path.name != "README.md")
    named = re.findall(r"`(## [^`]+)`", (prompts_folder() / "README.md").read_text())
    assert len(named) == 9
    assert all(f"\n{heading}" in f"\n{templates}" for heading in named)


# Templates


def test_a_missing_name_is_a_mistake():
    with pytest.raises(UserError, match=r"t\.md does not fit.*missing=\['b'\], unused=\[\]"):
        Template("t.md", "$a $b").fill(a="1")


def test_an_unused_name_is_a_mistake():
    with pytest.raises(UserError, match=r"missing=\[\], unused=\['c'\]"):
        Template("t.md", "$a").fill(a="1", c="2")


@pytest.mark.parametrize("text", ["costs 5$", "$ a", "a $1 b", "${", "${a b}"])
def test_a_stray_dollar_is_a_mistake(text):
    with pytest.raises(UserError, match=r"t\.md has a `\$` that begins no name"):
        Template("t.md", text)


def test_a_doubled_dollar_is_a_dollar():
    assert Template("t.md", "$$5 for $a").fill(a="b") == "$5 for b"


CODE = 'f"{x!r}" % {"a": 1}; "$a ${b} $$ %s {0} {} \\1 \\g<0>"'


def test_braces_and_dollars_in_code_are_safe():
    assert Template("t.md", "$a\n\n$b").fill(a=CODE, b="B") == f"{CODE}\n\nB"


@given(st.text(alphabet="$ab{}%\\ \n#:`", max_size=60))
def test_any_value_comes_out_as_it_went_in(value):
    filled = Template("t.md", "<$a>").fill(a=value)
    assert filled == (f"<{value.strip(chr(10))}>" if value.strip() else "")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("one\n\n$empty\n\ntwo", "one\n\ntwo"),
        ("# A\n\n$empty\n\n# B\n\ntext", "# B\n\ntext"),
        ("# A\n\n## B\n\n$empty\n\n## C\n\ntext", "# A\n\n## C\n\ntext"),
        ("# A\n\n## B\n\n$empty\n\n# C\n\ntext", "# C\n\ntext"),
        ("# A\n\n## B\n\n$said", "# A\n\n## B\n\nS"),
        ("# A `$empty`\n\ntext", "text"),
        ("text\n\n# A", "text"),
        ("$said $empty", ""),
        ("Look:\n\n$empty\n\nmore", "more"),
        ("Look:\n\n$said\n\nmore", "Look:\n\nS\n\nmore"),
        ("# A\n\nLook:\n\n$empty\n\n# B\n\ntext", "# B\n\ntext"),
        ("# A\n\nLook:\n\n$empty\n\ntext", "# A\n\ntext"),
        ("# A\n\nLook:\n\n$said", "# A\n\nLook:\n\nS"),
        ("Look:\n\nAnd look:\n\n$said", "And look:\n\nS"),
        ("Look:\n\n# A\n\n$said", "# A\n\nS"),
        ("Look:", ""),
        ("say\n\n\n\n$said\n", "say\n\nS"),
    ],
)
def test_empty_content_is_left_out_with_its_heading_and_introduction(text, filled):
    values = {name: value for name, value in {"empty": " \n", "said": "S"}.items() if f"${name}" in text}
    assert Template("t.md", text).fill(**values) == filled


def test_a_value_is_never_taken_for_a_heading_or_a_lead_in():
    assert Template("t.md", "$a\n\n$b").fill(a="# Not a heading:", b="") == "# Not a heading:"


# The folder and its table


def test_a_name_that_the_table_does_not_list_stops_the_run(folder):
    edit(folder / "repair.md", "$reasons", "$reasons $more")
    with pytest.raises(UserError, match=r"repair\.md has the fields \['more', 'reasons'\], .*lists \['reasons'\]"):
        Prompts.load(folder)


def test_a_name_that_only_the_table_lists_stops_the_run(folder):
    edit(folder / "README.md", "`reasons` |", "`reasons`, `more` |")
    with pytest.raises(UserError, match=r"lists \['more', 'reasons'\]"):
        Prompts.load(folder)


def test_a_template_without_a_row_stops_the_run(folder):
    (folder / "splice.md").write_text("$a")
    with pytest.raises(UserError, match=r"README\.md: the prompt splice\.md is missing from the table"):
        Prompts.load(folder)


def test_a_row_without_a_template_stops_the_run(folder):
    (folder / "eot.md").unlink()
    with pytest.raises(UserError, match=r"README\.md: the prompt eot\.md has no file"):
        Prompts.load(folder)


def test_a_stray_dollar_in_a_file_names_the_file(folder):
    edit(folder / "opening.md", "## Rules", "## Rules for 5 $")
    with pytest.raises(UserError, match=r"opening\.md has a `\$`"):
        Prompts.load(folder)


def test_a_dollar_in_a_role_is_a_dollar(folder):
    (folder / "roles" / "banker.md").write_text("You count every $ and {every} ${cent}.\n")
    assert Prompts.load(folder).roles["banker"] == "You count every $ and {every} ${cent}."


def test_a_new_directive_needs_no_row(folder):
    (folder / "directives" / "prune.md").write_text("Remove half.")
    assert Prompts.load(folder).directives["prune"] == "Remove half."


@pytest.mark.parametrize("kind", ["roles", "directives"])
def test_an_empty_text_is_a_mistake(folder, kind):
    (folder / kind / "nobody.md").write_text(" \n")
    with pytest.raises(UserError, match=r"nobody\.md is empty"):
        Prompts.load(folder)


def test_a_folder_without_directives_is_a_mistake(folder):
    shutil.rmtree(folder / "directives")
    with pytest.raises(UserError, match="directives holds no Markdown file"):
        Prompts.load(folder)


def test_an_unreadable_file_is_a_mistake(folder):
    (folder / "rules.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"rules\.md cannot be read"):
        Prompts.load(folder)
    (folder / "README.md").unlink()
    with pytest.raises(UserError, match=r"README\.md cannot be read"):
        Prompts.load(folder)


def test_the_digest_changes_with_every_text_that_an_llm_may_see(folder):
    digests = {Prompts.load(folder).digest}
    texts = [path for path in sorted(folder.rglob("*.md")) if path.name != "README.md"]
    for path in texts:
        path.write_text(path.read_text() + "\nMore.\n")
        digests.add(Prompts.load(folder).digest)
    assert len(digests) == len(texts) + 1
    (folder / "roles" / "magoo.md").rename(folder / "roles" / "mcgoo.md")
    digests.add(Prompts.load(folder).digest)
    assert len(digests) == len(texts) + 2


def test_the_digest_leaves_out_what_is_for_people(folder):
    before = Prompts.load(folder).digest
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\nMore.\n")
    assert Prompts.load(folder).digest == before


# Text that nobody has read


def test_a_fence_is_longer_than_any_run_of_backticks():
    assert fence("x = 1\n", "python") == "```python\nx = 1\n```"
    assert fence("a ``` b ````\n`````") == "``````\na ``` b ````\n`````\n``````"


@given(st.text(alphabet="`~ab# \n\r\t>-", max_size=80))
def test_nothing_breaks_out_of_a_fence(text):
    tokens = MarkdownIt().parse(f"before\n\n{fence(text)}\n\nafter")
    counts = Counter(token.type for token in tokens)
    assert counts == Counter(["fence", *2 * ["paragraph_open", "inline", "paragraph_close"]])


@given(st.text(max_size=300))
def test_a_quote_is_one_short_code_span(text):
    line = quote(text, limit=40)
    inline = MarkdownIt().parseInline(f"Reason: {line}.")[0].children
    assert [child.type for child in inline] == ["text", "code_inline", "text"]
    assert len(line) <= 42


def test_a_long_quote_is_marked_as_cut():
    assert quote("a" * 200) == f"`{'a' * 157}...`"


def test_an_empty_quote_is_marked_as_empty():
    assert quote("\x1b[0m\n") == "`(nothing)`"


def test_escape_codes_leave_nothing_behind():
    assert clean("\x1b[1;31mRed\x1b[0m \x1b]0;title\x07bell\x1b]8;;url\x1b\\link") == "Red belllink"
    assert clean("a\x00b\u202ec\u200bd\ud800e\x9bf\r\n\tg") == "abcdef\n\tg"
