"""A model behind a network, which the backends openai and litellm share: deadline, retries, classified errors, cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import tenacity

from agent.llm.base import (
    EMPTY_ANSWER_RETRIES,
    LONGEST_COMPLAINT,
    LONGEST_PAUSE_SECONDS,
    Completion,
    LanguageModelDown,
    LanguageModelRefused,
    LlmSettings,
    Request,
    RequestRejected,
    Usage,
)
from agent.llm.prices import cost, price
from agent.llm.text import estimate_usage, redact, without_thoughts

_T = TypeVar("_T")

_RETRYABLE_STATUSES = (408, 409, 425, 429)
"""Client errors that may pass: time-out, conflict, too early, rate limit."""
_REJECTED_STATUSES = (400, 413, 422)
"""Client errors that concern this one request."""
_ADVICE = {401: " Check the key.", 402: " Check the credit.", 403: " Check the key's rights.", 404: " Check the name."}


class SendError(Exception):
    """A call returned no answer. `status` is None if there was no HTTP response, `retry_after` is in seconds."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    @property
    def retryable(self) -> bool:
        """True if another attempt may succeed, as after a broken connection or a body that was no answer."""
        return self.status is None or self.status < 400 or self.status >= 500 or self.status in _RETRYABLE_STATUSES


class Sender(Protocol):
    """One way to reach a provider: sends a request once, without retries of its own."""

    secrets: tuple[str, ...]
    """Keys that no error message may contain."""

    async def send(self, body: dict[str, Any]) -> Any:
        """Return an answer that has the attributes of a chat completion. Raises SendError."""
        ...

    async def close(self) -> None: ...


class EndpointModel:
    """A `LanguageModel` over a sender. Remembers which parameters the model does not accept."""

    waits_for_person = False

    def __init__(self, name: str, sender: Sender, settings: LlmSettings) -> None:
        self.name = name
        self._sender, self._settings = sender, settings
        self._price = price(name, settings.prices)
        self._without_temperature = False
        self._token_key = "max_tokens"
        self._in_flight: set[Future[tuple[Any, Usage]]] = set()

    def complete(self, request: Request) -> Completion:
        started = time.monotonic()
        call = _start(self._within_deadline(request))
        self._in_flight.add(call)
        try:
            answer, usage = call.result()
        except SendError as error:
            raise self._classified(error) from None
        finally:
            self._in_flight.discard(call)
        finish = (answer.choices[0].finish_reason or "stop") if answer.choices else "empty"
        seconds = time.monotonic() - started
        return Completion(_text(answer), finish, usage, cost(usage, self._price), seconds, self.name)

    def close(self) -> None:
        """Calls under way in other threads end by CancelledError."""
        for call in list(self._in_flight):
            call.cancel()
        _start(self._sender.close()).result()

    async def _within_deadline(self, request: Request) -> tuple[Any, Usage]:
        """The deadline counts wall time: a body that arrives byte by byte never trips a client's own time-out."""
        deadline = time.monotonic() + self._settings.deadline_seconds
        errors: list[SendError] = []
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await self._until_text(request, _retrying(self._settings, deadline, errors))
        except TimeoutError:
            why = f"; the last try: {errors[-1]}" if errors else ""
            raise SendError(f"no answer within {self._settings.deadline_seconds:g} s{why}", 408) from None

    async def _until_text(self, request: Request, retrying: tenacity.AsyncRetrying) -> tuple[Any, Usage]:
        """Return the first answer with text, or the last empty one, and the usage of all answers together."""
        answer: Any = await retrying(self._attempt, request)
        usage = _usage(answer, request)
        for _ in range(EMPTY_ANSWER_RETRIES):
            if _text(answer):
                break
            answer = await retrying(self._attempt, request)
            usage += _usage(answer, request)
        return answer, usage

    async def _attempt(self, request: Request) -> Any:
        """Send the request once, and again without each parameter that the provider says it does not accept."""
        try:
            # Half of the deadline: a stalled connection must leave time for another attempt.
            async with asyncio.timeout(self._settings.deadline_seconds / 2):
                while True:  # a provider's error names only one parameter at a time
                    body = self._body(request)
                    try:
                        return await self._sender.send(body)
                    except SendError as error:
                        if error.status not in (400, 422) or not self._adapt(str(error).lower(), body):
                            raise
        except TimeoutError:
            raise SendError("the answer did not come in time") from None

    def _adapt(self, complaint: str, sent: dict[str, Any]) -> bool:
        """Remember which parameter of the body `sent` the complaint is about; return False if it is about none.

        Checks the body that was sent, since a concurrent call may have learnt about the same parameter meanwhile.
        """
        if "temperature" in complaint and "temperature" in sent:
            self._without_temperature = True
            return True
        if "max_completion_tokens" in complaint and "max_tokens" in sent:
            self._token_key = "max_completion_tokens"
            return True
        return False

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": [{"role": m.role, "content": m.text} for m in request.messages]}
        if request.temperature is not None and not self._without_temperature:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body[self._token_key] = request.max_tokens
        return body

    def _classified(self, error: SendError) -> Exception:
        """Return the error of the `LanguageModel` protocol that stands for this one."""
        text = redact(str(error), self._sender.secrets)[:LONGEST_COMPLAINT]
        if error.retryable:
            return LanguageModelDown(f"{self.name} does not answer: {text}", error.retry_after)
        if error.status in _REJECTED_STATUSES:
            return RequestRejected(f"{self.name} rejected the request: {text}")
        return LanguageModelRefused(f"{self.name} refuses: {text}{_ADVICE.get(error.status or 0, '')}")


def retry_after_seconds(headers: Any) -> float | None:
    """Return the pause that the provider asks for in its `retry-after` header; None without one, or if it is a date."""
    try:
        return max(0.0, float((headers or {}).get("retry-after", "")))
    except ValueError:
        return None


def _retrying(settings: LlmSettings, deadline: float, errors: list[SendError]) -> tenacity.AsyncRetrying:
    """Return a retry policy that appends the errors it retries to `errors`. `deadline` is on the monotonic clock.

    Pauses are as long as the provider asks for, else they grow. A pause that would last beyond the deadline ends the call.
    """
    growing = tenacity.wait_random_exponential(multiplier=settings.first_wait_seconds, max=LONGEST_PAUSE_SECONDS)

    def latest_error(state: tenacity.RetryCallState) -> SendError | None:
        error = state.outcome.exception() if state.outcome else None
        return error if isinstance(error, SendError) else None

    def wait(state: tenacity.RetryCallState) -> float:
        error = latest_error(state)
        if error is None:
            return growing(state)
        errors.append(error)
        return growing(state) if error.retry_after is None else error.retry_after

    def stop(state: tenacity.RetryCallState) -> bool:
        error = latest_error(state)
        requested = (error.retry_after if error else None) or 0.0
        return state.attempt_number >= settings.attempts or time.monotonic() + requested >= deadline

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, SendError) and error.retryable),
        stop=stop,
        wait=wait,
        reraise=True,
    )


def _usage(answer: Any, request: Request) -> Usage:
    counted = getattr(answer, "usage", None)
    if counted is not None and (counted.prompt_tokens or counted.completion_tokens):
        into = counted.prompt_tokens or 0
        return Usage(into, counted.completion_tokens or 0, tokens_cached=min(into, _cached(counted)))
    return estimate_usage(request, _text(answer))


def _cached(counted: Any) -> int:
    """Tokens of the prompt that came from the provider's cache; 0 where the provider does not say, or says no number."""
    found = getattr(getattr(counted, "prompt_tokens_details", None), "cached_tokens", None)
    return found if isinstance(found, int) and found > 0 else 0


def _text(answer: Any) -> str:
    """Return the text without a reasoning model's thoughts, which some servers leave at its head or in a part of it."""
    content = answer.choices[0].message.content if answer.choices else None
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text")
    return without_thoughts(content or "")


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def _start(work: Coroutine[Any, Any, _T]) -> Future[_T]:
    """Start the coroutine on the process's one event loop, which all models share and which has its own thread."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="llm", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, _loop)
