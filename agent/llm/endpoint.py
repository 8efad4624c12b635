"""A model behind a network: deadline, retries in one place, faults told apart, price from the usage."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import tenacity

from agent.llm.catalogue import LlmSettings
from agent.llm.prices import price
from agent.llm.protocol import Completion, LanguageModelDown, LanguageModelRefused, Request, RequestRejected, Usage
from agent.llm.text import estimated_usage, without_thoughts

_T = TypeVar("_T")

_EMPTY_TRIES = 2
"""How often an answer without text is asked for again."""
_MAX_WAIT = 60.0


class Fault(Exception):
    """What a sender says of a call that brought no answer."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    @property
    def passing(self) -> bool:
        """Can another try help? No status, or one of success: the connection failed or the body was no answer."""
        return self.status is None or self.status < 400 or self.status in (408, 409, 425, 429) or self.status >= 500


class Sender(Protocol):
    """One way to reach a provider: sends once, without retries of its own."""

    secrets: tuple[str, ...]

    async def send(self, body: dict[str, Any]) -> Any:
        """An answer of the chat-completion form. Raises Fault."""
        ...

    async def close(self) -> None: ...


class Endpoint:
    """A `LanguageModel` over a sender. Remembers which parameters the model does not take."""

    patient = False

    def __init__(self, name: str, sender: Sender, settings: LlmSettings) -> None:
        self.name = name
        self._sender, self._settings = sender, settings
        self._price = price(name, settings.prices)
        self._without_temperature = False
        self._token_key = "max_tokens"
        self._in_flight: set[Future[tuple[Any, Usage]]] = set()

    def complete(self, request: Request) -> Completion:
        began = time.monotonic()
        try:
            answer, usage = self._wait(request)
        except Fault as fault:
            raise self._final(fault) from None
        text = _text(answer)
        finish = (answer.choices[0].finish_reason or "stop") if answer.choices else "empty"
        usd = None if self._price is None else usage.tokens_in * self._price[0] + usage.tokens_out * self._price[1]
        return Completion(text, finish, usage, usd, time.monotonic() - began, self.name)

    def close(self) -> None:
        """Calls that are under way in other threads end by CancelledError."""
        for call in list(self._in_flight):
            call.cancel()
        _start(self._sender.close()).result()

    def _wait(self, request: Request) -> tuple[Any, Usage]:
        call = _start(self._within_deadline(request))
        self._in_flight.add(call)
        try:
            return call.result()
        finally:
            self._in_flight.discard(call)

    async def _within_deadline(self, request: Request) -> tuple[Any, Usage]:
        """The deadline counts wall time: a body that drips a byte at a time never trips a timeout of the client."""
        faults: list[Fault] = []
        ends = time.monotonic() + self._settings.deadline_seconds
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await self._with_retries(request, ends, faults)
        except TimeoutError:
            why = f"; the last try: {faults[-1]}" if faults else ""
            raise Fault(f"no answer within {self._settings.deadline_seconds:g} s{why}", 408) from None

    async def _with_retries(self, request: Request, ends: float, faults: list[Fault]) -> tuple[Any, Usage]:
        """The answer, and what was paid for it, empty answers before it included. Notes the `faults` on the way."""
        s = self._settings
        growing = tenacity.wait_random_exponential(multiplier=s.first_wait_seconds, max=_MAX_WAIT)

        def named(state: tenacity.RetryCallState) -> float | None:
            fault = state.outcome.exception() if state.outcome else None
            return fault.retry_after if isinstance(fault, Fault) else None

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            if isinstance(fault, Fault):
                faults.append(fault)
            pause = named(state)
            return growing(state) if pause is None else pause

        def names_too_long_a_pause(state: tenacity.RetryCallState) -> bool:
            return time.monotonic() + (named(state) or 0.0) >= ends

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Fault) and e.passing),
            stop=lambda state: state.attempt_number >= s.attempts or names_too_long_a_pause(state),
            wait=wait,
            reraise=True,
        )
        answer: Any = await retrying(self._adapted, request)
        usage = _usage(answer, request)
        for _ in range(_EMPTY_TRIES):
            if _text(answer):
                break
            answer = await retrying(self._adapted, request)
            more = _usage(answer, request)
            estimated = usage.estimated or more.estimated
            usage = Usage(usage.tokens_in + more.tokens_in, usage.tokens_out + more.tokens_out, estimated)
        return answer, usage

    async def _adapted(self, request: Request) -> Any:
        """One attempt, taking back what the model says it does not accept."""
        try:
            # Half of the deadline: a stalled connection must leave room for another try.
            async with asyncio.timeout(self._settings.deadline_seconds / 2):
                while True:  # providers complain of one parameter at a time
                    body = self._body(request)
                    try:
                        return await self._sender.send(body)
                    except Fault as fault:
                        if fault.status not in (400, 422) or not self._learns(str(fault).lower(), body):
                            raise
        except TimeoutError:
            raise Fault("the answer did not come in time") from None

    def _learns(self, complaint: str, sent: dict[str, Any]) -> bool:
        """Judged by what was sent: a call at the same time may have learnt the same already."""
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

    def _final(self, fault: Fault) -> Exception:
        text = " ".join(str(fault).split())
        for secret in self._sender.secrets:
            text = text.replace(secret, "[key]")
        text = text[:400]  # after the replacement: a secret that is cut in two would not be found
        if fault.passing:
            return LanguageModelDown(f"{self.name} does not answer: {text}", fault.retry_after)
        if fault.status in (400, 413, 422):
            return RequestRejected(f"{self.name} rejected the request: {text}")
        suspect = {401: "the key", 402: "the credit", 403: "the key's rights", 404: "the name"}.get(fault.status or 0)
        return LanguageModelRefused(f"{self.name} refuses: {text}{f' Check {suspect}.' if suspect else ''}")


def _usage(answer: Any, request: Request) -> Usage:
    told = getattr(answer, "usage", None)
    if told is not None and (told.prompt_tokens or told.completion_tokens):
        return Usage(told.prompt_tokens or 0, told.completion_tokens or 0)
    return estimated_usage(request, _text(answer))


def _text(answer: Any) -> str:
    """Without a reasoning model's thoughts: some servers leave them at the head of the answer, or in a part of it."""
    content = answer.choices[0].message.content if answer.choices else None
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text")
    return without_thoughts(content or "")


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def _start(work: Coroutine[Any, Any, _T]) -> Future[_T]:
    """On the one event loop of this process, which all clients share; it runs in a thread of its own."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="llm", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, _loop)
