"""The capabilities that the client may offer (docs/protocol.md, 4)."""

import pytest

from tests.web.conftest import Api


def test_features_are_an_array_of_named_switches(operator: Api) -> None:
    answer = operator.get("/api/capabilities").json
    assert answer["features"]
    for feature in answer["features"]:
        assert isinstance(feature["name"], str)
        assert isinstance(feature["enabled"], bool)
    assert isinstance(answer["version"], str)
    assert answer["license_tier"] == "enterprise"
    assert answer["plugins"] == []


@pytest.mark.parametrize("name", ["local_topology", "local_docs", "local_ai_tools", "local_sftp", "mops"])
def test_absent_features_are_listed_as_disabled(operator: Api, name: str) -> None:
    features = operator.get("/api/capabilities").json["features"]
    assert {"name": name, "enabled": False} in features


def test_permissions_are_those_of_the_role(operator: Api, viewer: Api, admin: Api) -> None:
    assert "sessions.connect" in operator.get("/api/capabilities").json["permissions"]
    assert "sessions.connect" not in viewer.get("/api/capabilities").json["permissions"]
    assert admin.get("/api/capabilities").json["permissions"] == ["*"]


def test_capabilities_need_a_log_in(anonymous: Api) -> None:
    assert anonymous.get("/api/capabilities").status_code == 401
