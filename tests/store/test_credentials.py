"""Credentials: their permissions, what is checked when one is saved, and which one Connect uses."""

import secrets
from dataclasses import asdict
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from netstacks.errors import InvalidInput, NotFound
from netstacks.permissions import EVERYWHERE
from netstacks.store import credentials, devices, user_settings, users
from netstacks.store.credentials import Credential, LoginSecret, Secrets
from netstacks.store.pool import Database
from netstacks.store.vault import Vault

KEY = ed25519.Ed25519PrivateKey.generate()
PLAIN_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
LOCKED_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"open sesame")).decode()


class Store:
    """A vault with two users in a database of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.vault = Vault(database, secrets.token_hex(32))
        self.vault.unlock()
        with database.transaction() as tx:
            self.ann, self.bob = (
                users.create(tx, username=name, password_hash="-", role="operator").id for name in ("ann", "bob")
            )

    def add(self, name: str, owner_id: UUID | None = None, kind: str = "ssh_password", **more: str) -> Credential:
        given = {name: more.pop(name) for name in ("secret", "passphrase", "enable_secret") if name in more}
        values = {"username": "admin", **more}
        with self.database.transaction() as tx:
            return credentials.create(
                tx,
                self.vault,
                Secrets(**{"secret": "s3cret", **given}),
                name=name,
                credential_type=kind,
                owner_id=owner_id,
                **values,  # type: ignore[arg-type]
            )

    def update(self, old: Credential, new: Secrets = Secrets(), **changes: object) -> Credential:  # noqa: B008
        with self.database.transaction() as tx:
            return credentials.update(tx, self.vault, old, changes, new, by="ann")

    def for_login(self, credential: Credential, user_id: UUID, host: str = "192.0.2.1", port: int = 22) -> LoginSecret:
        with self.database.transaction() as tx:
            return credentials.for_login(
                tx, self.vault, credential.id, user_id, host=host, port=port, default_id=None, within=EVERYWHERE
            )


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def test_own_and_shared_ones_open_for_a_login(store: Store) -> None:
    for credential in (store.add("mine", store.ann), store.add("ours")):
        secret = LoginSecret("admin", credential.updated_at, password="s3cret")
        assert store.for_login(credential, store.ann) == secret


def test_anothers_or_an_unknown_one_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.for_login(store.add("mine", store.ann), store.bob)
    with store.database.transaction() as tx, pytest.raises(NotFound):
        credentials.for_login(
            tx, store.vault, uuid4(), store.ann, host="192.0.2.1", port=22, default_id=None, within=EVERYWHERE
        )


def test_one_with_an_address_opens_for_no_other(store: Store) -> None:
    for only_for in ("192.0.2.1", "::ffff:192.0.2.1"):
        credential = store.add("core", store.ann, host=only_for)
        for port in (22, 2222):
            assert store.for_login(credential, store.ann, "192.0.2.1", port).password == "s3cret"
        with pytest.raises(InvalidInput, match=r"core is only for 192\.0\.2\.1, and the device is at 192\.0\.2\.2:22"):
            store.for_login(credential, store.ann, "192.0.2.2")


def test_one_with_a_port_opens_for_no_other_port_of_its_address(store: Store) -> None:
    credential = store.update(store.add("core", store.ann, host="R1.Example."), port=2222)
    assert store.for_login(credential, store.ann, "r1.example", 2222).password == "s3cret"
    with pytest.raises(InvalidInput, match=r"only for r1\.example:2222, and the device is at r1\.example:22: "):
        store.for_login(credential, store.ann, "r1.example", 22)
    anywhere = store.update(credential, host=None)
    assert store.for_login(anywhere, store.ann, "r2.example", 22).password == "s3cret"


@pytest.mark.parametrize("kind", ["api_token", "snmp_community", "generic_secret"])
def test_only_ssh_credentials_go_to_a_device(store: Store, kind: str) -> None:
    credential = store.add("other", store.ann, kind)
    with pytest.raises(NotFound, match="SSH"):
        store.for_login(credential, store.ann)
    with store.database.transaction() as tx:
        assert store.vault.open(tx, credential.id, "secret") == "s3cret"
        assert credentials.usable(tx, store.ann, within=EVERYWHERE) == []


def test_an_encrypted_key_is_stored_open(store: Store) -> None:
    credential = store.add("key", store.ann, "ssh_key", secret=LOCKED_KEY, passphrase="open sesame")
    opened = store.for_login(credential, store.ann)
    assert opened.private_key is not None
    assert load_ssh_private_key(opened.private_key.encode(), None).private_bytes_raw() == KEY.private_bytes_raw()
    assert "PRIVATE" not in repr(opened)


def test_omitted_members_stay(store: Store) -> None:
    credential = store.add("old name", store.ann, enable_secret="enable", description="text")
    renamed = store.update(credential, name="new name")
    changed = {"name": "new name", "version": 2, "updated_by": "ann", "updated_at": 0}
    assert {**asdict(renamed), "updated_at": 0} == {**asdict(credential), **changed}
    assert store.for_login(credential, store.ann).password == "s3cret"


@pytest.mark.parametrize(
    ("kind", "given", "changes", "problem"),
    [
        ("ssh_password", Secrets(), {"username": None}, "username: is missing"),
        ("ssh_password", Secrets("x", "y"), {}, "passphrase: is for credentials of the type ssh_key"),
        ("ssh_password", Secrets(), {"credential_type": "ssh_key"}, "a change of type needs a new secret"),
        ("ssh_password", Secrets("no key"), {"credential_type": "ssh_key"}, "must be a private key"),
        ("ssh_key", Secrets(None, "y"), {}, "send it together with its private key"),
        ("ssh_key", Secrets(LOCKED_KEY), {}, "passphrase: is missing"),
        ("ssh_password", Secrets(), {"host": "not a host"}, "neither a host name nor"),
    ],
)
def test_a_change_that_could_not_log_in_is_refused_and_changes_nothing(
    store: Store, kind: str, given: Secrets, changes: dict[str, object], problem: str
) -> None:
    credential = store.add("c", store.ann, kind, secret=PLAIN_KEY)
    before = store.for_login(credential, store.ann)
    with pytest.raises(InvalidInput, match=problem):
        store.update(credential, given, **changes)
    assert store.for_login(credential, store.ann) == before


def test_connect_uses_the_only_usable_one_and_never_guesses(store: Store) -> None:
    def default() -> str | None:
        with store.database.transaction() as tx:
            credential = credentials.default_for(tx, store.ann, within=EVERYWHERE)
            return credential and credential.name

    def connect_request(value: object) -> None:
        with store.database.transaction() as tx:
            user_settings.put(tx, store.ann, credentials.DEFAULT_SETTING, value)

    assert default() is None
    store.add("token", store.ann, "api_token")
    anothers = store.add("anothers", store.bob)
    store.add("mine", store.ann)
    assert default() == "mine"
    ours = store.add("ours")
    assert default() is None
    connect_request(str(ours.id))
    assert default() == "ours"
    for nonsense in (str(anothers.id), {"id": 1}, None):
        connect_request(nonsense)
        assert default() is None


def test_deleting_one_names_the_devices_that_lose_their_default(store: Store) -> None:
    credential = store.add("ours")
    with store.database.transaction() as tx:
        device = devices.create(tx, name="r1", host="r1", default_credential_id=credential.id)
        assert credentials.delete(tx, credential, within=EVERYWHERE) == ["r1"]
        after = devices.find(tx, device.id, within=EVERYWHERE)
        assert after is not None
        assert after.default_credential_id is None
        assert tx.execute("SELECT 1 FROM vault_secrets").fetchone() is None
