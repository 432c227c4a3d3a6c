"""The OpenAPI document describes every route of the API, with the models that validate."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from netstacks.web.api.openapi_document import LEFT_OUT
from netstacks.web.api.openapi_paths import paths_of
from tests.web.conftest import Api
from tests.web.test_routes_permissions import OPEN

URL = "/api/v1/openapi.json"


@pytest.fixture
def document(viewer: Api) -> dict[str, Any]:
    found: dict[str, Any] = viewer.get(URL).get_json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def find(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method.lower()]
    return found


def test_it_needs_a_log_in(anonymous: Api) -> None:
    assert anonymous.get(URL).status_code == 401


def test_every_route_of_the_api_is_in_it(app: Flask, document: dict[str, Any]) -> None:
    described = {(method, shape(path)) for method, path, _ in operations(document)}
    missing = [
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.endpoint not in LEFT_OUT
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        for path, _ in paths_of(rule)
        if (method, shape(path)) not in described
    ]
    assert missing == []


def shape(path: str) -> str:
    """The path without the names of its parameters."""
    return "/".join(part.partition("{")[0] + "{}" if "{" in part else part for part in path.split("/"))


def test_every_operation_has_a_summary_and_an_id_of_its_own(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(document)]
    assert [each["operationId"] for each in found if not each["summary"].strip()] == []
    ids = [each["operationId"] for each in found]
    assert sorted(set(ids)) == sorted(ids)


def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {each.removeprefix("#/components/schemas/") for each in references(document)} <= schemas.keys()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_same_operations_are_open_as_by_the_routes(document: dict[str, Any]) -> None:
    found = {shape(f"{method} {path}") for method, path, each in operations(document) if not each["security"]}
    # The log-out says itself that there is no log-in; a log-in that fails has no other answer.
    opened = {shape(name.replace("<uuid:provider_id>", "{}")) for name in OPEN if " /api/" in name}
    health = {"GET /api/v1/health", "GET /api/v1/health/live", "GET /api/v1/health/ready"}
    assert found == opened | health | {"POST /api/auth/logout", "GET /api/auth/sso/{}/callback"}


def test_the_models_are_those_of_the_view(document: dict[str, Any]) -> None:
    created = find(document, "POST", "/api/devices")
    body = created["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/NewDevice"}
    schema = document["components"]["schemas"]["NewDevice"]
    assert schema["required"] == ["name", "host"]
    assert schema["properties"]["port"] == {
        "default": 22,
        "maximum": 65535,
        "minimum": 1,
        "title": "Port",
        "type": "integer",
    }
    assert created["x-permission"] == "devices.manage"
    assert {"201", "400", "401", "403", "408", "409", "422", "503"} <= created["responses"].keys()
    assert "200" not in created["responses"]


def test_a_deletion_may_name_the_version_that_the_user_has_seen(document: dict[str, Any]) -> None:
    versioned = {
        path for method, path, each in operations(document) if method == "PUT" and takes_version(document, each)
    }
    deletions = {path: each for method, path, each in operations(document) if method == "DELETE" and path in versioned}
    assert len(deletions) >= 9
    missing = [path for path, each in deletions.items() if "version" not in {one["name"] for one in each["parameters"]}]
    assert missing == []


def takes_version(document: dict[str, Any], operation: dict[str, Any]) -> bool:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return "version" in document["components"]["schemas"].get(name, {}).get("properties", {})


def test_every_successful_json_answer_has_a_schema(document: dict[str, Any]) -> None:
    missing = [
        f"{method} {path} {status}"
        for method, path, operation in operations(document)
        for status, answer in operation["responses"].items()
        if status in ("200", "201", "202")
        and (not answer.get("content") or not tells(answer["content"].get("application/json")))
    ]
    assert missing == []


def tells(content: dict[str, Any] | None) -> bool:
    """Whether the schema says more than `object` or `array`; one that is deliberately free has a description."""
    if content is None:
        return True
    schema = content["schema"]
    return bool(schema.keys() & {"$ref", "anyOf", "maxItems", "description"}) or (
        "items" in schema and tells({"schema": schema["items"]})
    )


def test_an_error_with_further_members_has_a_schema_of_its_own(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert (schemas["Error"]["properties"].keys(), schemas["Error"]["required"]) == ({"error", "code"}, ["error"])
    plain = {"$ref": "#/components/schemas/Error"}
    log_in = find(document, "POST", "/api/auth/login")["responses"]
    assert schema_in(log_in["401"]) == {"anyOf": [{"$ref": "#/components/schemas/SecondFactorRequired"}, plain]}
    assert set(schemas["SecondFactorRequired"]["required"]) == {"error", "code", "methods", "ticket"}
    for path in ("/api/auth/login", "/api/auth/login/code", "/api/auth/login/passkey"):
        refusals = find(document, "POST", path)["responses"]
        assert schema_in(refusals["409"]) == {"anyOf": [{"$ref": "#/components/schemas/NoSeat"}, plain]}
        assert schema_in(refusals["422"]) == plain


def schema_in(response: dict[str, Any]) -> Any:
    return response["content"]["application/json"]["schema"]


def test_an_answer_has_the_type_that_its_view_names(document: dict[str, Any]) -> None:
    assert schema_of(document, "GET", "/api/devices/{device_id}") == {"$ref": "#/components/schemas/DeviceJson"}
    device = document["components"]["schemas"]["DeviceJson"]
    assert device["properties"]["created_at"]["format"] == "date-time"
    assert device["properties"]["default_credential_id"]["anyOf"][0]["format"] == "uuid"
    assert device["properties"]["patience_secs"]["description"] == (
        "The timeout of each step of a log-in; null for the default."
    )
    assert set(device["required"]) == set(device["properties"])


def schema_of(document: dict[str, Any], method: str, path: str, status: int = 200) -> dict[str, Any]:
    answer = find(document, method, path)["responses"][str(status)]["content"]["application/json"]
    found: dict[str, Any] = answer["schema"]
    return found


def test_an_inherited_member_keeps_its_description(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    members = [schemas[name]["properties"]["patience_secs"] for name in ("DeviceJson", "ListedDeviceJson")]
    assert members[0]["description"] == members[1]["description"]


def test_an_answer_that_may_be_null_or_of_two_types_names_both(document: dict[str, Any]) -> None:
    default = schema_of(document, "GET", "/api/credentials/accessible/default")
    assert default["anyOf"] == [{"$ref": "#/components/schemas/CredentialJson"}, {"type": "null"}]
    login = schema_of(document, "POST", "/api/auth/login")
    names = ("LoggedIn", "PageLoggedIn")
    assert login["anyOf"] == [{"$ref": f"#/components/schemas/{name}"} for name in names]


def test_items_of_clients_are_free_but_for_the_members_that_are_added(document: dict[str, Any]) -> None:
    item = document["components"]["schemas"]["ClientItemJson"]
    assert item["additionalProperties"] is True
    assert item["required"] == ["id", "created_at", "updated_at"]
    assert set(schema_of(document, "GET", "/api/user-settings/{key}")) == {"description"}


def test_health_is_described_although_it_has_no_route(document: dict[str, Any]) -> None:
    responses = find(document, "GET", "/api/v1/health")["responses"]
    assert list(responses) == ["200", "503"]
    assert {"$ref": "#/components/schemas/HealthJson"} in schema_of(document, "GET", "/api/v1/health", 503)["anyOf"]


def test_a_query_has_the_members_of_its_model_without_null(document: dict[str, Any]) -> None:
    browse = find(document, "GET", "/api/devices/browse")
    parameters = {each["name"]: each for each in browse["parameters"]}
    assert parameters["limit"]["schema"] == {"default": 1000, "maximum": 1000, "minimum": 1, "type": "integer"}
    assert parameters["search"]["schema"] == {"type": "string"}
    assert parameters["search"]["in"] == "query"


def test_views_that_share_a_helper_have_its_model(document: dict[str, Any]) -> None:
    body = find(document, "POST", "/api/credentials/personal")["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/NewCredential")


def test_streams_and_downloads_have_their_content_types(document: dict[str, Any]) -> None:
    stream = find(document, "GET", "/api/v1/ha/stream")["responses"]["200"]["content"]
    assert list(stream) == ["text/event-stream"]
    export = find(document, "GET", "/api/v1/audit/export")["responses"]["200"]["content"]
    assert list(export) == ["application/x-ndjson", "text/csv"]


def test_an_unsafe_method_needs_the_csrf_token_with_the_cookie(document: dict[str, Any]) -> None:
    assert find(document, "POST", "/api/devices")["security"] == [{"bearer": []}, {"page": [], "csrf": []}]
    assert find(document, "GET", "/api/devices/browse")["security"] == [{"bearer": []}, {"page": []}]


def test_the_page_shows_every_operation(admin_page_text: str, document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in admin_page_text


@pytest.fixture
def admin_page_text(page: Api) -> str:
    answer = page.get("/admin/api")
    assert answer.status_code == 200
    return answer.text
