"""Text in, text out. The only room that imports openai and litellm, and both only when a call needs them."""

from agent.llm.catalogue import LlmSettings, model_names, open_model
from agent.llm.ensemble import CoolDownEnded, CoolDownStarted, Failover, FailoverPolicy
from agent.llm.prices import price
from agent.llm.protocol import (
    Completion,
    LanguageModel,
    LanguageModelDown,
    LanguageModelRefused,
    Message,
    Request,
    RequestRejected,
    Usage,
)

__all__ = [
    "Completion",
    "CoolDownEnded",
    "CoolDownStarted",
    "Failover",
    "FailoverPolicy",
    "LanguageModel",
    "LanguageModelDown",
    "LanguageModelRefused",
    "LlmSettings",
    "Message",
    "Request",
    "RequestRejected",
    "Usage",
    "model_names",
    "open_model",
    "price",
]
