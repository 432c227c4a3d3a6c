"""The request of a user's terminal connection: the session that it is for, and how to open another one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from netstacks import greenlets
from netstacks.instance.targets import ConnectRequest
from netstacks.store.audit import Actor
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session


def _confirm_nothing() -> None:
    """For a new session: its opener checks the user's access."""


@dataclass(frozen=True)
class ControlRequest:
    """An authorised connection of the session's own user. `size` is the client's window, in columns and rows."""

    actor: Actor
    size: tuple[int, int]
    resume: Resume
    session: Callable[[], Session]
    """Waits for the session. Raises a NetstacksError that says why there is none."""
    open_another: Callable[[ConnectRequest], Session]
    connect_request: ConnectRequest | None = None
    """Opens another session on the same connection; None when only the session can tell its target."""
    confirm: Callable[[], None] = _confirm_nothing
    """Raises AccessWithdrawn when the user has lost access."""
    session_id: UUID = field(default_factory=uuid4)
    dialogue: Dialogue = field(default_factory=Dialogue)
    left: greenlets.Event = field(default_factory=greenlets.Event)
    """Set when the client has left."""
    is_new: bool = False
    """A session that is opened for this client, and abandoned when the client leaves before it is open."""
