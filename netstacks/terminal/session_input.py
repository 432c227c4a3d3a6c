"""The input of a session: recorded, and written to the device while this instance is known to own the session."""

import math
import time
from collections.abc import Callable
from uuid import UUID

from netstacks.recording.session_recording import Recording
from netstacks.terminal.charset import Charset
from netstacks.terminal.input_writer import InputWriter
from netstacks.terminal.ownership import Ownership
from netstacks.terminal.transport import Transport


class SessionInput:
    """Takes the input of all attachments, in the order of their calls."""

    def __init__(
        self,
        session_id: UUID,
        transport: Transport,
        charset: Charset,
        recording: Recording,
        stood_still_at: Callable[[], float],
        show_notice: Callable[[str], None],
    ) -> None:
        self.typed_at = -math.inf
        """When input last came, by the monotonic clock."""
        self._charset = charset
        self._recording = recording
        self._ownership = Ownership(recording, stood_still_at, show_notice)
        self._writer = InputWriter(session_id, transport, self._ownership.is_sure)

    def wait_for_room(self, is_attached: Callable[[], bool]) -> None:
        """Waits while too much input is unwritten, and the client `is_attached`."""
        self._writer.wait_for_room(is_attached)

    def write(self, data: bytes) -> None:
        """Writes to the device, then records; never waits."""
        self.typed_at = time.monotonic()
        # The device comes first: recording must not delay the echo of a key.
        self._writer.write(self._charset.to_device(data))
        self._recording.input(data)

    def ownership_confirmed(self) -> None:
        """PostgreSQL has confirmed that this instance owns the session: input that waited for that is written."""
        if self._ownership.is_sure():
            self._writer.resume()

    def stop(self) -> None:
        """Stops writing; to be called before the transport is closed."""
        self._writer.stop()
        self._ownership.stop()
