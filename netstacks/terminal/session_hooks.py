"""What a session calls in the rest of the instance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from netstacks.terminal.attachment import Attachment

if TYPE_CHECKING:
    from netstacks.terminal.session import Session


@dataclass
class Hooks:
    """Callbacks to the rest of the instance, called from the session's greenlets. They must not yield."""

    on_attach: Callable[["Session", Attachment], None]
    on_detach: Callable[["Session", Attachment], None]
    on_close: Callable[["Session", str], None]


# Reads output that the log no longer holds: (session id, offset, limit) -> bytes, b"" when it is not available now.
ReadStored = Callable[[UUID, int, int], bytes]
