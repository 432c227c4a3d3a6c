"""A terminal from end to end: a client's WebSocket, gunicorn, OpenSSH, and the recording in PostgreSQL."""

import hashlib
import json
import re
import uuid

import requests

from tests.acceptance.lab import Lab
from tests.controller import Api, Controller, Terminal, until
from tests.sshd import Sshd


def numbered(count: int) -> bytes:
    """The output of `seq` in a terminal."""
    return b"".join(b"%d\r\n" % number for number in range(1, count + 1))


def recorded_output(api: Api, session_id: str) -> str:
    lines = api.get(f"/api/recordings/{session_id}/data").splitlines()
    return "".join(event[2] for event in map(json.loads, lines[1:]) if event[1] == "o")


def test_keys_reach_the_device_and_its_answer_comes_back(lab: Lab) -> None:
    terminal = lab.open()
    assert terminal.frames[:2] == [0x08, 0x07]
    assert terminal.info["credential_id"] == lab.credential["id"]
    terminal.type("echo $((6*7))-$TERM\r")
    terminal.expect("42-xterm-256color")
    terminal.leave()


def test_a_resize_reaches_the_device(lab: Lab) -> None:
    terminal = lab.open(cols=100, rows=30)
    terminal.type("stty size\r")
    terminal.expect("30 100")
    terminal.frame(b"\x02\x00\x84\x00\x2b")
    terminal.type("stty size\r")
    terminal.expect("43 132")
    terminal.leave()


def test_an_application_ping_is_answered(lab: Lab) -> None:
    terminal = lab.open()
    terminal.frame(b"\x03")
    until(lambda: 0x04 in terminal.frames, "the pong")
    terminal.leave()


def test_a_flood_arrives_whole_and_is_recorded_whole(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("stty -echo; PS1=; clear\r")
    terminal.type("echo be''gin; seq 1 300000; echo e''nd\r")
    terminal.expect("end\r\n", 60)
    flood = terminal.output[terminal.output.index(b"begin\r\n") + 7 : terminal.output.index(b"end\r\n")]
    assert hashlib.sha256(flood).hexdigest() == hashlib.sha256(numbered(300_000)).hexdigest()
    session_id = terminal.info["session_id"]
    terminal.type("exit\r")
    terminal.ended()
    terminal.leave()
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["state"] == "ended", "the end of the recording")
    assert flood.decode() in recorded_output(lab.api, session_id)


def test_a_client_with_offsets_resumes_at_the_exact_byte(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    assert terminal.info["offset"] == 0
    terminal.type(
        "PS1=; stty -echo; clear; for i in $(seq 1 40); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
    )
    terminal.expect("5000\r\n")
    terminal.vanish()
    seen = terminal.output
    again = terminal.again(epoch=terminal.info["epoch"], offset=len(seen)).connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    assert again.info["offset"] == len(seen)
    again.expect("40999\r\n", 60)
    whole = seen + again.output
    wanted = b"".join(b"%d\r\n" % number for number in range(1000, 41000))
    assert wanted in whole
    again.leave()


def test_a_client_without_offsets_gets_what_it_had_not_acknowledged(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type(
        "PS1=; stty -echo; clear; for i in $(seq 1 40); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
    )
    terminal.expect("5000\r\n")
    terminal.vanish()
    seen = terminal.output
    again = terminal.again().connected()
    again.expect("40999\r\n", 60)
    wanted = b"".join(b"%d\r\n" % number for number in range(1000, 41000))
    # What was in flight may come twice; nothing may be missing.
    assert any(wanted in seen[:cut] + again.output for cut in range(len(seen), max(0, len(seen) - 200_000), -1))
    again.leave()


def test_a_fresh_page_gets_the_screen_and_goes_on(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("seq 1 50000; echo do''ne\r")
    terminal.expect("done", 60)
    terminal.vanish()
    again = terminal.again(epoch=1, offset="tail").connected()
    until(lambda: b"done" in again.notices, "the screen")
    assert b"\r\n50000\r\n" in again.notices
    assert b"49900" not in again.notices
    again.type("echo mo''re\r")
    again.expect("more")
    assert b"done" not in again.output
    again.leave()


def test_several_losses_in_a_row_are_survived_with_the_same_token(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1=; clear; echo re''ady\r")
    terminal.expect("ready\r\n")
    whole, first = terminal.output, terminal.token
    for number in range(3):
        terminal.vanish()
        terminal = terminal.again(epoch=1, offset=len(whole)).connected()
        terminal.type(f"echo round-$((100+{number}))\r")
        terminal.expect(f"round-{100 + number}\r\n")
        whole += terminal.output
        assert terminal.token == first
    assert re.findall(rb"round-\d+", whole) == [b"round-100", b"round-101", b"round-102"]
    terminal.leave()


def test_resuming_closes_the_socket_that_held_the_session_at_once(lab: Lab) -> None:
    first = lab.open()
    second = first.again().connected()
    assert first.closed()[0] == 4003
    second.type("echo still-$((1+1))\r")
    second.expect("still-2")
    second.leave()


def test_an_exit_is_told_and_its_token_is_answered_with_the_end(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("exit\r")
    code, _ = terminal.closed()
    assert code == 4001
    assert any(error.startswith("Session ended") for error in terminal.errors)
    assert 0x05 in terminal.frames
    again = terminal.again(epoch=1, offset=len(terminal.output))
    assert again.closed()[0] == 4001
    assert "ended" in again.errors[0]
    assert "auth" not in again.errors[0].lower()


def test_an_unknown_token_opens_a_fresh_session(lab: Lab) -> None:
    terminal = lab.open(reconnect_token=str(uuid.uuid4()))
    terminal.type("echo fresh-$((1+1))\r")
    terminal.expect("fresh-2")
    terminal.leave()


def test_a_slow_reader_gets_every_byte_and_delays_no_other_terminal(lab: Lab) -> None:
    slow, quick = lab.open(), lab.open()
    slow.socket.socket.setsockopt(1, 8, 4096)  # SO_RCVBUF
    slow.type("PS1=; stty -echo; clear; echo be''gin; seq 1 60000; echo e''nd\r")
    quick.type("echo quick-$((1+1))\r")
    quick.expect("quick-2")
    slow.expect("end\r\n", 60)
    flood = slow.output[slow.output.index(b"begin\r\n") + 7 : slow.output.index(b"end\r\n")]
    assert flood == numbered(60_000)
    slow.leave()
    quick.leave()


def test_a_wrong_password_is_told_in_words_and_not_tried_again_at_once(lab: Lab, sshd: Sshd) -> None:
    wrong = lab.api.add_credential(sshd.user, "not the password", name="wrong")
    first = lab.api.open(lab.device, wrong, offset=0)
    assert first.closed()[0] == 4002
    assert sshd.user in first.errors[0]
    # A line that the server writes after its answer about the password, and after the line about that.
    until(lambda: "authenticating user" in sshd.log, "the end of the log-in at the device")
    tried = sshd.log.count("Failed password")
    second = lab.api.open(lab.device, wrong, offset=0)
    assert second.closed()[0] == 4002
    assert "not tried again" in second.errors[0]
    assert sshd.log.count("Failed password") == tried
    assert 0x08 not in first.frames + second.frames


def test_a_device_that_does_not_answer_is_told(lab: Lab) -> None:
    device = lab.api.add_device("127.0.0.1", 1, name="nobody")
    terminal = lab.api.open(device, lab.credential, offset=0)
    assert terminal.closed()[0] == 4002
    assert "127.0.0.1:1" in terminal.errors[0]


def test_an_address_that_is_no_stored_device_is_never_dialled(lab: Lab) -> None:
    terminal = lab.api.open({**lab.device, "port": 9}, lab.credential, offset=0)
    assert terminal.closed()[0] == 4002
    assert "address" in terminal.errors[0]


def test_a_malformed_frame_is_answered_and_affects_no_other_terminal(lab: Lab) -> None:
    terminal, other = lab.open(), lab.open()
    for message in (b"", b"\x02\x00", b"\x99boo"):
        terminal.frame(message)
    until(lambda: len(terminal.errors) == 3, "three errors")
    terminal.type("echo alive-$((1+1))\r")
    terminal.expect("alive-2")
    terminal.frame(b"\x02" + b"x" * (2 * 1024 * 1024))
    assert terminal.closed()[0] == 1009
    other.type("echo unhurt-$((1+1))\r")
    other.expect("unhurt-2")
    other.leave()


def test_an_unknown_host_key_waits_for_its_user_and_is_remembered(admin: Api) -> None:
    with Sshd() as stranger:
        device = admin.add_device(stranger.host, stranger.port)
        credential = admin.add_credential(stranger.user, stranger.private_key, "ssh_key", name="stranger")
        terminal = admin.open(device, credential)
        prompt = until(lambda: admin.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        assert (prompt["host"], prompt["port"], prompt["is_changed_key"]) == (stranger.host, stranger.port, False)
        # Pings are answered while the connection is being set up (docs/protocol.md, 11).
        terminal.frame(b"\x03")
        until(lambda: 0x04 in terminal.frames, "the pong")
        admin.post(f"/api/host-keys/prompts/{prompt['id']}/approve")
        terminal.connected().leave()
        again = admin.open(device, credential).connected()
        again.leave()


def test_a_changed_host_key_is_refused_unless_it_is_approved(admin: Api) -> None:
    with Sshd() as device_now, Sshd() as device_before:
        device = admin.add_device(
            device_now.host, device_now.port, host_key=(device_before.host_key_type, device_before.host_key_base64)
        )
        credential = admin.add_credential(device_now.user, device_now.private_key, "ssh_key", name="changed")
        terminal = admin.open(device, credential, offset=0)
        prompt = until(lambda: admin.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        assert prompt["is_changed_key"]
        assert prompt["previous_fingerprint"]
        admin.post(f"/api/host-keys/prompts/{prompt['id']}/reject")
        assert terminal.closed()[0] == 4002
        assert "HAS CHANGED" in terminal.errors[0]


def test_a_session_is_ended_by_its_user(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    lab.api.call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert terminal.closed()[0] == 4001
    assert "ended by admin" in terminal.errors[0]


def test_no_client_enters_without_a_token_a_permission_or_from_a_foreign_page(lab: Lab, controller: Controller) -> None:
    url = f"{controller.url}/ws/ssh"
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert requests.get(url, headers=upgrade, timeout=10).status_code == 401
    token = {"token": lab.api.token}
    foreign = upgrade | {"Origin": "https://evil.example"}
    assert requests.get(url, headers=foreign, params=token, timeout=10).status_code == 403
    lab.api.post("/api/users", {"username": "vera", "password": "a password of vera", "role": "viewer"})
    viewer = controller.login("vera", "a password of vera")
    answer = requests.get(url, headers=upgrade, params={"token": viewer.token}, timeout=10)
    assert answer.status_code == 403
    assert "operator" in answer.json()["error"]
    assert requests.get(url, params=token, timeout=10).status_code == 426


def test_no_token_and_no_secret_is_in_the_log(lab: Lab, controller: Controller, sshd: Sshd) -> None:
    terminal = lab.open()
    terminal.type("echo logged-$((1+1))\r")
    terminal.expect("logged-2")
    token = str(terminal.token)
    terminal.leave()
    Terminal(lab.api, {"cols": "x", "offset": 0}).closed()
    log = controller.log()
    assert "session.opened" in log
    for secret in (lab.api.token, lab.api.refresh_token, token, sshd.private_key.splitlines()[1], "a password of"):
        assert secret not in log
    assert "Traceback" not in log
