"""Sessions through the API: which ones a user lists and ends, and the audit row of an end."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks.permissions import Reach, Role
from netstacks.store import devices, roles, sessions
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import Api
from tests.web.test_users import Audited


@pytest.fixture
def ended() -> list[tuple[UUID, str]]:
    """The sessions that the broker was told to end, with the reasons."""
    return []


@pytest.fixture
def services(services: Services, ended: list[tuple[UUID, str]]) -> Services:
    """A broker that records which sessions it is told to end, and deferred writes that reach the database."""
    services.broker = cast(Any, SimpleNamespace(end=lambda session_id, reason: ended.append((session_id, reason))))
    services.deferred_writes.start()
    return services


@pytest.fixture
def of_operator(operator: Api, database: Database) -> UUID:
    return make_session(database, user_id=operator.user_id, username="operator")


@pytest.fixture
def of_admin(admin: Api, database: Database) -> UUID:
    return make_session(database, user_id=admin.user_id, username="admin")


def listed(api: Api, query: str = "") -> dict[str, bool]:
    """The ids of the sessions that a user sees, and whether each is shown as the user's own."""
    return {item["id"]: item["is_mine"] for item in api.get(f"/api/sessions{query}").json["items"]}


def test_an_operator_lists_only_their_own_sessions(operator: Api, of_operator: UUID, of_admin: UUID) -> None:
    assert listed(operator) == {str(of_operator): True}


def test_a_manager_of_sessions_lists_all_of_them(admin: Api, of_operator: UUID, of_admin: UUID) -> None:
    assert listed(admin) == {str(of_operator): False, str(of_admin): True}


def test_sessions_of_all_users_are_found_by_user_device_and_owner(
    admin: Api, operator: Api, database: Database
) -> None:
    one = make_session(database, username="ana", device_name="core-1.Oslo", owner="ctrl-1")
    two = make_session(database, username="ben", device_name="edge-2", owner="ctrl-2")
    with database.transaction() as tx:
        assert sessions.end(tx, two, 1, "logged out")

    def found(query: str) -> set[str]:
        return {item["id"] for item in admin.get(f"/api/v1/sessions?{query}").json["items"]}

    assert found("") == {str(one), str(two)}
    assert found("user=ANA") == found("device=oslo") == found("owner=ctrl-1") == found("state=live") == {str(one)}
    assert found("state=ended") == found("user=ben&device=EDGE") == {str(two)}
    assert found("user=an") == found("device=%25") == found("user=ana&device=edge") == set()
    assert admin.get("/api/v1/sessions?limit=1").json["next"]
    assert admin.get("/api/v1/sessions?state=x").status_code == 422
    assert operator.get("/api/v1/sessions").status_code == 403


def test_the_list_is_filtered_by_state(admin: Api, of_operator: UUID, of_admin: UUID, database: Database) -> None:
    with database.transaction() as tx:
        assert sessions.end(tx, of_operator, 1, "logged out")
    assert set(listed(admin, "?state=live")) == {str(of_admin)}
    assert set(listed(admin, "?state=ended")) == {str(of_operator)}


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_user_without_the_manage_permission_ends_no_session_of_another_user(
    request: pytest.FixtureRequest,
    role: str,
    of_admin: UUID,
    ended: list[tuple[UUID, str]],
    services: Services,
    audited: Audited,
) -> None:
    other = request.getfixturevalue(role)
    refused = other.delete(f"/api/sessions/{of_admin}")
    unknown = other.delete(f"/api/sessions/{uuid4()}")
    # The answer does not tell that the session exists.
    assert (refused.status_code, refused.json) == (unknown.status_code, unknown.json)
    assert refused.status_code == 404
    assert ended == []
    assert services.deferred_writes.flush(10)
    assert audited("session.*") == []


def test_a_user_ends_their_own_session(operator: Api, of_operator: UUID, ended: list[tuple[UUID, str]]) -> None:
    assert operator.delete(f"/api/sessions/{of_operator}").status_code == 204
    assert ended == [(of_operator, "ended by operator")]


def test_an_end_by_another_user_is_audited_with_the_owner_of_the_session(
    admin: Api, of_operator: UUID, ended: list[tuple[UUID, str]], services: Services, audited: Audited
) -> None:
    assert admin.delete(f"/api/sessions/{of_operator}").status_code == 204
    assert ended == [(of_operator, "ended by admin")]
    assert services.deferred_writes.flush(10)
    [row] = audited("session.ended_by_user")
    assert (row["actor"], row["resource"]) == ("admin", f"session:{of_operator}")
    assert row["details"] == {"owner": "operator"}
    assert row["address"] == "127.0.0.1"


def test_a_session_that_has_ended_is_not_ended_again(
    admin: Api,
    of_operator: UUID,
    ended: list[tuple[UUID, str]],
    services: Services,
    audited: Audited,
    database: Database,
) -> None:
    with database.transaction() as tx:
        assert sessions.end(tx, of_operator, 1, "logged out")
    refused = admin.delete(f"/api/sessions/{of_operator}")
    assert refused.status_code == 409
    assert "logged out" in refused.json["error"]
    assert ended == []
    assert services.deferred_writes.flush(10)
    assert audited("session.*") == []


def test_a_manager_of_some_devices_manages_the_sessions_on_them(
    database: Database, add_user: Callable[..., User], log_in: Callable[..., Api], ended: list[tuple[UUID, str]]
) -> None:
    with database.transaction() as tx:
        roles.create(tx, Role("core", frozenset({"sessions.*"}), Reach(frozenset({"core"}))), description="", by="t")
        within = devices.create(tx, name="in", host="192.0.2.1", tags=["core"]).id
        outside = devices.create(tx, name="out", host="192.0.2.3", site="Berlin").id
    add_user("lee", role="core")
    api = log_in("lee")
    here, there, nowhere = (make_session(database, device_id=device_id) for device_id in (within, outside, None))
    assert list(listed(api)) == [str(here)]
    assert [each["id"] for each in api.get("/api/v1/sessions").json["items"]] == [str(here)]
    assert str(there) not in api.get("/sessions").text
    assert [api.delete(f"/api/sessions/{each}").status_code for each in (there, nowhere, here)] == [404, 404, 204]
    assert [session_id for session_id, _ in ended] == [here]
