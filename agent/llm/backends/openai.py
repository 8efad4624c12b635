"""Models named `openai/NAME`, and every model behind an OpenAI-compatible address, through the openai SDK."""

from __future__ import annotations

import importlib
import json
import os
import threading
from typing import Any

from agent.core.errors import UserError
from agent.llm.backends.endpoint import EndpointModel, SendError, retry_after_seconds
from agent.llm.base import LlmSettings

_PREFIX = "openai/"


def accepts(name: str, settings: LlmSettings) -> bool:
    return settings.api_base is not None or name.startswith(_PREFIX)


def open_model(name: str, settings: LlmSettings) -> EndpointModel:
    """Raises UserError for an empty name, an address that is none, or a missing key; behind an address no key is needed."""
    model = name.removeprefix(_PREFIX)
    if not model.strip():
        raise UserError(f"{name!r} names no model: write provider/model, or offline to run without one.")
    if settings.api_base is not None and not settings.api_base.startswith(("http://", "https://")):
        raise UserError(f"The address {settings.api_base!r} must begin with http:// or https://.")
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and settings.api_base is None:
        raise UserError(f"{name} needs the environment variable OPENAI_API_KEY; --llm offline needs no key.")
    return EndpointModel(name, OpenAISender(model, settings.api_base, key), settings)


class OpenAISender:
    """A `Sender` over one client of the SDK, which is imported in the background and made at the first call."""

    def __init__(self, model: str, api_base: str | None, key: str) -> None:
        key = key.strip()  # keys that are read from files end with a line break, which no header can carry
        self.secrets: tuple[str, ...] = (key,) if key else ()
        self._model, self._api_base, self._key = model, api_base, key
        self._client: Any = None
        # The import takes seconds, in which the seed can train.
        threading.Thread(target=importlib.import_module, args=("openai",), daemon=True).start()

    async def send(self, body: dict[str, Any]) -> Any:
        import openai

        if self._client is None:
            # A local server needs no key, but the SDK insists on one.
            self._client = openai.AsyncOpenAI(api_key=self._key or "none", base_url=self._api_base, max_retries=0)
        try:
            answer = await self._client.chat.completions.create(model=self._model, **body)
        except openai.APIStatusError as error:
            raise SendError(str(error), error.status_code, retry_after_seconds(error.response.headers)) from None
        except openai.APIError as error:  # connection, time-out, or a body of the wrong form
            raise SendError(f"{error} {error.__cause__ or ''}".strip()) from None
        except json.JSONDecodeError as error:
            raise SendError(f"the body is not JSON: {error}") from None
        choices = getattr(answer, "choices", None)
        # The SDK passes on any JSON, with None for missing fields.
        if not isinstance(choices, list) or any(getattr(choice, "message", None) is None for choice in choices):
            raise SendError("the body is not a chat completion")
        return answer

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
