"""OpenAI-compatible endpoints, through the openai SDK."""

from __future__ import annotations

import importlib
import json
import threading
from typing import Any

from agent.llm.endpoint import Fault


class OpenAISender:
    def __init__(self, model: str, api_base: str | None, key: str) -> None:
        key = key.strip()  # keys come from files with a line end, which no header can carry
        self.secrets: tuple[str, ...] = (key,) if key else ()
        self._model, self._api_base, self._key = model, api_base, key
        self._client: Any = None
        # It takes seconds, in which the seed can train.
        threading.Thread(target=importlib.import_module, args=("openai",), daemon=True).start()

    async def send(self, body: dict[str, Any]) -> Any:
        import openai

        if self._client is None:
            # A local server needs no key, but the SDK insists on one.
            self._client = openai.AsyncOpenAI(api_key=self._key or "none", base_url=self._api_base, max_retries=0)
        try:
            answer = await self._client.chat.completions.create(model=self._model, **body)
        except openai.APIStatusError as error:
            raise Fault(str(error), error.status_code, retry_after(error.response.headers)) from None
        except openai.APIError as error:  # connection, time-out, a body that does not fit
            raise Fault(f"{error} {error.__cause__ or ''}".strip()) from None
        except json.JSONDecodeError as error:
            raise Fault(f"the body is not JSON: {error}") from None
        choices = getattr(answer, "choices", None)
        # The SDK passes on any JSON, with None for what is missing.
        if not isinstance(choices, list) or any(getattr(choice, "message", None) is None for choice in choices):
            raise Fault("the body is not a chat completion")
        return answer

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def retry_after(headers: Any) -> float | None:
    """Seconds, if the provider named them."""
    try:
        return max(0.0, float((headers or {}).get("retry-after", "")))
    except ValueError:
        return None
