"""A provider on loopback: real HTTP, the faults that real providers have, and a record of the requests."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from agent.llm import LlmSettings, Message, Request
from agent.llm.backends.endpoint import EndpointModel
from agent.llm.backends.litellm import LiteLLMSender
from agent.llm.backends.openai import OpenAISender

KEY = "sk-loopback-0123456789abcdef0123456789abcdef"


class Sent(NamedTuple):
    """One request as it arrived."""

    at: float
    """On the monotonic clock."""
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]


Behaviour = Callable[["_Handler", Sent], None]


def completion(text: Any = "hello", finish: str | None = "stop", **changes: Any) -> bytes:
    """A chat completion of 11 tokens in and 7 out; `changes` replace its fields, None leaves a field out."""
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    } | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def answers(text: Any = "hello", finish: str | None = "stop", **changes: Any) -> Behaviour:
    return lambda handler, sent: handler.reply(200, completion(text, finish, **changes))


def says(body: bytes, kind: str = "application/json") -> Behaviour:
    return lambda handler, sent: handler.reply(200, body, kind)


def refuses(status: int, message: str, code: str | None = None, **headers: str) -> Behaviour:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return lambda handler, sent: handler.reply(status, json.dumps(error).encode(), **headers)


class Provider(ThreadingHTTPServer):
    """Plays one behaviour for each request, in the order given; the last one goes on for ever."""

    answers, refuses = staticmethod(answers), staticmethod(refuses)
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[Sent] = []
        self.hung_up = threading.Event()
        """Set when a client went away while it was still being answered."""
        self.closing = threading.Event()
        self.busiest = 0
        """The largest number of requests that were in work at once."""
        self._busy = 0
        self._behaviours: Iterator[Behaviour] = itertools.repeat(BEHAVIOURS["answer"])
        self._lock = threading.Lock()

    def plays(self, *what: str | Behaviour) -> None:
        """Names from the table below, or behaviours of a test's own, made by `answers` and `refuses`."""
        played = [BEHAVIOURS[one] if isinstance(one, str) else one for one in what]
        self._behaviours = itertools.chain(played, itertools.repeat(played[-1]))

    def behave(self, handler: _Handler, sent: Sent) -> None:
        with self._lock:
            self.requests.append(sent)
            behaviour = next(self._behaviours)
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            behaviour(handler, sent)
        except (BrokenPipeError, ConnectionResetError):
            self.hung_up.set()
        finally:
            with self._lock:
                self._busy -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for a delayed acknowledgement
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.behave(self, Sent(time.monotonic(), self.path, headers, body))

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.head(status, len(body), kind, **headers)
        self.wfile.write(body)

    def head(self, status: int, length: int, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def _drops(handler: _Handler, sent: Sent) -> None:
    handler.close_connection = True
    handler.connection.close()


def _stays_silent(handler: _Handler, sent: Sent) -> None:
    handler.server.closing.wait(20)
    handler.close_connection = True


def _drips(handler: _Handler, sent: Sent) -> None:
    body = completion()
    handler.head(200, len(body))
    handler.close_connection = True
    for at in range(len(body)):
        handler.wfile.write(body[at : at + 1])
        if handler.server.closing.wait(0.05):
            return


def _is_cut(handler: _Handler, sent: Sent) -> None:
    """The headers promise more than comes."""
    body = completion()
    handler.head(200, len(body))
    handler.wfile.write(body[: len(body) // 2])
    _drops(handler, sent)


def _is_picky(handler: _Handler, sent: Sent) -> None:
    """Like OpenAI's reasoning models: takes neither parameter, and complains of one at a time."""
    if "max_tokens" in sent.body:
        BEHAVIOURS["wants max_completion_tokens"](handler, sent)
    elif "temperature" in sent.body:
        BEHAVIOURS["refuses temperature"](handler, sent)
    else:
        handler.reply(200, completion())


def _has_little_context(handler: _Handler, sent: Sent) -> None:
    used = sum(len(m["content"]) for m in sent.body["messages"]) // 4
    asked = sent.body["max_tokens"]
    text = f"This model's maximum context length is 8192 tokens. However, you requested {asked} tokens in the completion."
    (refuses(400, text) if used + asked > 8192 else answers())(handler, sent)


def _counts_more_tokens(handler: _Handler, sent: Sent) -> None:
    """Its prompts have more tokens than a caller would estimate, as with a template of its own."""
    asked = sent.body["max_tokens"]
    text = f"This model's maximum context length is 8192 tokens. However, you requested {asked} tokens in the completion."
    (refuses(400, text) if asked > 7000 else answers())(handler, sent)


def _echoes_slowly(handler: _Handler, sent: Sent) -> None:
    handler.server.closing.wait(0.1)
    handler.reply(200, completion(sent.body["messages"][-1]["content"]))


def _is_slow_and_picky(handler: _Handler, sent: Sent) -> None:
    if "max_tokens" in sent.body or "temperature" in sent.body:
        handler.server.closing.wait(0.1)
        _is_picky(handler, sent)
    else:
        _echoes_slowly(handler, sent)


_TEMPERATURE = "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported."
_TOKENS = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
_CONTEXT = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
_STATUSES = {
    400: "Invalid value for 'messages'.",
    401: "Incorrect API key provided.",
    402: "Insufficient credits.",
    403: "Country, region, or territory not supported.",
    404: "The model `x` does not exist or you do not have access to it.",
    413: "Request entity too large.",
    422: "Unprocessable entity.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    529: "Overloaded.",
}

BEHAVIOURS: dict[str, Behaviour] = {
    "answer": answers(),
    "cut short": answers("hel", "length"),
    "filtered": answers(None, "content_filter"),
    "thoughts": answers("<think>\nshall I?\n</think>\n\nhello"),
    "only thoughts": answers("<think>\nshall I?\n</think>"),
    "parts": answers([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]),
    "no finish": answers("hello", None),
    "no usage": answers("12345678", usage=None),
    "hollow usage": answers("12345678", usage={}),
    "zero usage": answers("12345678", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    "1000 in, 800 cached": answers(
        usage={"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 800}}
    ),
    "1000 in, nonsense cached": answers(
        usage={"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 9999}}
    ),
    "1000 in, 500 out": answers(usage={"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}),
    "choices: []": answers(choices=[]),
    "content null": answers(None),
    "content empty": answers(""),
    "no choices": answers(choices=None),
    "no message": answers(choices=[{"index": 0, "finish_reason": "stop"}]),
    "html": says(b"<html><body>Welcome to the hotel's wireless network</body></html>", "text/html"),
    "a list": says(b"[1, 2, 3]"),
    "cut json": says(completion()[:60]),
    "cut body": _is_cut,
    "drop": _drops,
    "silence": _stays_silent,
    "drip": _drips,
    "picky": _is_picky,
    "slow echo": _echoes_slowly,
    "slow and picky": _is_slow_and_picky,
    "429 now": refuses(429, "Rate limit reached", retry_after="0"),
    "429 in 0.3 s": refuses(429, "Rate limit reached", retry_after="0.3"),
    "429 in an hour": refuses(429, "Rate limit reached", retry_after="3600"),
    "429 at a date": refuses(429, "Rate limit reached", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    "context too long": refuses(400, _CONTEXT, "context_length_exceeded"),
    "no system": lambda handler, sent: (
        refuses(400, "System role not supported") if sent.body["messages"][0]["role"] == "system" else answers()
    )(handler, sent),
    "4096 at most": lambda handler, sent: (
        refuses(400, "max_tokens is too large: 16000. This model supports at most 4096 completion tokens")
        if sent.body.get("max_tokens", 0) > 4096
        else answers()
    )(handler, sent),
    "8192 together": _has_little_context,
    "8192 with a long template": _counts_more_tokens,
    "6000 a minute": lambda handler, sent: (
        refuses(413, f"Request too large on tokens per minute (TPM): Limit 6000, Requested {sent.body['max_tokens'] + 1000}")
        if sent.body["max_tokens"] + 1000 > 6000
        else answers()
    )(handler, sent),
    "refuses temperature": refuses(400, _TEMPERATURE, "unsupported_value"),
    "wants max_completion_tokens": refuses(400, _TOKENS, "unsupported_parameter"),
    **{str(status): refuses(status, message) for status, message in _STATUSES.items()},
}


@pytest.fixture
def providers() -> Iterator[Callable[[], Provider]]:
    """Starts as many as are asked for."""
    with contextlib.ExitStack() as stack:

        def serve() -> Provider:
            server = Provider()
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            return server

        yield serve


@pytest.fixture
def provider(providers: Callable[[], Provider]) -> Provider:
    return providers()


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def _warm() -> None:
    """The first call of each library imports for a second or more: not what the deadlines of the tests are about."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for sender in SENDERS:
            model = _open(sender, server, patch, LlmSettings())
            assert model.complete(ask()).text == "hello"
            model.close()
    server.stop()
    thread.join()


SENDERS = ("openai", "litellm", "litellm, vllm")
"""The SDK, litellm over the SDK, and litellm's own HTTP code."""


def _open(
    sender: str, provider: Provider, patch: pytest.MonkeyPatch, settings: LlmSettings, model: str = "x", key: str = KEY
) -> EndpointModel:
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "HOSTED_VLLM_API_BASE"):
        patch.setenv(name, provider.url)
    for name in ("OPENAI_API_KEY", "HOSTED_VLLM_API_KEY"):
        patch.setenv(name, key)
    if sender == "openai":
        return EndpointModel(f"openai/{model}", OpenAISender((model,), provider.url, key), settings)
    name = f"openai/{model}" if sender == "litellm" else f"hosted_vllm/{model}"
    return EndpointModel(name, LiteLLMSender(name), settings)


@pytest.fixture(params=SENDERS)
def connect(
    request: pytest.FixtureRequest, provider: Provider, monkeypatch: pytest.MonkeyPatch, _warm: None
) -> Iterator[Callable[..., EndpointModel]]:
    """Opens a model that talks to `provider`, once for each way to send; keywords are of `LlmSettings`."""
    with contextlib.ExitStack() as stack:

        def open(model: str = "x", key: str = KEY, **settings: Any) -> EndpointModel:
            quick = {"deadline_seconds": 10.0, "attempts": 3, "first_wait_seconds": 0.001}
            endpoint = _open(request.param, provider, monkeypatch, LlmSettings(**quick | settings), model, key)
            stack.callback(endpoint.close)
            return endpoint

        yield open


def ask(text: str = "hi", temperature: float | None = None, max_tokens: int | None = None) -> Request:
    return Request((Message("system", "be brief"), Message("user", text)), 0, temperature, max_tokens)


@pytest.fixture(name="ask", scope="session")
def _ask() -> Callable[..., Request]:
    return ask
