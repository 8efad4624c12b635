"""Language models: text in, text out. Only `backends/` imports openai and litellm, and only when a model needs them."""

from agent.llm.base import (
    Completion,
    LanguageModel,
    LanguageModelDown,
    LanguageModelRefused,
    LlmSettings,
    Message,
    Request,
    RequestRejected,
    Usage,
)
from agent.llm.failover import CoolDownEnded, CoolDownStarted, Failover, FailoverPolicy
from agent.llm.open import model_names, open_model
from agent.llm.prices import price

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
