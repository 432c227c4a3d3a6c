"""The laws for a torture run's history. Pure: a history in, violations out."""

import re
from collections import Counter
from collections.abc import Iterator

from netstacks.recording.chunks import verify
from tests.torture.history import History, Place, Places, Recording, Shell
from tests.torture.laws_of_ends import (
    ends_were_due,
    nobody_was_forgotten,
    sessions_ended_by_their_users,
    the_crowd_was_kept_away,
)
from tests.torture.laws_of_owners import deaths_were_seen_at_once, nobody_was_locked_out, nothing_moved_without_a_cause
from tests.torture.laws_of_the_crowd import the_crowd_is_whole

# The first line of a shell, on its terminal.
_BANNER = re.compile(rb"shell (\S+)\r\n")


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
        *nothing_moved_without_a_cause(history, by_epoch),
        *deaths_were_seen_at_once(history, by_epoch),
        *nobody_was_locked_out(history),
        *ends_were_due(history),
        *nobody_was_forgotten(history),
        *sessions_ended_by_their_users(history),
        *the_crowd_is_whole(history.crowd),
        *the_crowd_was_kept_away(history),
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


def _clients_saw_the_device(history: History, by_epoch: Places) -> Iterator[str]:
    """Byte for byte what the shell wrote down, and all of it for a client that stayed to the end."""
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
    """Within an epoch nothing comes twice, and nothing is left out without a notice."""
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


def _typing_arrived_whole(history: History, by_epoch: Places) -> Iterator[str]:
    """Of what one connection typed the device read a beginning; all of it if its user stayed to the end."""
    for each in history.connections:
        place = by_epoch.get((each.session, each.epoch))
        shell = history.shell(place.shell) if place else None
        if shell is None:
            continue
        read = [number for number in each.typed if number in shell.read]
        if read != list(each.typed[: len(read)]) or (each.is_last and len(read) < len(each.typed)):
            yield f"{each.client}, epoch {each.epoch}: typed {each.typed}, of which {read} reached the device"


def _recordings_hold(history: History, by_epoch: Places) -> Iterator[str]:
    for each in history.recordings:
        if gap := verify(each.chunks):
            yield f"{each.session}: recording, epoch {gap.epoch}, chunk {gap.seq}: {gap.problem}"
        stored = Counter((chunk.epoch, chunk.seq, chunk.sha256) for chunk in each.chunks)
        for epoch, seq, sha256 in sorted(each.sighted):
            if stored[epoch, seq, sha256] != 1:
                yield f"{each.session}: chunk {seq} of epoch {epoch} was stored once and is not there any more"
        if history.is_of_crowd(each.session):
            continue
        recorded = _recorded(each)
        for epoch, (_, output) in recorded.items():
            place = by_epoch.get((each.session, epoch))
            shell = history.shell(place.shell) if place else None
            printed = shell.printed if shell else b""
            if output != printed[: len(output)]:
                yield f"{each.session}: recording, epoch {epoch}: {_difference(0, output, printed)}"
            elif epoch == max(recorded) and output != printed and shell and shell.said_bye:
                yield f"{each.session}: recording, epoch {epoch}: ends at {len(output)} of {len(printed)} bytes"
