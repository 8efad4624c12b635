"""Which code of an answer counts, and why an answer without usable code is refused."""

import textwrap

import pytest

from agent.genome import Genome, Violations
from tests.genome.programs import GATE_MODEL, NET_GENOME, NET_MODEL, NEW_GATE, SCALE, fenced, text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would rather not.", "no fenced Python block"),
        ("", "no fenced Python block"),
        ("```python\nclass Other:\n    pass\n```", "defines `Gate`"),
        ("```rust\nstruct Gate;\n```", "no fenced Python block"),
        ("```python\nclass Gate(nn.Module:\n    pass\n```", "line 1"),
        ("```python\nclass Gate:\n    x = '" + "a" * 5000 + "'\n```", "limit is"),
        ("```diff\n--- a/model.py\n+++ b/model.py\n@@ -1,2 +1,2 @@\n-class Gate:\n+class Gate(nn.Module):\n```", "a patch"),
        ("```python\n<<<<<<< SEARCH\nclass Gate:\n=======\nclass Gate(Base):\n>>>>>>> REPLACE\n```", "a patch"),
        ("```json\n{}\n```\n```sh\nls\n```", "one of json, sh"),
        ("x" * 200_001, "200,001 characters"),
        ("```python\nclass Gate:\n    x = '\0'\n```", "null bytes"),
    ],
)
def test_an_answer_without_usable_code_has_its_reason(editor, reply, reason):
    result = editor.apply(Genome({"model.py": GATE_MODEL}), ("Gate",), reply)
    assert isinstance(result, Violations) and result.stage == "answer"
    reasons = " ".join(result.reasons).replace("is the limit", "limit is")
    assert reason in reasons


@pytest.mark.parametrize(
    "reply",
    [
        fenced(NEW_GATE, "~~~"),
        fenced(NEW_GATE, language=""),
        fenced(NEW_GATE, language="py").replace("\n", "\r\n"),
        "First a sketch:\n" + fenced("class Gate(nn.Module):\n    ...") + "and now in full:\n" + fenced(NEW_GATE),
        fenced(NEW_GATE) + "Use it so:\n" + fenced("print(Gate(3))"),
        fenced(NEW_GATE).rsplit("```", 1)[0],
        textwrap.dedent(NEW_GATE),
        "1. Widen it:\n\n" + textwrap.indent(fenced(NEW_GATE), "    "),
        "- " + textwrap.indent(fenced(NEW_GATE), "  ").lstrip(),
        "Here it is: " + fenced(NEW_GATE),
        "So: " + fenced(NEW_GATE).rstrip().removesuffix("```").rstrip() + "```\n",
        fenced(NEW_GATE).rstrip().removesuffix("```").rstrip() + " ```  \nThat is all.",
        "```markdown\n# Answer\n\nWider.\n\n" + fenced(NEW_GATE) + "```\n",
        "~~~md\nWider.\n" + fenced(NEW_GATE) + "~~~\n",
        fenced(NEW_GATE, language="pytorch"),
        fenced(NEW_GATE, language="py3.11") + fenced("pip install nothing", language="sh"),
        fenced(NEW_GATE).replace("```python", "```Python title=model.py"),
    ],
)
def test_forms_of_answers(editor, reply):
    assert "return x * 0.5" in text(editor.apply(Genome({"model.py": GATE_MODEL}), ("Gate",), reply))


def test_a_helper_in_a_fence_of_its_own_belongs_to_the_block(editor):
    helper = fenced("def half(x):\n    return x * 0.5")
    block = fenced(NEW_GATE.replace("x * 0.5", "half(x)"))
    for reply in (f"A helper:\n{helper}\nand the block:\n{block}", f"{block}\nwith this helper:\n{helper}"):
        assert "def half(x)" in text(editor.apply(Genome({"model.py": GATE_MODEL}), ("Gate",), reply))


def test_of_several_fences_all_count_and_the_last_word_holds(editor):
    sketch = fenced("def scale(x, factor=2.0):\n    return -x\n\nWIDTH = 9")
    broken = "First an idea:\n```python\nclass Gate(nn.Module):\n    def forward(self, x) -> (\n```\n"
    new = text(editor.apply(NET_GENOME, (), broken + sketch + "In full:\n" + fenced(SCALE)))
    assert new == NET_MODEL.replace("x * factor", "x + factor").replace("WIDTH = 8", "WIDTH = 9")


def test_text_without_a_fence_is_code_if_it_compiles(editor):
    assert text(editor.apply(NET_GENOME, (), SCALE)) == NET_MODEL.replace("x * factor", "x + factor")
