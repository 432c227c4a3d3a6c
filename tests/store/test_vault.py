"""The vault: what is stored is sealed to its place, and a rotation never leaves a secret unreadable."""

import secrets
import threading
import time
from uuid import UUID, uuid4

import pytest

from netstacks.errors import NetstacksError, NotFound, StoreUnavailable, VaultLocked
from netstacks.store import audit
from netstacks.store.pool import Database
from netstacks.store.vault import Vault

OLD, NEW, OTHER = (secrets.token_hex(32) for _ in range(3))


@pytest.fixture
def vault(database: Database) -> Vault:
    vault = Vault(database, OLD)
    vault.unlock()
    return vault


def make_credential(database: Database) -> UUID:
    values = "(%s, 'c', 'ssh_password', 'shared')"
    credential_id = uuid4()
    with database.transaction() as tx:
        tx.execute(
            f"INSERT INTO credentials (id, name, credential_type, vault_type) VALUES {values}".encode(), [credential_id]
        )
    return credential_id


def put(database: Database, vault: Vault, text: str, field: str = "secret") -> UUID:
    credential_id = make_credential(database)
    with database.transaction() as tx:
        vault.seal(tx, credential_id, field, text)
    return credential_id


def get(database: Database, vault: Vault, credential_id: UUID, field: str = "secret") -> str:
    with database.transaction() as tx:
        return vault.open(tx, credential_id, field)


def test_a_sealed_value_opens_and_shows_nothing_of_itself_in_the_table(database: Database, vault: Vault) -> None:
    credential_id = put(database, vault, "pässword")
    assert get(database, vault, credential_id) == "pässword"
    with database.transaction() as tx:
        row = tx.execute("SELECT * FROM vault_secrets").fetchone()
    assert row is not None
    assert "pässword".encode() not in row["sealed"]
    assert row["key_id"] == vault.key_ids[0]


def test_the_same_text_is_sealed_differently_each_time(database: Database, vault: Vault) -> None:
    for _ in range(2):
        put(database, vault, "same")
    with database.transaction() as tx:
        first, second = (row["sealed"] for row in tx.execute("SELECT sealed FROM vault_secrets"))
    assert first[:12] != second[:12]
    assert first[12:] != second[12:]


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE vault_secrets SET credential_id = %(other)s",
        "UPDATE vault_secrets SET field = 'enable_secret'",
        "UPDATE vault_secrets SET sealed = set_byte(sealed, 14, get_byte(sealed, 14) # 1)",
        "UPDATE vault_secrets SET sealed = substr(sealed, 1, 5)",
    ],
    ids=["another credential", "another field", "a flipped bit", "cut short"],
)
def test_a_value_that_was_moved_or_altered_does_not_open(database: Database, vault: Vault, tampering: str) -> None:
    put(database, vault, "secret")
    with database.transaction() as tx:
        tx.execute(tampering.encode(), {"other": make_credential(database)})
        row = tx.execute("SELECT credential_id, field FROM vault_secrets").fetchone()
    assert row is not None
    with pytest.raises(NetstacksError, match="altered or moved"):
        get(database, vault, row["credential_id"], row["field"])


def test_a_field_that_was_never_set_is_not_found(database: Database, vault: Vault) -> None:
    with pytest.raises(NotFound, match="enable_secret"):
        get(database, vault, put(database, vault, "x"), "enable_secret")


def test_a_wrong_master_key_neither_opens_nor_stores(database: Database, vault: Vault) -> None:
    credential_id = put(database, vault, "x")
    wrong = Vault(database, OTHER)
    with pytest.raises(VaultLocked, match="VAULT_MASTER_KEY") as refusal:
        wrong.unlock()
    assert OTHER not in str(refusal.value)
    with pytest.raises(VaultLocked):
        get(database, wrong, credential_id)
    with pytest.raises(VaultLocked):
        put(database, wrong, "y")
    vault.unlock()
    assert get(database, vault, credential_id) == "x"


def test_a_damaged_canary_locks_the_vault(database: Database, vault: Vault) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE vault_keys SET canary = set_byte(canary, 14, get_byte(canary, 14) # 1)")
    with pytest.raises(VaultLocked, match="canary"):
        vault.unlock()


def test_nothing_is_stored_before_the_first_unlock(database: Database) -> None:
    with pytest.raises(VaultLocked, match="no key yet"):
        put(database, Vault(database, OLD), "x")


@pytest.mark.usefixtures("product_limits")
def test_an_unreachable_database_is_not_a_wrong_key() -> None:
    database = Database("postgresql://127.0.0.1:1/none")
    database.open()
    with pytest.raises(StoreUnavailable):
        Vault(database, OLD).unlock()
    database.close()


def test_one_of_several_first_starts_with_different_keys_wins(database: Database) -> None:
    outcomes: dict[str, bool] = {}
    keys = [secrets.token_hex(32) for _ in range(6)]
    together = threading.Barrier(len(keys))

    def start(key: str) -> None:
        together.wait(30)
        try:
            Vault(database, key).unlock()
            outcomes[key] = True
        except VaultLocked:
            outcomes[key] = False

    threads = [threading.Thread(target=start, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes.values()) == [False] * 5 + [True]


def test_an_instance_with_both_keys_seals_with_the_current_one(database: Database, vault: Vault) -> None:
    both = Vault(database, NEW, OLD)
    both.unlock()
    assert get(database, vault, put(database, both, "readable by those that wait for their restart")).startswith("read")


def test_rotation_seals_everything_anew_and_drops_the_old_key(database: Database, vault: Vault) -> None:
    ids = [put(database, vault, f"secret {number}") for number in range(7)]
    both = Vault(database, NEW, OLD)
    assert both.rotate(audit.SYSTEM, batch=3) == 7
    assert [get(database, Vault(database, NEW), each) for each in ids] == [f"secret {number}" for number in range(7)]
    assert [(key.key_id, key.is_current, key.secrets) for key in both.status()] == [(both.key_ids[0], True, 7)]
    with pytest.raises(VaultLocked):
        get(database, vault, ids[0])
    with pytest.raises(VaultLocked):
        put(database, vault, "too late")
    with database.transaction() as tx:
        events = [row["event"] for row in audit.list_page(tx)]
    assert events == ["vault.rotated", "vault.key_changed"]


def test_an_interrupted_rotation_is_readable_and_is_finished_by_the_next(database: Database, vault: Vault) -> None:
    ids = [put(database, vault, "x") for _ in range(4)]
    both = Vault(database, NEW, OLD)

    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        both.rotate(audit.SYSTEM, batch=1, progress=interrupt)
    assert sorted(key.secrets for key in both.status()) == [1, 3]
    assert [get(database, both, each) for each in ids] == ["x"] * 4
    assert both.rotate(audit.SYSTEM) == 1
    assert [get(database, Vault(database, NEW), each) for each in ids] == ["x"] * 4


@pytest.mark.parametrize("batch", [1, 200])
def test_a_secret_that_does_not_open_is_named_and_all_others_are_sealed_anew(
    database: Database, vault: Vault, batch: int
) -> None:
    ids = sorted(put(database, vault, "x") for _ in range(4))
    with database.transaction() as tx:
        tx.execute("UPDATE vault_secrets SET sealed = '' WHERE credential_id = ANY(%s)", [ids[:2]])
    both = Vault(database, NEW, OLD)
    unreadable: list[str] = []
    assert both.rotate(audit.SYSTEM, batch=batch, unreadable=unreadable.append) == 2
    assert [str(each) in problem for each, problem in zip(ids[:2], unreadable, strict=True)] == [True, True]
    assert sorted(key.secrets for key in both.status()) == [2, 2]
    assert [get(database, Vault(database, NEW), each) for each in ids[2:]] == ["x"] * 2
    with database.transaction() as tx:
        for each in ids[:2]:
            both.seal(tx, each, "secret", "stored anew")
    assert both.rotate(audit.SYSTEM) == 0
    assert [(key.key_id, key.secrets) for key in both.status()] == [(both.key_ids[0], 4)]


def test_rotation_from_a_key_that_is_not_held_is_refused(database: Database, vault: Vault) -> None:
    with pytest.raises(VaultLocked):
        Vault(database, NEW, OTHER).rotate(audit.SYSTEM)
    vault.unlock()


def test_a_value_sealed_while_the_key_changes_is_sealed_anew(database: Database, vault: Vault) -> None:
    credential_id = make_credential(database)
    rotation = threading.Thread(target=Vault(database, NEW, OLD).rotate, args=[audit.SYSTEM])
    with database.transaction() as tx:
        vault.seal(tx, credential_id, "secret", "not committed yet")
        rotation.start()
        while rotation.is_alive() and not waits_for_lock(database):
            time.sleep(0.01)
    rotation.join(30)
    assert get(database, Vault(database, NEW), credential_id) == "not committed yet"


def waits_for_lock(database: Database) -> bool:
    with database.transaction() as tx:
        return tx.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None
