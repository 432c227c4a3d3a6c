"""How long the load balancers wait for an answer, by path: with their own configurations, in a shorter time."""

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.deploy.balancers import Balancer, is_installed

ANSWER_SECS = 2
# What the files say, and what it is here: shorter than the answer takes, or longer.
_SHORTER = {"15s": "1s", "20s": "1s", "30s": "1s", "130s": "30s", "330s": "30s", "600s": "30s"}
_WAITS = re.compile(r"((?:proxy_read_timeout|timeout (?:client|server)|set-timeout server) +)(\d+s)")
PATIENT = [
    "/api/ai/agent-chat",
    "/api/ai/ssh-execute",
    "/api/v1/ai/ask",
    "/api/v1/llm/providers/7f9c5a4e/test",
    "/api/sessions/7f9c5a4e/summary",
    "/api/devices/7f9c5a4e/exec-command",
    "/api/v1/devices",
    "/api/v1/devices/check",
    "/api/v1/devices/import",
    "/api/v1/credentials/7f9c5a4e/rotate",
    "/api/v1/audit/targets/7f9c5a4e/test",
    "/api/v1/identity-providers/7f9c5a4e/test",
    "/api/v1/settings/mail/test",
]
IMPATIENT = [
    "/api/devices/browse",
    "/api/devices/7f9c5a4e/exec-command/more",
    "/api/v1/aid",
    "/api/v1/devices/7f9c5a4e",
    "/api/v1/settings/mail",
    "/api/sessions/1/summary/more",
]


class _Slow(BaseHTTPRequestHandler):
    """Healthy, and slow with every POST. A stream's second piece comes when the client has read the first."""

    protocol_version = "HTTP/1.1"
    has_read = threading.Event()

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("-stream"):
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"one")
            time.sleep(ANSWER_SECS)
            self.wfile.write(b"two" if self.has_read.wait(60) else b"???")
        else:
            time.sleep(ANSWER_SECS)
            self._answer(b"late")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest) -> Iterator[Balancer]:
    if not is_installed(request.param):
        pytest.skip(f"needs Debian's {request.param}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    balancer = Balancer(request.param, [server.server_port])
    text, changed = _WAITS.subn(lambda found: found[1] + _SHORTER[found[2]], balancer.file.read_text())
    assert changed
    balancer.file.write_text(text)
    with balancer:
        yield balancer
    server.shutdown()
    server.server_close()


def post(balancer: Balancer, path: str) -> requests.Response:
    return requests.post(f"{balancer.url}{path}", json={}, timeout=30, stream=True)


@pytest.mark.parametrize("path", PATIENT)
def test_slow_answers_of_models_and_devices_are_waited_for(balancer: Balancer, path: str) -> None:
    answer = post(balancer, path)
    assert (answer.status_code, answer.content) == (200, b"late")


@pytest.mark.parametrize("path", IMPATIENT)
def test_an_instance_that_is_silent_otherwise_counts_as_frozen(balancer: Balancer, path: str) -> None:
    assert post(balancer, path).status_code == 504


def test_a_piece_of_an_answer_is_passed_on_before_the_next_one(balancer: Balancer) -> None:
    _Slow.has_read.clear()
    answer = post(balancer, "/api/ai/agent-chat-stream")
    assert answer.raw.read(3) == b"one"
    _Slow.has_read.set()
    assert answer.raw.read(3) == b"two"
