"""The account and the replay among the pages of administration: those that a controller-admin serves, too."""

from uuid import UUID

import pytest

from netstacks.recording.chunks import EventKind
from netstacks.store.pool import Database
from tests.rows import make_session, record
from tests.web.conftest import Api


@pytest.fixture
def recorded(page: Api, database: Database) -> UUID:
    """A recorded session of the user."""
    session_id = make_session(database, user_id=page.user_id, username="page-admin", device_name="core-1")
    record(database, session_id, (EventKind.OUTPUT, b"R1#"))
    return session_id


@pytest.mark.parametrize("path", ["/account", "/admin/account"])
def test_the_account_shows_the_user_the_log_ins_and_the_second_factors(page: Api, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 200
    for text in ("page-admin", "Change your password", "this one", "Set up an authenticator app", 'minlength="12"'):
        assert text in answer.text, text


def test_the_account_is_that_of_the_user_alone(page: Api, operator: Api, anonymous: Api) -> None:
    found = operator.get("/api/v1/account").json
    assert (found["user"]["username"], found["password_chars"]) == ("operator", 8)
    assert [each["is_current"] for each in found["logins"]] == [True]
    assert anonymous.get("/api/v1/account").status_code == 401
    assert anonymous.get("/admin/account").location == "/login?next=/admin/account"


@pytest.mark.parametrize("path", ["/sessions/{}/replay", "/admin/sessions/{}/replay"])
def test_a_replay_has_the_session_and_may_run_the_player(page: Api, recorded: UUID, path: str) -> None:
    answer = page.get(path.format(recorded))
    assert answer.status_code == 200
    for text in ("core-1", f"/api/recordings/{recorded}/data", "still running", "AI is not configured"):
        assert text in answer.text, text
    assert "'wasm-unsafe-eval'" in answer.headers["Content-Security-Policy"]


def test_a_replay_of_another_user_is_not_found(operator: Api, recorded: UUID) -> None:
    assert operator.get(f"/api/v1/recordings/{recorded}").status_code == 404
    assert operator.get(f"/admin/sessions/{recorded}/replay").status_code == 404


def test_the_list_of_sessions_leads_to_the_replay(page: Api, recorded: UUID) -> None:
    assert f'href="/admin/sessions/{recorded}/replay"' in page.get("/admin/sessions").text
