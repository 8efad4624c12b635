"""Notifications of a run's end, to a server on loopback and to a program: their content, and that they never disturb the run."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.cli.notify import FinishCommand, Notifications, Webhook, final_message
from agent.core.errors import UserError
from agent.llm import CoolDownEnded, CoolDownStarted

ROOT = Path(__file__).resolve().parents[2]
FACTS = {
    "run": "night", "state": "failed", "reason": "it does not answer: sk-very-secret-key-0123", "hypervolume": 1.5,
    "counts": {"proposed": 3, "trained": 2}, "spend": {"usd": 0.5, "llm_calls": 3, "seconds": 7.0, "tokens_in": 9},
    "front": [{"id": f"{n:04d}", "fitness": {"accuracy": 0.9}, "branch": "b", "intention": "i"} for n in range(1, 9)],
}  # fmt: skip


class Hook(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status, **headers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.headers, self.got = status, headers, []
        self.url = f"http://127.0.0.1:{self.server_port}/services/very-secret"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hook():
    opened = []

    def serve(status=200, **headers):
        server = Hook(status, **headers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        opened.append(server)
        return server

    yield serve
    for server in opened:
        server.shutdown()
        server.server_close()


@pytest.fixture
def printed():
    return []


def test_the_final_message_is_small_and_contains_no_secret(hook, printed, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-very-secret-key-0123")
    server = hook()
    Webhook(server.url, printed.append).post(final_message(FACTS, 1))
    (got,) = server.got
    assert (got["run"], got["state"], got["exit_code"], got["counts"]["trained"]) == ("night", "failed", 1, 2)
    assert got["text"] == got["content"] == "evolve night: failed (it does not answer: [key])"
    assert len(json.dumps(got)) < 2000
    assert "secret" not in json.dumps(got)
    assert printed == []


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (404, {}), (302, {"Location": "http://127.0.0.1:9/elsewhere"})])
def test_a_refused_message_is_reported_without_the_address(hook, printed, status, headers):
    server = hook(status, **headers)
    Webhook(server.url, printed.append).post(final_message(FACTS, 1))
    assert printed == [f"The notification could not be delivered: status {status}."]
    assert len(server.got) == 1  # and nothing was sent elsewhere


def test_the_address_is_not_logged(hook, printed, caplog):
    caplog.set_level("INFO")
    Webhook(hook().url, printed.append).post(final_message(FACTS, 1))
    assert "secret" not in caplog.text


def test_a_missing_server_is_reported_too(hook, printed):
    server = hook()
    server.shutdown()
    server.server_close()
    Webhook(server.url, printed.append).post(final_message(FACTS, 1))
    assert printed == ["The notification could not be delivered: ConnectionRefusedError."]


def test_a_waiting_run_sends_one_message_for_each_silence(hook, printed):
    server = hook()
    webhook = Webhook(server.url, printed.append)
    alone, not_alone = CoolDownStarted("a", 1.0, "a is down", True), CoolDownStarted("b", 1.0, "b is down", False)
    for event in (not_alone, alone, alone, CoolDownEnded("a"), alone):
        webhook.see("night", event)
    deadline = time.monotonic() + 10
    while len(server.got) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [got["text"] for got in server.got] == ["evolve night: waiting (no model answers: a is down)"] * 2


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "nonsense", "http:///secret"])
def test_what_is_no_address_is_the_users_mistake_and_not_repeated(printed, url):
    with pytest.raises(UserError) as error:
        Webhook(url, printed.append)
    assert url not in str(error.value)


def test_the_command_gets_the_facts_and_no_shell_reads_it(tmp_path, printed, monkeypatch):
    facts = "json.load(sys.stdin)['state'], os.environ['EVOLVE_STATE'], sys.argv[1:]"
    script = f"import json, os, sys; print({facts}, file=open('out', 'w'))"
    command = FinishCommand(f'{sys.executable} -c "{script}" $HOME;true', printed.append)
    monkeypatch.chdir(tmp_path)
    command.run(tmp_path, final_message(FACTS, 1))
    assert (tmp_path / "out").read_text() == "failed failed ['$HOME;true']\n"
    assert printed == []


def test_a_command_that_fails_is_reported(tmp_path, printed):
    FinishCommand("false", printed.append).run(tmp_path, final_message(FACTS, 1))
    assert printed == ["The command of --on-finish failed with status 1."]


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path, printed):
    script = tmp_path / "hang.sh"
    script.write_text(f"sleep 77 & echo $! > {tmp_path}/pid; wait\n")
    FinishCommand(f"sh {script}", printed.append).run(tmp_path, final_message(FACTS, 1), seconds=0.5)
    assert printed == ["The command of --on-finish was ended after 0.5 s."]
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/status").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_signal_ends_a_command_that_does_not_end(tmp_path):
    code = (
        "import sys; from pathlib import Path; from agent.run import signals; from agent.cli.notify import FinishCommand\n"
        "signals.begin()\n"
        f"FinishCommand('sh {tmp_path}/hang.sh', print).run(Path('.'), {{'state': 'finished', 'exit_code': 0}})\n"
        "signals.end(0)\n"
    )
    (tmp_path / "hang.sh").write_text("echo started >&2; sleep 77\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "started\n"
        time.sleep(0.5)  # until it waits for the command
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(("command", "shown"), [("no-such-program-at-all x", "no such program"), ("'", "cannot be split")])
def test_a_command_that_cannot_be_run_is_the_users_mistake(printed, command, shown):
    with pytest.raises(UserError, match=shown):
        Notifications.of(None, command, printed.append)
