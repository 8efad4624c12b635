"""Which names are models, what is missing for them, and what opening one must not load or read."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from agent.core.errors import UserError
from agent.llm import LlmSettings, backends, model_names, open_model
from agent.llm.open import BACKENDS

KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_API_KEY", "HOSTED_VLLM_API_KEY")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def start(script, cwd, *arguments, **environment):
    """A fresh interpreter, since this one has imported everything already; what it prints last is JSON."""
    clean = {name: value for name, value in os.environ.items() if name not in KEYS and not name.startswith("LITELLM_")}
    environment = {**clean, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True)


def last_json_of(process):
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


def test_every_backend_is_listed_and_has_both_functions():
    helpers = {"__init__", "endpoint", "adaptation", "answers", "capped", "environment"}
    assert {path.stem for path in Path(backends.__file__).parent.glob("*.py")} - helpers == {*BACKENDS}
    for name in BACKENDS:
        module = import_module(f"agent.llm.backends.{name}")
        assert callable(module.accepts) and callable(module.open_model)


@pytest.mark.parametrize("name", ["openai/x", "anthropic/claude-sonnet-4"])
def test_a_missing_key_is_named_together_with_the_way_to_do_without(name):
    variable = name.partition("/")[0].upper() + "_API_KEY"
    with pytest.raises(UserError, match=rf"needs the environment variable {variable}.*offline"):
        open_model(name, LlmSettings())


@pytest.mark.parametrize("key", ["", " \n"])
def test_a_blank_key_is_a_missing_one(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        open_model("openai/x", LlmSettings())


def test_a_name_without_provider_is_answered_with_one_that_would_do():
    with pytest.raises(UserError, match=r"write provider/model, such as openai/gpt-4o-mini, or offline"):
        open_model("gpt-4o-mini", LlmSettings())


@pytest.mark.parametrize("name", ["", "Offline", "openai/", "openai/ ", "nonsense/x", "/x", "x/", " openai/x"])
def test_what_can_be_no_model_is_refused_before_anything_is_sent(monkeypatch, name):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-no-use")
    with pytest.raises(UserError, match="provider"):
        open_model(name, LlmSettings())


@pytest.mark.parametrize("address", ["localhost:8000/v1", "", "ftp://localhost/v1"])
def test_an_address_that_cannot_be_one_is_refused(address):
    with pytest.raises(UserError, match="http://"):
        open_model("x", LlmSettings(api_base=address))


@pytest.mark.parametrize(
    ("name", "sent"),
    [("x", "x"), ("openai/x", "openai/x"), ("qwen/qwen3-coder", "qwen/qwen3-coder"), ("llama3.2:1b", "llama3.2:1b")],
)
def test_behind_an_address_any_name_is_a_model_and_no_key_is_needed(provider, ask, name, sent):
    model = open_model(name, LlmSettings(api_base=provider.url))
    assert provider.requests == []
    assert model.name == name
    assert model.complete(ask()).model == name
    model.close()
    assert provider.requests[0].body["model"] == sent


def test_behind_an_address_a_name_is_tried_without_its_prefix_if_the_server_does_not_know_it(provider, ask):
    provider.plays(provider.refuses(404, "The model `openai/x` does not exist."), "answer")
    model = open_model("openai/x", LlmSettings(api_base=provider.url))
    assert [model.complete(ask()).text for _ in range(2)] == ["hello", "hello"]
    model.close()
    assert [sent.body["model"] for sent in provider.requests] == ["openai/x", "x", "x"]


def test_behind_an_address_the_key_is_used_if_there_is_one(provider, ask, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    model = open_model("x", LlmSettings(api_base=provider.url))
    model.complete(ask())
    model.close()
    assert provider.requests[0].headers["authorization"] == f"Bearer {key}"


def test_the_address_may_come_from_the_environment_as_the_sdk_reads_it(provider, ask, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    model = open_model("openai/x", LlmSettings())
    model.complete(ask())
    model.close()
    assert len(provider.requests) == 1


@pytest.mark.parametrize("settings", [LlmSettings(), LlmSettings(api_base="http://127.0.0.1:9/v1")])
def test_offline_needs_nothing_and_costs_nothing(ask, settings):
    model = open_model("offline", settings)
    done = model.complete(ask())
    model.close()
    assert (done.model, done.usd, done.usage.estimated) == ("offline", 0.0, True)
    assert done.text


LOADED = """
import json, sys

def loaded():
    return sorted({"litellm", "openai", "libcst", "torch"} & sys.modules.keys())

from agent.llm import LlmSettings, Message, Request, open_model
stages = {"import": loaded()}
open_model("offline", LlmSettings())
stages["offline"] = loaded()
model = open_model("openai/x", LlmSettings(api_base=sys.argv[1], deadline_seconds=30))
stages["open"] = loaded()
stages["answer"] = model.complete(Request((Message("user", "hi"),))).text
stages["complete"] = loaded()
print(json.dumps(stages))
"""


def test_an_openai_model_is_opened_and_used_without_litellm(provider, tmp_path):
    stages = last_json_of(start(LOADED, tmp_path, provider.url, OPENAI_API_KEY="sk-of-no-use"))
    assert stages.pop("answer") == "hello"
    assert stages.pop("open") in ([], ["openai"])  # it may have been fetched beside by now
    assert stages == {"import": [], "offline": [], "complete": ["openai"]}


PLANTED = """
import json, os
from agent.core.errors import UserError
from agent.llm import LlmSettings, model_names, open_model
open_model("hosted_vllm/x", LlmSettings())
try:
    open_model("openai/x", LlmSettings())
except UserError as error:
    print(json.dumps([os.environ.get("OPENAI_API_KEY"), str(error)]), flush=True)
os._exit(0)  # litellm takes more than a second to say goodbye
"""

CONTROL = """
import json, os, sys
sys.modules["httpx"] = None  # litellm reads `.env` before it imports this: the rest of its import is not needed
try:
    import litellm
except ImportError:
    print(json.dumps(os.environ.get("OPENAI_API_KEY")))
"""


def test_a_dotenv_file_in_the_working_directory_plants_no_key(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=planted\n")
    assert (
        last_json_of(start(CONTROL, tmp_path)) == "planted"
    )  # as litellm does if nobody stops it: else this test could not fail
    planted_key, refusal = last_json_of(start(PLANTED, tmp_path))
    assert planted_key is None
    assert "needs the environment variable OPENAI_API_KEY" in refusal


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], []),
        (["offline"], ["offline"]),
        (["a/x, b/y ,,inbox:box"], ["a/x", "b/y", "inbox:box"]),
        (["a/x", "b/y,c/z"], ["a/x", "b/y", "c/z"]),
        (["cmd:x, y"], ["cmd:x, y"]),
        (["offline, cmd:x 'a, b', y", "cmd:z", " offline "], ["offline", "cmd:x 'a, b', y", "cmd:z", "offline"]),
        (["a/cmd:x,y"], ["a/cmd:x", "y"]),
        ([",", ""], []),
    ],
)
def test_commas_separate_models_but_a_command_takes_the_rest_of_its_option(options, names):
    assert model_names(options) == names
