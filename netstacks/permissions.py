"""Permissions `resource.action`, the roles that hold them, and the devices that a role reaches.

A role may also hold `resource.*`, all permissions of a resource, and `*`, all permissions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ALL = "*"
_ANY_ACTION = ".*"

# Names that the NetStacks product has for permissions of ours. Roles are accepted with both; clients are sent both.
SYNONYMS = {"admin.audit": "audit.view"}


@dataclass(frozen=True)
class Reach:
    """The devices that a role may see and connect to: those with one of the tags or at one of the sites.

    Without tags and sites, all devices.
    """

    tags: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()

    @property
    def is_limited(self) -> bool:
        return bool(self.tags or self.sites)

    def includes(self, tags: Iterable[str], site: str | None) -> bool:
        """Whether a device with these tags, at this site, is one of the devices."""
        return not self.is_limited or not self.tags.isdisjoint(tags) or site in self.sites

    def covers(self, other: "Reach") -> bool:
        """Whether all devices of `other` are devices of this one, whichever devices there are."""
        if not self.is_limited:
            return True
        return other.is_limited and other.tags <= self.tags and other.sites <= self.sites


EVERYWHERE = Reach()


@dataclass(frozen=True)
class Role:
    """What the users of a role may do, and with which devices."""

    name: str
    permissions: frozenset[str]
    reach: Reach = EVERYWHERE

    def may(self, permission: str) -> bool:
        """Whether `permission` is granted, by name or by a wildcard."""
        return is_granted(permission, self.permissions)

    @property
    def is_administrator(self) -> bool:
        """Whether nothing is beyond this role. One active user must have such a role."""
        return ALL in self.permissions and not self.reach.is_limited

    def covers(self, other: "Role") -> bool:
        """Whether this role may do all that `other` may do: only then may it give the other to a user."""
        return self.reach.covers(other.reach) and all(self.may(each) for each in other.permissions)


PRESETS = {
    "admin": frozenset({ALL}),
    "operator": frozenset({"sessions.connect", "devices.access", "recordings.view", "ha.view"}),
    "viewer": frozenset({"devices.access", "recordings.view"}),
}


def preset(name: str) -> Role:
    """The built-in role of that name, for when PostgreSQL cannot be asked; without permissions if there is none."""
    return Role(name, PRESETS.get(name, frozenset()))


def is_granted(permission: str, held: Iterable[str]) -> bool:
    """Whether the `held` permissions grant one. A wildcard is granted only by itself and by a wider one."""
    resource = permission.partition(".")[0]
    return not {permission, f"{resource}{_ANY_ACTION}", ALL}.isdisjoint(held)


def expanded(held: Iterable[str], known: Iterable[str]) -> list[str]:
    """The held permissions by name, for clients that know no `resource.*`; `*` alone, which all of them know.

    `known` are the permissions that wildcards stand for.
    """
    held = set(held)
    if ALL in held:
        return [ALL]
    granted = held | {each for each in known if is_granted(each, held)}
    return sorted(granted | {synonym for synonym, ours in SYNONYMS.items() if ours in granted})
