"""Every route of the application, without a log-in and for each role: a new route must be in one of these lists."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask

from tests.web.conftest import Api

# These need no log-in; WebSockets check their tokens themselves, after the handshake's form.
OPEN = {
    "GET /api/auth/providers",
    "GET /api/tls/ca-certificate/info",
    "GET /login",
    "GET /share",
    "GET /static/<path:filename>",
    "GET /terminal",
    "GET /terminal/",
    "GET /terminal/<path:name>",
    "GET /ws/jumpbox",
    "GET /ws/shared",
    "GET /ws/ssh",
    "POST /api/auth/login",
    "POST /api/auth/refresh",
}
ADMINISTRATORS = {
    "DELETE /api/credentials/<uuid:credential_id>",
    "DELETE /api/devices/<uuid:device_id>",
    "DELETE /api/host-keys/<host>/<int:port>",
    "DELETE /api/recordings/<uuid:recording_id>",
    "DELETE /api/session-definitions/<uuid:definition_id>",
    "DELETE /api/users/<uuid:user_id>",
    "DELETE /api/users/<uuid:user_id>/logins",
    "DELETE /api/v1/llm/providers/<uuid:provider_id>",
    "GET /api/admin/license/status",
    "GET /api/admin/sanitization/config",
    "GET /api/audit",
    "GET /api/audit/export",
    "GET /api/credentials",
    "GET /api/credentials/<uuid:credential_id>",
    "GET /api/users",
    "GET /api/users/<uuid:user_id>",
    "GET /api/v1/ha/status",
    "GET /api/v1/ha/stream",
    "GET /api/v1/llm/providers",
    "GET /api/v1/llm/providers/<uuid:provider_id>",
    "GET /api/v1/llm/settings",
    "GET /about",
    "GET /audit",
    "GET /ha",
    "GET /users",
    "POST /api/admin/license/activate",
    "POST /api/credentials",
    "POST /api/devices",
    "POST /api/host-keys",
    "POST /api/session-definitions",
    "POST /api/users",
    "POST /api/v1/ha/instances/<instance_id>/drain",
    "POST /api/v1/llm/providers",
    "POST /api/v1/llm/providers/<uuid:provider_id>/reset",
    "POST /api/v1/llm/providers/<uuid:provider_id>/test",
    "POST /api/v1/llm/providers/<uuid:provider_id>/trip",
    "PUT /api/admin/sanitization/config",
    "PUT /api/credentials/<uuid:credential_id>",
    "PUT /api/devices/<uuid:device_id>",
    "PUT /api/session-definitions/<uuid:definition_id>",
    "PUT /api/users/<uuid:user_id>",
    "PUT /api/users/<uuid:user_id>/password",
    "PUT /api/v1/llm/providers/<uuid:provider_id>",
    "PUT /api/v1/llm/providers/order",
    "PUT /api/v1/llm/settings",
}
# A viewer opens no terminals, and so needs no credentials and runs no commands.
REFUSED = {
    "operator": ADMINISTRATORS,
    "viewer": ADMINISTRATORS
    | {
        "GET /credentials",
        "GET /jumpbox",
        "GET /terminals/<uuid:session_id>",
        "GET /terminals/new",
        "POST /api/ai/ssh-execute",
        "POST /api/devices/<device_id>/exec-command",
        "POST /api/host-keys/prompts/<uuid:prompt_id>/approve",
    },
}


def every_route(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Method, name of the route, and a path that leads to it; none that ends the log-in."""
    for rule in app.url_map.iter_rules():
        path = re.sub("<int:[^>]+>", "22", re.sub("<path:[^>]+>", "x", rule.rule))
        path = re.sub("<[^>]+>", str(uuid4()), re.sub("<any[^>]*>", "viewers", path))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if rule.rule != "/api/auth/logout":
                yield method, f"{method} {rule.rule}", path


def answers(app: Flask, api: Api) -> Iterator[tuple[str, int, str]]:
    for method, name, path in every_route(app):
        answer = api.send(method, path, **({} if method == "GET" else {"json": {}}))
        yield name, answer.status_code, answer.location or ""


def test_few_routes_are_open_without_a_log_in(app: Flask, anonymous: Api) -> None:
    found = {
        name
        for name, status, location in answers(app, anonymous)
        if status != 401 and not location.startswith("/login?") and " /peer/" not in name
    }
    assert found == OPEN


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_a_role_may_use_exactly_its_own_routes(app: Flask, request: pytest.FixtureRequest, role: str) -> None:
    found = {name for name, status, _ in answers(app, request.getfixturevalue(role)) if status == 403}
    assert found == REFUSED[role]
