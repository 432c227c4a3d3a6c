"""The files that the demo keeps from one run to the next."""

import socket
from pathlib import Path

import pytest

from netstacks.demo.folder import Folder, free_port
from tests import ports


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "var")


def test_a_secret_is_made_up_once_and_is_its_owners_alone(folder: Folder) -> None:
    path = folder.secret("jwt_secret")
    text = path.read_text()
    assert len(text) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.secret("jwt_secret").read_text() == text
    assert Folder(folder.path).secret("other").read_text() != text


def test_the_host_key_stays(folder: Folder) -> None:
    assert folder.host_key().read_bytes() == folder.host_key().read_bytes()


def test_the_port_stays_while_it_is_free(folder: Folder) -> None:
    # A demo beside this test takes the ports that every demo begins with.
    (folder.path / "device.port").write_text(f"{ports.free_port()}\n")
    port = folder.port()
    assert folder.port() == port
    with socket.create_server(("127.0.0.1", port)):
        taken = folder.port()
        assert taken > port
    assert folder.port() == taken


def test_a_second_run_is_kept_out(folder: Folder) -> None:
    with folder.held(), pytest.raises(SystemExit, match="Already running"), folder.held():
        pass
    with folder.held():
        pass


def test_no_port_is_told() -> None:
    with pytest.raises(SystemExit, match="No free port from 65536"):
        free_port("127.0.0.1", 65536)
