"""Roles: what the users of each may do, and with which devices."""

from itertools import groupby
from typing import Any

from netstacks.web.admin.api import Viewer, api, viewer
from netstacks.web.admin.layout import blueprint, render_page

_CHANGEABLE = ("description", "permissions", "device_tags", "device_sites", "version")


@blueprint.get("/roles")
def roles() -> str:
    me = viewer()
    found = [each | {"values": _values(each)} for each in api().get("/api/v1/roles")["items"]]
    catalogue = api().get("/api/v1/permissions")["items"]
    return render_page("admin/roles.html", roles=found, groups=_groups(catalogue, me), may_give_all=_may_give("*", me))


def _values(role: dict[str, Any]) -> dict[str, Any]:
    """The values of the form that changes a role, or creates one like it."""
    return {name: role[name] for name in _CHANGEABLE}


def _groups(catalogue: list[dict[str, Any]], me: Viewer) -> list[dict[str, Any]]:
    """The permissions by resource, each with whether the viewer has it, and so may give it."""
    by_resource = groupby(sorted(catalogue, key=lambda each: each["name"]), key=lambda each: each["resource"])
    return [
        {
            "resource": resource,
            "wildcard": f"{resource}.*",
            "may_give_all": _may_give(f"{resource}.*", me),
            "permissions": [each | {"may_give": _may_give(each["name"], me)} for each in permissions],
        }
        for resource, permissions in by_resource
    ]


def _may_give(permission: str, me: Viewer) -> bool:
    """Whether the viewer has the permission, or the wildcard. The API decides anew when the form is sent."""
    resource = permission.partition(".")[0]
    return not me.permissions.isdisjoint({permission, f"{resource}.*", "*"})
