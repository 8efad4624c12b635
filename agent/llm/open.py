"""Turn names of models into models.

To add a backend, write one file `backends/NAME.py` with the two functions of `Backend` below and add NAME to `BACKENDS`:

    def accepts(name: str, settings: LlmSettings) -> bool:          # a prefix or another rule for names
        return name.startswith("echo:")

    def open_model(name: str, settings: LlmSettings) -> LanguageModel:
        return EchoModel(name, settings)

The first backend that accepts a name opens it. Backends are imported only when they are asked, in the order of the list, so
`--llm offline` loads no other; a backend that needs a heavy library imports it when a model is opened or first called.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, cast

from agent.core.errors import UserError
from agent.llm.base import LanguageModel, LlmSettings

BACKENDS = (
    "offline",  # `offline`: rule-based, needs no key and no network
    "command",  # `cmd:COMMAND`: a program, prompt on stdin, answer on stdout
    "inbox",  # `inbox:FOLDER`: a person or an agent writes the answers into a folder
    "openai",  # `openai/NAME`, and every other name if `--api-base` is given
    "litellm",  # `PROVIDER/NAME` of any other provider
)
"""Modules in `agent.llm.backends`, in the order in which they are asked."""


class Backend(Protocol):
    """What a module in `backends/` offers."""

    def accepts(self, name: str, settings: LlmSettings) -> bool:
        """Return True if this backend is responsible for the name, even if the name turns out to be unusable."""
        ...

    def open_model(self, name: str, settings: LlmSettings) -> LanguageModel:
        """Return the model without sending or running anything. Raises UserError for an unusable name or a missing key."""
        ...


def open_model(name: str, settings: LlmSettings) -> LanguageModel:
    """Return the model of that name; nothing is sent or run. Raises UserError for an unusable name or a missing key."""
    for module in BACKENDS:
        backend = cast(Backend, import_module(f"agent.llm.backends.{module}"))
        if backend.accepts(name, settings):
            return backend.open_model(name, settings)
    raise UserError(f"{name!r} names no provider: write provider/model, such as openai/{name}, or offline to run without one.")


def model_names(options: Iterable[str]) -> list[str]:
    """Split each option at its commas; everything from `cmd:` to the end of an option is one name, since commands have commas."""
    names: list[str] = []
    for option in options:
        rest = option.strip()
        while rest:
            name, _, rest = (rest, "", "") if rest.startswith("cmd:") else rest.partition(",")
            names.append(name.strip())
            rest = rest.strip()
    return [name for name in names if name]
