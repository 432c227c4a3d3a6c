"""The system settings, by section."""

from typing import Any

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/settings")
def settings() -> str:
    found = api().get("/api/v1/settings")
    sections = {name: [each for each in found["items"] if each["section"] == name] for name in found["sections"]}
    return render_page("admin/settings.html", sections=sections, roles=_roles(found), can_send=_can_send(found))


def _roles(found: dict[str, Any]) -> list[str]:
    """The roles for which a feature can be switched off: all that exist, and those that a value names."""
    named = {role for each in found["items"] if each["type"] == "feature" for role in each["value"]["disabled_roles"]}
    return [*found["roles"], *sorted(named - set(found["roles"]))]


def _can_send(found: dict[str, Any]) -> bool:
    """Whether there is a mail server to send a test message through."""
    return any(each["key"] == "mail.host" and each["value"] for each in found["items"])
