"""Each model at an address of its own."""

import json

import pytest

from agent.core.errors import UserError
from agent.llm import Message, Request
from agent.run.components import open_models
from agent.run.config import Config
from agent.run.config_sources import _assignment
from tests.llm.conftest import providers  # noqa: F401 (a fixture)

REQUEST = Request((Message("user", "?"),))


def config(**llm):
    return Config.model_validate({"llm": llm})


def test_every_model_is_asked_at_its_own_address_with_its_own_key(providers, monkeypatch):  # noqa: F811
    first, second, third = providers(), providers(), providers()
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-default")
    monkeypatch.setenv("MINE_API_KEY", "key-of-mine")
    endpoints = {"a": first.url, "b/c": {"api_base": second.url, "key": "MINE_API_KEY"}}
    models = dict(open_models(config(models=["a", "b/c", "d"], api_base=third.url, endpoints=endpoints)))
    try:
        for model in models.values():
            assert model.complete(REQUEST).text == "hello"
    finally:
        for model in models.values():
            model.close()
    asked = [[(one.body["model"], one.headers["authorization"]) for one in each.requests] for each in (first, second, third)]
    assert asked == [
        [("a", "Bearer key-of-the-default")],
        [("b/c", "Bearer key-of-mine")],
        [("d", "Bearer key-of-the-default")],
    ]


def test_a_key_that_is_named_and_not_set_is_told(monkeypatch):
    monkeypatch.delenv("MINE_API_KEY", raising=False)
    with pytest.raises(UserError, match="MINE_API_KEY"):
        list(open_models(config(models=["a"], endpoints={"a": {"api_base": "http://localhost:9/v1", "key": "MINE_API_KEY"}})))


def test_an_address_that_is_none_is_told():
    with pytest.raises(UserError, match="must begin with http"):
        list(open_models(config(models=["a"], endpoints={"a": "localhost:8000"})))


def test_names_with_dots_and_slashes_can_be_set_and_are_kept_in_the_file():
    table = _assignment('llm.endpoints."org/qwen2.5"=http://localhost:8000/v1')
    assert json.dumps(table) == '{"llm": {"endpoints": {"org/qwen2.5": "http://localhost:8000/v1"}}}'
    assert "org/qwen2.5" in Config.model_validate(table).to_toml()
