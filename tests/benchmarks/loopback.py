"""An LLM on loopback for the benchmarks: it answers with rule-based rewrites, a function of the prompt, and counts."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.llm import Message, Request
from agent.llm.backends.offline import OfflineModel

_MEASURED = re.compile(r"One evaluation took [^\n]*|\| [\d.,]+ s\b")
"""Times and memory: of the program shown, and in the table of children."""


class LoopbackLLM(ThreadingHTTPServer):
    """OpenAI-compatible. `answer` and `misbehave` are there to be overridden."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, seconds: tuple[float, float] = (0.02, 0.2)) -> None:
        """`seconds`: an answer takes a random time between these."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.calls: Counter[str] = Counter()
        """By fingerprint of the conversation."""
        self.lock = threading.Lock()
        self.chance = random.Random(0)
        self._seconds = seconds
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, handler: _Handler, messages: list[dict[str, str]]) -> None:
        with self.lock:
            self.calls[fingerprint(messages)] += 1
            pause = self.chance.uniform(*self._seconds)
        time.sleep(pause)
        handler.reply(200, completion(self.answer(messages)))

    def answer(self, messages: list[dict[str, str]]) -> str:
        """The same for the same prompt: time and memory, which differ from run to run, do not count."""
        output = tuple(Message(m["role"], m["content"]) for m in messages)  # type: ignore[arg-type]
        fixed = _MEASURED.sub("", "\n".join(message.text for message in output))
        return OfflineModel().complete(Request(output, seed=zlib.crc32(fixed.encode()))).text

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Killed clients disconnect without a message."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackLLM

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.serve(self, body["messages"])

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def reply(self, status: int, body: bytes, kind: str = "application/json", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


def completion(text: str | None, **changes: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "loopback", "choices": [choice], "usage": usage}
    return json.dumps(whole | changes).encode()


def fingerprint(messages: list[dict[str, str]]) -> str:
    """`messages`: as sent, with `role` and `content`."""
    return hashlib.sha256(json.dumps([[m["role"], m["content"]] for m in messages]).encode()).hexdigest()[:16]
