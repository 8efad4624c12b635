"""What a prompt shows of a program in place of its text."""

from agent.genome import Genome, call_sites, signatures
from tests.genome.programs import SMALL_MODULE


def test_signatures_leave_bodies_and_the_shown_block_out():
    assert signatures(Genome({"m.py": SMALL_MODULE}), without=["A"]) == (
        "import math\ndef helper(a, *, b=1): ...\nasync def later(): ...\nX = math.pi"
    )
    assert "    def f(self, x: int=3) -> int: ..." in signatures(Genome({"m.py": SMALL_MODULE}))


def test_callers_are_the_lines_that_use_a_block():
    assert call_sites(Genome({"m.py": SMALL_MODULE}), "A") == "# in later\nreturn A().f(helper(1))"
    assert call_sites(Genome({"m.py": SMALL_MODULE}), "later") == ""
