"""The switch of everything that asks language models: for all users, or for those of some roles."""

from dataclasses import asdict, dataclass, field

from netstacks.store import settings
from netstacks.store.pool import Transaction

SETTING = "ai.enabled"


@dataclass(frozen=True)
class AiSwitch:
    """Whether AI is on, and for users of which roles it is off all the same."""

    enabled: bool = True
    disabled_roles: list[str] = field(default_factory=list)

    def may_use(self, role: str) -> bool:
        """Whether AI is on for users of `role`."""
        return self.enabled and role not in self.disabled_roles


def get(tx: Transaction) -> AiSwitch:
    """As it was set last; on for everybody when it never was."""
    value = settings.get(tx, SETTING) or {}
    return AiSwitch(value.get("enabled", True), value.get("disabled_roles", []))


def put(tx: Transaction, switch: AiSwitch) -> None:
    settings.put(tx, SETTING, asdict(switch))
