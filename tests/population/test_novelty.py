"""Which programs are known, also when a repair changes one."""

from agent.genome import Genome
from agent.population.novelty import Novelty


def program(value):
    return Genome({"model.py": f"def f():\n    return {value}\n"})


def test_a_repair_moves_the_claim_and_frees_the_broken_version():
    known = Novelty(program(0), "seed")
    assert known.claim("0001", program(1)) is None
    assert known.move("0001", program(2)) is None
    assert known.claim("0002", program(1)) is None  # 0001 is another program now
    assert known.claim("0003", program(2)) == "0001"


def test_a_repair_that_returns_to_a_known_program_names_it():
    known = Novelty(program(0), "seed")
    known.claim("0001", program(1))
    assert known.move("0001", program(0)) == "seed"


def test_a_repair_that_changes_nothing_names_the_candidate_itself():
    known = Novelty(program(0), "seed")
    known.claim("0001", program(1))
    assert known.move("0001", program(1)) == "0001"
    assert known.claim("0002", program(1)) == "0001"


def test_what_was_known_at_a_moment_stays_so_when_others_move():
    known = Novelty(program(0), "seed")
    known.claim("0001", program(1))
    moment = known.count
    known.move("0001", program(2))
    assert known.twin(program(2), moment) is None and known.twin(program(0), moment) == "seed"
