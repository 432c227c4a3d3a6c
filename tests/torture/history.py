"""The observations of a torture run, from outside.

The witnesses are each shell's own diary on the device, each client's bytes, PostgreSQL's list of lock holders, and
the kernel, which knows what process holds a shell's connection; of the controller's own books only the recordings and
how sessions ended are read, being the product.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from netstacks.recording.chunks import Chunk


@dataclass(frozen=True)
class Shell:
    """A shell's diary: all that it printed, the numbers of the lines it read, and the process it was logged in from.

    `said_bye`: its user ended it.
    """

    id: str
    session: str
    started_at: float
    owner: str | None
    printed: bytes
    read: tuple[int, ...] = ()
    said_bye: bool = False


@dataclass(frozen=True)
class Connection:
    """One connection of a client: it asked for bytes from `asked` on, was served from `offset`, and typed numbers.

    `asked` is an (epoch, offset), or None for a viewer, which takes what there is. `is_last`: its user stayed to the
    end. `leaves`: its user went away for good. Times are in seconds since 1970, from being served to seeing the end.
    """

    client: str
    session: str
    asked: tuple[int, int] | None
    epoch: int
    offset: int
    output: bytes
    notices: bytes = b""
    typed: tuple[int, ...] = ()
    is_last: bool = False
    leaves: bool = False
    began_at: float = 0.0
    ended_at: float = 0.0


@dataclass(frozen=True)
class Told:
    """A returning user was told that the session has ended, and why."""

    session: str
    at: float
    why: str


@dataclass(frozen=True)
class Recording:
    """A session as stored at the end, and the (epoch, seq, SHA-256) of chunks that were seen stored on the way."""

    session: str
    id: str
    chunks: tuple[Chunk, ...]
    state: str
    end_reason: str | None
    sighted: frozenset[tuple[int, int, bytes]] = frozenset()
    ended_at: float = 0.0


@dataclass(frozen=True)
class CrowdMember:
    """One of the standing crowd in the calm after everything. `session` is the one that it opened first.

    `has_ended` is what that session's row says, `refusal` why its client does not come again. `holders` are the
    instances that hold connections to its device, which no other session uses: an instance for each connection.
    """

    session: str
    has_ended: bool = False
    is_connected: bool = True
    echoes: bool = True
    refusal: str = ""
    holders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """A transaction of an instance that held rows of sessions while PostgreSQL waited for its next statement."""

    instance: str
    began_at: float
    secs: float


@dataclass(frozen=True)
class Fault:
    """Something that was done to `target`, the name of a process or of a service; seconds since 1970."""

    kind: str
    target: str
    began_at: float
    ended_at: float


@dataclass(frozen=True)
class History:
    """`connections` are in each client's own order; `complaints` are what clients could make nothing of.

    `ttl_secs` is how long a frozen owner must be waited for, `detach_ttl_secs` how long a detached user.
    """

    shells: tuple[Shell, ...] = ()
    connections: tuple[Connection, ...] = ()
    recordings: tuple[Recording, ...] = ()
    faults: tuple[Fault, ...] = ()
    told: tuple[Told, ...] = ()
    holds: tuple[Hold, ...] = ()
    crowd: tuple[CrowdMember, ...] = ()
    left_behind: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    ttl_secs: float = 8
    detach_ttl_secs: float = 300
    _shells: dict[str, Shell] = field(init=False, repr=False)
    _of_crowd: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shells", {shell.id: shell for shell in self.shells})
        object.__setattr__(self, "_of_crowd", frozenset(each.session for each in self.crowd))

    def is_of_crowd(self, session: str) -> bool:
        """Whether it is a session of the standing crowd, whose devices keep no diaries."""
        return session in self._of_crowd

    def shell(self, shell_id: str) -> Shell | None:
        return self._shells.get(shell_id)

    def of_user(self, session: str) -> list[Connection]:
        """A session's connections of its own user, those of all windows, as they began."""
        found = (each for each in self.connections if each.session == session and each.asked is not None)
        return sorted(found, key=lambda each: each.began_at)


@dataclass(frozen=True)
class Place:
    """Where a shell's output begins in its session's, and which epoch that is."""

    session: str
    epoch: int
    base: int
    shell: str


Places = dict[tuple[str, int], Place]


def successions(history: History, by_epoch: Places) -> Iterator[tuple[Shell, Shell]]:
    """Each shell that took another one's place, after that one."""
    former: dict[str, Shell] = {}
    for (session, _), place in sorted(by_epoch.items()):
        if shell := history.shell(place.shell):
            if session in former:
                yield former[session], shell
            former[session] = shell
