"""The check on demand: only devices of the list are dialled, without a secret, at a limited rate."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from netstacks.instance import device_check
from tests.ports import free_port
from tests.web.conftest import Api
from tests.web.test_device_list import add


@contextmanager
def server(*pieces: bytes) -> Iterator[int]:
    """The port of a server that sends these pieces to each client and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    for piece in pieces:
                        client.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def check(api: Api, *ids: str) -> Any:
    return api.post("/api/v1/devices/check", json={"ids": list(ids)})


def test_a_check_tells_what_answers_and_stores_it(
    admin: Api, operator: Api, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    with (
        server(b"Authorized users only\r\n", b"SSH-2.0-Cis", b"co-1.25\r\n") as ssh,
        server(b"HTTP/1.1 400\r\n") as web,
    ):
        ids = [
            add(admin, name, "127.0.0.1", port=port)["id"]
            for name, port in (("ssh", ssh), ("web", web), ("gone", free_port()))
        ]
        answer = check(operator, *ids)
    assert answer.status_code == 200, answer.text
    found = {item["id"]: item for item in answer.json["items"]}
    assert [found[each]["reachability"] for each in ids] == ["reached", "unreachable", "unreachable"]
    assert found[ids[0]]["software"] == "2.0-Cisco-1.25"
    assert "is not an SSH server" in found[ids[1]]["reason"]
    assert "refused" in found[ids[2]]["reason"]
    stored = {item["id"]: item for item in admin.get("/api/v1/devices").json["items"]}
    assert {each: stored[each]["reachability"] for each in ids} == {each: found[each]["reachability"] for each in ids}
    assert stored[ids[0]]["contact_by"] == "operator"
    # A check is no session.
    assert stored[ids[0]]["session_at"] is None
    (row,) = audited("device.checked")
    assert (row["actor"], sorted(row["details"]["devices"])) == ("operator", ["gone", "ssh", "web"])


def test_a_greeting_is_plain_text(admin: Api) -> None:
    with server(b"SSH-2.0-\x1b[2Jevil" + b"x" * 500 + b"\r\n") as port:
        (item,) = check(admin, add(admin, "r1", "127.0.0.1", port=port)["id"]).json["items"]
    assert "\x1b" not in item["software"]
    assert len(item["software"]) <= 100


def test_only_devices_of_the_list_are_checked(admin: Api) -> None:
    device = add(admin, "r1", "127.0.0.1", port=free_port())
    answer = check(admin, device["id"], str(uuid4()))
    assert answer.status_code == 404
    assert admin.get("/api/v1/devices").json["items"][0]["reachability"] == "unknown"


@pytest.mark.parametrize("ids", [[], ["x"], [str(uuid4())] * (device_check.MAX_DEVICES + 1)])
def test_a_check_of_none_or_too_many_is_refused(admin: Api, ids: list[str]) -> None:
    assert check(admin, *ids).status_code == 422


def test_a_user_checks_ten_times_a_minute(admin: Api, operator: Api) -> None:
    device = add(admin, "r1", "127.0.0.1", port=free_port())["id"]
    assert [check(operator, device).status_code for _ in range(10)] == [200] * 10
    refused = check(operator, device)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert check(admin, device).status_code == 200


def test_a_viewer_checks_nothing(admin: Api, viewer: Api) -> None:
    assert check(viewer, add(admin, "r1")["id"]).status_code == 403
