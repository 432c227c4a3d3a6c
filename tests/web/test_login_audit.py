"""The audit rows that password guesses may write."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.settings import Settings
from netstacks.store import failed_login_audit
from netstacks.store.pool import Database
from netstacks.store.users import User
from tests.web.conftest import Api
from tests.web.test_guessing import at


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"audit_failed_logins_per_hour": 2})


def test_guesses_beyond_the_limit_share_a_row_and_none_is_forgotten(
    database: Database,
    anonymous: Api,
    add_user: Callable[..., User],
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    add_user("lee")
    for number in range(5):
        body = {"username": "lee" if number % 2 else f"name{number}", "password": "wrong"}
        answer = at(anonymous, f"2001:db8::{number}").post("/api/auth/login", json=body)
        assert answer.status_code == 401
    assert len(audited("auth.login_failed")) == 2
    with database.transaction() as tx:
        assert failed_login_audit.write_counted(tx, age_secs=0) == 3
    (row,) = audited("auth.login_failed_more")
    assert (row["resource"], row["details"]["attempts"]) == ("address:2001:db8::/64", 3)
