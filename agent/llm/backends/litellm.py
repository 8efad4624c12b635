"""Models named `PROVIDER/NAME` of every other provider, through litellm, which takes seconds to import."""

from __future__ import annotations

import os
from typing import Any

from agent.core.errors import UserError
from agent.llm.backends.endpoint import EndpointModel, SendError, retry_after_seconds
from agent.llm.backends.environment import check_environment, check_keys
from agent.llm.base import LlmSettings
from agent.llm.text import environment_secrets

_WITHOUT_KEY = {
    "azure": ("AZURE_AD_TOKEN", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_CREDENTIAL"),
    "gemini": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
"""Variables of providers that take a key or one of these."""


def accepts(name: str, settings: LlmSettings) -> bool:
    return "/" in name


def open_model(name: str, settings: LlmSettings) -> EndpointModel:
    """Raises UserError for an unknown provider or a missing key."""
    check_environment(None)
    check_keys()
    return EndpointModel(name, LiteLLMSender(name), settings)


class LiteLLMSender:
    """A `Sender` over litellm's functions, which share their connections among all models of the process."""

    def __init__(self, model: str) -> None:
        """Raises UserError for an unknown provider or a missing key."""
        self._litellm = _import_litellm()
        self._model = model
        try:
            self._litellm.get_llm_provider(model)
        except self._litellm.exceptions.BadRequestError:
            raise UserError(f"{model!r} names no provider that litellm knows: write provider/model.") from None
        missing = self._litellm.validate_environment(model)["missing_keys"]
        # Other credentials (a cloud's own login, a local server) show at the first call whether they work.
        keys = [name for name in missing if name.endswith("_API_KEY")]
        if keys and len(keys) == len(missing) and not _other_credentials(model):
            raise UserError(f"{model} needs the environment variable {' and '.join(keys)}; --llm offline needs no key.")
        self.secrets = environment_secrets()

    async def send(self, body: dict[str, Any]) -> Any:
        import openai

        try:
            return await self._litellm.acompletion(model=self._model, max_retries=0, num_retries=0, **body)
        except openai.APIConnectionError as error:
            raise SendError(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise SendError(f"the body is not JSON that can be read: {error}") from None
        except openai.APIError as error:  # litellm's exceptions are subclasses of openai's
            headers = getattr(error, "litellm_response_headers", None)
            raise SendError(str(error), getattr(error, "status_code", None), retry_after_seconds(headers)) from None

    async def close(self) -> None:
        """Does nothing: litellm's connections are shared by all models and end with the process."""


def _other_credentials(model: str) -> bool:
    """Has the provider ways to be reached without a key in the environment, and is one of them set up?"""
    ways = _WITHOUT_KEY.get(model.partition("/")[0], ())
    return any(os.environ.get(name) for name in ways)


def _import_litellm() -> Any:
    """Import litellm configured beforehand to fetch no prices, to read no `.env` file and to print nothing."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    os.environ["LITELLM_LOG"] = "ERROR"
    import httpx
    import litellm
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    from agent.llm.backends.capped import cap_transport

    for transport in (httpx.AsyncHTTPTransport, LiteLLMAiohttpTransport):  # it makes its clients itself
        cap_transport(transport)
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm
