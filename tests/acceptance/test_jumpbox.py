"""The jump box, end to end: a client's WebSocket, gunicorn, PostgreSQL and OpenSSH."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import requests
from websockets.exceptions import ConnectionClosed

from tests.acceptance.lab import Lab, make_lab
from tests.controller import Api, Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

PROMPT = "jump> "
WITHDRAWN = (4001, "access was withdrawn")
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[78\\])|\x18")


class Box:
    """A client of the jump box."""

    def __init__(self, api: Api, *, greeted: bool = True, **query: Any) -> None:
        self.terminal = Terminal(api, {"cols": 120, "rows": 40, **query}, path="/ws/jumpbox")
        self._seen = 0
        if greeted:
            self.prompted()

    @property
    def shown(self) -> str:
        """The shown text, without cursor movements."""
        # The last character may still be on its way.
        return _SEQUENCE.sub("", self.terminal.output.decode(errors="ignore"))

    def expect(self, text: str) -> str:
        """Waits for `text` behind what was expected before, and returns what was shown up to it."""
        until(lambda: text in self.shown[self._seen :] or self._is_over(text), repr(text))
        end = self.shown.index(text, self._seen) + len(text)
        answer, self._seen = self.shown[self._seen : end], end
        return answer

    def _is_over(self, text: str) -> bool:
        assert self.terminal.close is None, f"closed with {self.terminal.close} before {text!r}: {self.shown[-600:]!r}"
        return False

    def prompted(self) -> str:
        return self.expect(PROMPT)

    def ask(self, line: str) -> str:
        """Types a command and returns its answer."""
        self.terminal.type(f"{line}\r")
        self.expect(line)
        return self.prompted()

    def connect(self, line: str) -> None:
        """Types a command that opens a session, and waits for the session."""
        self.terminal.token = None
        self.terminal.type(f"{line}\r")
        until(lambda: self.terminal.token or self._is_over(line), "a session")


@pytest.fixture
def user(admin: Api, controller: Controller) -> Callable[..., Api]:
    """`user("lee", role="viewer")`: another user, logged in."""

    def log_in(name: str, role: str = "operator") -> Api:
        member = {"username": name, "password": "a password of theirs", "role": role}
        admin.post("/api/users", member)
        return controller.login(name, "a password of theirs")

    return log_in


@pytest.fixture
def lee(user: Callable[..., Api], request: pytest.FixtureRequest) -> Api:
    """An operator of this test alone, without a credential."""
    return user(f"lee-{abs(hash(request.node.name))}")


@pytest.fixture
def box(lab: Lab) -> Iterator[Box]:
    box = Box(lab.api)
    yield box
    if box.terminal.close is None:
        box.terminal.leave()


def personal(api: Api, sshd: Sshd, name: str, **members: Any) -> Any:
    """A credential of the user's own that opens the server."""
    body = {"name": name, "credential_type": "ssh_key", "username": sshd.user, "secret": sshd.private_key}
    return api.post("/api/credentials/personal", body | members)


def test_it_counts_as_connected_at_once_and_greets(box: Box) -> None:
    assert box.terminal.frames[0] == 0x08
    assert set(box.terminal.info) >= {"session_id"}
    assert "help" in box.shown
    box.terminal.frame(b"\x03")
    until(lambda: 0x04 in box.terminal.frames, "the pong")


def test_help_lists_the_commands_and_a_wrong_one_is_told_what_is_right(box: Box) -> None:
    for name in ("devices", "connect", "credentials", "sessions", "whoami", "clear", "exit"):
        assert name in box.ask("help")
    assert box.ask("?") == box.ask("HELP")
    answer = box.ask("conect r1")
    assert "no command conect" in answer
    assert "Did you mean connect?" in answer
    assert box.ask("").strip() == PROMPT.strip()


def test_devices_are_listed_searched_and_counted(box: Box, lab: Lab) -> None:
    for number in range(3):
        lab.api.add_device(f"192.0.2.{number + 1}", 22, name=f"Leaf-{number}", device_type="ios", site="Ulm")
    answer = box.ask("devices leaf")
    assert [line.split() for line in answer.split("\r\n")[1:5]] == [
        ["NAME", "ADDRESS", "TYPE", "SITE"],
        *([f"Leaf-{number}", f"192.0.2.{number + 1}:22", "ios", "Ulm"] for number in range(3)),
    ]
    assert "Leaf-2" in box.ask("ls 192.0.2.3")
    assert "Leaf-2" in box.ask("search LEAF-2")
    assert "No device has 'nothing'" in box.ask("devices nothing")


def test_a_large_inventory_is_cut_with_its_count(admin: Api, postgres: Postgres) -> None:
    for number in range(120):
        admin.add_device(f"198.51.100.{number + 1}", 22, name=f"many-{number:03}")
    box = Box(admin)
    answer = box.ask("devices many")
    assert answer.count("many-") == 100
    assert "100 of 120" in answer
    box.terminal.type("connect many-\t")
    assert "many-019" in box.expect("…")
    box.terminal.leave()


def test_connect_opens_a_session_and_the_prompt_comes_back(box: Box, lab: Lab) -> None:
    own_id = box.terminal.info["session_id"]
    box.connect(f"connect {lab.device['name']}")
    session_id = box.terminal.info["session_id"]
    assert session_id != own_id
    box.terminal.type("echo $((6*7))-$TERM; stty size\r")
    box.expect("42-xterm-256color")
    box.expect("40 120")
    rows = lab.api.get("/api/sessions?state=live")["items"]
    assert session_id in [row["id"] for row in rows]
    other = Box(lab.api)
    assert lab.device["name"] in other.ask("sessions")
    other.terminal.leave()
    box.terminal.type("exit\r")
    assert "Session ended: " in box.prompted()
    # Whatever screen and modes the device's last program has left.
    assert b"\x1b[?1049l" in box.terminal.output
    until(lambda: box.terminal.info["session_id"] == own_id, "the jump box's own id")
    box.connect(f"ssh 127.0.0.1:{lab.device['port']}")
    box.terminal.type("echo again-$((1+1))\r")
    box.expect("again-2")
    assert box.terminal.close is None


def test_names_may_be_short_and_in_any_case_and_several_are_listed(box: Box, lab: Lab) -> None:
    for number, name in enumerate(("Core-1", "Core-10", "Core-2")):
        lab.api.add_device(f"192.0.2.{21 + number}", 22, name=name)
    answer = box.ask("connect core")
    assert "Several devices begin with 'core'" in answer
    assert [row.split()[0] for row in answer.split("\r\n") if row.startswith("Core")] == ["Core-1", "Core-10", "Core-2"]
    box.terminal.type("connect CORE-1 as " + lab.credential["name"] + "\r")
    box.expect("Connecting to Core-1 at 192.0.2.21:22")
    box.terminal.type("\x03")
    assert "Not connected: cancelled" in box.prompted()
    assert "No device begins with 'nowhere'" in box.ask("connect nowhere")
    assert "connect NAME" in box.ask("connect")
    box.connect(f"connect {lab.device['name'][:-1]}".upper())
    box.terminal.type("exit\r")
    box.prompted()


def test_the_credential_is_named_or_the_default_or_asked_for_by_number(lee: Api, lab: Lab, sshd: Sshd) -> None:
    own = personal(lee, sshd, "Lee's key")
    personal(lee, sshd, "Zero", username="nobody-of-this-name")
    box = Box(lee)
    name = lab.device["name"]
    box.terminal.type(f"connect {name}\r")
    question = box.expect("Number: ")
    number = next(line.split()[0] for line in question.split("\r\n") if "Lee's key" in line)
    box.terminal.type("77\r")
    assert "Type a number from 1 to" in box.expect("Number: ")
    box.connect(number)
    box.terminal.type("exit\r")
    box.prompted()
    # Answers are not in the history.
    box.terminal.type("\x1b[A")
    box.expect(f"jump> connect {name}")
    box.terminal.type("\x03")
    box.prompted()
    box.connect(f"connect {name} as LEE")
    box.terminal.type("exit\r")
    box.prompted()
    assert "credential 'none of mine'" in box.ask(f"connect {name} as none of mine")
    lee.call("PUT", "/api/user-settings/terminal.default_credential", json=own["id"])
    row = next(line for line in box.ask("credentials").split("\r\n") if line.startswith("Lee's key"))
    assert row.endswith("your default")
    box.connect(f"connect {name}")
    box.terminal.type("exit\r")
    box.prompted()
    box.terminal.leave()


def test_the_tab_key_completes_commands_devices_and_credentials(lee: Api, lab: Lab, sshd: Sshd) -> None:
    lab.api.add_device("192.0.2.31", 22, name="Spine One")
    lab.api.add_device("192.0.2.32", 22, name="Spine Two")
    personal(lee, sshd, "Tab key")
    box = Box(lee)
    box.terminal.type("con")
    box.terminal.type("\t")
    box.expect("jump> connect ")
    box.terminal.type("spi")
    box.terminal.type("\t")
    box.expect("jump> connect Spine ")
    box.terminal.type("\t")
    assert "Spine One  Spine Two" in box.expect("jump> connect Spine ")
    box.terminal.type("o")
    box.terminal.type("\t")
    box.expect("jump> connect Spine One ")
    box.terminal.type("as ta")
    box.terminal.type("\t")
    box.expect("jump> connect Spine One as Tab key ")
    box.terminal.type("\x03")
    box.prompted()
    box.terminal.leave()


def test_history_is_this_connections_alone(box: Box, lab: Lab) -> None:
    box.ask("whoami")
    box.terminal.type("\x1b[A")
    box.expect("jump> whoami")
    box.terminal.type("\x03")
    box.prompted()
    other = Box(lab.api)
    other.terminal.type("\x1b[A\r")
    assert "whoami" not in other.prompted()
    other.terminal.leave()


def test_each_line_of_a_paste_is_a_command(box: Box) -> None:
    box.terminal.type("whoami\rdevices nothing-at-all\nhelp\rwho")
    assert "with the role admin" in box.prompted()
    assert "No device has" in box.prompted()
    assert "shows this list" in box.prompted()
    box.expect("who")
    box.terminal.type("ami\r")
    assert "with the role admin" in box.prompted()


def test_a_paste_after_connect_is_not_taken_for_an_answer(box: Box, lab: Lab) -> None:
    box.terminal.token = None
    box.terminal.type(f"connect {lab.device['name']}\rtouch /tmp/never\r")
    box.expect("The text pasted after connect was discarded")
    until(lambda: box.terminal.token, "the session")
    box.terminal.type("echo do''ne\r")
    assert "touch" not in box.expect("done")


def test_a_refused_log_in_is_told_and_the_prompt_comes_back(lee: Api, lab: Lab) -> None:
    body = {"name": "Wrong", "credential_type": "ssh_password", "username": "nobody-of-this-name", "secret": "wrong"}
    lee.post("/api/credentials/personal", body)
    box = Box(lee)
    box.terminal.type(f"connect {lab.device['name']} as wrong\r")
    until(lambda: "Password:" in box.shown or "Not connected" in box.shown, "an answer of the device")
    if "Password:" in box.shown:
        box.terminal.type("\x03")
    assert "Not connected: " in box.prompted()
    assert "with the role operator" in box.ask("whoami")
    assert box.terminal.errors == []
    box.terminal.leave()


def test_an_unknown_host_key_waits_for_its_user(lee: Api, lab: Lab) -> None:
    with Sshd() as stranger:
        lab.api.add_device(stranger.host, stranger.port, name="stranger")
        personal(lee, stranger, "stranger")
        box = Box(lee)
        box.terminal.token = None
        box.terminal.type("connect stranger as stranger\r")
        prompt = until(lambda: lee.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        assert prompt["port"] == stranger.port
        lee.post(f"/api/host-keys/prompts/{prompt['id']}/approve")
        until(lambda: box.terminal.token, "the session")
        box.terminal.leave()


def test_the_size_is_asked_once_and_followed(lab: Lab) -> None:
    box = Box(lab.api, cols=80, rows=24)
    assert box.terminal.output.count(b"\x1b[6n") == 1
    box.terminal.type("\x1b[50;132R")
    assert "with the role" in box.ask("whoami")
    assert "50;132" not in box.shown
    box.connect(f"connect {lab.device['name']}")
    box.terminal.type("stty size\r")
    box.expect("50 132")
    box.terminal.frame(b"\x02\x00\x64\x00\x1e")
    box.terminal.type("stty size\r")
    box.expect("30 100")
    assert box.terminal.output.count(b"\x1b[6n") == 1
    box.terminal.leave()


def test_names_with_escape_sequences_do_not_reach_the_terminal(box: Box, lab: Lab) -> None:
    device = lab.api.add_device("192.0.2.41", 22, name="evil")
    # The API refuses such a name; rows of an import or of an earlier version may hold one.
    with psycopg.connect(lab.api.controller.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "UPDATE devices SET name = %s, site = %s WHERE id = %s",
            ("evil\x1b]0;owned\x07\x1b[2Jdevice", "\x9b31m", device["id"]),
        )
    answer = box.ask("devices evil")
    assert "evil]0;owned[2Jdevice" in answer
    box.terminal.type("connect evi")
    box.terminal.type("\t")
    box.expect("connect evil]0;owned[2Jdevice ")
    box.terminal.type("\r")
    box.expect("Connecting to evil]0;owned[2Jdevice at 192.0.2.41:22")
    box.terminal.type("\x03")
    box.prompted()
    sent = box.terminal.output.decode()
    assert not [order for order in ("\x1b]", "\x07", "\x1b[2J", "\x9b") if order in sent]


@pytest.mark.parametrize("keys", ["exit\r", "quit\r", "\x04"])
def test_it_is_left(lab: Lab, keys: str) -> None:
    box = Box(lab.api)
    box.terminal.type(keys)
    assert box.terminal.closed() == (1000, "you have left the jump box")


def test_clear_clears(box: Box) -> None:
    box.terminal.type("clear\r")
    until(lambda: b"\x1b[2J" in box.terminal.output, "an empty screen")


def test_a_log_out_ends_the_jumpbox(user: Callable[..., Api]) -> None:
    leaver, stayer = user("leaver"), user("stayer")
    idle, stays = Box(leaver), Box(stayer)
    leaver.post("/api/auth/logout")
    assert idle.terminal.closed() == WITHDRAWN
    assert "with the role operator" in stays.ask("whoami")
    stays.terminal.leave()


def test_a_deactivated_user_loses_it_with_the_session_and_at_the_prompt(
    user: Callable[..., Api], admin: Api, lab: Lab, sshd: Sshd
) -> None:
    goner = user("goner")
    personal(goner, sshd, "key")
    idle, busy = Box(goner), Box(goner)
    busy.connect(f"connect {lab.device['name']} as key")
    admin.call("DELETE", f"/api/users/{goner.user['id']}/logins")
    assert idle.terminal.closed() == WITHDRAWN
    assert busy.terminal.closed() == WITHDRAWN
    assert "access was withdrawn" in busy.shown


def test_a_user_without_the_connect_permission_runs_no_command(user: Callable[..., Api], admin: Api) -> None:
    demoted = user("demoted")
    box = Box(demoted)
    profile = {**admin.get(f"/api/users/{demoted.user['id']}"), "role": "viewer"}
    admin.call("PUT", f"/api/users/{demoted.user['id']}", json=profile)
    with contextlib.suppress(ConnectionClosed):
        box.terminal.type("devices\r")
    assert box.terminal.closed() == WITHDRAWN
    assert "ADDRESS" not in box.shown


def test_only_users_with_the_connect_permission_enter(
    lab: Lab, controller: Controller, user: Callable[..., Api]
) -> None:
    url = f"{controller.url}/ws/jumpbox?cols=80&rows=24"
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    token = {"token": lab.api.token}
    foreign = upgrade | {"Origin": "https://evil.example"}
    assert requests.get(url, headers=upgrade, timeout=10).status_code == 401
    assert requests.get(url, headers=foreign, params=token, timeout=10).status_code == 403
    watcher = {"token": user("watcher", role="viewer").token}
    assert requests.get(url, headers=upgrade, params=watcher, timeout=10).status_code == 403


def test_a_drain_closes_it_with_a_reason(postgres: Postgres, sshd: Sshd) -> None:
    leaving = Controller(postgres.create_database()).start()
    try:
        lab = make_lab(leaving.login(), sshd)
        idle, busy = Box(lab.api), Box(lab.api)
        busy.connect(f"connect {lab.device['name']}")
        leaving.terminate()
        assert idle.terminal.closed() == (1012, "the controller is restarting")
        assert busy.terminal.closed() == (1012, "the controller is restarting")
    finally:
        leaving.stop()


def test_a_drain_lets_no_other_in(postgres: Postgres, sshd: Sshd) -> None:
    leaving = Controller(postgres.create_database(), DRAIN_TIMEOUT_SECS="60").start()
    try:
        lab = make_lab(leaving.login(), sshd)
        busy = lab.open()
        # Output keeps the drain waiting.
        busy.type("while :; do echo busy; sleep 0.1; done\r")
        busy.expect("busy\r\nbusy")
        leaving.terminate()
        until(lambda: leaving.health().get("status") == "draining", "the drain")
        late = Box(lab.api, greeted=False)
        assert late.terminal.closed() == (1012, "the controller is restarting")
    finally:
        leaving.stop()


def test_a_database_that_is_away_is_told_and_the_prompt_comes_back() -> None:
    database = Postgres().start()
    controller = Controller(database.create_database()).start()
    try:
        box = Box(controller.login())
        database.stop()
        box.terminal.type("devices\r")
        box.expect("devices")
        answer = box.prompted()
        assert "atabase" in answer or "PostgreSQL" in answer
        assert "shows this list" in box.ask("help")
        database.start()
        until(lambda: "There are no devices yet" in box.ask("devices"), "an answer of the database")
        box.terminal.leave()
        assert "Traceback" not in controller.log()
    finally:
        controller.stop()
        database.destroy()
