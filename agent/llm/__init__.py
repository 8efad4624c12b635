"""Text in, text out. The only room that imports openai and litellm, and both only when a call needs them."""

from agent.llm.catalogue import LlmSettings, model_names, open_model
from agent.llm.ensemble import Ensemble, ModelRests, ModelReturned, Waiting
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
    "Ensemble",
    "LanguageModel",
    "LanguageModelDown",
    "LanguageModelRefused",
    "LlmSettings",
    "Message",
    "ModelRests",
    "ModelReturned",
    "Request",
    "RequestRejected",
    "Usage",
    "Waiting",
    "model_names",
    "open_model",
    "price",
]
