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
    "GET /api/v1/auth/notice",
    "GET /api/tls/ca-certificate/info",
    "GET /login",
    "GET /share",
    "GET /static/<path:filename>",
    "GET /terminal",
    "GET /terminal/",
    "GET /terminal/<path:name>",
    "GET /ws/check",
    "GET /ws/jumpbox",
    "GET /ws/shared",
    "GET /ws/ssh",
    "POST /api/auth/login",
    "POST /api/auth/login/code",
    "POST /api/auth/login/passkey",
    "POST /api/auth/login/passkey/options",
    "POST /api/auth/refresh",
    "POST /api/auth/sso/<uuid:provider_id>/start",
    "GET /api/auth/sso/refusal",
}
ADMINISTRATORS = {
    "GET /admin/credentials",
    "GET /admin/credentials/<uuid:credential_id>",
    "GET /admin/devices",
    "GET /admin/devices/import",
    "GET /api/v1/credentials",
    "GET /api/v1/credentials/<uuid:credential_id>/uses",
    "GET /api/v1/host-keys/prompts",
    "PATCH /api/v1/devices",
    "POST /api/v1/credentials/<uuid:credential_id>/rotate",
    "POST /api/v1/devices/edits/<uuid:edit_id>/undo",
    "POST /api/v1/devices/import",
    "DELETE /api/v1/identity-providers/<uuid:provider_id>",
    "DELETE /api/v1/identity-providers/<uuid:provider_id>/links/<uuid:link_id>",
    "DELETE /api/v1/identity-providers/<uuid:provider_id>/mappings/<uuid:mapping_id>",
    "GET /admin/sso",
    "GET /api/v1/identity-providers",
    "GET /api/v1/identity-providers/<uuid:provider_id>",
    "GET /api/v1/identity-providers/<uuid:provider_id>/links",
    "POST /api/v1/identity-providers",
    "POST /api/v1/identity-providers/<uuid:provider_id>/links",
    "POST /api/v1/identity-providers/<uuid:provider_id>/mappings",
    "POST /api/v1/identity-providers/<uuid:provider_id>/test",
    "PUT /api/v1/identity-providers/<uuid:provider_id>",
    "PUT /api/v1/identity-providers/<uuid:provider_id>/mappings/order",
    "PUT /api/v1/identity-providers/order",
    "DELETE /api/v1/roles/<name>",
    "DELETE /api/v1/users/<uuid:user_id>/logins/<uuid:login_id>",
    "GET /admin/roles",
    "GET /admin/users",
    "GET /admin/users/<uuid:user_id>",
    "GET /api/v1/permissions",
    "GET /api/v1/roles",
    "GET /api/v1/roles/<name>",
    "GET /api/v1/users",
    "GET /api/v1/users/<uuid:user_id>",
    "GET /api/v1/users/<uuid:user_id>/logins",
    "GET /api/v1/users/<uuid:user_id>/sessions",
    "POST /api/v1/roles",
    "PUT /api/v1/roles/<name>",
    "DELETE /api/credentials/<uuid:credential_id>",
    "DELETE /api/devices/<uuid:device_id>",
    "DELETE /api/host-keys/<host>/<int:port>",
    "DELETE /api/recordings/<uuid:recording_id>",
    "DELETE /api/session-definitions/<uuid:definition_id>",
    "DELETE /api/users/<uuid:user_id>",
    "DELETE /api/users/<uuid:user_id>/logins",
    "DELETE /api/v1/ha/instances/<instance_id>/drain",
    "DELETE /api/v1/ha/lost/<instance_id>",
    "DELETE /api/v1/llm/providers/<uuid:provider_id>",
    "DELETE /api/v1/users/<uuid:user_id>/second-factors",
    "DELETE /api/v1/settings/<key>",
    "GET /api/admin/license/status",
    "GET /api/admin/sanitization/config",
    "GET /api/audit",
    "GET /api/audit/export",
    "GET /api/v1/audit",
    "GET /api/v1/audit/chain",
    "GET /api/v1/audit/export",
    "GET /api/v1/audit/filters",
    "GET /api/v1/audit/stream",
    "GET /api/v1/audit/targets",
    "GET /api/v1/audit/targets/<uuid:target_id>",
    "POST /api/v1/audit/filters",
    "DELETE /api/v1/audit/filters",
    "POST /api/v1/audit/targets",
    "PUT /api/v1/audit/targets/<uuid:target_id>",
    "DELETE /api/v1/audit/targets/<uuid:target_id>",
    "POST /api/v1/audit/targets/<uuid:target_id>/test",
    "GET /api/credentials",
    "GET /api/credentials/<uuid:credential_id>",
    "GET /api/users",
    "GET /api/users/<uuid:user_id>",
    "GET /api/v1/ha/instances/<instance_id>/forecast",
    "GET /api/v1/ha/sessions/<uuid:session_id>/forecast",
    "GET /api/v1/llm/providers",
    "GET /api/v1/llm/providers/<uuid:provider_id>",
    "GET /api/v1/license",
    "GET /api/v1/llm/settings",
    "GET /api/v1/sessions",
    "GET /admin/llm",
    "GET /admin/sessions",
    "GET /api/v1/settings",
    "GET /api/v1/settings/<key>",
    "GET /admin/license",
    "GET /admin/settings",
    "GET /admin/about",
    "GET /api/v1/about",
    "GET /admin/audit",
    "GET /admin/audit/targets",
    "POST /api/admin/license/activate",
    "POST /api/credentials",
    "POST /api/devices",
    "POST /api/host-keys",
    "POST /api/session-definitions",
    "POST /api/users",
    "POST /api/v1/ha/instances/<instance_id>/drain",
    "POST /api/v1/ha/sessions/<uuid:session_id>/move",
    "POST /api/v1/ha/sessions/<uuid:session_id>/watch",
    "POST /api/v1/llm/providers",
    "POST /api/v1/llm/providers/<uuid:provider_id>/reset",
    "POST /api/v1/llm/providers/<uuid:provider_id>/test",
    "POST /api/v1/llm/providers/<uuid:provider_id>/trip",
    "POST /api/v1/settings/mail/test",
    "PUT /api/admin/sanitization/config",
    "PUT /api/credentials/<uuid:credential_id>",
    "PUT /api/devices/<uuid:device_id>",
    "PUT /api/session-definitions/<uuid:definition_id>",
    "PUT /api/users/<uuid:user_id>",
    "PUT /api/users/<uuid:user_id>/password",
    "PUT /api/v1/llm/providers/<uuid:provider_id>",
    "PUT /api/v1/llm/providers/order",
    "PUT /api/v1/llm/settings",
    "PUT /api/v1/settings/<key>",
}
# An operator sees the state of the cluster and changes nothing of it.
HA_STATUS = {
    "GET /api/v1/ha/events",
    "GET /api/v1/ha/history",
    "GET /api/v1/ha/sessions",
    "GET /api/v1/ha/status",
    "GET /api/v1/ha/stream",
    "GET /admin/ha",
    "GET /admin/ha/stream",
}
# A viewer opens no terminals, and so needs no credentials and runs no commands.
REFUSED = {
    "operator": ADMINISTRATORS,
    "viewer": ADMINISTRATORS
    | HA_STATUS
    | {
        "GET /credentials",
        "GET /jumpbox",
        "GET /terminals/<uuid:session_id>",
        "GET /terminals/new",
        "POST /api/ai/ssh-execute",
        "POST /api/v1/devices/check",
        "POST /api/devices/<device_id>/exec-command",
        "POST /api/host-keys/prompts/<uuid:prompt_id>/approve",
    },
}


def every_route(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Method, name of the route, and a path that leads to it; none that ends the log-in."""
    for rule in app.url_map.iter_rules():
        path = re.sub("<int:[^>]+>", "22", re.sub("<path:[^>]+>", "x", rule.rule))
        path = re.sub(r"<any\(([^,)]+)[^>]*>", lambda found: found[1].strip("'"), path)
        path = re.sub("<[^>]+>", str(uuid4()), path)
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
