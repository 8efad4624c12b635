"""Models named `openai/NAME`, and every model behind an OpenAI-compatible address, through the openai SDK."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import Any

from agent.core.errors import UserError
from agent.llm.backends.answers import upstream_error
from agent.llm.backends.endpoint import EndpointModel, SendError, retry_after_seconds
from agent.llm.backends.environment import check_environment, header_value, is_loopback
from agent.llm.base import LlmSettings
from agent.llm.text import environment_secrets

_PREFIX = "openai/"
_CONNECT_SECONDS = 10.0


def accepts(name: str, settings: LlmSettings) -> bool:
    return settings.api_base is not None or name.startswith(_PREFIX)


def open_model(name: str, settings: LlmSettings) -> EndpointModel:
    """Raises UserError for an empty name, an address that is none, or a missing key; behind an address no key is needed."""
    model = name.removeprefix(_PREFIX)
    if not model.strip():
        raise UserError(f"{name!r} names no model: write provider/model, or offline to run without one.")
    if settings.api_base is not None and not settings.api_base.startswith(("http://", "https://")):
        raise UserError(f"The address {settings.api_base!r} must begin with http:// or https://.")
    check_environment(settings.api_base or os.environ.get("OPENAI_BASE_URL"))
    key = header_value(settings.key_variable)
    if not key and settings.key_variable != LlmSettings.key_variable:
        raise UserError(f"{name}: the environment variable {settings.key_variable}, which llm.endpoints names, is not set.")
    for other in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        header_value(other)
    if not key and settings.api_base is None:
        raise UserError(f"{name} needs the environment variable OPENAI_API_KEY; --llm offline needs no key.")
    # A server of one's own may have models whose names begin with openai/: their full name comes first there.
    names = (name, model) if settings.api_base is not None and name != model else (model,)
    return EndpointModel(name, OpenAISender(names, settings.api_base, key), settings)


class OpenAISender:
    """A `Sender` over one client of the SDK, which is imported in the background and made at the first call."""

    def __init__(self, names: Sequence[str], api_base: str | None, key: str) -> None:
        """`names`: what the server may call the model; the first is tried first, and the one that answered is kept."""
        key = key.strip()  # keys that are read from files end with a line break, which no header can carry
        self.secrets: tuple[str, ...] = (key, *environment_secrets()) if key else environment_secrets()
        self._names, self._api_base, self._key = list(names), api_base, key
        self._client: Any = None
        # The import takes seconds, in which the seed can train.
        threading.Thread(target=importlib.import_module, args=("openai",), daemon=True).start()

    async def send(self, body: dict[str, Any]) -> Any:
        while True:
            name = self._names[0]
            try:
                return await self._send_to(name, body)
            except SendError as error:
                unknown = error.final_status == 404 or error.status == 404
                if not unknown or len(self._names) == 1:
                    raise
                if self._names[0] == name:  # else another call has found out meanwhile
                    del self._names[0]

    async def _send_to(self, model: str, body: dict[str, Any]) -> Any:
        import openai

        if self._client is None:
            self._client = self._open_client()
        try:
            answer = await self._client.chat.completions.create(model=model, **body)
        except openai.APIStatusError as error:
            moved = error.response.headers.get("location") if 300 <= error.status_code < 400 else None
            text = f"{error}: the address has moved to {moved}" if moved else str(error)
            raise SendError(text, error.status_code, retry_after_seconds(error.response.headers)) from None
        except openai.APIError as error:  # connection, time-out, or a body of the wrong form
            raise SendError(f"{error} {error.__cause__ or ''}".strip()) from None
        except (ValueError, RecursionError) as error:
            raise SendError(f"the body is not JSON that can be read: {error}") from None
        choices = getattr(answer, "choices", None)
        # The SDK passes on any JSON, with None for missing fields.
        if not isinstance(choices, list) or any(getattr(choice, "message", None) is None for choice in choices):
            raise SendError(upstream_error(answer) or "the body is not a chat completion")
        return answer

    def _open_client(self) -> Any:
        """Raises SendError if the client cannot be made from the environment."""
        import httpx
        import openai

        from agent.llm.backends.capped import ask_for_known_codings, cap

        hooks: Any = {"request": [ask_for_known_codings], "response": [cap]}
        try:
            # Servers on this machine are reached directly, whatever proxy the environment names.
            direct = is_loopback(self._api_base)
            client = openai.DefaultAsyncHttpxClient(event_hooks=hooks, trust_env=not direct, follow_redirects=not direct)
            # A local server needs no key, but the SDK insists on one.
            limits = httpx.Timeout(None, connect=_CONNECT_SECONDS)  # the deadline of a call is kept elsewhere
            return openai.AsyncOpenAI(
                api_key=self._key or "none", base_url=self._api_base, max_retries=0, http_client=client, timeout=limits
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            raise SendError(f"the HTTP client cannot be made: {error}", 401) from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
