"""`/ws/check` tells a page why its WebSockets fail, and the log says what a load balancer removes, once."""

import socket

import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.controller import Controller, until


def closed_with(controller: Controller, origin: str | None) -> tuple[int | None, str | None]:
    with (
        connect(f"ws://127.0.0.1:{controller.port}/ws/check", origin=origin, legacy=True) as socket,  # type: ignore[arg-type]
        pytest.raises(ConnectionClosed),
    ):
        socket.recv(timeout=30)
    return socket.close_code, socket.close_reason


def test_a_page_is_told_how_its_request_has_arrived(controller: Controller) -> None:
    assert closed_with(controller, controller.url) == (1000, "")
    assert closed_with(controller, None) == (1000, "")
    code, told = closed_with(controller, "https://netstacks.example")
    assert code == 4002
    assert told is not None
    assert "does not pass the header Host on" in told


def test_a_removed_upgrade_is_logged_once_and_a_request_by_hand_is_not(controller: Controller) -> None:
    assert requests.get(f"{controller.url}/ws/ssh", timeout=30).status_code == 426
    assert "websocket.upgrade_removed" not in controller.log()
    for path in ("/ws/ssh", "/ws/ssh", "/ws/shared"):
        answer = requests.get(controller.url + path, headers={"Sec-WebSocket-Key": "AAAA"}, timeout=30)
        assert answer.status_code == 426
    assert controller.log().count("websocket.upgrade_removed") == 1


@pytest.mark.parametrize(
    ("version", "connection", "told"),
    [("1.1", "close", "without the header Connection"), ("1.0", "Upgrade", "with HTTP/1.0")],
)
def test_each_way_to_lose_an_upgrade_is_logged_by_its_name(
    controller: Controller, version: str, connection: str, told: str
) -> None:
    """As from an nginx without `proxy_set_header Connection`, and from one without `proxy_http_version 1.1`."""
    request = (
        f"GET /ws/ssh HTTP/{version}\r\nHost: {controller.url.removeprefix('http://')}\r\nUpgrade: websocket\r\n"
        f"Connection: {connection}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    for _ in range(3):
        assert told not in controller.log()
        with socket.create_connection(("127.0.0.1", controller.port), 30) as connected:
            connected.sendall(request.encode())
            assert connected.recv(65536).split()[1] in (b"400", b"426")
    until(lambda: told in controller.log(), "the line")
    assert controller.log().count(f"arrive {told}") == 1


def test_a_foreign_origin_is_logged_once_and_strangers_do_not_fill_the_log(controller: Controller) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for number in (1, 1, *range(100)):
        origin = f"https://site-{number}.example"
        answer = requests.get(f"{controller.url}/ws/ssh", headers={**upgrade, "Origin": origin}, timeout=30)
        assert answer.status_code == 403
        assert "must pass it on unchanged" in answer.json()["error"]
    lines = [line for line in controller.log().splitlines() if "origin.refused" in line]
    assert sum("site-1.example" in line for line in lines) == 1
    assert 1 < len(lines) <= 20
