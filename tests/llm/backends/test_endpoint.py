"""Every fault of a provider, over real HTTP, through each way to send: the SDK, litellm over it, litellm alone."""

import time
import traceback
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from agent.llm import LanguageModelDown, LanguageModelRefused, RequestRejected, Usage
from agent.llm.backends.openai import OpenAISender
from tests.llm.conftest import completion, says

LASTING = {"401": "key", "402": "credit", "403": "rights", "404": "name"}
REJECTED = ("400", "413", "422", "context too long")
BROKEN = ("html", "a list", "cut json", "cut body", "no choices", "no message", "drop")
PASSING = ("429", "500", "502", "503", "529", *BROKEN)
EMPTY = {"choices: []": "empty", "content null": "stop", "content empty": "stop", "only thoughts": "stop"}


def shown(error):
    """All that a log or a report may show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


def test_an_answer_comes_with_text_usage_and_reason_to_stop(connect, provider, ask):
    model = connect()
    done = model.complete(ask("hi", 0.3, 50))
    assert (done.text, done.finish_reason, done.usage) == ("hello", "stop", Usage(11, 7))
    assert done.model == model.name
    assert 0 < done.seconds < 5
    (sent,) = provider.requests
    assert sent.path == "/v1/chat/completions"
    assert sent.body["model"] == "x"
    assert sent.body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (sent.body["temperature"], sent.body["max_tokens"]) == (0.3, 50)


def test_what_the_request_leaves_open_is_not_sent(connect, provider, ask):
    connect().complete(ask())
    assert provider.requests[0].body.keys() == {"model", "messages"}


def test_the_key_goes_into_the_header_alone(connect, provider, ask, key):
    connect().complete(ask())
    (sent,) = provider.requests
    assert sent.headers["authorization"] == f"Bearer {key}"
    assert key not in str(sent.body)


@pytest.mark.parametrize("fault", LASTING)
def test_an_error_that_no_retry_can_fix_is_sent_once_and_names_what_to_check(connect, provider, ask, fault):
    provider.plays(fault, "answer")
    with pytest.raises(LanguageModelRefused, match=f"refuses: .*Check the .*{LASTING[fault]}"):
        connect().complete(ask())
    assert len(provider.requests) == 1


@pytest.mark.parametrize("fault", REJECTED)
def test_an_impossible_request_is_sent_once_and_does_not_end_the_run(connect, provider, ask, fault):
    provider.plays(fault, "answer")
    model = connect()
    with pytest.raises(RequestRejected):
        model.complete(ask())
    assert len(provider.requests) == 1
    assert model.complete(ask()).text == "hello"


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_lasts_is_tried_as_often_as_set_and_no_more(connect, provider, ask, fault):
    provider.plays(fault)
    with pytest.raises(LanguageModelDown, match="does not answer"):
        connect(attempts=3).complete(ask())
    assert len(provider.requests) == 3


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_retried_with_the_same_request(connect, provider, ask, fault):
    provider.plays(fault, fault, "answer")
    assert connect(attempts=3).complete(ask("hi", 0.3, 50)).text == "hello"
    assert len(provider.requests) == 3
    assert provider.requests[0].body == provider.requests[1].body == provider.requests[2].body


def test_a_server_that_is_not_there_is_down(connect, provider, ask):
    model = connect()
    provider.stop()
    with pytest.raises(LanguageModelDown):
        model.complete(ask())


@pytest.mark.parametrize("fault", ["silence", "drip"])
def test_the_deadline_counts_all_tries_together(connect, provider, ask, fault):
    provider.plays(fault)
    model, began = connect(deadline_seconds=0.6), time.monotonic()
    with pytest.raises(LanguageModelDown, match=r"no answer within 0\.6 s"):
        model.complete(ask())
    assert 0.6 <= time.monotonic() - began < 1.4
    if fault == "drip":
        assert provider.hung_up.wait(2)  # nobody goes on listening to an answer that was given up


def test_an_answer_that_takes_most_of_the_deadline_arrives(connect, provider, ask):
    def slow(handler, sent):
        handler.server.closing.wait(1.0)
        provider.answers()(handler, sent)

    provider.plays(slow)
    assert connect(deadline_seconds=1.5).complete(ask()).text == "hello"
    assert len(provider.requests) == 1


def test_the_pause_that_the_provider_names_is_kept(connect, provider, ask):
    provider.plays("429 in 0.3 s", "answer")
    connect(first_wait_seconds=0.001).complete(ask())
    first, second = (sent.at for sent in provider.requests)
    assert 0.3 <= second - first < 0.9


def test_a_provider_that_names_no_pause_is_not_made_to_wait_long(connect, provider, ask):
    provider.plays("429 now", "429 now", "answer")
    assert connect(first_wait_seconds=60.0).complete(ask()).seconds < 2


def test_a_pause_may_be_named_as_a_date(connect, provider, ask):
    provider.plays("429 at a date", "answer")  # a date that is over
    assert connect().complete(ask()).seconds < 2
    soon = formatdate(time.time() + 3600, usegmt=True)
    provider.plays(provider.refuses(429, "Rate limit reached", retry_after=soon))
    with pytest.raises(LanguageModelDown) as down:
        connect().complete(ask())
    assert 3500 < down.value.retry_after <= 3601


def test_a_pause_beyond_the_deadline_is_reported_at_once_with_the_providers_message(connect, provider, ask):
    provider.plays("429 in an hour")
    model, began = connect(deadline_seconds=30.0), time.monotonic()
    with pytest.raises(LanguageModelDown, match="Rate limit reached") as down:
        model.complete(ask())
    assert down.value.retry_after == 3600
    assert time.monotonic() - began < 10
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [401, 500])
def test_no_error_shows_the_key(connect, provider, ask, key, status):
    model = connect(attempts=1)
    for before in (0, *range(200, 400, 20)):  # the key may lie across the place where long messages are cut
        provider.plays(provider.refuses(status, f"{'-' * before} Incorrect API key provided: {key}. See the settings."))
        with pytest.raises((LanguageModelRefused, LanguageModelDown, RequestRejected)) as caught:
            model.complete(ask())
        assert key[:12] not in shown(caught.value)


def test_a_key_with_a_line_end_is_shown_by_no_error_either(connect, ask, key):
    # Secrets that are mounted as files end so. It may work or not, but no header can carry it, and libraries say why.
    try:
        done = repr(connect(key=f"{key}\n").complete(ask()))
    except (LanguageModelRefused, LanguageModelDown, RequestRejected) as error:
        done = shown(error)
    assert key[:12] not in done


def test_long_complaints_are_cut(connect, provider, ask):
    provider.plays(provider.refuses(400, "word " * 5000))
    with pytest.raises(RequestRejected) as caught:
        connect().complete(ask())
    assert 100 < len(str(caught.value)) < 600


@pytest.mark.parametrize("behaviour", ["no usage", "zero usage", "hollow usage"])
def test_usage_is_estimated_where_the_provider_does_not_count(connect, provider, ask, behaviour):
    provider.plays(behaviour)
    done = connect(prices={"openai/x": (1.0, 2.0), "hosted_vllm/x": (1.0, 2.0)}).complete(ask("x" * 400))
    assert done.usage == Usage((400 + len("be brief")) // 4, 8 // 4, estimated=True)
    assert done.usd == pytest.approx(102e-6 + 2 * 2e-6)


def test_the_price_is_that_of_the_configuration_first(connect, provider, ask):
    prices = {"openai/gpt-4o-mini": (3.0, 7.0), "hosted_vllm/gpt-4o-mini": (3.0, 7.0)}
    provider.plays("1000 in, 500 out")
    assert connect("gpt-4o-mini", prices=prices).complete(ask()).usd == pytest.approx(0.003 + 0.0035)


def test_prompt_tokens_from_the_cache_of_the_provider_are_counted_and_priced_as_such(connect, provider, ask):
    prices = {"openai/x": (3.0, 7.0, 1.0), "hosted_vllm/x": (3.0, 7.0, 1.0)}
    provider.plays("1000 in, 800 cached")
    done = connect(prices=prices).complete(ask())
    assert done.usage == Usage(1000, 500, tokens_cached=800)
    assert done.usd == pytest.approx(0.0006 + 0.0008 + 0.0035)
    provider.plays("1000 in, nonsense cached")
    assert connect(prices=prices).complete(ask()).usage.tokens_cached == 1000  # no more than there were


def test_the_price_is_that_of_the_bundled_table_else(connect, provider, ask):
    provider.plays("1000 in, 500 out")
    model = connect("gpt-4o-mini")
    expected = pytest.approx(0.00045) if model.name.startswith("openai/") else None
    assert model.complete(ask()).usd == expected


def test_the_price_of_an_unknown_model_is_unknown_and_not_zero(connect, ask):
    assert connect().complete(ask()).usd is None


@pytest.mark.parametrize(
    ("behaviour", "text", "finish"),
    [
        ("cut short", "hel", "length"),
        ("thoughts", "hello", "stop"),
        ("no finish", "hello", "stop"),
    ],
)
def test_unusual_answers_are_understood(connect, provider, ask, behaviour, text, finish):
    provider.plays(behaviour)
    done = connect().complete(ask())
    assert (done.text.strip(), done.finish_reason) == (text, finish)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("connect", ["openai"], indirect=True)  # litellm fails on such an answer by itself
def test_an_answer_in_parts_is_joined_without_the_thoughts(connect, provider, ask):
    provider.plays("parts")
    assert connect().complete(ask()).text == "hello"


@pytest.mark.parametrize("behaviour", [*EMPTY, "filtered"])
def test_empty_answers_are_asked_again_once_and_then_passed_on(connect, provider, ask, behaviour):
    provider.plays(behaviour)
    done = connect(prices={"openai/x": (1.0, 1.0), "hosted_vllm/x": (1.0, 1.0)}).complete(ask())
    assert (done.text.strip(), done.finish_reason) == ("", EMPTY.get(behaviour, "content_filter"))
    assert len(provider.requests) == 2
    assert done.usage == Usage(22, 14)  # both were paid for
    assert done.usd == pytest.approx(36e-6)
    assert "empty" in done.missing


@pytest.mark.parametrize("behaviour", EMPTY)
def test_an_answer_after_an_empty_one_is_used_and_both_are_counted(connect, provider, ask, behaviour):
    provider.plays(behaviour, "answer")
    done = connect().complete(ask())
    assert (done.text, done.usage) == ("hello", Usage(22, 14))
    assert len(provider.requests) == 2


def test_a_temperature_that_is_refused_is_left_out_from_then_on(connect, provider, ask):
    provider.plays("refuses temperature", "answer")
    model = connect()
    assert model.complete(ask(temperature=0.3)).text == "hello"
    assert model.complete(ask(temperature=0.3)).text == "hello"
    assert [sent.body.get("temperature") for sent in provider.requests] == [0.3, None, None]


def test_the_other_name_of_max_tokens_is_used_from_then_on(connect, provider, ask):
    provider.plays("wants max_completion_tokens", "answer")
    model = connect()
    assert model.complete(ask(max_tokens=50)).text == "hello"
    assert model.complete(ask(max_tokens=60)).text == "hello"
    bodies = [sent.body for sent in provider.requests]
    assert [body.get("max_tokens") for body in bodies] == [50, None, None]
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 50, 60]


def test_a_model_that_takes_neither_is_understood_within_one_call(connect, provider, ask):
    provider.plays("picky")
    model = connect()
    assert model.complete(ask(temperature=0.3, max_tokens=50)).text == "hello"
    assert len(provider.requests) == 3
    assert model.complete(ask(temperature=0.3, max_tokens=50)).text == "hello"
    assert len(provider.requests) == 4


@pytest.mark.parametrize(
    ("server", "adapted"),
    [
        ("no system", "the system message stands at the head of the user's"),
        ("4096 at most", "at most 4096 tokens"),
        ("8192 together", "at most 81"),
        ("6000 a minute", "at most 5000 tokens"),
    ],
)
def test_what_a_model_does_not_take_is_taken_back_and_told(connect, provider, ask, server, adapted):
    provider.plays(server)
    model = connect()
    for requests in (2, 3):  # it is known from then on
        done = model.complete(ask(max_tokens=16_000))
        assert (done.text, len(provider.requests)) == ("hello", requests)
        assert done.adapted and done.adapted[0].startswith(adapted)
    told = "".join(message["content"] for message in provider.requests[-1].body["messages"])
    assert "be brief" in told and "hi" in told


def test_a_context_that_is_smaller_than_the_prompt_made_believe_is_found(connect, provider, ask):
    provider.plays("8192 with a long template")
    model = connect()
    for requests in (3, 4):
        done = model.complete(ask(max_tokens=16_000))
        assert (done.text, len(provider.requests)) == ("hello", requests)
        assert provider.requests[-1].body["max_tokens"] >= 3500


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (400, "x is not a valid model ID", "name"),
        (400, "API key not valid. Please pass a valid API key.", "key"),
        (429, "You exceeded your current quota, please check your plan and billing details.", "credit"),
    ],
)
def test_a_refusal_is_known_by_its_words(connect, provider, ask, status, message, advice):
    provider.plays(provider.refuses(status, message))
    with pytest.raises(LanguageModelRefused, match=f"Check the {advice}"):
        connect().complete(ask())
    assert len(provider.requests) == 1


@pytest.mark.parametrize("connect", ["openai"], indirect=True)
@pytest.mark.parametrize(
    ("message", "finish", "why"),
    [
        ({"content": None, "reasoning_content": "Hm. So: ..."}, "stop", "reasoning and no text"),
        ({"content": "", "refusal": "I cannot help with that."}, "stop", "I cannot help with that"),
        ({"content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}]},
         "tool_calls", "call of a tool"),
        ({"content": ""}, "content_filter", "content filter"),
    ],
)  # fmt: skip
def test_an_answer_without_text_says_why(connect, provider, ask, message, finish, why):
    provider.plays(provider.answers(choices=[{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}]))
    assert why in connect().complete(ask()).missing


@pytest.mark.parametrize("connect", ["openai"], indirect=True)
@pytest.mark.parametrize(
    "content",
    [
        ["hel", "lo"],
        {"type": "text", "text": "hello"},
        [{"type": "text", "text": None}, {"type": "text", "text": "hello"}],
        [{"type": "output_text", "text": "hello"}],
    ],
)
def test_text_is_found_in_every_shape_of_content(connect, provider, ask, content):
    provider.plays(provider.answers(content))
    assert connect().complete(ask()).text == "hello"


@pytest.mark.parametrize("connect", ["openai"], indirect=True)
@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "11", "completion_tokens": "7"}, {"prompt_tokens": "many"}, "11 tokens", [11, 7]]
)
def test_usage_of_an_odd_kind_is_read_or_estimated(connect, provider, ask, usage):
    provider.plays(provider.answers(usage=usage))
    done = connect().complete(ask())
    assert done.text == "hello" and done.usage.tokens_out in (7, 1)


@pytest.mark.parametrize("connect", ["openai"], indirect=True)
def test_an_error_in_the_place_of_an_answer_is_the_servers_fault_in_its_own_words(connect, provider, ask):
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error"}
    provider.plays(provider.answers(choices=[choice | {"error": {"code": 502, "message": "upstream died"}}]), "answer")
    assert connect().complete(ask()).text == "hello"
    provider.plays(lambda handler, sent: handler.reply(200, b'{"error": {"message": "the disk is full"}}'))
    with pytest.raises(LanguageModelDown, match="the disk is full"):
        connect().complete(ask())
    provider.plays(lambda handler, sent: handler.reply(301, b"", location="https://elsewhere.example/v1"))
    with pytest.raises((LanguageModelRefused, LanguageModelDown)) as moved:
        connect().complete(ask())
    assert "elsewhere.example" in str(moved.value) or "405" in str(moved.value)


@pytest.mark.parametrize("connect", ["openai"], indirect=True)
def test_half_a_character_never_comes_in(connect, provider, ask):
    message = b'{"role": "assistant", "content": "a\\ud83d"}'
    body = b'{"choices": [{"index": 0, "finish_reason": "stop", "message": ' + message + b"}]}"
    provider.plays(lambda handler, sent: handler.reply(200, body))
    assert connect().complete(ask()).text == "a\ufffd"


def test_a_complaint_about_what_was_not_sent_is_final(connect, provider, ask):
    provider.plays("refuses temperature")
    with pytest.raises(RequestRejected):
        connect().complete(ask())
    assert len(provider.requests) == 1


def test_sixteen_callers_at_once_each_get_their_own_answer(connect, provider, ask):
    provider.plays("slow echo")
    model = connect()
    with ThreadPoolExecutor(16) as threads:
        texts = list(threads.map(lambda n: model.complete(ask(f"caller {n}")).text, range(16)))
    assert texts == [f"caller {n}" for n in range(16)]
    assert provider.busiest >= 8


def test_sixteen_callers_at_once_all_learn_what_the_model_does_not_take(connect, provider, ask):
    provider.plays("slow and picky")
    model = connect()
    with ThreadPoolExecutor(16) as threads:
        done = list(threads.map(lambda n: model.complete(ask(f"caller {n}", 0.3, 50)), range(16)))
    assert [completion.text for completion in done] == [f"caller {n}" for n in range(16)]


def test_nothing_is_written_on_the_terminal(connect, provider, ask, capfd):
    provider.plays("401", "500", "cut json", "drop")
    model = connect()
    for _ in range(2):
        with pytest.raises((LanguageModelRefused, LanguageModelDown)):
            model.complete(ask())
    assert capfd.readouterr() == ("", "")


def test_closing_twice_is_harmless_and_ends_the_connections_of_the_sdk(connect, provider, ask):
    """By the table of TCP connections: the provider's port is in it, in hexadecimal, while one stands."""
    port = f":{provider.server_address[1]:04X}"

    def established():
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return [row for row in rows if row[2].endswith(port) and row[3] == "01"]

    model, other = connect(), connect()
    model.complete(ask())
    assert established()
    model.close()
    model.close()
    if isinstance(model._sender, OpenAISender):
        assert not established()
    assert other.complete(ask()).text == "hello"  # litellm has one pool for all models: closing takes it from nobody


def packed(coding, body):
    return lambda handler, sent: handler.reply(200, body, content_encoding=coding)


def zipped(data, times=1, wbits=31):
    for _ in range(times):
        packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
        data = packer.compress(data) + packer.flush()
    return data


HUGE = 1 << 27
BOMB = zipped(b" " * HUGE)
BOMBS = {
    "plain": lambda handler, sent: handler.reply(200, b" " * (9 << 20)),
    "gzip": packed("gzip", BOMB),
    "deflate": packed("deflate", zipped(b" " * HUGE, wbits=-15)),
    "gzip twice": packed("gzip, gzip", zipped(b" " * HUGE, times=2)),
    "another coding": packed("br", b"\x00" * 99),
    "gzip of an answer that is too long": packed("gzip", zipped(completion("x" * (9 << 20)))),
    "an error": lambda handler, sent: handler.reply(429, BOMB, content_encoding="gzip"),
    "nested": says(b"[" * 200_000),
    "no gzip at all": packed("gzip", b"hello"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_is_read_up_to_a_limit_however_it_is_packed(connect, provider, ask, bomb):
    provider.plays(BOMBS[bomb])
    model = connect(attempts=1)
    tracemalloc.start()
    try:
        with pytest.raises(LanguageModelDown):
            model.complete(ask())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20, f"{peak:,} bytes"


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15), ("x-gzip", 31), ("GZIP", 31)])
def test_packed_answers_are_read(connect, provider, ask, coding, wbits):
    provider.plays(packed(coding, zipped(completion("hello"), wbits=wbits)))
    assert connect().complete(ask()).text == "hello"
    assert provider.requests[0].headers["accept-encoding"] == "gzip, deflate"
