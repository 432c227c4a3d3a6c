"""Healthy empty answers for what the web client asks of every controller and this one does not offer.

The client takes a 404 quietly nearly everywhere, but some of its pages blank on a wrong shape, and others show an
error text (wire contract 9). What is not listed here is not offered and is answered 404.
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
    """The client asks without a token; certificates are the load balancer's business."""
    return {"tls_enabled": True, "fingerprint": None, "ca_certificate_pem": None}
