"""Providers on loopback that fail and recover, and which model is asked meanwhile."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from agent.llm import (
    CoolDownEnded,
    CoolDownStarted,
    Failover,
    FailoverPolicy,
    LanguageModelDown,
    LanguageModelRefused,
    LlmSettings,
    RequestRejected,
    open_model,
)

SHORT = FailoverPolicy(failures=2, first_cool_down_seconds=0.2, longest_cool_down_seconds=1.0, patience_seconds=60.0)


@pytest.fixture
def group(providers):
    """`group("answer", "503")` gives a failover with a model for each behaviour, its providers, and what it announces."""
    models = {}

    def build(*behaviours, policy=SHORT, cancelled=lambda: False):
        served = []
        for name, behaviour in zip("abc", behaviours, strict=False):
            served.append(providers())
            served[-1].plays(*([behaviour] if isinstance(behaviour, str) else behaviour))
            settings = LlmSettings(api_base=served[-1].url, attempts=1, deadline_seconds=20)
            models[name] = open_model(name, settings)
        notices = []
        return Failover(models, policy, notices.append, cancelled), served, notices

    yield build
    for model in models.values():
        model.close()


def test_another_model_answers_at_once_in_the_name_of_one_that_is_down(group, ask):
    failover, (down, up), notices = group("503", "answer")
    for _ in range(6):
        assert failover.members["a"].complete(ask()).model == "b"
    assert len(up.requests) == 6
    assert len(down.requests) < 6  # it cools down after the second failure
    assert [(n.model, n.alone) for n in notices if isinstance(n, CoolDownStarted)][:1] == [("a", False)]
    assert "overloaded" in notices[0].reason


def test_a_model_that_is_back_is_asked_again(group, ask):
    failover, (back, _), notices = group(["503", "503", "answer"], "answer")
    while failover.members["a"].complete(ask()).model != "a":
        time.sleep(0.02)
    assert len(back.requests) == 3
    assert [type(n) for n in notices] == [CoolDownStarted, CoolDownEnded]


def test_cool_downs_grow_while_the_model_stays_away(group, ask):
    failover, (_, _), notices = group(["503"] * 5 + ["answer"], "answer")
    while failover.members["a"].complete(ask()).model != "a":
        time.sleep(0.01)
    cool_downs = [n.seconds for n in notices if isinstance(n, CoolDownStarted)]
    assert cool_downs == pytest.approx([0.2, 0.4, 0.8, 1.0], rel=0.2)  # doubled up to the longest, with jitter


def test_one_call_tries_a_model_after_its_cool_down_while_the_others_wait(group, ask):
    failover, (only,), notices = group(["503", "slow echo"], policy=FailoverPolicy(1, 0.3, 1.0))
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(failover.complete, "a", ask("0"))]
        while not notices:
            time.sleep(0.01)
        calls += [threads.submit(failover.complete, "a", ask(str(n))) for n in range(1, 8)]
        assert [call.result().text for call in calls] == [str(n) for n in range(8)]
    _, trial, *others = only.requests
    assert len(others) == 7
    assert all(sent.at >= trial.at + 0.1 for sent in others)  # as long as the provider takes for an answer


def test_the_pause_that_a_provider_names_is_its_cool_down(group, ask):
    failover, (limited, _), notices = group("429 in an hour", "answer")
    for _ in range(3):
        assert failover.complete("a", ask()).model == "b"
    assert len(limited.requests) == 1
    assert notices[0].seconds == 3600


def test_with_no_other_model_calls_wait_until_it_is_back(group, ask):
    failover, (only,), notices = group(["drop"] * 4 + ["answer"])
    assert failover.complete("a", ask()).text == "hello"
    assert len(only.requests) == 5
    assert notices[0].alone


def test_patience_has_an_end(group, ask):
    failover, (only,), _ = group("503", policy=FailoverPolicy(2, 0.1, 0.1, patience_seconds=0.5))
    began = time.monotonic()
    with pytest.raises(LanguageModelDown, match="overloaded"):
        failover.complete("a", ask())
    assert time.monotonic() - began >= 0.5
    assert len(only.requests) > 2


def test_without_patience_a_failed_call_of_each_model_is_the_end(group, ask):
    failover, providers, _ = group("503", "500", policy=FailoverPolicy(patience_seconds=0))
    with pytest.raises(LanguageModelDown):
        failover.complete("a", ask())
    assert [len(provider.requests) for provider in providers] == [1, 1]


def test_waiting_calls_end_when_the_run_is_cancelled(group, ask):
    over = threading.Event()
    failover, _, notices = group("503", cancelled=over.is_set)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(failover.complete, "a", ask())
        while not notices:
            time.sleep(0.01)
        over.set()
        with pytest.raises(CancelledError):
            waiting.result(timeout=10)


def test_a_wrong_key_leaves_the_work_to_the_others_and_is_said(group, ask):
    failover, (wrong, other), notices = group("401", "answer")
    assert [failover.complete("a", ask()).model for _ in range(3)] == ["b", "b", "b"]
    assert (len(wrong.requests), len(other.requests)) == (1, 3)
    assert "Check the key" in notices[0].reason


def test_models_that_all_refuse_end_it_at_once(group, ask):
    failover, served, _ = group("401", "404")
    with pytest.raises(LanguageModelRefused, match="Check the"):
        failover.complete("a", ask())
    assert [len(one.requests) for one in served] == [1, 1]


def test_a_model_that_refuses_every_request_in_the_same_words_is_given_up(group, ask):
    alone, (one,), _ = group(["400"])
    for _ in range(2):
        with pytest.raises(RequestRejected):
            alone.complete("a", ask())
    with pytest.raises(LanguageModelRefused, match="Invalid value"):
        alone.complete("a", ask())
    assert len(one.requests) == 3


def test_credit_that_runs_out_later_leaves_the_work_to_the_others(group, ask):
    failover, (spent, _), notices = group(["answer", "402"], "answer")
    assert [failover.complete("a", ask()).model for _ in range(4)] == ["a", "b", "b", "b"]
    assert len(spent.requests) == 2
    assert "Check the credit" in notices[0].reason


def test_a_rejected_request_is_the_candidates_failure_and_none_of_the_model(group, ask):
    failover, _, notices = group(["context too long", "answer"])
    with pytest.raises(RequestRejected):
        failover.complete("a", ask())
    assert failover.complete("a", ask()).text == "hello"
    assert notices == []
