"""What happens to terminals when the controller or the client fails."""

import os
import signal
import socket
import subprocess
import sys

from tests.acceptance.lab import Lab
from tests.acceptance.recorded import verified
from tests.controller import Controller, until


def test_sigterm_hands_over_and_a_restart_claims_the_session(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1=; clear; seq 1 5000; echo o''ld\r")
    terminal.expect("old\r\n")
    controller.terminate()
    assert terminal.closed()[0] == 1012
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    assert "1 recordings, 0 broken" in verified(controller)

    controller.start()
    again = terminal.again(epoch=1, offset=len(terminal.output)).connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    assert again.info["epoch"] > 1
    again.type("echo claimed-$((1+1))\r")
    again.expect("claimed-2")
    again.leave()


def test_a_killed_controller_loses_no_stored_byte_and_its_sessions_are_claimed(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("echo ali''ve\r")
    terminal.expect("alive")
    session_id = terminal.info["session_id"]
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["bytes"] >= len(terminal.output), "the recording")
    controller.kill()
    terminal.closed()
    controller.start()
    again = terminal.again(epoch=1, offset="tail").connected()
    assert (again.info["session_id"], again.info["epoch"]) == (session_id, 2)
    until(lambda: b"alive" in again.notices, "the screen")
    again.type("echo claimed-$((1+1))\r")
    again.expect("claimed-2")
    again.leave()


def test_a_half_open_client_is_noticed_and_its_session_kept(controller: Controller, lab: Lab) -> None:
    terminal = lab.open()
    session_id = terminal.info["session_id"]
    # No process reads this socket any more, but the kernel keeps it open: pings are not answered.
    stranger = subprocess.Popen(
        [sys.executable, "-c", _SILENT_CLIENT, str(controller.port), lab.api.token, str(terminal.token)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert stranger.stdout is not None
        assert "101" in stranger.stdout.readline()
        assert terminal.closed()[0] == 4003
        os.kill(stranger.pid, signal.SIGSTOP)

        def state() -> str:
            rows = lab.api.get("/api/sessions?state=live")["items"]
            return next(str(row["state"]) for row in rows if row["id"] == session_id)

        until(lambda: state() == "active", "attached")
        until(lambda: state() == "detached", "detached", 90)
        again = terminal.again().connected()
        again.leave()
    finally:
        stranger.kill()
        stranger.wait()


_SILENT_CLIENT = """
import socket, sys, time
port, token, reconnect = sys.argv[1:]
s = socket.create_connection(("127.0.0.1", int(port)))
s.sendall((f"GET /ws/ssh?cols=80&rows=24&reconnect_token={reconnect}&token={token} HTTP/1.1\\r\\nHost: x\\r\\n"
    "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode())
print(s.recv(100).split(b"\\r\\n")[0], flush=True)
time.sleep(600)
"""


def test_bad_handshakes_are_told_without_a_traceback(controller: Controller, lab: Lab) -> None:
    for head, status in (
        (f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (
            f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            b"426",
        ),
        (
            f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            b"400",
        ),
    ):
        with socket.create_connection(("127.0.0.1", controller.port), timeout=30) as raw:
            raw.sendall(head.encode())
            assert raw.recv(4096).split(b" ")[1] == status
    assert "Traceback" not in controller.log()
