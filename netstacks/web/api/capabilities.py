"""The features that the client may offer (docs/protocol.md, 4)."""

from typing import Annotated

from flask import Blueprint
from pydantic import Field
from typing_extensions import TypedDict

from netstacks import __version__
from netstacks.crypto.license import Tier
from netstacks.permissions import expanded
from netstacks.web.auth import guard
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.context import services

blueprint = Blueprint("capabilities", __name__)

# The client enables the `local_` features unless they are listed as disabled. Those that do not exist here are listed.
_FEATURES = {
    "central_ssh": True,
    "rbac": True,
    "audit_logging": True,
    "central_sftp": False,
    "local_custom_prompts": False,
    "local_docs": False,
    "local_integrations": False,
    "local_session_recording": False,
    "local_sftp": False,
    "local_topology": False,
    "mops": False,
    "service_stacks": False,
    "terminal_deenrollment": False,
}


class Feature(TypedDict):
    name: str
    enabled: bool


class Capabilities(TypedDict):
    version: str
    license_tier: Tier
    features: list[Feature]
    permissions: list[str]
    """By name, or `*` alone for all."""
    plugins: Annotated[list[str], Field(max_length=0)]


@blueprint.get("/api/capabilities")
@guard.requires()
def capabilities() -> Capabilities:
    """What this controller offers to the NetStacks Terminal client."""
    # The client fills its list of tools only when `local_ai_tools` is enabled.
    has_ai = bool(services().llm.assistant.providers(guard.identity().role))
    features = {**_FEATURES, "central_ai": has_ai, "local_ai_tools": has_ai}
    return {
        "version": __version__,
        "license_tier": services().licensing.current().tier,
        "features": [{"name": name, "enabled": enabled} for name, enabled in features.items()],
        "permissions": expanded(guard.identity().permissions, PURPOSES),
        "plugins": [],
    }
