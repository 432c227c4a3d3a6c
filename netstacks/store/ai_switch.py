"""The switch for AI features: on or off for all users, and off for users of some roles."""

from dataclasses import asdict, dataclass, field

from netstacks.store import settings
from netstacks.store.pool import Transaction

SETTING = "ai.enabled"


@dataclass(frozen=True)
class AiSwitch:
    """Whether AI is on, and the roles for which it is off nevertheless."""

    enabled: bool = True
    disabled_roles: list[str] = field(default_factory=list)

    def may_use(self, role: str) -> bool:
        """Whether AI is on for users of `role`."""
        return self.enabled and role not in self.disabled_roles


def get(tx: Transaction) -> AiSwitch:
    """The stored switch; on for all users when none is stored, off for all users when it is unreadable."""
    stored = settings.get(tx, SETTING)
    if stored is None:
        return AiSwitch()
    if isinstance(stored, dict):
        enabled, roles = stored.get("enabled", True), stored.get("disabled_roles", [])
        if isinstance(enabled, bool) and isinstance(roles, list) and all(isinstance(role, str) for role in roles):
            return AiSwitch(enabled, roles)
    settings.note_unreadable(SETTING, "AI is off for all users")
    return AiSwitch(enabled=False)


def put(tx: Transaction, switch: AiSwitch) -> None:
    settings.put(tx, SETTING, asdict(switch))
