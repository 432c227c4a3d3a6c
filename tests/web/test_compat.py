"""The web client's requests for absent features get the empty answers that its pages need."""

from typing import Any
from uuid import UUID

import pytest

from netstacks.web.api.compat import EMPTY
from tests.web.conftest import Api

UNKNOWN = UUID(int=1)

# docs/protocol.md, 9: the client's page stays blank unless the answer is an array.
ARRAYS = [
    "agents/executions?limit=50",
    "agents?enabled_only=false",
    f"sessions/{UNKNOWN}/context",
    "topologies",
    "topologies?shared=true",
    "topologies/folders",
    "docs",
    "mops?limit=100",
    "config/templates",
    "config/stacks",
    "config/instances",
    "config/deployments",
    "config/platforms",
    f"config/devices/{UNKNOWN}/configs",
    "scripts",
    "api-resources",
]
OTHERS: dict[str, Any] = {
    "ai/config-mode/status": {"enabled": False, "expires_at": None, "seconds_remaining": None},
    "ai-profiles": {"profiles": []},
    "ai-profiles/active": {"profile_id": None, "profile": None},
    "settings/ai.config_changes_enabled": {"value": False},
}


@pytest.mark.parametrize("path", ARRAYS)
def test_lists_are_empty_arrays(viewer: Api, path: str) -> None:
    answer = viewer.get(f"/api/{path}")
    assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.parametrize("path", OTHERS)
def test_other_answers_have_the_members_that_are_read(viewer: Api, path: str) -> None:
    answer = viewer.get(f"/api/{path}")
    assert (answer.status_code, answer.json) == (200, OTHERS[path])


def test_every_answer_is_tested_and_needs_a_login(anonymous: Api) -> None:
    assert len(EMPTY) == len({path.split("?")[0] for path in ARRAYS}) + len(OTHERS)
    assert {anonymous.get(f"/api/{path}").status_code for path in [*ARRAYS, *OTHERS]} == {401}


def test_the_certificate_question_comes_without_a_token(anonymous: Api) -> None:
    expected = {"tls_enabled": False, "fingerprint": None, "ca_certificate_pem": None}
    assert anonymous.get("/api/tls/ca-certificate/info").json == expected


def test_about_names_the_product(viewer: Api) -> None:
    assert set(viewer.get("/api/info").json) == {"name", "version", "mode"}


@pytest.mark.parametrize("path", ["mcp/servers", "no-such-thing", "snippets/no-id"])
def test_an_absent_endpoint_is_404_in_json(viewer: Api, path: str) -> None:
    for answer in (viewer.get(f"/api/{path}"), viewer.post(f"/api/{path}", json={})):
        assert (answer.status_code, type(answer.json["error"])) == (404, str)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "scripts"),
        ("POST", f"scripts/{UNKNOWN}/run"),
        ("PUT", f"docs/{UNKNOWN}"),
        ("POST", "tunnels"),
        ("POST", f"config/devices/{UNKNOWN}/pull"),
        ("DELETE", f"topologies/{UNKNOWN}"),
        ("PUT", "ai-profiles/active"),
        ("POST", f"terminals/{UNKNOWN}/log/start"),
        ("PUT", f"sessions/device-{UNKNOWN}"),
    ],
)
def test_a_change_that_is_not_offered_is_refused_with_a_sentence(
    viewer: Api, anonymous: Api, method: str, path: str
) -> None:
    """A 404 is taken quietly, and the page looks as if the change were saved."""
    answer = viewer.send(method, f"/api/{path}", json={"name": "x"})
    assert answer.status_code == 501
    assert answer.json["error"].startswith("This controller ")
    assert anonymous.send(method, f"/api/{path}", json={}).status_code == 401


def test_reading_what_is_not_offered_is_404(viewer: Api) -> None:
    for path in ("tunnels", f"scripts/{UNKNOWN}", "discovery/capabilities"):
        assert viewer.get(f"/api/{path}").status_code == 404


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tls_is_said_to_be_on_where_it_is(anonymous: Api, scheme: str) -> None:
    answer = anonymous.get("/api/tls/ca-certificate/info", base_url=f"{scheme}://localhost")
    assert answer.json["tls_enabled"] == (scheme == "https")
