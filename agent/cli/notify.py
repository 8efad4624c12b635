"""Word to who is not there: a small JSON to a web address when a run ends or waits, and a command of the user's at its end.

Neither is written down anywhere: the address of a webhook is a secret. Neither can change how the run ends.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.errors import UserError
from agent.llm import CoolDownEnded, CoolDownStarted
from agent.llm.text import environment_secrets, redact
from agent.run.signals import asked_to_stop

Say = Callable[[str], None]
"""Tells the user one line."""

_POST_SECONDS = 15.0
"""Of one message, however slowly the other side takes it."""
_COMMAND_SECONDS = 600.0
_FRONT = 5
"""Members of the front that a message names."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message goes where the user said or nowhere."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class Webhook:
    """Posts to one address."""

    def __init__(self, url: str, say: Say) -> None:
        """Raises UserError for what cannot be an address; nothing is sent."""
        address = urllib.parse.urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError("--notify takes the address of a webhook, which begins with http:// or https://.")
        self._url, self._say = url, say
        self._waiting = False

    def see(self, run: str, event: object) -> None:
        """Tells once when no model answers any more; in the background, for the run goes on."""
        if isinstance(event, CoolDownEnded):
            self._waiting = False
        elif isinstance(event, CoolDownStarted) and event.alone and not self._waiting:
            self._waiting = True
            message = _message(run, "waiting", f"no model answers: {event.reason}")
            threading.Thread(target=self.post, args=(message,), daemon=True).start()

    def post(self, message: Mapping[str, Any]) -> None:
        """Says so if it fails, without the address."""
        failure: list[str] = ["no answer in time"]
        sender = threading.Thread(target=self._send, args=(json.dumps(message).encode(), failure), daemon=True)
        sender.start()
        sender.join(_POST_SECONDS)
        if failure:
            self._say(f"The notification could not be delivered: {failure[0]}.")

    def _send(self, body: bytes, failure: list[str]) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "guided-evolution"}
        try:
            request = urllib.request.Request(self._url, body, headers, method="POST")
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_POST_SECONDS):
                failure.clear()
        except urllib.error.HTTPError as error:
            failure[0] = f"status {error.code}"
        except Exception as error:  # whatever it is, it is not worth a run
            failure[0] = type(getattr(error, "reason", None) or error).__name__


class Command:
    """A program to be started when the run has ended, without a shell."""

    def __init__(self, text: str, say: Say) -> None:
        """Raises UserError for a command that cannot be read or found; nothing is run."""
        try:
            self._argv = shlex.split(text)
        except ValueError as error:
            raise UserError(f"--on-finish {text!r} cannot be split into words as a shell would: {error}.") from None
        if not self._argv or shutil.which(self._argv[0]) is None:
            raise UserError(f"--on-finish {text!r}: there is no such program (no shell is involved).")
        self._say = say

    def run(self, folder: Path, message: Mapping[str, Any], seconds: float = _COMMAND_SECONDS) -> None:
        """Gives it the message on its standard input; ends it, and what it started, after `seconds` or by a signal."""
        facts = {"EVOLVE_RUN": str(folder.resolve()), "EVOLVE_STATE": message["state"], "EVOLVE_EXIT_CODE": message["exit_code"]}
        environment = {**os.environ, **{name: str(value) for name, value in facts.items()}}
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=2, env=environment, text=True, start_new_session=True
            )
        except OSError as error:
            self._say(f"The command of --on-finish cannot be started: {error.strerror}.")
            return

        def end(reason: str) -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        with asked_to_stop(end):
            try:
                process.communicate(json.dumps(message), timeout=seconds)
            except subprocess.TimeoutExpired:
                end("")
                process.wait()
                self._say(f"The command of --on-finish was ended after {seconds:g} s.")
                return
        if process.returncode:
            self._say(f"The command of --on-finish failed with status {process.returncode}.")


@dataclass(frozen=True)
class Notifications:
    """Those that the user asked for."""

    webhook: Webhook | None = None
    command: Command | None = None

    @classmethod
    def of(cls, url: str | None, command: str | None, say: Say) -> Notifications:
        """Raises UserError, see the two."""
        return cls(Webhook(url, say) if url else None, Command(command, say) if command else None)

    def see(self, run: str, event: object) -> None:
        if self.webhook:
            self.webhook.see(run, event)

    def tell(self, folder: Path, facts: Mapping[str, Any], code: int) -> None:
        """The last words, of a run's `status` and its exit code."""
        message = last_words(facts, code)
        if self.webhook:
            self.webhook.post(message)
        if self.command:
            self.command.run(folder, message)


def last_words(facts: Mapping[str, Any], code: int) -> dict[str, Any]:
    """Of a run's `status`, what a message tells."""
    front = [{"id": member["id"], "fitness": member["fitness"]} for member in facts["front"][:_FRONT]]
    spend = {key: facts["spend"][key] for key in ("usd", "llm_calls", "seconds")}
    return {
        **_message(facts["run"], facts["state"], facts["reason"]),
        "exit_code": code,
        "counts": facts["counts"],
        "hypervolume": facts["hypervolume"],
        "front": front,
        **spend,
    }


def _message(run: str, state: str, reason: str) -> dict[str, Any]:
    """`text` and `content` are what chat programs show."""
    told = redact(reason, environment_secrets())[:400]
    line = f"evolve {run}: {state}" + (f" ({told})" if told else "")
    return {"run": run, "state": state, "reason": told, "text": line, "content": line}
