"""The question that each model answers before the seed is trained, with programs, a server on loopback and the command."""

import json
import sys
import time

import pytest

from agent.core.errors import Halted, MachineError
from agent.core.paths import prompts_folder
from agent.genome import Editor
from agent.journal.events import Advised, Answered, Asked, ModelChecked, ModelsChecked
from agent.llm import CoolDownStarted, Failover, FailoverPolicy, LlmSettings, open_model
from agent.operators.templates import Prompts
from agent.run.config import Config
from agent.run.context import RunContext
from agent.run.model_check import ModelCheck, check_request
from tests.llm.conftest import provider, providers, refuses  # noqa: F401 (fixtures)

PROMPTS = Prompts.load(prompts_folder())
ANSWER = "Intention: another factor.\n\n```python\ndef scale(x):\n    return 3 * x\n```\n"


@pytest.fixture(scope="module")
def editor():
    editor = Editor(processes=1)
    yield editor
    editor.close()


@pytest.fixture
def program(tmp_path):
    """The name of a model that runs this Python code, and notes each call in the file `calls`."""

    def write(name, code):
        path = tmp_path / f"{name}.py"
        path.write_text(f"import sys\nopen({str(tmp_path / name)!r}, 'a').write('x')\n{code}\n")
        return f"cmd:{sys.executable} {path}"

    return write


@pytest.fixture
def check(editor):
    """Checks these models. Returns (events, notices, failover, error)."""

    def run(*names, answered=(), number=0, stop=False, **settings):
        models = {name: open_model(name, LlmSettings(first_wait_seconds=0.01, **settings)) for name in names}
        events, notices = [], []
        failover = Failover(models, FailoverPolicy(), events.append)
        context = RunContext(events.append, Config())
        if stop:
            context.admission.stop("stopped by the user")
        try:
            ModelCheck(context, PROMPTS, models, editor, failover, notices.append).work(answered, number)
            error = None
        except (MachineError, Halted) as raised:
            error = raised
        for model in models.values():
            model.close()
        return events, notices, error

    return run


def of(kind, events):
    return [one for one in events if isinstance(one, kind)]


def test_a_program_that_crashes_is_tried_three_times_and_its_last_line_is_told(check, program, tmp_path):
    name = program("crash", "print('first', file=sys.stderr); sys.exit('KeyError: log in first')")
    events, _, error = check(name)
    assert "exit code 1" in str(error) and "KeyError: log in first" in str(error) and "Nothing was trained" in str(error)
    assert (tmp_path / "crash").read_text() == "xxx"
    (checked,) = of(ModelsChecked, events)
    assert "log in first" in checked.faults[name]
    assert not of(CoolDownStarted, events)


def test_an_address_where_nobody_listens_ends_the_run_within_seconds(check):
    started = time.monotonic()
    _, _, error = check("foo", api_base="http://localhost:9/v1")
    assert "foo does not answer" in str(error) and time.monotonic() - started < 10


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_server_that_always_refuses_ends_the_run(check, provider, status):  # noqa: F811
    provider.plays(refuses(status, "out of order"))
    _, _, error = check("foo", api_base=provider.url)
    assert "out of order" in str(error) and len(provider.requests) <= 3


def test_what_is_asked_is_what_a_run_sends_and_is_journaled_and_paid_for(check, provider):  # noqa: F811
    provider.plays(provider.answers(ANSWER))
    events, notices, error = check("foo", api_base=provider.url, number=4)
    assert error is None and not of(Advised, notices)
    (sent,) = provider.requests
    assert [m["role"] for m in sent.body["messages"]] == ["system", "user"] and sent.body["max_tokens"] == 16_000
    assert [(one.id, one.call) for one in events if isinstance(one, Asked | Answered)] == [("check", 4), ("check", 4)]
    assert of(Answered, events)[0].completion.usage.tokens_in == 11
    assert of(ModelsChecked, events) == [ModelsChecked({"foo": ""})]
    assert [one.model for one in of(ModelChecked, notices)] == ["foo"]


@pytest.mark.parametrize(
    ("text", "words"), [("Ready.", "fenced"), ("", "empty"), (PROMPTS.parts["check"].text, "unchanged")]
)
def test_an_answer_without_a_program_is_said_and_the_run_goes_on(check, program, text, words):
    _, notices, error = check(program("talks", f"sys.stdout.write({text!r})"))
    (advice,) = of(Advised, notices)
    assert error is None and words in advice.text


def test_of_two_models_the_one_that_does_not_answer_rests(check, program):
    crash, works = program("crash", "sys.exit(2)"), program("works", f"print({ANSWER!r})")
    events, _, error = check(crash, works)
    assert error is None
    assert [one.model for one in of(CoolDownStarted, events)] == [crash]
    assert of(ModelsChecked, events)[0].faults[works] == ""


def test_a_provider_that_asks_for_a_pause_is_there(check, provider):  # noqa: F811
    provider.plays(refuses(429, "slow down", retry_after="7200"))
    _, notices, error = check("foo", api_base=provider.url, deadline_seconds=5)
    assert error is None and "7,200 s" in of(Advised, notices)[0].text


def test_persons_offline_and_models_that_have_answered_are_not_asked(check, program, tmp_path):
    name = program("crash", "sys.exit(2)")
    events, _, error = check(name, "offline", f"inbox:{tmp_path / 'inbox'}", answered={name})
    assert error is None and events == [ModelsChecked({})]
    assert not (tmp_path / "crash").exists() and not list(tmp_path.glob("inbox/*"))


def test_a_stop_does_not_wait_for_an_answer(check, program):
    assert check(program("sleeps", "import time; time.sleep(60)"), stop=True)[2] is None  # nothing is asked any more


def test_the_prompt_of_the_check_is_short():
    request = check_request(PROMPTS, Config().llm)
    assert sum(len(m.text) for m in request.messages) < 1000 and request.tries == 3


@pytest.mark.slow
def test_the_command_ends_with_code_1_before_anything_is_trained_also_in_the_background(evolve, program, tmp_path):
    name = program("crash", "sys.exit('no login')")
    for flags in ([], ["--detach"]):
        run = tmp_path / f"run{len(flags)}"
        done = evolve("run", "seeds/tiny_cnn", "--llm", name, "--out", run, *flags)
        assert done.returncode == 1 and "no login" in done.stderr and "training the seed" not in done.stderr
        facts = json.loads(evolve("status", run, "--json").stdout)
        assert facts["state"] == "failed" and facts["seed"]["trainings"] == 0
