"""The page Sessions of the administration."""

import re

import pytest

from netstacks.store import session_lists
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.web.conftest import Api


def test_it_lists_the_sessions_of_all_users_with_their_actions(page: Api, database: Database) -> None:
    session_id = make_session(database, username="ana", device_name="<b>core-1</b>", owner="ctrl-1")
    html = page.get("/admin/sessions").text
    assert "&lt;b&gt;core-1&lt;/b&gt;" in html
    for path in ("watch", "move", "forecast"):
        assert f"/api/v1/ha/sessions/{session_id}/{path}" in html
    assert f'data-url="/api/sessions/{session_id}" data-method="DELETE"' in html
    assert f"/sessions/{session_id}/replay" in html


def test_filters_stay_in_its_links(page: Api, database: Database) -> None:
    for _ in range(51):
        make_session(database, username="ana & co")
    html = page.get("/admin/sessions?user=ana+%26+co&state=live").text
    assert 'value="ana &amp; co"' in html
    assert 'href="/admin/sessions?state=ended&amp;user=ana+%26+co"' in html
    assert 'href="?state=live&amp;user=ana+%26+co&amp;before=' in html
    assert "No such sessions" in page.get("/admin/sessions?user=nobody").text
    assert page.get("/admin/sessions?before=yesterday").status_code == 422


def test_a_search_that_has_found_nothing_yet_leads_to_older_sessions(
    page: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("core-1", "edge-1"):
        make_session(database, device_name=device)
    monkeypatch.setattr(session_lists, "SEARCHED_SESSIONS", 1)
    html = page.get("/admin/sessions?device=core").text
    assert "No such sessions so far" in html
    (older,) = re.findall(r'href="(\?device=core&amp;before=[^"]+)"', html)
    assert "core-1" in page.get(f"/admin/sessions{older.replace('&amp;', '&')}").text


def test_others_may_not_see_it(operator: Api) -> None:
    assert operator.get("/admin/sessions").status_code == 403
