"""Tables for a reader, where they have to fit."""

from agent.cli import tables
from agent.cli.tables import print_comparison, print_status


def facts(members, failures=5, waiting=2):
    return {
        "run": "night", "state": "finished", "reason": "hours: 7.20 used of 8.00", "phase": None,
        "counts": {"proposed": 900, "trained": 800},
        "forecast": {"words": "41 s and 0.0087 USD a variant"}, "devices": ["cpu", "cpu"], "isolation": "full",
        "waiting": [{"model": f"m{n}", "until": "03:12:00", "reason": "down\n" * 50} for n in range(waiting)],
        "failures": {f"fit: it\nfailed{n} " * 40: 3 for n in range(failures)}, "self_reported": {}, "noise": None,
        "objectives": {"accuracy": "max", "parameters": "min"}, "worth": 2.0, "luck": None,
        "confirmation": None, "null": None, "seal_openings": 0, "has_test_split": True,
        "seed": {"fitness": {"accuracy": 0.1, "parameters": 9.0}, "trainings": 4, "planned": 4, "error": None},
        "cost": {"tokens_estimated": False}, "retrained": {"trainings": 2, "elites": 1, "faults": {"0009": "fit: NaN\n" * 40}},
        "front": [
            {"id": f"{n:04d}", "fitness": {"accuracy": 0.5, "parameters": 8.0}, "branch": f"evolve/night/{n:04d}",
             "intention": "make it wider " * 20, "judgements": None, "trainings": 3, "error": {"accuracy": 0.0123}}
            for n in range(members)
        ],
        "spend": {"usd": 7.5, "calls_without_a_known_price": 0, "tokens_in": 1, "tokens_out": 2, "llm_calls": 3, "seconds": 9.0},
    }  # fmt: skip


def test_a_status_fits_one_screen_however_large_the_front_and_long_the_reasons(capsys):
    print_status(facts(60))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < tables._SCREEN
    assert "more: evolve show" in shown
    assert "(where it began)" in shown  # what the others are compared with


def test_a_small_front_is_shown_whole(capsys):
    print_status(facts(3, failures=0, waiting=0))
    shown = capsys.readouterr().out
    assert all(f"evolve/night/{n:04d}" in shown for n in range(3))
    assert "0.5000 ± 0.012" in shown or "0.5 ± 0.012" in shown
    assert "0009 no longer leads, because of a training with another seed: fit: NaN fit: NaN" in shown
    assert "more: evolve show" not in shown


def test_a_run_whose_seed_trains_says_so(capsys):
    begun = {**facts(0, failures=0, waiting=0), "state": "running", "reason": ""}
    print_status({**begun, "phase": "seed", "seed": {"fitness": None, "trainings": 0, "planned": 4}})
    print_status({**begun, "phase": "noise", "seed": {**begun["seed"], "trainings": 2}})
    print_status({**begun, "phase": "search"})
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("night: ")]
    assert shown == [
        "night: running (training the seed), 0:09 min",
        "night: running (measuring the noise: 2 of 4 trainings of the seed are made), 0:09 min",
        "night: running, 0:09 min",
    ]


def test_what_was_not_counted_by_a_provider_is_marked_as_an_estimate(capsys):
    counted = {
        "tokens": 30_000, "tokens_cached": 8000, "tokens_estimated": False, "usd": 0.5, "tokens_per_trained": 1500.0,
        "usd_per_trained": 0.025, "tokens_per_worth": None, "usd_per_worth": None,
    }  # fmt: skip
    estimated = {**counted, "tokens_estimated": True, "usd": None, "usd_per_trained": None, "tokens_cached": 0}
    points = [{"worth": 1.0}, {"worth": 1.0}]
    runs = [
        {"run": name, "trained": 1, "usd": 0.5, "worth": 1.0, "at_equal_trained": 1.0, "at_equal_usd": 1.0, "noise": None,
         "points": points, "cost": cost}
        for name, cost in (("a", counted), ("b", estimated))
    ]  # fmt: skip
    print_comparison({"equal": {"trained": 1, "usd": 0.5}, "runs": runs})
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "30,000", "8,000", "1,500", "-", "0.5000", "0.0250", "-"] in shown
    assert ["b", "~30,000", "0", "~1,500", "-", "unknown", "unknown", "unknown"] in shown
    assert any(line[:1] == ["~:"] for line in shown)


def test_tokens_that_no_provider_counted_are_called_estimated(capsys):
    print_status({**facts(1), "cost": {"tokens_estimated": True}})
    print_status(facts(1))
    marked = [line for line in capsys.readouterr().out.splitlines() if "tokens in" in line]
    assert ["(estimated)" in line for line in marked] == [True, False]
