"""Every other provider, through litellm. Importing it takes seconds: done when a model of its is opened, once."""

from __future__ import annotations

import os
from typing import Any

from agent.core.errors import UserError
from agent.llm.endpoint import Fault
from agent.llm.openai_sender import retry_after
from agent.llm.text import environment_secrets


class LiteLLMSender:
    def __init__(self, model: str) -> None:
        """Raises UserError for an unknown provider or a missing key."""
        self._litellm = _litellm()
        self._model = model
        try:
            self._litellm.get_llm_provider(model)
        except self._litellm.exceptions.BadRequestError:
            raise UserError(f"{model!r} names no provider that litellm knows: write provider/model.") from None
        missing = self._litellm.validate_environment(model)["missing_keys"]
        if missing:
            names = " and ".join(missing)
            raise UserError(f"{model} needs the environment variable {names}; --llm offline needs no key.")
        self.secrets = environment_secrets()

    async def send(self, body: dict[str, Any]) -> Any:
        import openai

        try:
            return await self._litellm.acompletion(model=self._model, max_retries=0, num_retries=0, **body)
        except openai.APIConnectionError as error:
            raise Fault(str(error)) from None
        except openai.APIError as error:  # litellm's exceptions are subclasses of openai's
            headers = getattr(error, "litellm_response_headers", None)
            raise Fault(str(error), getattr(error, "status_code", None), retry_after(headers)) from None

    async def close(self) -> None:
        """Nothing: litellm's connections are shared by all models of the process, and end with it."""


def _litellm() -> Any:
    """Told before its import: no fetching of prices, no reading of `.env`, no chatter."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    os.environ["LITELLM_LOG"] = "ERROR"
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm
