"""Answers for resources that the web client requests of every controller and this one does not offer.

Lists are empty: the client ignores most 404 answers, but some of its pages go blank on a wrong shape, and others show
an error text (docs/protocol.md, 9). Changes are refused with 501 and a sentence: after a 404 some pages look as if the
change were saved. All other unknown resources are answered 404.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from netstacks import __version__
from netstacks.errors import NotFound
from netstacks.web.auth import guard
from netstacks.web.http.declarations import answers
from netstacks.web.http.json_response import JsonResponse, json_response

blueprint = Blueprint("compat", __name__)

_EmptyList = Annotated[list[Any], WithJsonSchema({"type": "array", "maxItems": 0})]


class AiProfiles(TypedDict):
    profiles: _EmptyList


class ActiveAiProfile(TypedDict):
    profile_id: None
    profile: None


class ConfigMode(TypedDict):
    enabled: Literal[False]
    expires_at: None
    seconds_remaining: None


class ConfigChanges(TypedDict):
    value: Literal[False]


class Info(TypedDict):
    name: str
    version: str
    mode: Literal["enterprise"]


class CaCertificate(TypedDict):
    tls_enabled: bool
    fingerprint: None
    ca_certificate_pem: None


_LISTS = (
    "/api/agents",
    "/api/agents/executions",
    "/api/api-resources",
    "/api/config/deployments",
    "/api/config/devices/<uuid:device_id>/configs",
    "/api/config/instances",
    "/api/config/platforms",
    "/api/config/stacks",
    "/api/config/templates",
    "/api/docs",
    "/api/mops",
    "/api/scripts",
    "/api/sessions/<session_id>/context",
    "/api/topologies",
    "/api/topologies/folders",
)
# By path, the type of the answer and the answer.
EMPTY: dict[str, tuple[Any, Any]] = {
    **{path: (_EmptyList, []) for path in _LISTS},
    "/api/ai-profiles": (AiProfiles, {"profiles": []}),
    "/api/ai-profiles/active": (ActiveAiProfile, {"profile_id": None, "profile": None}),
    "/api/ai/config-mode/status": (ConfigMode, {"enabled": False, "expires_at": None, "seconds_remaining": None}),
    "/api/settings/ai.config_changes_enabled": (ConfigChanges, {"value": False}),
}


def _answering(kind: Any, answer: Any) -> Callable[..., JsonResponse[Any]]:
    @guard.requires()
    def view(**_: Any) -> JsonResponse[kind]:
        """An empty answer for NetStacks Terminal: this controller has nothing of this kind."""
        return json_response(answer)

    return view


for _path, (_kind, _answer) in EMPTY.items():
    blueprint.add_url_rule(_path, endpoint=_path.replace(".", "_"), view_func=_answering(_kind, _answer))


# The beginnings of paths, and what the client changes there.
_NOT_OFFERED = {
    "agents": "AI agents that run by themselves",
    "ai-profiles": "AI profiles",
    "api-resources": "calls to other APIs",
    "changes": "change procedures",
    "config": "device configurations",
    "discovery": "network discovery",
    "docs": "documents",
    "mops": "change procedures",
    "scripts": "scripts",
    "sftp": "file transfer",
    "snmp": "SNMP",
    "tasks": "scheduled tasks",
    "topologies": "topologies",
    "tunnels": "tunnels",
}


@guard.requires()
def _not_offered(family: str, rest: str = "") -> tuple[Response, int]:
    if request.method == "GET":
        raise NotFound("There is nothing at this address.")
    return jsonify(error=f"This controller does not offer {_NOT_OFFERED[family]}."), 501


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_FAMILY = f"/api/<any({', '.join(map(repr, _NOT_OFFERED))}):family>"
blueprint.add_url_rule(_FAMILY, "not_offered", _not_offered, methods=_METHODS)
blueprint.add_url_rule(f"{_FAMILY}/<path:rest>", "not_offered_below", _not_offered, methods=_METHODS)


@blueprint.post("/api/terminals/<path:terminal>/log/start")
@guard.requires()
@answers(501)
def start_logging(terminal: str) -> tuple[Response, int]:
    """Refused: the controller records every session by itself."""
    return jsonify(error="This controller records every session by itself: see Sessions on its pages."), 501


@blueprint.put("/api/sessions/<path:session>")
@guard.requires()
@answers(501)
def change_session(session: str) -> tuple[Response, int]:
    """Refused: a session has no properties that are stored."""
    return jsonify(error="This controller does not store properties of a session."), 501


@blueprint.get("/api/info")
@guard.requires()
def info() -> Info:
    """Name and version of the controller."""
    return {"name": "NetStacks Controller", "version": __version__, "mode": "enterprise"}


@blueprint.get("/api/tls/ca-certificate/info")
def ca_certificate() -> CaCertificate:
    """Needs no log-in: the client sends no token here. TLS ends at the load balancer, so there is no certificate."""
    return {"tls_enabled": request.is_secure, "fingerprint": None, "ca_certificate_pem": None}
