"""Empty answers for resources that the web client requests of every controller and this one does not offer.

The client ignores most 404 answers, but some of its pages go blank on a wrong shape, and others show an error text
(docs/protocol.md, 9). All other unknown resources are answered 404.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify

from netstacks import __version__
from netstacks.web.auth import guard

blueprint = Blueprint("compat", __name__)

EMPTY: dict[str, Any] = {
    "/api/agents": [],
    "/api/agents/executions": [],
    "/api/ai-profiles": {"profiles": []},
    "/api/ai-profiles/active": {"profile_id": None, "profile": None},
    "/api/ai/config-mode/status": {"enabled": False, "expires_at": None, "seconds_remaining": None},
    "/api/ai/memory": {"memories": []},
    "/api/api-resources": [],
    "/api/config/deployments": [],
    "/api/config/devices/<uuid:device_id>/configs": [],
    "/api/config/instances": [],
    "/api/config/platforms": [],
    "/api/config/stacks": [],
    "/api/config/templates": [],
    "/api/custom-commands": [],
    "/api/docs": [],
    "/api/mapped-keys": [],
    "/api/mops": [],
    "/api/quick-actions": [],
    "/api/quick-prompts": [],
    "/api/scripts": [],
    "/api/sessions/<session_id>/context": [],
    "/api/settings/ai.config_changes_enabled": {"value": False},
    "/api/settings/workspaces": [],
    "/api/snippets": [],
    "/api/topologies": [],
    "/api/topologies/folders": [],
}


def _answering(answer: Any) -> Callable[..., Response]:
    @guard.requires()
    def view(**_: Any) -> Response:
        return jsonify(answer)

    return view


for _path, _answer in EMPTY.items():
    blueprint.add_url_rule(_path, endpoint=_path.replace(".", "_"), view_func=_answering(_answer))


@blueprint.get("/api/info")
@guard.requires()
def info() -> dict[str, Any]:
    return {"name": "NetStacks Controller", "version": __version__, "mode": "enterprise"}


@blueprint.get("/api/tls/ca-certificate/info")
def ca_certificate() -> dict[str, Any]:
    """Needs no log-in: the client sends no token here. TLS ends at the load balancer, so there is no certificate."""
    return {"tls_enabled": True, "fingerprint": None, "ca_certificate_pem": None}
