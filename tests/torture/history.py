"""What was seen during a torture, from outside, and the laws it is judged by. Pure: a history in, violations out.

The witnesses are each shell's own diary on the device, each client's bytes, and the kernel, which knows what process
holds a shell's connection; of the controller's own books only the recordings are read, being the product.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from netstacks.store.chunks import Chunk, verify

# What a shell says first, on its terminal.
_BANNER = re.compile(rb"shell (\S+)\r\n")
# After a fault so soon before that an instance may not have been in contact with Valkey in between.
CONTACT_SECS = 4


@dataclass(frozen=True)
class Shell:
    """A shell's diary: all that it printed, the numbers of the lines it read, and the process it was logged in from."""

    id: str
    session: str
    started_at: float
    owner: str | None
    printed: bytes
    read: tuple[int, ...] = ()


@dataclass(frozen=True)
class Connection:
    """One connection of a client: it asked for bytes from `asked` on, was served from `offset`, and typed numbers.

    `asked` is an (epoch, offset), or None for a viewer, who takes what there is. `is_last`: its user stayed to the end.
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


@dataclass(frozen=True)
class Recording:
    """A session as stored at the end, and the (epoch, seq, SHA-256) of chunks that were seen stored on the way."""

    session: str
    chunks: tuple[Chunk, ...]
    state: str
    end_reason: str | None
    sighted: frozenset[tuple[int, int, bytes]] = frozenset()


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

    `ttl_secs` is how long a frozen owner must be waited for.
    """

    shells: tuple[Shell, ...] = ()
    connections: tuple[Connection, ...] = ()
    recordings: tuple[Recording, ...] = ()
    faults: tuple[Fault, ...] = ()
    left_behind: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    ttl_secs: float = 8
    _shells: dict[str, Shell] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shells", {shell.id: shell for shell in self.shells})

    def shell(self, shell_id: str) -> Shell | None:
        return self._shells.get(shell_id)


@dataclass(frozen=True)
class Place:
    """Where a shell's output begins in its session's, and which epoch that is."""

    session: str
    epoch: int
    base: int
    shell: str


def judge(history: History) -> list[str]:
    """Every violation, one line each; none means that nothing that was promised was broken."""
    places = _places(history)
    by_epoch = {(place.session, place.epoch): place for place in places}
    return [
        *_one_owner_an_epoch(places),
        *_epochs_only_grow(history),
        *_clients_saw_the_device(history, by_epoch),
        *_clients_went_on_where_they_were(history),
        *_typing_arrived_in_order(history),
        *_typing_arrived_whole(history, by_epoch),
        *_recordings_hold(history, by_epoch),
        *_nothing_moved_without_a_cause(history, by_epoch),
        *_sessions_ended_by_their_users(history),
        *(f"{key} was left behind" for key in history.left_behind),
        *history.complaints,
    ]


def _outputs(history: History) -> Iterator[tuple[str, int, int, bytes]]:
    """(session, epoch, offset, bytes): whatever came of the devices' output, to clients and into recordings."""
    for connection in history.connections:
        yield connection.session, connection.epoch, connection.offset, connection.output
    for recording in history.recordings:
        for epoch, (offset, output) in _recorded(recording).items():
            yield recording.session, epoch, offset, output


def _recorded(recording: Recording) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}
    for chunk in recording.chunks:
        offset, output = found.get(chunk.epoch, (chunk.first_offset, b""))
        found[chunk.epoch] = offset, output + chunk.output()
    return found


def _places(history: History) -> set[Place]:
    return {
        Place(session, epoch, offset + banner.start(), banner[1].decode())
        for session, epoch, offset, output in _outputs(history)
        for banner in _BANNER.finditer(output)
        if (shell := history.shell(banner[1].decode())) is None or not _is_of_before(history, shell, session, epoch)
    }


def _is_of_before(history: History, shell: Shell, session: str, epoch: int) -> bool:
    """A viewer's little history may reach into the epoch before its own."""
    return any(
        each.session == session and each.epoch < epoch and f"shell {shell.id}\r\n".encode() in each.output
        for each in history.connections
    )


def _one_owner_an_epoch(places: set[Place]) -> Iterator[str]:
    for (session, epoch), count in sorted(Counter((each.session, each.epoch) for each in places).items()):
        if count > 1:
            yield f"{session}, epoch {epoch}: {count} shells or beginnings, so more than one owner"
    for (session, shell), count in sorted(Counter((each.session, each.shell) for each in places).items()):
        if count > 1:
            yield f"{session}: shell {shell} appears in {count} places"


def _epochs_only_grow(history: History) -> Iterator[str]:
    newest: dict[str, int] = {}
    for each in history.connections:
        if each.epoch < newest.get(each.client, 0):
            yield f"{each.client}: epoch {each.epoch} after {newest[each.client]}"
        newest[each.client] = max(each.epoch, newest.get(each.client, 0))


def _clients_saw_the_device(history: History, by_epoch: dict[tuple[str, int], Place]) -> Iterator[str]:
    """Byte for byte what the shell wrote down, and for who stayed to the end, all of it."""
    for each in history.connections:
        place = by_epoch.get((each.session, each.epoch))
        shell = history.shell(place.shell) if place else None
        if place is None or shell is None:
            if each.output:
                yield f"{each.client}, epoch {each.epoch}: {len(each.output)} bytes that no shell has printed"
            continue
        seen = each.output[max(0, place.base - each.offset) :]
        begin = max(0, each.offset - place.base)
        printed = shell.printed[begin : begin + len(seen)]
        if seen != printed:
            yield f"{each.client}, epoch {each.epoch}: {_difference(each.offset, seen, printed)}"
        elif each.is_last and begin + len(seen) < len(shell.printed):
            missing = len(shell.printed) - begin - len(seen)
            yield f"{each.client}, epoch {each.epoch}: the last {missing} bytes never came"


def _difference(offset: int, seen: bytes, printed: bytes) -> str:
    at = next((at for at, pair in enumerate(zip(seen, printed, strict=False)) if pair[0] != pair[1]), len(printed))
    return f"near offset {offset + at} {seen[at : at + 40]!r} was seen and {printed[at : at + 40]!r} was printed"


def _clients_went_on_where_they_were(history: History) -> Iterator[str]:
    """Within an epoch nothing comes twice, and nothing is left out without a word."""
    for each in history.connections:
        if each.asked is None or each.asked[0] != each.epoch:
            continue
        asked = each.asked[1]
        if each.offset < asked:
            yield f"{each.client}, epoch {each.epoch}: {asked - each.offset} bytes came twice, from {each.offset}"
        elif each.offset > asked and not each.notices:
            yield f"{each.client}, epoch {each.epoch}: {each.offset - asked} bytes left out silently, from {asked}"


def _typing_arrived_in_order(history: History) -> Iterator[str]:
    for shell in history.shells:
        if any(after <= before for before, after in zip(shell.read, shell.read[1:], strict=False)):
            yield f"{shell.session}: shell {shell.id} read out of order or twice: {shell.read}"
    counted = Counter((shell.session, number) for shell in history.shells for number in set(shell.read))
    for (session, number), count in counted.items():
        if count > 1:
            yield f"{session}: typed line {number} was read by {count} shells"


def _typing_arrived_whole(history: History, by_epoch: dict[tuple[str, int], Place]) -> Iterator[str]:
    """Of what one connection typed the device read a beginning; all of it if its user stayed to the end."""
    for each in history.connections:
        place = by_epoch.get((each.session, each.epoch))
        shell = history.shell(place.shell) if place else None
        if shell is None:
            continue
        read = [number for number in each.typed if number in shell.read]
        if read != list(each.typed[: len(read)]) or (each.is_last and len(read) < len(each.typed)):
            yield f"{each.client}, epoch {each.epoch}: typed {each.typed}, of which {read} reached the device"


def _recordings_hold(history: History, by_epoch: dict[tuple[str, int], Place]) -> Iterator[str]:
    for each in history.recordings:
        if gap := verify(each.chunks):
            yield f"{each.session}: recording, epoch {gap.epoch}, chunk {gap.seq}: {gap.problem}"
        stored = Counter((chunk.epoch, chunk.seq, chunk.sha256) for chunk in each.chunks)
        for epoch, seq, sha256 in sorted(each.sighted):
            if stored[epoch, seq, sha256] != 1:
                yield f"{each.session}: chunk {seq} of epoch {epoch} was stored once and is not there any more"
        recorded = _recorded(each)
        for epoch, (_, output) in recorded.items():
            place = by_epoch.get((each.session, epoch))
            shell = history.shell(place.shell) if place else None
            printed = shell.printed if shell else b""
            if output != printed[: len(output)]:
                yield f"{each.session}: recording, epoch {epoch}: {_difference(0, output, printed)}"
            elif epoch == max(recorded) and output != printed:
                yield f"{each.session}: recording, epoch {epoch}: ends at {len(output)} of {len(printed)} bytes"


def _nothing_moved_without_a_cause(history: History, by_epoch: dict[tuple[str, int], Place]) -> Iterator[str]:
    """A session leaves an owner that was killed or drained, or that stood still for a TTL; and no other."""
    for former, later in _successions(history, by_epoch):
        causes = [
            fault
            for fault in history.faults
            if fault.target == former.owner
            and former.started_at < fault.ended_at
            and fault.began_at < later.started_at
            and (fault.kind in {"kill", "drain"} or _silent_secs(history, fault, later.started_at) >= history.ttl_secs)
        ]
        if former.owner and not causes:
            yield f"{former.session}: shell {former.id} was taken from {former.owner} without a cause by {later.id}"


def _successions(history: History, by_epoch: dict[tuple[str, int], Place]) -> Iterator[tuple[Shell, Shell]]:
    former: dict[str, Shell] = {}
    for (session, _), place in sorted(by_epoch.items()):
        if shell := history.shell(place.shell):
            if session in former:
                yield former[session], shell
            former[session] = shell


def _silent_secs(history: History, fault: Fault, until: float) -> float:
    """How long nothing was heard of an instance that stood still, which counts from its last contact with Valkey."""
    if fault.kind != "freeze":
        return 0.0
    since = fault.began_at
    for former in sorted(history.faults, key=lambda each: each.ended_at, reverse=True):
        if former.target in {fault.target, "valkey"} and former.began_at < since <= former.ended_at + CONTACT_SECS:
            since = former.began_at
    return min(fault.ended_at, until) - since


def _sessions_ended_by_their_users(history: History) -> Iterator[str]:
    for each in history.recordings:
        if each.state != "ended" or not each.end_reason:
            yield f"{each.session}: is {each.state}, {each.end_reason!r}, at the end"
    attached = {each.session for each in history.connections if each.is_last}
    for session in sorted({each.session for each in history.connections} - attached):
        yield f"{session}: its user could not stay to the end"
