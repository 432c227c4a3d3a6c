"""The address, credentials and terminal of one SSH log-in to a device."""

from dataclasses import dataclass, field

from netstacks.hosts import shown_address
from netstacks.terminal.algorithms import Level

# The default time limit for each step of a log-in: AAA servers are slow.
PATIENCE_SECS = 60.0


@dataclass(frozen=True)
class SshTarget:
    """What to connect to, how to log in, and the terminal to request.

    `encoding` is the character set of the device's texts; `patience_secs` is the time limit for each step of the
    log-in.
    """

    host: str
    port: int
    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    algorithms: Level = "modern"
    encoding: str = "utf-8"
    patience_secs: float = PATIENCE_SECS
    term: str = "xterm-256color"
    cols: int = 80
    rows: int = 24

    @property
    def address(self) -> str:
        return shown_address(self.host, self.port)
