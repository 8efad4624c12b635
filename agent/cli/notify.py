"""Notifications for people who are away: a small JSON to a webhook when a run ends or waits, and a command at its end.

Neither is stored anywhere: the address of a webhook is a secret. Neither can change how the run ends.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.errors import UserError
from agent.llm import CoolDownEnded, CoolDownStarted
from agent.llm.text import environment_secrets, redact
from agent.run.signals import asked_to_stop

PrintLine = Callable[[str], None]
"""Shows the user one line."""

_POST_SECONDS = 15.0
"""For one message as a whole, however slowly the other side takes it."""
_COMMAND_SECONDS = 600.0
_FRONT = 5
"""Members of the front that a message names."""
_REASON = 400
"""Characters of the reason in a message."""


class Webhook:
    """Posts JSON to one address and follows no redirect: a message goes to the address that the user named or nowhere."""

    def __init__(self, url: str, print_line: PrintLine) -> None:
        """Raises UserError if `url` cannot be an address; nothing is sent yet."""
        address = urllib.parse.urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError("--notify takes the address of a webhook, which begins with http:// or https://.")
        self._url, self._print_line = url, print_line
        self._waiting = False

    def see(self, run: str, event: object) -> None:
        """Post once when no model answers any more; in the background, because the run goes on."""
        if isinstance(event, CoolDownEnded):
            self._waiting = False
        elif isinstance(event, CoolDownStarted) and event.alone and not self._waiting:
            self._waiting = True
            message = _message(run, "waiting", f"no model answers: {event.reason}")
            threading.Thread(target=self.post, args=(message,), daemon=True).start()

    def post(self, message: Mapping[str, Any]) -> None:
        """Send one message; if that fails, print why, without the address."""
        problems = ["no answer in time"]
        sender = threading.Thread(target=self._send, args=(message, problems), daemon=True)
        sender.start()
        sender.join(_POST_SECONDS)  # httpx limits each read and write, but not all of them together
        if problems:
            self._print_line(f"The notification could not be delivered: {problems[0]}.")

    def _send(self, message: Mapping[str, Any], problems: list[str]) -> None:
        """Empty `problems` if the message was accepted, else put the reason into it."""
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs every address
        headers = {"Content-Type": "application/json", "User-Agent": "guided-evolution"}
        try:
            # Through the proxies of the environment, as calls to models go. The body of the reply is not read.
            with (
                httpx.Client(timeout=_POST_SECONDS, follow_redirects=False, headers=headers) as client,
                client.stream("POST", self._url, content=json.dumps(message)) as response,
            ):
                if response.is_success:
                    problems.clear()
                else:
                    problems[0] = f"status {response.status_code}"
        except Exception as error:  # no error here may end the run
            problems[0] = type(_first_cause(error)).__name__


def _first_cause(error: BaseException) -> BaseException:
    """The original error, such as ConnectionRefusedError, that the HTTP libraries wrapped in their own."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


class FinishCommand:
    """A program to be started when the run has ended, without a shell."""

    def __init__(self, text: str, print_line: PrintLine) -> None:
        """Raises UserError if the command cannot be split into words or its program is not found; nothing is run yet."""
        try:
            self._argv = shlex.split(text)
        except ValueError as error:
            raise UserError(f"--on-finish {text!r} cannot be split into words as a shell would: {error}.") from None
        if not self._argv or shutil.which(self._argv[0]) is None:
            raise UserError(f"--on-finish {text!r}: there is no such program (no shell is involved).")
        self._print_line = print_line

    def run(self, folder: Path, message: Mapping[str, Any], seconds: float = _COMMAND_SECONDS) -> None:
        """Run the program with the message on standard input. Kill it and its child processes after `seconds` or on a signal."""
        facts = {"EVOLVE_RUN": str(folder.resolve()), "EVOLVE_STATE": message["state"], "EVOLVE_EXIT_CODE": message["exit_code"]}
        environment = {**os.environ, **{name: str(value) for name, value in facts.items()}}
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=2, env=environment, text=True, start_new_session=True
            )
        except OSError as error:
            self._print_line(f"The command of --on-finish cannot be started: {error.strerror}.")
            return

        def kill(reason: str = "") -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        with asked_to_stop(kill):
            try:
                process.communicate(json.dumps(message), timeout=seconds)
            except subprocess.TimeoutExpired:
                kill()
                process.wait()
                self._print_line(f"The command of --on-finish was ended after {seconds:g} s.")
                return
        if process.returncode:
            self._print_line(f"The command of --on-finish failed with status {process.returncode}.")


@dataclass(frozen=True)
class Notifications:
    """The notifications that the user asked for; none by default."""

    webhook: Webhook | None = None
    command: FinishCommand | None = None

    @classmethod
    def of(cls, url: str | None, command: str | None, print_line: PrintLine) -> Notifications:
        """Raises UserError for an address or a command that cannot be used."""
        return cls(
            Webhook(url, print_line) if url else None,
            FinishCommand(command, print_line) if command else None,
        )

    def see(self, run: str, event: object) -> None:
        """Pass on an event of the run."""
        if self.webhook:
            self.webhook.see(run, event)

    def finish(self, folder: Path, status: Mapping[str, Any], exit_code: int) -> None:
        """Post the final message, then run the command. Called when the run has ended; returns when both are done."""
        message = final_message(status, exit_code)
        if self.webhook:
            self.webhook.post(message)
        if self.command:
            self.command.run(folder, message)


def final_message(status: Mapping[str, Any], exit_code: int) -> dict[str, Any]:
    """The message for the webhook and the command, from the run's `status`."""
    front = [{"id": member["id"], "fitness": member["fitness"]} for member in status["front"][:_FRONT]]
    spend = {key: status["spend"][key] for key in ("usd", "llm_calls", "seconds")}
    return {
        **_message(status["run"], status["state"], status["reason"]),
        "exit_code": exit_code,
        "counts": status["counts"],
        "hypervolume": status["hypervolume"],
        "front": front,
        **spend,
    }


def _message(run: str, state: str, reason: str) -> dict[str, Any]:
    """A message. Chat programs show its `text` or `content`."""
    safe_reason = redact(reason, environment_secrets())[:_REASON]
    line = f"evolve {run}: {state}" + (f" ({safe_reason})" if safe_reason else "")
    return {"run": run, "state": state, "reason": safe_reason, "text": line, "content": line}
