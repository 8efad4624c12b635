"""Names of models -> models. `offline`, `cmd:`, `inbox:`, `openai/NAME` and all behind `--api-base` need no litellm."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.core.errors import UserError
from agent.llm.protocol import LanguageModel


@dataclass(frozen=True)
class LlmSettings:
    """How models are reached."""

    api_base: str | None = None
    """Address of an OpenAI-compatible endpoint."""
    deadline_seconds: float = 600.0
    """Of one answer, retries and their pauses included."""
    attempts: int = 6
    first_wait_seconds: float = 0.5
    """Before the second attempt; doubles with each further one, with jitter, unless the provider names a time."""
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """US dollars per million tokens (in, out), by model name; they go before the bundled table."""


def model_names(options: Iterable[str]) -> list[str]:
    """Each option holds names between commas; from `cmd:` on, all that is left of an option is one command."""
    names: list[str] = []
    for option in options:
        rest = option.strip()
        while rest:
            name, _, rest = (rest, "", "") if rest.startswith("cmd:") else rest.partition(",")
            names.append(name.strip())
            rest = rest.strip()
    return [name for name in names if name]


def open_model(name: str, settings: LlmSettings) -> LanguageModel:
    """Raises UserError for a name that cannot be a model or a key that is missing. Nothing is sent."""
    if name == "offline":
        from agent.llm.offline import OfflineModel

        return OfflineModel()
    if name.startswith("cmd:"):
        from agent.llm.command import Command

        return Command(name, settings)
    if name.startswith("inbox:"):
        from agent.llm.inbox import Inbox

        return Inbox(name, settings)
    if settings.api_base is None and "/" not in name:
        raise UserError(
            f"{name!r} names no provider: write provider/model, such as openai/{name}, or offline to run without one."
        )
    if not name.removeprefix("openai/").strip():
        raise UserError(f"{name!r} names no model: write provider/model, or offline to run without one.")
    if settings.api_base is not None and not settings.api_base.startswith(("http://", "https://")):
        raise UserError(f"The address {settings.api_base!r} must begin with http:// or https://.")
    from agent.llm.endpoint import Endpoint

    if settings.api_base is not None or name.startswith("openai/"):
        from agent.llm.openai_sender import OpenAISender

        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key and settings.api_base is None:
            raise UserError(f"{name} needs the environment variable OPENAI_API_KEY; --llm offline needs no key.")
        return Endpoint(name, OpenAISender(name.removeprefix("openai/"), settings.api_base, key), settings)
    from agent.llm.litellm_sender import LiteLLMSender

    return Endpoint(name, LiteLLMSender(name), settings)
