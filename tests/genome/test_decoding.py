"""Files as editors of all systems write them: read and edited as Python reads them, or refused in one sentence."""

import codecs

import pytest

from agent.core.errors import UserError
from agent.genome import Genome, read_genome
from tests.genome.programs import fenced

SOURCE = (
    "import math\n\n\nclass Net:\n    width = 8\n\n    def size(self):\n        return self.width * 2\n\n\n"
    "def main():\n    return Net()\n"
)
NEW = "class Net:\n    width = 8\n\n    def size(self):\n        return self.width * 3\n"


def seed(folder, data):
    (folder / "model.py").write_bytes(data)
    return read_genome(folder, ["model.py"])


def edited(editor, genome, code=NEW, block="Net"):
    new = editor.apply(genome, (block,), fenced(code))
    assert isinstance(new, Genome), new.reasons
    return new.files["model.py"]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda s: s, lambda s: s),
        (lambda s: s.replace("\n", "\r\n"), lambda s: s.replace("\n", "\r\n")),
        (lambda s: s.rstrip("\n"), lambda s: s.rstrip("\n")),
        (lambda s: s.replace("8\n", "8\r\n"), lambda s: s.replace("8\n", "8\r\n")),  # one line of the block
        (lambda s: s.replace("math\n", "math\r\n"), lambda s: s.replace("math\n", "math\r\n")),  # and one outside
        (lambda s: s.replace("\n\n\ndef", "\n\x0c\n\ndef"), lambda s: s.replace("\n\n\ndef", "\n\x0c\n\ndef")),
        (lambda s: "# one\x0btwo\x1cthree\u2028four\n" + s, lambda s: "# one\x0btwo\x1cthree\u2028four\n" + s),
        (lambda s: s.replace("    ", "\t"), lambda s: s.replace("    ", "\t")),
        (lambda s: "# -*- coding: latin-1 -*-\n" + s, lambda s: "# -*- coding: latin-1 -*-\n" + s),
        (lambda s: "# coding: utf8\n# é\n" + s, lambda s: "# coding: utf8\n# é\n" + s),
    ],
    ids=["plain", "crlf", "no-last-end", "mixed-in", "mixed-out", "form-feed", "odd-breaks", "tabs", "latin-ascii", "utf8"],
)
def test_every_byte_outside_of_a_change_stays(tmp_path, editor, change, kept):
    genome = seed(tmp_path, change(SOURCE).encode())
    assert edited(editor, genome) == kept(SOURCE.replace("* 2", "* 3"))


def test_the_last_block_of_a_file_without_a_last_line_end_and_a_new_import_keep_line_ends(tmp_path, editor):
    genome = seed(tmp_path, SOURCE.replace("\n", "\r\n").rstrip("\r\n").encode())
    new = edited(editor, genome, "import os\n\n\ndef main():\n    return os.path.join(Net())", "main")
    assert new.replace("\r\n", "\n") == "import math\nimport os\n" + SOURCE[12:].replace("Net()\n", "os.path.join(Net())")
    assert new.count("\n") == new.count("\r\n")


@pytest.mark.parametrize("data", [codecs.BOM_UTF8 + SOURCE.encode(), codecs.BOM_UTF8 + SOURCE.replace("\n", "\r\n").encode()])
def test_a_mark_at_the_beginning_is_no_part_of_the_text(tmp_path, editor, data):
    genome = seed(tmp_path, data)
    assert genome.files["model.py"].startswith("import math")
    assert "* 3" in edited(editor, genome)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (SOURCE.encode("utf-16"), "is UTF-16 text: save it as UTF-8."),
        (SOURCE.encode("utf-16-le"), "is UTF-16 text"),
        (SOURCE.encode("utf-32"), "is UTF-32 text"),
        (SOURCE.replace("\n", "\r").encode(), "carriage return alone at the end of line 1"),
        (SOURCE.replace("self):\n", "self):\r").encode(), "carriage return alone at the end of line 7"),
        (SOURCE.replace("\n", "\r\r\n").encode(), "carriage return alone"),
        ("# é\n".encode("latin-1") + SOURCE.encode(), r"is not UTF-8 text \(.*\): save it as UTF-8\.|not UTF-8 text"),
        ("# -*- coding: latin-1 -*-\n# é\n".encode("latin-1") + SOURCE.encode(), "without its line `coding: latin-1`"),
        ("# coding: cp1252\n# é\n".encode() + SOURCE.encode(), "declares the encoding cp1252, and only UTF-8 can evolve"),
        (b"# coding: nonsense\n" + SOURCE.encode(), "without its line `coding: nonsense`"),
        (SOURCE.encode() + b"x = 1\0\n" * 2, "is not valid Python|null bytes"),
        (SOURCE.encode() + b"return 3\n", "'return' outside function"),
        (SOURCE.encode() + b"x = " + b"-" * 90_000 + b"1\n", "nested too deeply"),
        (SOURCE.encode() + b"x = " + b" + ".join([b"1"] * 30_000) + b"\n", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_evolve_is_refused_in_one_sentence(tmp_path, data, says):
    with pytest.raises(UserError, match=says) as refused:
        seed(tmp_path, data)
    assert str(refused.value).count("\n") == 0 and "model.py" in str(refused.value)
