"""Runs in the background, and a webhook that they notify."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.benchmarks.kill import copy_fast_seed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(cache, tmp_path):
    """Starts the command in the background, in a folder with a seed."""
    copy_fast_seed(tmp_path)
    started = []

    def begin(*arguments, env=None, **options):
        environment = {**os.environ, "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "k", **(env or {})}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def hook():
    """A webhook: the messages that it received."""
    printed = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            printed.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path", printed
    server.shutdown()
    server.server_close()
