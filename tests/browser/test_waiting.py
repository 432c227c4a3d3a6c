"""The terminal page while many terminals are being opened: it says what it waits for, and how long that takes."""

import socket
from collections.abc import Iterator
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import PHONE, Browser
from tests.browser.silence import connect, note_all_states, pace, stop_clock_at, wait_for_state
from tests.controller import Api, Controller, until
from tests.wire import Wire

# More than one page waits for its turn: at 25 a second it is long enough for a page to be opened and used.
_CROWD = 500


class Crowd:
    """Clients that come all at once, each for a session that there never was."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._connections: list[socket.socket] = []

    def come(self) -> None:
        for _ in range(_CROWD):
            self._connections.append(socket.create_connection(("127.0.0.1", self._api.controller.port)))
        for connection in self._connections:
            query = urlencode({"reconnect_token": uuid4(), "offset": 0, "epoch": 1, "token": self._api.token})
            connection.sendall(
                f"GET /ws/ssh?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )

    def leave(self) -> None:
        for each in self._connections:
            each.close()


@pytest.fixture
def crowd(admin: Api) -> Iterator[Crowd]:
    crowd = Crowd(admin)
    yield crowd
    crowd.leave()


def test_a_new_terminal_that_waits_says_its_place_and_opens_in_its_turn(
    browser: Browser, known_lab: str, crowd: Crowd
) -> None:
    note_all_states(browser)
    crowd.come()
    browser.open(f"/terminals/new?device={known_lab}")
    wait_for_state(browser, "Waiting for a terminal", "place")
    browser.screenshot("terminal-waits")
    browser.resize(PHONE)
    browser.screenshot("terminal-waits-phone")
    browser.wait_for("Connected")
    browser.type("echo in''time", Keys.ENTER)
    until(lambda: "\nintime" in browser.screen, "the echo")
    assert browser.errors() == []


def test_a_terminal_that_waits_can_be_given_up(browser: Browser, known_lab: str, crowd: Crowd) -> None:
    crowd.come()
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Waiting for a terminal")
    browser.click("Cancel")
    browser.wait_for("Not connected")


def test_a_session_that_lost_its_instance_says_that_it_is_restored(
    browser: Browser, known_lab: str, crowd: Crowd, controller: Controller, wire: Wire
) -> None:
    terminal = connect(browser, known_lab)
    path = terminal.path
    # It tries again when the crowd has come.
    stop_clock_at(terminal, "Connection lost")
    wire.cut()
    terminal.wait_for("Connection lost")
    controller.kill()
    controller.start()
    crowd.come()
    wire.restore()
    pace(terminal, 1)
    wait_for_state(terminal, "Restoring your session")
    terminal.screenshot("terminal-restores")
    terminal.wait_for("Connected")
    assert terminal.path == path
    terminal.type("echo in''time", Keys.ENTER)
    until(lambda: "\nintime" in terminal.screen, "the echo")
