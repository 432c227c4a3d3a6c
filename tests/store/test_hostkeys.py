"""Host keys: one a host and port, told by the fingerprint that OpenSSH shows."""

import subprocess
from pathlib import Path

import pytest

from netstacks.errors import InvalidInput, NotFound
from netstacks.permissions import EVERYWHERE
from netstacks.store import hostkeys
from netstacks.store.pool import Database


@pytest.fixture(params=["ed25519", "ecdsa", "rsa"])
def key_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", request.param, "-N", "", "-C", "somebody@router01 with words", "-f", path]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub")


def test_type_and_fingerprint_are_those_of_ssh_keygen(database: Database, key_file: Path) -> None:
    key_type, public_key = hostkeys.parse_public_key(key_file.read_text())
    assert (key_type, public_key) == tuple(key_file.read_text().split()[:2])
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key_file], check=True, capture_output=True, text=True).stdout
    with database.transaction() as tx:
        stored = hostkeys.remember(tx, "R1", 22, key_type, public_key, "ann")
        assert stored.fingerprint == shown.split()[1]
        assert hostkeys.find(tx, "r1", 22) == stored


def test_a_known_hosts_line_is_understood(key_file: Path) -> None:
    line = "router01 " + key_file.read_text()
    assert hostkeys.parse_public_key(line) == hostkeys.parse_public_key(key_file.read_text())


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa !!!!", "c3NoLXJzYQ=="])
def test_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="ssh-keyscan"):
        hostkeys.parse_public_key(text)


def test_the_next_key_of_an_address_replaces_the_one_before(database: Database) -> None:
    with database.transaction() as tx:
        hostkeys.remember(tx, "r1", 22, "ssh-rsa", "b25l", "ann")
        hostkeys.remember(tx, "r1", 2222, "ssh-rsa", "b25l", "ann")
        hostkeys.remember(tx, "r1", 22, "ssh-ed25519", "dHdv", "bob")
        assert [(key.port, key.public_key, key.approved_by) for key in hostkeys.list_all(tx, within=EVERYWHERE)] == [
            (22, "dHdv", "bob"),
            (2222, "b25l", "ann"),
        ]
        hostkeys.delete(tx, "r1", 22, within=EVERYWHERE)
        assert hostkeys.find(tx, "r1", 22) is None
        with pytest.raises(NotFound):
            hostkeys.delete(tx, "r1", 22, within=EVERYWHERE)


def test_an_approval_replaces_the_key_that_it_was_about_and_no_other(database: Database) -> None:
    with database.transaction() as tx:
        first = hostkeys.approve(tx, "R1", 22, "ssh-rsa", "b25l", "ann", None)
        assert first is not None
        assert hostkeys.approve(tx, "r1", 22, "ssh-rsa", "dHdv", "bob", None) is None
        second = hostkeys.approve(tx, "r1", 22, "ssh-rsa", "dHdv", "cal", first)
        assert second is not None
        assert hostkeys.approve(tx, "r1", 22, "ssh-rsa", "dGhyZWU=", "bob", first) is None
        assert hostkeys.find(tx, "r1", 22) == second
        assert (second.public_key, second.approved_by) == ("dHdv", "cal")
        hostkeys.delete(tx, "r1", 22, within=EVERYWHERE)
        assert hostkeys.approve(tx, "r1", 22, "ssh-rsa", "dGhyZWU=", "bob", second) is None
