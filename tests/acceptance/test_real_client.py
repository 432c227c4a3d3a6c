"""The NetStacks Terminal client, which knows no offsets and reconnects without end: its socket outlives a session."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.stored import row
from tests.controller import Api, Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

PASSWORD = "a password of lee"
WITHDRAWN = (4001, "access was withdrawn")
ASKS_SIZE = b"\x1b7\x1b[999;999H\x1b[6n\x1b8"


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), SESSION_CLOSE_GRACE_SECS="8").start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.login()


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(postgres: Postgres) -> Iterator[Cluster]:
    """For a test that loses an instance."""
    with Cluster(postgres, 2) as cluster:
        yield cluster


def says(terminal: Terminal, word: str) -> None:
    """Has the device print a word that nothing else prints."""
    terminal.type(f"echo {word[0]}''{word[1:]}\r")
    terminal.expect(word)


def opens_another(terminal: Terminal) -> None:
    """Presses Enter, and types into the session that this opens in the same socket."""
    former, token = terminal.info.get("session_id"), terminal.token
    terminal.type("\r")
    until(lambda: terminal.token != token, "another token")
    assert terminal.info["session_id"] != former
    says(terminal, "another")
    assert terminal.close is None


def wait_for_acknowledgement(controller: Controller, terminal: Terminal) -> None:
    until(lambda: acknowledged(controller, terminal), "the acknowledgement of all output")


def acknowledged(controller: Controller, terminal: Terminal) -> bool:
    """Whether all that a terminal was sent, which the device alone has printed, is stored as acknowledged."""
    with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
        found = connection.execute(
            "SELECT acked_offset FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    return found is not None and int(found[0]) >= len(terminal.output)


def state(api: Api, terminal: Terminal) -> Any:
    return api.get(f"/api/recordings/{terminal.info['session_id']}")["state"]


def test_an_exit_on_the_device_is_told_and_enter_opens_a_new_session(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("exit\r")
    assert terminal.ended() == "the device closed the connection"
    # Keys other than Enter are not for anything, and pings are answered while the connection is held.
    terminal.type("x")
    terminal.frame(b"\x03")
    until(lambda: 0x04 in terminal.frames, "the pong")
    opens_another(terminal)
    terminal.type("exit\r")
    assert terminal.ended() == "the device closed the connection"
    opens_another(terminal)
    assert (terminal.errors, 0x05 in terminal.frames) == ([], False)
    terminal.leave()


def test_a_session_that_an_administrator_ends_is_told_with_the_reason(lab: Lab) -> None:
    terminal = lab.open()
    lab.api.call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert terminal.ended() == "ended by admin"
    opens_another(terminal)
    terminal.leave()


def test_a_refused_credential_is_told_and_not_tried_again_until_it_is_changed(lab: Lab, sshd: Sshd) -> None:
    wrong = lab.api.add_credential(sshd.user, "not the password", name="wrong")
    terminal = lab.api.open(lab.device, wrong)
    assert sshd.user in terminal.refused()
    # OpenSSH answers before it writes this line.
    tried = until(lambda: sshd.log.count("Failed password"), "the attempt in the log of the device")
    terminal.type("\r")
    assert "not tried again" in terminal.refused()
    other = lab.api.open(lab.device, wrong)
    assert "not tried again" in other.refused()
    assert sshd.log.count("Failed password") == tried
    # It would take a SessionInfo for a terminal that is connected.
    assert not {0x05, 0x06, 0x07, 0x08} & {*terminal.frames, *other.frames}
    other.leave()
    if sshd.password is None:
        pytest.skip("needs root, for a user with a password")
    lab.api.call("PUT", f"/api/credentials/{wrong['id']}", json={"secret": sshd.password})
    opens_another(terminal)
    terminal.leave()


def test_a_rejected_host_key_is_told_and_not_asked_about_again_at_once(lab: Lab) -> None:
    with Sshd() as stranger:
        device = lab.api.add_device(stranger.host, stranger.port)
        credential = lab.api.add_credential(stranger.user, stranger.private_key, "ssh_key", name="stranger")
        terminal = lab.api.open(device, credential)
        prompt = until(lambda: lab.api.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        lab.api.post(f"/api/host-keys/prompts/{prompt['id']}/reject")
        assert "was rejected at" in terminal.refused()
        terminal.type("\r")
        assert "was rejected at" in terminal.refused()
        assert not lab.api.get("/api/host-keys/prompts")["prompts"]
        key = f"{stranger.host_key_type} {stranger.host_key_base64}"
        lab.api.post("/api/host-keys", {"host": stranger.host, "port": stranger.port, "public_key": key})
        opens_another(terminal)
        terminal.leave()


def test_a_wish_that_leads_nowhere_is_told_and_enter_has_the_client_connect_anew(lab: Lab) -> None:
    terminal = Terminal(lab.api, {"cols": "x"})
    assert "cols='x'" in terminal.refused()
    terminal.type("\r")
    assert terminal.closed()[0] == 1012
    terminal = lab.api.open({**lab.device, "port": 9}, lab.credential)
    assert "address" in terminal.refused()
    terminal.leave()


def test_an_ended_token_is_told_through_another_instance_and_enter_opens_a_session_there(
    cluster: Cluster, sshd: Sshd
) -> None:
    b = cluster.controllers[1]
    terminal = cluster.lab(sshd).open()
    terminal.type("exit\r")
    terminal.ended()
    terminal.vanish()
    until(lambda: row(cluster, terminal)[2] == "ended", "the row's end")
    again = terminal.again(b)
    assert again.ended() == "the device closed the connection"
    # The client's cover goes away with a SessionInfo, and the token that it has goes on to be answered.
    assert (again.info["session_id"] != "", again.token) == (True, None)
    opens_another(again)
    assert row(cluster, again)[0] == b.health()["instance_id"]
    again.leave()


def test_enter_opens_a_new_session_in_the_same_socket_through_a_relay(cluster: Cluster, sshd: Sshd) -> None:
    a, b = cluster.controllers
    terminal = cluster.lab(sshd).open()
    terminal.vanish()
    relayed = terminal.again(b).connected()
    assert relayed.info["session_id"] == terminal.info["session_id"]
    relayed.type("exit\r")
    assert relayed.ended() == "the device closed the connection"
    relayed.frame(b"\x03")
    until(lambda: 0x04 in relayed.frames, "the pong")
    opens_another(relayed)
    assert row(cluster, relayed)[0] == a.health()["instance_id"]
    relayed.leave()


def test_a_drain_sends_a_client_without_a_session_to_another_instance(own_cluster: Cluster, sshd: Sshd) -> None:
    held = own_cluster.lab(sshd).open()
    held.type("exit\r")
    held.ended()
    own_cluster.controllers[0].terminate()
    assert held.closed() == (1012, "the controller is restarting")


def test_a_claim_that_the_device_refuses_leaves_the_session_to_another_try(own_cluster: Cluster, sshd: Sshd) -> None:
    if sshd.password is None:
        pytest.skip("needs root, for a user with a password")
    a, b = own_cluster.controllers
    lab = own_cluster.lab(sshd)
    credential = lab.api.add_credential(sshd.user, sshd.password, name="by password")
    terminal = lab.api.open(lab.device, credential).connected()
    lab.api.call("PUT", f"/api/credentials/{credential['id']}", json={"secret": "not the password"})
    a.kill()
    terminal.closed()
    refused = come_back(terminal, b)
    assert sshd.user in refused.refused()
    api = lab.api.at(b)
    api.call("PUT", f"/api/credentials/{credential['id']}", json={"secret": sshd.password})
    refused.type("\r")
    assert refused.closed()[0] == 1012
    again = come_back(terminal, b)
    assert (again.info["session_id"], again.info["epoch"] > 1) == (terminal.info["session_id"], True)
    says(again, "claimed")
    again.leave()


def test_a_client_that_does_not_know_its_size_is_asked_for_it(lab: Lab) -> None:
    terminal = lab.open()
    terminal.expect(ASKS_SIZE)
    terminal.type("\x1b[43;132R")
    terminal.type("stty size\r")
    terminal.expect("43 132\r\n")
    # The device has seen nothing of it.
    assert b"132R" not in terminal.output
    assert terminal.output.count(ASKS_SIZE) == 1
    terminal.leave()


def test_an_answer_in_pieces_is_taken_and_what_is_typed_around_it_is_kept(lab: Lab) -> None:
    terminal = lab.open()
    terminal.expect(ASKS_SIZE)
    terminal.type("stty \x1b[43;")
    terminal.type("132Rsize\r")
    terminal.expect("43 132\r\n")
    assert b"132R" not in terminal.output
    terminal.leave()


def test_without_an_answer_keys_arrive_and_the_size_stays(lab: Lab) -> None:
    terminal = lab.open()
    terminal.expect(ASKS_SIZE)
    terminal.type("stty si\x1b[")
    terminal.type("Dize\x7f\x7f\x7f\x05ze\r")
    terminal.type("stty size\r")
    terminal.expect("24 80\r\n")
    terminal.leave()


def test_a_client_that_knows_its_size_or_speaks_offsets_is_not_asked(lab: Lab) -> None:
    sized, page = lab.open(cols=100, rows=30), lab.open(epoch=0, offset=0)
    for terminal in (sized, page):
        says(terminal, "here")
        assert ASKS_SIZE not in terminal.output + terminal.notices
        terminal.leave()


def test_a_resumed_client_is_shown_its_prompt_again(controller: Controller, lab: Lab) -> None:
    terminal = lab.open(cols=100, rows=30)
    terminal.type("PS1='lab''> '; clear\r")
    terminal.expect("lab> ")
    wait_for_acknowledgement(controller, terminal)
    terminal.vanish()
    again = terminal.again().connected()
    until(lambda: re.search(rb"\r\x1b\[K.*lab> ", again.output), "the prompt")
    says(again, "resumed")
    again.leave()


@pytest.mark.parametrize("program", ["vi -u NONE -n", "less"])
def test_a_full_screen_program_draws_its_screen_again_for_a_client_that_resumes(
    controller: Controller, lab: Lab, program: str
) -> None:
    # The device's user reads it; with a long name vi would wait for Enter.
    path = Path(f"/tmp/netstacks-{uuid.uuid4().hex[:8]}")
    path.write_text("".join(f"number-{number}\n" for number in range(1, 200)))
    try:
        terminal = lab.open(cols=100, rows=30)
        terminal.type(f"{program} {path}\r")
        terminal.expect("number-20")
        wait_for_acknowledgement(controller, terminal)
        terminal.vanish()
        again = terminal.again().connected()
        again.expect("number-20")
        until(lambda: re.search(rb"number-1\b", again.output), "the first line")
        again.leave()
    finally:
        path.unlink()


def test_a_terminal_that_is_closed_ends_soon_and_one_that_is_cut_off_is_waited_for(lab: Lab) -> None:
    cut, closed, said_goodbye = lab.open(), lab.open(), lab.open()
    cut.vanish()
    closed.leave()
    said_goodbye.frame(b"\x05")
    for terminal in (closed, said_goodbye):
        until(lambda terminal=terminal: state(lab.api, terminal) == "ended", "the end")
    again = cut.again().connected()
    assert again.info["session_id"] == cut.info["session_id"]
    says(again, "still there")
    again.leave()


def test_a_client_that_comes_back_within_the_grace_keeps_its_session(lab: Lab) -> None:
    """Nothing but the session's end by the next close could end it: the first one is forgotten."""
    terminal = lab.open()
    terminal.leave()
    again = terminal.again().connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    later = lab.open()
    later.leave()
    until(lambda: state(lab.api, later) == "ended", "the end of a session that was closed later")
    says(again, "still there")
    again.leave()


def test_a_client_whose_user_may_not_open_terminals_any_more_is_closed_and_refused(
    controller: Controller, lab: Lab, sshd: Sshd
) -> None:
    user, terminal = a_users_terminal(controller, lab, sshd, "lee")
    lab.api.call("PUT", f"/api/users/{user['id']}", json={"role": "viewer", "is_active": True})
    assert terminal.closed() == WITHDRAWN
    with pytest.raises(InvalidStatus, match="403"):
        terminal.again()
    lab.api.call("PUT", f"/api/users/{user['id']}", json={"role": "operator", "is_active": True})
    again = terminal.again()
    assert again.ended() == "access was withdrawn"
    opens_another(again)
    again.leave()


def test_a_client_whose_log_in_was_revoked_is_closed_and_opens_another_after_the_next(
    controller: Controller, lab: Lab, sshd: Sshd
) -> None:
    user, terminal = a_users_terminal(controller, lab, sshd, "kim")
    lab.api.call("DELETE", f"/api/users/{user['id']}/logins", expect=204)
    assert terminal.closed() == WITHDRAWN
    with pytest.raises(InvalidStatus, match="401"):
        terminal.again()
    # After another log-in the client comes back with another access token.
    terminal.api.login("kim", PASSWORD)
    again = terminal.again()
    assert again.ended() == "access was withdrawn"
    opens_another(again)
    again.leave()


def test_a_client_behind_a_relay_is_closed_with_its_access(cluster: Cluster, sshd: Sshd) -> None:
    a, b = cluster.controllers
    lab = cluster.lab(sshd)
    user, terminal = a_users_terminal(a, lab, sshd, "kim")
    terminal.vanish()
    relayed = terminal.again(b).connected()
    lab.api.call("DELETE", f"/api/users/{user['id']}/logins", expect=204)
    assert relayed.closed() == WITHDRAWN


def a_users_terminal(controller: Controller, lab: Lab, sshd: Sshd, name: str) -> tuple[Any, Terminal]:
    """A new operator and their terminal."""
    user = lab.api.post("/api/users", {"username": name, "password": PASSWORD, "role": "operator"})
    credential = lab.api.add_credential(
        sshd.user, sshd.private_key, "ssh_key", name=f"shared with {name}", is_shared=True
    )
    return user, Lab(controller.login(name, PASSWORD), lab.device, credential).open()
