"""The permissions of each role; `*` grants all."""

_OF_ROLE: dict[str, frozenset[str]] = {
    "admin": frozenset({"*"}),
    "operator": frozenset({"sessions.connect", "devices.access", "recordings.view"}),
    "viewer": frozenset({"devices.access", "recordings.view"}),
}


def of_role(role: str) -> frozenset[str]:
    """The permissions of `role`; none for a role that this version does not know."""
    return _OF_ROLE.get(role, frozenset())


def grants(role: str, permission: str) -> bool:
    """Whether `role` has `permission`, by name or by `*`."""
    return bool(of_role(role) & {permission, "*"})
