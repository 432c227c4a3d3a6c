"""The promises of log-ins: secrets are tried once, prompts reach the user, new passwords can be stored."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controller import Api, Controller, until
from tests.ports import free_port
from tests.sshd import SSHD, Sshd
from tests.zoo.animals import PROMPT, SECRET, USER, asked, usual
from tests.zoo.conftest import add
from tests.zoo.people import KINDS, Kind, meet
from tests.zoo.scripts import Check, offering, password, questions
from tests.zoo.server import Request, ScriptedServer, Visit


@pytest.fixture(scope="module")
def second_controller(controller: Controller, zoo_database: str) -> Iterator[Controller]:
    """Another instance on the same database."""
    second = Controller(zoo_database, SESSION_DETACH_TTL_SECS="60")
    second.start()
    yield second
    second.stop()


def credential(api: Api, secret: str = SECRET, credential_type: str = "ssh_password") -> Any:
    return api.add_credential(USER, secret, credential_type, name="of the zoo")


def test_a_refused_secret_is_sent_once_in_the_whole_cluster(api: Api, second_controller: Controller) -> None:
    either = offering(
        "password",
        "keyboard-interactive",
        password=password("the right one"),
        keyboard_interactive=questions((("Password: ", False, "the right one"),)),
    )
    with ScriptedServer(usual(log_in=either)) as server:
        device, wrong = add(api, server), credential(api, "a wrong one")
        client = meet(api, "client", device, wrong)
        client.is_refused("refused", USER)
        assert len(server.attempts) == 1
        client.type("\r")
        client.sees_times("Press Enter", 2)
        meet(api, "page", device, wrong).is_refused("not tried again")
        meet(api.at(second_controller), "client", device, wrong).is_refused("not tried again")
        assert len(server.attempts) == 1
        api.call("PUT", f"/api/credentials/{wrong['id']}", json={"secret": "the right one"})
        meet(api.at(second_controller), "page", device, wrong).sees(PROMPT)
        client.type("\r")
        client.sees(PROMPT)
        sent = [each.secret for each in server.attempts if each.method == "password"]
        assert sent.count("a wrong one") + server.visits[0].answers.count("a wrong one") == 1
        assert not server.failures


def rotate(api: Api, credential: Any, secret: str, device: Any, *, expect: int) -> Any:
    body = {"secret": secret, "test_device_id": device["id"]}
    return api.post(f"/api/v1/credentials/{credential['id']}/rotate", body, expect=expect)


def test_a_test_of_a_new_secret_does_not_end_the_wait_of_the_stored_one(api: Api) -> None:
    with ScriptedServer(usual(log_in=offering("password", password=password("the right one")))) as server:
        device, wrong = add(api, server), credential(api, "a wrong one")
        meet(api, "client", device, wrong).is_refused("refused", USER)
        contact = api.get(f"/api/v1/devices?search={device['name']}")["items"]
        refusal = rotate(api, wrong, "another wrong one", device, expect=502)
        assert "refused the password" in refusal["error"]
        meet(api, "page", device, wrong).is_refused("not tried again")
        assert [each.secret for each in server.attempts] == ["a wrong one", "another wrong one"]
        # The last contact is still that of the terminal.
        assert api.get(f"/api/v1/devices?search={device['name']}")["items"] == contact
        assert rotate(api, wrong, "the right one", device, expect=200)["tested_on"] == device["name"]
        meet(api, "client", device, wrong).sees(PROMPT)


def test_tests_of_new_secrets_are_limited_in_the_whole_cluster(api: Api, second_controller: Controller) -> None:
    with ScriptedServer(usual(log_in=offering("password", password=password("the right one")))) as server:
        device, stored = add(api, server), credential(api, "a wrong one")
        for each in (api, api.at(second_controller), api):
            rotate(each, stored, "guessed", device, expect=502)
        for each in (api, api.at(second_controller)):
            assert "lock the account" in rotate(each, stored, "guessed", device, expect=409)["error"]
        assert len(server.attempts) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_many_terminals_at_once_send_a_wrong_secret_once(api: Api, kind: Kind) -> None:
    with ScriptedServer(usual(log_in=offering("password", password=password("another", after_secs=1)))) as server:
        device, wrong = add(api, server), credential(api)
        for person in [meet(api, kind, device, wrong) for _ in range(6)]:
            person.is_refused("refused")
        assert len(server.attempts) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_the_device_asks_for_again_is_not_sent_by_the_next_terminal(api: Api, kind: Kind) -> None:
    def check(visit: Visit, _: Request) -> bool:
        return any(visit.ask(("Password: ", False)) == ["changed"] for _ in range(2))

    with ScriptedServer(usual(log_in=offering("keyboard-interactive", keyboard_interactive=check))) as server:
        device, outdated = add(api, server), credential(api)
        person = meet(api, kind, device, outdated)
        person.answers("Password: ", "changed")
        person.sees(PROMPT)
        meet(api, kind, device, outdated).is_refused("refused the password", "not tried again")
        assert [visit.answers for visit in server.visits] == [[SECRET, "changed"]]
        assert not server.failures


class Expiring:
    """A device that has its user choose another password after the first log-in."""

    def __init__(self) -> None:
        self.password = SECRET
        self._is_expired = True

    def check(self, visit: Visit, request: Request) -> bool:
        if visit.ask(("Password: ", False)) != [self.password]:
            return False
        if self._is_expired:
            prompts = (("New password: ", False), ("Retype new password: ", False))
            first, again = visit.ask(prompts[0]) + visit.ask(prompts[1])
            if first != again:
                return False
            self.password, self._is_expired = first, False
        return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_new_password_is_offered_to_be_stored(api: Api, kind: Kind, keeps: bool) -> None:
    check: Check = Expiring().check
    with ScriptedServer(usual(log_in=offering("keyboard-interactive", keyboard_interactive=check))) as server:
        device, stored = add(api, server), credential(api)
        person = meet(api, kind, device, stored)
        person.answers("New password: ", "a newer secret")
        person.answers("Retype new password: ", "a newer secret")
        person.answers("tore the new password", "y" if keeps else "n")
        person.sees(PROMPT)
        assert b"a newer secret" not in person.shown
        person.leave()
        again = meet(api, kind, device, stored)
        if keeps:
            again.sees(PROMPT)
            again.leave()
        else:
            again.is_refused("refused")
        assert server.last.answers[-1] == ("a newer secret" if keeps else SECRET)
        assert not server.failures


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_shown_only_if_the_device_says_so(api: Api, kind: Kind) -> None:
    animal = asked(
        (("Password: ", False, SECRET),), (("Option: ", True, "push"),), (("Verification code: ", False, "424242"),)
    )
    with ScriptedServer(animal) as server:
        person = meet(api, kind, add(api, server), credential(api))
        person.answers("Option: ", "push")
        person.answers("Verification code: ", "424242")
        person.sees(PROMPT)
        assert b"Option: push" in person.shown
        assert b"424242" not in person.shown
        assert SECRET.encode() not in person.shown


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_at_a_question_gives_the_opening_up(api: Api, kind: Kind) -> None:
    with ScriptedServer(asked((("Password: ", False, SECRET),), (("Token code: ", False, "1"),))) as server:
        person = meet(api, kind, add(api, server), credential(api))
        person.sees("Token code: ")
        person.gives_up()
        until(server.last.is_over.is_set, "the end of the connection to the device")
        assert server.last.answers == [SECRET]


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_gives_a_long_wait_up(api: Api, kind: Kind) -> None:
    with ScriptedServer(usual(log_in=offering("password", password=password(SECRET, after_secs=60)))) as server:
        person = meet(api, kind, add(api, server), credential(api))
        person.sees("waiting for the device")
        person.gives_up()
        until(server.last.is_over.is_set, "the end of the connection to the device")


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistyped_code_may_be_typed_again(api: Api, kind: Kind) -> None:
    animal = asked((("Password: ", False, SECRET),), (("Token code: ", False, "111111"),))
    with ScriptedServer(animal) as server:
        person = meet(api, kind, add(api, server), credential(api))
        person.answers("Token code: ", "999999")
        person.sees_times("Token code: ", 2)
        person.type("111111\r")
        person.sees(PROMPT)
        assert server.last.answers == [SECRET, "999999", SECRET, "111111"]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_behind_an_answer_do_not_become_part_of_it(api: Api, kind: Kind) -> None:
    animal = asked((("Password: ", False, SECRET),), (("Token code: ", False, "111111"),))
    with ScriptedServer(animal) as server:
        person = meet(api, kind, add(api, server), credential(api))
        person.answers("Token code: ", "111111")
        for key in "show clock\r":
            person.type(key)
        person.sees(PROMPT)
        assert server.last.answers == [SECRET, "111111"]


@pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
@pytest.mark.parametrize("kind", KINDS)
def test_openssh_wants_a_key_and_a_password(api: Api, kind: Kind) -> None:
    with Sshd("AuthenticationMethods publickey,password") as sshd:
        if sshd.password is None:
            pytest.skip("needs root: only root may create a user with a password")
        device = api.add_device(sshd.host, sshd.port, host_key=(sshd.host_key_type, sshd.host_key_base64))
        person = meet(api, kind, device, api.add_credential(sshd.user, sshd.private_key, "ssh_key"))
        person.answers("assword", sshd.password)
        person.sees("$ ")
        person.type("echo $((6*7))\r")
        person.sees("42")
        person.type("exit 3\r")
        person.ends("exit status 3")


DROPBEAR = shutil.which("dropbear", path="/usr/sbin:/usr/bin")


@pytest.mark.skipif(not (DROPBEAR and SSHD), reason="needs Debian's dropbear-bin and openssh-server")
@pytest.mark.parametrize("kind", KINDS)
def test_dropbear(api: Api, kind: Kind) -> None:
    # OpenSSH is here only for its user, which has a password.
    with Sshd() as sshd:
        if sshd.password is None:
            pytest.skip("needs root: only root may create a user with a password")
        with dropbear() as (port, host_key):
            device = api.add_device("127.0.0.1", port, host_key=host_key)
            person = meet(api, kind, device, api.add_credential(sshd.user, sshd.password))
            person.connected()
            person.resize(132, 43)
            person.type("stty size; echo $((6*7))\r")
            person.sees("43 132\r\n42")
            person.type("exit 3\r")
            person.ends("exit status 3")


@contextlib.contextmanager
def dropbear() -> Iterator[tuple[int, tuple[str, str]]]:
    """A Dropbear server: its port and its host key."""
    assert DROPBEAR is not None
    with tempfile.TemporaryDirectory(prefix="netstacks-dropbear-") as folder:
        port, key_file = free_port(), f"{folder}/host"
        command = ["dropbearkey", "-t", "ed25519", "-f", key_file]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        key_type, key = next(line for line in printed.splitlines() if line.startswith("ssh-")).split()[:2]
        command = [DROPBEAR, "-F", "-E", "-r", key_file, "-p", f"127.0.0.1:{port}", "-P", f"{folder}/pid"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            until(lambda: _accepts(port), "Dropbear")
            yield port, (key_type, key)
        finally:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
