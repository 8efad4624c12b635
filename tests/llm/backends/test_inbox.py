"""A folder as a model: real files, written late, slowly, wrongly or when no call waited."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.errors import UserError
from agent.llm import LanguageModelDown, LlmSettings, Message, Request, RequestRejected, Usage, open_model
from agent.llm.backends.inbox import InboxModel
from agent.llm.backends.offline import OfflineModel

ROOT = Path(__file__).parents[3]
SETTLE = 0.3


class Desk:
    """A folder, models that wait at it, and calls in threads of their own."""

    def __init__(self, folder):
        self.folder = folder
        self._opened, self._threads = [], ThreadPoolExecutor(32)

    def open(self, **settings):
        model = InboxModel(f"inbox:{self.folder}", LlmSettings(**settings), poll_seconds=0.02, settle_seconds=SETTLE)
        self._opened.append(model)
        return model

    def call(self, model, request):
        """Returns once the prompt lies there."""
        before = len(model.waiting)
        call = self._threads.submit(model.complete, request)
        wait_for(lambda: call.done() or len(model.waiting) > before)
        return call

    def prompts(self):
        return sorted(path.name for path in self.folder.glob("*.prompt.md"))

    def write(self, number, answer):
        path = self.folder / f"{number}.answer.md"
        path.write_bytes(answer) if isinstance(answer, bytes) else path.write_text(answer)

    def leave(self):
        for model in self._opened:
            model.close()
        self._threads.shutdown()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "box")
    yield desk
    desk.leave()


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def still_waits(call, seconds=2 * SETTLE):
    time.sleep(seconds)
    return not call.done()


def test_a_prompt_lies_in_a_file_and_the_answer_beside_it_is_taken(desk, ask):
    model = desk.open()
    call = desk.call(model, ask("hi\n"))
    assert os.listdir(desk.folder) == ["0001.prompt.md"]
    assert (desk.folder / "0001.prompt.md").read_text() == "be brief\n\nhi\n\n<!-- request 0 -->\n"
    desk.write("0001", "hello\n")
    done = call.result(5)
    assert (done.text, done.finish_reason, done.model) == ("hello\n", "stop", f"inbox:{desk.folder}")
    assert done.usage == Usage(2, 1, estimated=True)
    assert done.usd is None
    assert done.seconds >= SETTLE


def test_a_repair_shows_the_whole_conversation(desk):
    messages = (Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("user", "R"))
    desk.call(desk.open(), Request(messages, 7))
    filed = "S\n\nU\n\n===== Your answer =====\n\nA\n\n===== The reply to it =====\n\nR\n\n<!-- request 7 -->\n"
    assert (desk.folder / "0001.prompt.md").read_text() == filed


def test_thoughts_and_byte_order_marks_are_left_out(desk, ask):
    call = desk.call(desk.open(), ask())
    desk.write("0001", b"\xef\xbb\xbf<think>\nshall I?\n</think>\n\nhello")
    assert call.result(5).text == "hello"


def test_a_price_is_the_configured_one(desk, ask):
    call = desk.call(desk.open(prices={f"inbox:{desk.folder}": (1.0, 2.0)}), ask("x" * 392))
    desk.write("0001", "12345678")
    assert call.result(5).usd == pytest.approx(100e-6 + 4e-6)


def test_no_deadline_ends_the_wait(desk, ask):
    call = desk.call(desk.open(deadline_seconds=0.01), ask())
    assert still_waits(call)
    desk.write("0001", "at last")
    assert call.result(5).text == "at last"


@pytest.mark.parametrize("blank", ["", "\n  \n"])
def test_a_file_with_nothing_in_it_is_no_answer_yet(desk, ask, blank):
    call = desk.call(desk.open(), ask())
    desk.write("0001", blank)
    assert still_waits(call)
    desk.write("0001", "hello")
    assert call.result(5).text == "hello"


def test_a_file_that_still_grows_is_not_read(desk, ask):
    call = desk.call(desk.open(), ask())
    with (desk.folder / "0001.answer.md").open("w") as file:
        for word in range(8):
            file.write(f"{word} ")
            file.flush()
            assert not call.done()
            time.sleep(SETTLE / 3)
    assert call.result(5).text == "0 1 2 3 4 5 6 7 "


def test_an_answer_that_is_replaced_in_time_is_read_in_its_last_form(desk, ask):
    call = desk.call(desk.open(), ask())
    desk.write("0001", "first thought")
    time.sleep(SETTLE / 2)
    (desk.folder / "better").write_text("second thoug.")  # of the same length
    (desk.folder / "better").rename(desk.folder / "0001.answer.md")
    assert call.result(5).text == "second thoug."


def test_an_answer_under_another_name_waits_for_its_rename(desk, ask):
    call = desk.call(desk.open(), ask())
    (desk.folder / "0001.answer.md.part").write_text("hello")
    assert still_waits(call)
    (desk.folder / "0001.answer.md.part").rename(desk.folder / "0001.answer.md")
    assert call.result(5).text == "hello"


def test_only_a_file_of_its_own_is_an_answer(desk, ask, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a key")
    model = desk.open()
    calls = [desk.call(model, ask(f"caller {n}")) for n in range(3)]
    (desk.folder / "0001.answer.md").symlink_to(secret)
    (desk.folder / "0002.answer.md").mkdir()
    os.mkfifo(desk.folder / "0003.answer.md")
    time.sleep(2 * SETTLE)
    assert not any(call.done() for call in calls)
    (desk.folder / "0001.answer.md").unlink()
    desk.write("0001", "hello")
    assert calls[0].result(5).text == "hello"


def test_an_answer_that_is_no_text_is_rejected_and_others_are_not(desk, ask):
    model = desk.open()
    first, second = desk.call(model, ask("first")), desk.call(model, ask("second"))
    desk.write("0001", b"caf\xe9")
    desk.write("0002", "hello")
    with pytest.raises(RequestRejected, match=r"0001\.answer\.md is not UTF-8"):
        first.result(5)
    assert second.result(5).text == "hello"


def test_an_answer_of_the_greatest_length_is_accepted_and_a_longer_one_rejected(desk, ask):
    model = desk.open()
    first, second = desk.call(model, ask("first")), desk.call(model, ask("second"))
    desk.write("0001", "x" * 2_000_000)
    desk.write("0002", "x" * 2_000_001)
    assert len(first.result(5).text) == 2_000_000
    with pytest.raises(RequestRejected, match=r"0002\.answer\.md has more than 2,000,000 bytes"):
        second.result(5)


def test_the_files_show_which_prompts_wait(desk, ask):
    model = desk.open()
    assert model.waiting == ()
    first, second = desk.call(model, ask("first")), desk.call(model, ask("second"))
    assert model.waiting == ("0001.prompt.md", "0002.prompt.md")
    desk.write("0001", "hello")
    first.result(5)
    assert model.waiting == ("0002.prompt.md",)
    model.close()
    assert isinstance(second.exception(1), CancelledError)
    assert model.waiting == ()


def test_closing_ends_the_wait_and_leaves_the_prompt(desk, ask):
    model = desk.open()
    call = desk.call(model, ask())
    began = time.monotonic()
    model.close()
    model.close()
    assert isinstance(call.exception(1), CancelledError)
    assert time.monotonic() - began < 0.5
    assert os.listdir(desk.folder) == ["0001.prompt.md"]
    with pytest.raises(CancelledError):
        model.complete(ask("another"))
    assert desk.prompts() == ["0001.prompt.md"]


def test_closing_need_not_wait_for_the_next_look(tmp_path, ask):
    model = InboxModel(f"inbox:{tmp_path}", LlmSettings(), poll_seconds=60.0)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(model.complete, ask())
        wait_for(lambda: model.waiting)
        model.close()
        assert isinstance(call.exception(1), CancelledError)


def test_an_unanswered_prompt_is_awaited_again_and_not_filed_twice(desk, ask):
    model = desk.open()
    desk.call(model, ask("first")), desk.call(model, ask("second"))
    model.close()
    again = desk.open()
    second, third = desk.call(again, ask("second")), desk.call(again, ask("third"))
    assert again.waiting == ("0002.prompt.md", "0003.prompt.md")
    assert desk.prompts() == ["0001.prompt.md", "0002.prompt.md", "0003.prompt.md"]
    desk.write("0002", "two")
    desk.write("0003", "three")
    assert (second.result(5).text, third.result(5).text) == ("two", "three")


def test_what_was_answered_while_nobody_waited_is_taken(desk, ask):
    model = desk.open()
    desk.call(model, ask())
    model.close()
    desk.write("0001", "while you were out")
    assert desk.call(desk.open(), ask()).result(5).text == "while you were out"
    assert desk.prompts() == ["0001.prompt.md"]


def test_the_same_text_asked_for_another_candidate_needs_its_own_answer(desk):
    model = desk.open()
    messages = (Message("system", "S"), Message("user", "U"))
    first, second = desk.call(model, Request(messages, 1)), desk.call(model, Request(messages, 2))
    desk.write("0001", "one")
    desk.write("0002", "two")
    assert (first.result(5).text, second.result(5).text) == ("one", "two")


@pytest.mark.parametrize("lying", ["0041.prompt.md", "0041.answer.md", ".0041.prompt.tmp", "0041.answer.md.part"])
def test_numbers_continue_after_existing_files(desk, ask, lying):
    desk.folder.mkdir()
    for name in (lying, "0007.prompt.md", "notes.md", "9999.txt"):
        (desk.folder / name).write_text("of an earlier run")
    desk.call(desk.open(), ask())
    assert (desk.folder / "0042.prompt.md").is_file()


def test_a_number_is_not_given_twice_when_files_are_cleared_away(desk, ask):
    model = desk.open()
    first = desk.call(model, ask("first"))
    desk.write("0001", "hello")
    first.result(5)
    for path in desk.folder.iterdir():
        path.unlink()
    desk.call(model, ask("second"))
    assert desk.prompts() == ["0002.prompt.md"]


def test_sixteen_callers_at_once_each_get_their_own_answer(desk, ask):
    model = desk.open()
    calls = [desk._threads.submit(model.complete, ask(f"caller {n}")) for n in range(16)]
    wait_for(lambda: len(model.waiting) == 16)
    assert desk.prompts() == [f"{n:04d}.prompt.md" for n in range(1, 17)]
    for name in desk.prompts():
        asked = (desk.folder / name).read_text().split("\n\n")[1]
        desk.write(name[:4], f"to {asked}")
    assert [call.result(5).text for call in calls] == [f"to caller {n}" for n in range(16)]


SECOND_RUN = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from agent.llm import LlmSettings, Message, Request
from agent.llm.backends.inbox import InboxModel

model = InboxModel(f"inbox:{sys.argv[1]}", LlmSettings(), poll_seconds=0.02, settle_seconds=0.1)
threads = ThreadPoolExecutor(25)
Path(sys.argv[1], f"{sys.argv[2]} is ready").touch()
while len(list(Path(sys.argv[1]).glob("* is ready"))) < 3:
    pass
calls = [threads.submit(model.complete, Request((Message("user", f"{sys.argv[2]} {n}"),))) for n in range(25)]
sys.exit([call.result(20).text for call in calls] != [f"to {sys.argv[2]} {n}" for n in range(25)])
"""


def test_runs_that_share_a_folder_do_not_write_over_one_another(tmp_path):
    command, environment = [sys.executable, "-c", SECOND_RUN, tmp_path / "box"], {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "box").mkdir()
    processes = [subprocess.Popen([*command, name], env=environment) for name in ("a", "b", "c")]
    wait_for(lambda: len(list((tmp_path / "box").glob("*.prompt.md"))) == 75, 20)
    for path in (tmp_path / "box").glob("*.prompt.md"):
        path.with_name(f"{path.name[:4]}.answer.md").write_text("to " + path.read_text().split("\n\n")[0].strip())
    assert [process.wait(20) for process in processes] == [0, 0, 0]
    assert not list((tmp_path / "box").glob(".*"))


def test_a_prompt_is_never_visible_half_written(desk, ask):
    model, long = desk.open(), "word " * 400_000
    call = desk._threads.submit(model.complete, ask(long))
    wait_for(desk.prompts)
    assert (desk.folder / "0001.prompt.md").stat().st_size == len(f"be brief\n\n{long}\n\n<!-- request 0 -->\n")
    assert not call.done()


def test_a_folder_that_disappears_stops_the_run(desk, ask):
    call = desk.call(desk.open(), ask())
    shutil.rmtree(desk.folder)
    with pytest.raises(LanguageModelDown, match="is gone"):
        call.result(5)


def test_a_folder_that_cannot_be_made_stops_the_run(desk, ask):
    model = desk.open()
    desk.folder.write_text("taken since")
    with pytest.raises(LanguageModelDown, match="no prompt can be filed"):
        model.complete(ask())


def test_opening_writes_nothing(tmp_path):
    open_model(f"inbox:{tmp_path / 'box'}", LlmSettings()).close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_be_named_from_home_or_from_here(tmp_path, monkeypatch, ask):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, place in (("inbox:~/box", "home/box"), ("inbox:box", "box")):
        model = open_model(name, LlmSettings())
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(model.complete, ask())
            wait_for(lambda: (tmp_path / place / "0001.prompt.md").is_file())  # noqa: B023 - called in this turn only
            model.close()
            assert isinstance(call.exception(1), CancelledError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inbox:", "names no folder"),
        ("inbox: ", "names no folder"),
        ("inbox:file", "is no folder"),
        ("inbox:no/such/place", "there is no folder"),
        ("inbox:file/box", "there is no folder"),
    ],
)
def test_what_can_be_no_folder_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match=message):
        open_model(name, LlmSettings())


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        open_model(f"inbox:{tmp_path / 'box'}", LlmSettings())


def test_doctor_does_not_wait_for_a_person(evolve, tmp_path):
    checked = json.loads(evolve("doctor", "--llm", "inbox:box", "--json", cwd=tmp_path, timeout=30).stdout)["llm"]
    assert checked["checked"].startswith("no: an answer comes when somebody writes it")
    refused = json.loads(evolve("doctor", "--llm", "inbox:no/box", "--json", cwd=tmp_path, timeout=30).stdout)["llm"]
    assert refused["reachable"] is False
    assert not (tmp_path / "box").exists()


def written_by_hand(prompt):
    """What a person might write below this prompt."""
    text = prompt.read_text()
    return OfflineModel().complete(Request((Message("user", text),), zlib.crc32(text.encode()))).text


@pytest.mark.slow
def test_a_run_waits_stops_takes_what_was_answered_meanwhile_and_ends(evolve, tmp_path, request):
    shutil.copytree(ROOT / "seeds/tiny_cnn", tmp_path / "seed", ignore=shutil.ignore_patterns("__pycache__"))
    box = tmp_path / "box"
    options = ["--llm", "inbox:box", "--out", "run", "--generations", "0", "--set", "search.first_population=4"]
    options += ["--set", "llm.deadline_seconds=0.1", "--set", "llm.concurrency=3", "--schedule", "generational"]
    options += ["--set", "noise.trainings=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVOLVE_CACHE": str(tmp_path / "cache")}

    def begin(*arguments):
        command = [sys.executable, "-m", "agent.cli", *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        request.addfinalizer(process.kill)
        return process

    def prompts():
        return sorted(box.glob("*.prompt.md"))

    def answer(prompt):
        draft = box / f"{prompt.name[:4]}.draft"
        draft.write_text(written_by_hand(prompt))
        draft.rename(box / f"{prompt.name[:4]}.answer.md")

    def answered():
        with sqlite3.connect(f"file:{tmp_path / 'run/journal.db'}?mode=ro", uri=True) as db:
            return [json.loads(data)["text"] for (data,) in db.execute("SELECT data FROM events WHERE kind = 'answered'")]

    first = begin("run", "seed", *options)
    wait_for(lambda: len(prompts()) == 3 or first.poll() is not None, 60)
    answer(prompts()[1])
    wait_for(lambda: len(prompts()) == 4 or first.poll() is not None, 30)
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=20)
    assert first.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert len(answered()) == 1

    answer(prompts()[0])  # nobody waits
    unanswered = prompts()[2:]
    second = begin("resume", "run")
    wait_for(lambda: len(answered()) == 2 or second.poll() is not None, 60)
    assert prompts()[2:4] == unanswered
    while second.poll() is None:
        for prompt in prompts():
            if not prompt.with_name(f"{prompt.name[:4]}.answer.md").exists():
                answer(prompt)
        time.sleep(0.1)
    _, stderr = second.communicate(timeout=20)
    assert second.returncode == 0, stderr
    contents = [prompt.read_text() for prompt in prompts()]
    assert len(contents) == len(set(contents)) >= 4
    assert sorted(answered()) == sorted((box / f"{prompt.name[:4]}.answer.md").read_text() for prompt in prompts())
    facts = json.loads(evolve("status", "run", "--json", cwd=tmp_path).stdout)
    assert (facts["state"], facts["counts"]["proposed"]) == ("finished", 4)
