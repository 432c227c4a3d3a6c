"""`netstacks users reset-second-factors`: for a user who has lost them."""

import pytest
from click.testing import CliRunner

from netstacks.commands.second_factors import reset_command
from netstacks.errors import NotFound
from netstacks.store import audit, logins, second_factors, users
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.commands.test_users import Run, database, run, stored, url

__all__ = ["database", "run", "url"]

MASTER_KEY = "5e" * 32


def reset(url: str, name: str) -> str:
    environment = {"DATABASE_URL": url, "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": "s" * 32}
    result = CliRunner().invoke(reset_command, [name], env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_all_factors_and_log_ins_of_the_user_end(run: Run, database: Database, url: str) -> None:
    for name in ("lee", "kim"):
        run("create", name, "--role", "operator")
    vault = Vault(database, MASTER_KEY)
    vault.unlock()
    with database.transaction() as tx:
        for name in ("lee", "kim"):
            user_id = stored(database, name)[0].id
            second_factors.put_totp(tx, vault, user_id, "A" * 32, 1)
            second_factors.replace_recovery_codes(tx, user_id, [b"1"])
            logins.begin(tx, user_id, "page", max_days=30)
    assert reset(url, "LEE") == "removed the second factors of lee: totp\n"
    assert reset(url, "lee") == "removed the second factors of lee: there were none\n"
    with database.transaction() as tx:
        by_name = {user.username: user.id for user in users.list_all(tx)}
        assert second_factors.kinds_of(tx, by_name["lee"]) == []
        assert second_factors.recovery_codes_left(tx, by_name["lee"]) == 0
        assert logins.of_user(tx, by_name["lee"]) == []
        assert second_factors.kinds_of(tx, by_name["kim"]) == ["totp"]
        assert len(logins.of_user(tx, by_name["kim"])) == 1
        rows = audit.list_page(tx, event="user.second_factors_reset")
    assert [(row["actor"], row["details"]["kinds"]) for row in rows] == [("system", []), ("system", ["totp"])]


def test_an_unknown_user_is_named(database: Database, url: str) -> None:
    with pytest.raises(NotFound, match="there is no user nobody"):
        reset(url, "nobody")
