"""The demo device: its abbreviations, and a terminal to it through a controller."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netstacks.demo import ROUTER_PASSWORD, ROUTER_USERNAME
from netstacks.demo.device import expand
from netstacks.demo.folder import Folder
from netstacks.demo.seed import public_key
from tests.controller import Api, Controller, Terminal, until
from tests.ports import free_port
from tests.postgres import Postgres

COMMANDS = ["show version", "show vrf", "show ip route", "show ipv6 route", "exit"]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("sh ver", "show version"),
        ("  show   version ", "show version"),
        ("ex", "exit"),
        ("sh v", "sh v"),
        ("sh ip ro", "show ip route"),
        ("sh ipv ro", "show ipv6 route"),
        ("sh ip", "sh ip"),
        ("hello", "hello"),
        ("", ""),
    ],
)
def test_a_line_is_expanded_when_it_means_one_command(line: str, command: str) -> None:
    assert expand(line, COMMANDS) == command


@pytest.fixture(scope="module")
def terminal(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    key_file = Folder(tmp_path_factory.mktemp("demo") / "var").host_key()
    port = free_port()
    device = subprocess.Popen([sys.executable, "-m", "netstacks.demo.device", str(port), str(key_file)])
    controller = Controller(postgres.create_database())
    try:
        until(lambda: _listens(port), "the device's start")
        yield _open(controller.start().login(), port, key_file)
    finally:
        controller.stop()
        device.terminate()
        device.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _open(api: Api, port: int, key_file: Path) -> Terminal:
    key_type, base64 = public_key(key_file).split()
    device = api.add_device("127.0.0.1", port, host_key=(key_type, base64), device_type="cisco_ios")
    credential = api.add_credential(ROUTER_USERNAME, ROUTER_PASSWORD)
    return api.open(device, credential).connected()


def test_it_answers_edits_lines_and_ends_in_an_orderly_way(terminal: Terminal) -> None:
    terminal.expect("demo-router#")
    terminal.type("sh ip int brx\x7f\r")
    terminal.expect("Loopback0")
    terminal.type("nonsense\x15conf t\r")
    terminal.expect("demo-router(config)#")
    terminal.type("exit\r")
    until(lambda: terminal.output.endswith(b"(config)#exit\r\ndemo-router#"), "the way out of the configuration")
    terminal.type("exit\r")
    assert terminal.ended() == "the device closed the connection"
