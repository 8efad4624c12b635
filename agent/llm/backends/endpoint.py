"""A model behind a network, which the backends openai and litellm share: deadline, retries, classified errors, cost."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import tenacity

from agent.llm.backends.adaptation import Adaptation
from agent.llm.backends.answers import finish_of, text_of, upstream_error, usage_of, why_empty
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
from agent.llm.text import redact

_T = TypeVar("_T")

_RETRYABLE_STATUSES = (408, 409, 425, 429)
"""Client errors that may pass: time-out, conflict, too early, rate limit."""
_REJECTED_STATUSES = (400, 413, 422)
"""Client errors that concern this one request, unless their words say more."""
_ADVICE = {401: " Check the key.", 402: " Check the credit.", 403: " Check the key's rights.", 404: " Check the name."}
_FINAL = (
    (re.compile(r"insufficient[_ ]quota|exceeded your current quota|credit balance is too low|billing"), 402),
    (re.compile(r"(?:api|access)[ _-]?key[^.]{0,40}(?:not valid|invalid|incorrect|expired|missing)"), 401),
    (re.compile(r"(?:invalid|incorrect|wrong|no)[^.]{0,20}(?:api|access)[ _-]?key|unauthori[sz]ed"), 401),
    (re.compile(r"not a valid model|(?:unknown|invalid|no such) model|model[^.]{0,80}(?:does not exist|not found)"), 404),
)
"""Words of a refusal that no other request will change, whatever its status, each with the status that fits."""
_READ = 4_000
"""Characters of a refusal that are searched for such words."""
_SAME_WORDS = 3
"""A model that has never answered is given up when it refuses so many requests in the same words."""


class SendError(Exception):
    """A call returned no answer. `status` is None if there was no HTTP response, `retry_after` is in seconds."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    @property
    def retryable(self) -> bool:
        """True if another attempt may succeed, as after a broken connection or a body that was no answer."""
        if self.final_status:
            return False
        return self.status is None or self.status < 300 or self.status >= 500 or self.status in _RETRYABLE_STATUSES

    @property
    def final_status(self) -> int | None:
        """The status that fits a refusal whose words say that no request will ever be answered; None for any other error."""
        if self.status is None or self.status >= 500:
            return None
        text = str(self)[:_READ].lower()
        return next((status for words, status in _FINAL if words.search(text)), None)


class Sender(Protocol):
    """One way to reach a provider: sends a request once, without retries of its own."""

    secrets: tuple[str, ...]
    """Keys that no error message may contain."""

    async def send(self, body: dict[str, Any]) -> Any:
        """Return an answer that has the attributes of a chat completion. Raises SendError."""
        ...

    async def close(self) -> None: ...


class EndpointModel:
    """A `LanguageModel` over a sender."""

    waits_for_person = False

    def __init__(self, name: str, sender: Sender, settings: LlmSettings) -> None:
        self.name = name
        self._sender, self._settings = sender, settings
        self._price = price(name, settings.prices)
        self._adaptation = Adaptation()
        self._in_flight: set[Future[tuple[Any, Usage]]] = set()
        self._has_answered = False
        self._refusals: Counter[str] = Counter()
        """How often each complaint came, its numbers left out, before the first answer."""

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
        self._has_answered = True
        text, seconds = text_of(answer), time.monotonic() - started
        return Completion(
            text,
            finish_of(answer),
            usage,
            cost(usage, self._price),
            seconds,
            self.name,
            adapted=self._adaptation.of(request),
            missing="" if text.strip() else redact(why_empty(answer), self._sender.secrets),
        )

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
                retrying = _retrying(self._settings, request.tries or self._settings.attempts, deadline, errors)
                return await self._until_text(request, retrying)
        except TimeoutError:
            why = f"; the last try: {errors[-1]}" if errors else ""
            raise SendError(f"no answer within {self._settings.deadline_seconds:g} s{why}", 408) from None

    async def _until_text(self, request: Request, retrying: tenacity.AsyncRetrying) -> tuple[Any, Usage]:
        """Return the first answer with text, or the last empty one, and the usage of all answers together."""
        answer: Any = await retrying(self._attempt, request)
        usage = usage_of(answer, request)
        for _ in range(EMPTY_ANSWER_RETRIES):
            if text_of(answer):
                break
            answer = await retrying(self._attempt, request)
            usage += usage_of(answer, request)
        return answer, usage

    async def _attempt(self, request: Request) -> Any:
        """Send the request once, and again changed by each thing that the provider says it does not accept."""
        while True:  # a provider's error names only one thing at a time
            body = self._adaptation.body(request)
            try:
                answer = await self._sender.send(body)
            except SendError as error:
                if error.status not in _REJECTED_STATUSES or not self._adaptation.learn(str(error), body):
                    raise
                continue
            if complaint := upstream_error(answer):
                raise SendError(complaint)
            return answer

    def _classified(self, error: SendError) -> Exception:
        """Return the error of the `LanguageModel` protocol that stands for this one."""
        text = redact(str(error), self._sender.secrets)[:LONGEST_COMPLAINT]
        if error.retryable:
            return LanguageModelDown(f"{self.name} does not answer: {text}", error.retry_after)
        status = error.final_status or error.status or 0
        if status in _REJECTED_STATUSES and not self._refuses_all(text):
            return RequestRejected(f"{self.name} rejected the request: {text}")
        return LanguageModelRefused(f"{self.name} refuses: {text}{_ADVICE.get(status, '')}")

    def _refuses_all(self, complaint: str) -> bool:
        """Count a refusal; True if the model has never answered and refuses in the same words again and again."""
        words = re.sub(r"\d+", "", complaint)
        self._refusals[words] += 1
        return not self._has_answered and self._refusals[words] >= _SAME_WORDS


def retry_after_seconds(headers: Any) -> float | None:
    """Return the pause that the provider asks for in its `retry-after` header, in seconds or as a date; None without one."""
    named = str((headers or {}).get("retry-after") or "").strip()
    try:
        return max(0.0, float(named))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(named).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _retrying(settings: LlmSettings, attempts: int, deadline: float, errors: list[SendError]) -> tenacity.AsyncRetrying:
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
        return state.attempt_number >= attempts or time.monotonic() + requested >= deadline

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, SendError) and error.retryable),
        stop=stop,
        wait=wait,
        reraise=True,
    )


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
