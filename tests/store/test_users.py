"""Users and their passwords, the last administrator, the first one."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from netstacks.crypto.passwords import hash_password, is_password
from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.store import audit, external_identities, identity_providers, system_settings, users
from netstacks.store.pool import Database, Transaction
from netstacks.store.schema import migrate
from netstacks.store.setting_definitions import ADMIN_PASSWORD_LENGTH
from netstacks.store.users import User
from netstacks.store.vault import Vault
from tests.postgres import Postgres

HASH = hash_password("correct horse battery")


def add(tx: Transaction, username: str, role: str = "admin", email: str | None = None) -> User:
    return users.create(tx, username=username, password_hash=HASH, role=role, email=email)


def test_a_password_is_known_by_its_hash_only() -> None:
    assert is_password("correct horse battery", HASH)
    assert not is_password("wrong", HASH)
    assert "correct" not in HASH
    assert hash_password("correct horse battery") != HASH


def test_no_password_is_right_where_there_is_no_hash() -> None:
    assert not is_password("what an unknown user's password is compared with", None)


def test_a_damaged_hash_fits_no_password() -> None:
    assert not is_password("x", "not a hash")


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_a_password_has_eight_characters_or_more(password: str) -> None:
    with pytest.raises(InvalidInput, match="8 to 1024"):
        hash_password(password)


@pytest.mark.parametrize("username", ["", "a b", "a>b", "a?b", "a~b", "x" * 65, "a\nb"])
def test_a_user_name_that_a_token_could_not_carry_is_refused(database: Database, username: str) -> None:
    with pytest.raises(InvalidInput, match=r"^username: "), database.transaction() as tx:
        add(tx, username)


def test_names_and_addresses_are_unique_whatever_their_case(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, "lee", email="lee@example.net")
    for username, email in (("LEE", None), ("kim", "Lee@Example.net")):
        with pytest.raises(Conflict), database.transaction() as tx:
            add(tx, username, email=email)


@pytest.mark.parametrize(
    ("username", "email", "text"),
    [
        ("Lee@Example.net", None, "username: is the e-mail address of another user"),
        ("kim", "Root@example.net", "email: is the user name of another user"),
    ],
)
def test_nothing_by_which_another_user_logs_in_is_given(
    database: Database, username: str, email: str | None, text: str
) -> None:
    with database.transaction() as tx:
        add(tx, "lee", email="lee@example.net")
        add(tx, "root@example.net")
    with pytest.raises(Conflict, match=text), database.transaction() as tx:
        add(tx, username, email=email)
    with database.transaction() as tx:
        kim = add(tx, "kim@example.net", email="kim@example.net")
    if email is not None:
        with pytest.raises(Conflict, match=text), database.transaction() as tx:
            retire(tx, kim, email=email)
    with database.transaction() as tx:
        retire(tx, kim, email="Kim@example.net")


def with_an_address_like_a_name(tx: Transaction) -> tuple[User, User]:
    """Two users of the time when an address could be the name of another user."""
    kim = add(tx, "kim")
    lee = add(tx, "lee")
    tx.execute("UPDATE users SET email = 'lee' WHERE id = %s", [kim.id])
    return kim, lee


def test_an_address_that_was_given_before_does_not_keep_its_user_from_being_deactivated(database: Database) -> None:
    with database.transaction() as tx:
        kim, _ = with_an_address_like_a_name(tx)
        retire(tx, kim, email="lee", is_active=False)
        assert not users.get(tx, kim.id).is_active


def test_a_name_is_preferred_to_an_equal_address(database: Database) -> None:
    with database.transaction() as tx:
        _, lee = with_an_address_like_a_name(tx)
        found = users.by_login_name(tx, "lee")
    assert found == (lee, HASH)


def retire(tx: Transaction, user: User, **change: object) -> None:
    values = {"email": None, "display_name": None, "role": "admin", "is_active": True} | change
    users.update(tx, user.id, by="ann", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "remove",
    [
        lambda tx, user: users.delete(tx, user.id),
        lambda tx, user: retire(tx, user, is_active=False),
        lambda tx, user: retire(tx, user, role="operator"),
    ],
)
def test_the_last_active_administrator_stays(database: Database, remove: Callable[[Transaction, User], None]) -> None:
    with database.transaction() as tx:
        first, second = add(tx, "first"), add(tx, "second")
        add(tx, "other", role="operator")
        remove(tx, first)
    with pytest.raises(Conflict, match="last active administrator"), database.transaction() as tx:
        remove(tx, second)
    with database.transaction() as tx:
        assert users.get(tx, second.id) == second


def test_an_administrator_of_single_sign_on_counts_while_a_provider_of_that_user_is_enabled(database: Database) -> None:
    vault = Vault(database, "5e" * 32)
    vault.unlock()
    facts = {"name": "Corp", "issuer": "https://id.example.net", "client_id": "us", "origins": [], "enabled": True}
    claims = {"scopes": "openid", "username_claim": "name", "email_claim": "", "groups_claim": "", "default_role": None}
    with database.transaction() as tx:
        local, external = add(tx, "local"), add(tx, "external")
        external_identities.make_external(tx, external.id)
        identity_providers.create(tx, vault, claims | facts | {"name": "Other"}, secret=None, by="t")
        provider = identity_providers.create(tx, vault, claims | facts, secret=None, by="t")
    with pytest.raises(Conflict, match="last active administrator who can log in"), database.transaction() as tx:
        retire(tx, local, role="operator")
    with database.transaction() as tx:
        external_identities.add(tx, provider.id, "42", external.id, by="Corp", is_link=False)
        retire(tx, local, role="operator")
        users.require_an_administrator(tx)
    for remove in (
        lambda tx: identity_providers.update(tx, vault, provider, {"enabled": False}, secret=None, by="t"),
        lambda tx: identity_providers.delete(tx, provider.id),
    ):
        with database.transaction() as tx:
            remove(tx)
            with pytest.raises(Conflict, match="a way to log in"):
                users.require_an_administrator(tx)


def test_two_administrators_cannot_remove_each_other_at_once(database: Database) -> None:
    with database.transaction() as tx:
        admins = [add(tx, "first"), add(tx, "second")]
    both_looked = threading.Barrier(2, timeout=30)
    outcomes: list[str] = []

    def remove(user: User) -> None:
        try:
            with database.transaction() as tx:
                users.get(tx, user.id)
                both_looked.wait()
                users.delete(tx, user.id)
            outcomes.append("removed")
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=remove, args=[user]) for user in admins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["refused", "removed"]


def test_an_unknown_user_is_not_found(database: Database) -> None:
    with database.transaction() as tx:
        user = add(tx, "lee")
        add(tx, "kim")
        users.delete(tx, user.id)
        with pytest.raises(NotFound):
            users.get(tx, user.id)


def test_an_empty_database_gets_an_administrator_with_a_made_up_password(database: Database) -> None:
    password = users.ensure_administrator(database, "root", None)
    assert password is not None
    with database.transaction() as tx:
        found = users.by_login_name(tx, "root")
        [row] = audit.list_page(tx, event="user.created")
    assert found is not None
    user, password_hash = found
    assert user.role == "admin"
    assert is_password(password, password_hash)
    assert (row["actor"], password in str(row)) == ("system", False)
    assert users.ensure_administrator(database, "root", None) is None


def test_the_given_password_is_used(database: Database) -> None:
    assert users.ensure_administrator(database, "root", "given password") == "given password"


@pytest.mark.parametrize("password", ["short words", "password12345"])
def test_a_given_password_that_is_not_good_enough_is_refused_by_the_name_of_its_setting(
    database: Database, password: str
) -> None:
    with pytest.raises(InvalidInput, match="BOOTSTRAP_ADMIN_PASSWORD"):
        users.ensure_administrator(database, "root", password)
    with database.transaction() as tx:
        assert users.list_all(tx) == []


def test_a_user_with_a_short_password_becomes_no_administrator(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, "root")
        lee = users.create(tx, username="lee", password_hash=HASH, role="operator", is_password_long=False)
    with pytest.raises(Conflict, match="12 characters"), database.transaction() as tx:
        retire(tx, lee)
    with database.transaction() as tx:
        users.set_password(tx, lee.id, HASH)
        retire(tx, lee)
        assert users.get(tx, lee.id).role == "admin"


def test_the_length_that_is_named_is_the_one_of_the_settings(database: Database) -> None:
    with database.transaction() as tx:
        system_settings.put(tx, ADMIN_PASSWORD_LENGTH, 20, "root")
        add(tx, "root")
        lee = users.create(tx, username="lee", password_hash=HASH, role="operator", is_password_long=False)
    with pytest.raises(Conflict, match="20 characters"), database.transaction() as tx:
        retire(tx, lee)
    with pytest.raises(InvalidInput, match="20 characters"), database.transaction() as tx:
        users.create(tx, username="kim", password_hash=HASH, role="admin", is_password_long=False)


def test_an_administrator_keeps_no_short_password(database: Database) -> None:
    with database.transaction() as tx:
        root = add(tx, "root")
    with pytest.raises(Conflict), database.transaction() as tx:
        users.set_password(tx, root.id, HASH, is_long=False)


def test_a_log_in_is_void_when_the_password_or_the_users_state_has_changed_since_it_was_looked_at(
    database: Database,
) -> None:
    with database.transaction() as tx:
        add(tx, "root")
        lee = add(tx, "lee", role="viewer")
        assert users.note_login(tx, lee.id, HASH) == "viewer"
        users.set_password(tx, lee.id, hash_password("another password"))
        assert users.note_login(tx, lee.id, HASH) is None
        users.set_password(tx, lee.id, HASH)
        retire(tx, lee, is_active=False)
        assert users.note_login(tx, lee.id, HASH) is None


def test_a_database_with_users_gets_no_administrator(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, "lee", role="viewer")
    assert users.ensure_administrator(database, "root", "given password") is None
    with database.transaction() as tx:
        assert [user.username for user in users.list_all(tx)] == ["lee"]


START = """
import sys
from netstacks.store.pool import Database
from netstacks.store.users import ensure_administrator
database = Database(sys.argv[1])
database.open()
database._pool.wait(60)
print("ready", flush=True)
sys.stdin.read()
print(ensure_administrator(database, "root", None))
database.close()
"""


def test_instances_that_start_together_make_one_administrator(postgres: Postgres) -> None:
    url = postgres.create_database()
    database = Database(url)
    database.open()
    migrate(database)
    instances = [
        subprocess.Popen([sys.executable, "-c", START, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for instance in instances:
        assert instance.stdout is not None
        assert instance.stdout.readline() == "ready\n"
    for instance in instances:
        assert instance.stdin is not None
        instance.stdin.close()
    passwords = [instance.stdout.read().strip() for instance in instances if instance.stdout is not None]
    assert [instance.wait(30) for instance in instances] == [0] * 4
    assert sorted(password == "None" for password in passwords) == [False, True, True, True]
    with database.transaction() as tx:
        assert len(users.list_all(tx)) == 1
    database.close()
