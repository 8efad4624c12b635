"""What a prompt shows of a program in place of its text."""

from agent.genome import Genome, call_sites, signatures
from tests.genome.programs import SMALL_MODULE


def test_signatures_leave_bodies_and_the_shown_block_out():
    assert signatures(Genome({"m.py": SMALL_MODULE}), without=["A"]) == (
        "# m.py\nimport math\ndef helper(a, *, b=1): ...\nasync def later(): ...\nX = math.pi"
    )
    assert "    def f(self, x: int=3) -> int: ..." in signatures(Genome({"m.py": SMALL_MODULE}))


def test_callers_are_the_lines_that_use_a_block():
    assert call_sites(Genome({"m.py": SMALL_MODULE}), "A") == "# in later\nreturn A().f(helper(1))"
    assert call_sites(Genome({"m.py": SMALL_MODULE}), "later") == ""


def test_signatures_show_what_other_code_reads_fields_attributes_and_decorators():
    text = (
        "import torch\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n    width: int = 32\n    names: list\n\n"
        "class Net(torch.nn.Module):\n    scale = 0.5\n\n    @classmethod\n    def small(cls):\n        return cls()\n\n"
        "    @torch.no_grad()\n    def f(self):\n        return 1\n"
    )
    assert signatures(Genome({"train.py": text})).endswith(
        "@dataclass\nclass Config:\n    width: int = 32\n    names: list\nclass Net(torch.nn.Module):\n    scale = 0.5\n"
        "    @classmethod\n    def small(cls): ...\n    @torch.no_grad()\n    def f(self): ..."
    )
