"""The sentence of each event of the cluster, for the page HA status, its JSON and the command line."""

from collections.abc import Callable, Iterable, Mapping

from netstacks.cluster.model import Event

# Other programs, and other versions of this one, may have written an event: any detail may be missing.
_Details = Mapping[str, str]
_UNKNOWN = "?"


def text_of(event: Event) -> str:
    """One plain sentence without a full stop; an unknown kind is shown with its details.

    It begins with a capital letter, unless the name of an instance or of a user comes first.
    """
    write = _TEXTS.get(event.kind)
    return write(event.instance_id, event.details) if write else _plain(event)


def concerns(event: Event, instance_id: str) -> bool:
    """Whether the event is about the instance, or names it in a detail."""
    return event.instance_id == instance_id or instance_id in event.details.values()


def matching(events: Iterable[Event], *, kinds: Iterable[str] = (), instance_id: str | None = None) -> list[Event]:
    """The events of these kinds (all kinds when there are none) that concern the instance, in their order."""
    wanted = frozenset(kinds)
    return [
        each
        for each in events
        if (not wanted or each.kind in wanted) and (instance_id is None or concerns(each, instance_id))
    ]


def last_failover(events: Iterable[Event]) -> Event | None:
    """The newest event, of events with the newest first, by which another server became the primary.

    A server that was only restarted makes an event of the same kind.
    """
    return next((each for each in events if each.kind == "failover" and _has_moved(each.details)), None)


def _has_moved(details: _Details) -> bool:
    former, address = details.get("former"), details.get("address")
    return bool(former and address and former != address)


def _joined(name: str, details: _Details) -> str:
    lost = details.get("replaces")
    return f"{name} joined and replaces {lost}, which was lost" if lost else f"{name} joined"


def _left(name: str, details: _Details) -> str:
    return f"{name} shut down cleanly"


def _replaced(name: str, details: _Details) -> str:
    return f"{name}, which was lost, is replaced by {_of(details, 'by')}"


def _draining(name: str, details: _Details) -> str:
    if "needs_secs" in details:
        return (
            f"{name} hands over {_counted(details.get('sessions'), 'session')}: the other instances need"
            f" {_of(details, 'needs_secs')} s, the drain timeout leaves {_of(details, 'has_secs')} s"
        )
    return f"{details.get('by') or 'An administrator'} requested the drain of {name}"


def _drain_cancelled(name: str, details: _Details) -> str:
    return f"{details.get('by') or 'An administrator'} cancelled the drain of {name}, which goes on serving"


def _reaped(name: str, details: _Details) -> str:
    why = {
        "silence": "it sent no heartbeat for the TTL",
        "refused": "its process is gone, its lock in PostgreSQL is free",
    }.get(details.get("proof", ""))
    sessions = details.get("sessions")
    held = f"; it had {_counted(sessions, 'session')}" if sessions is not None else ""
    return f"{_of(details, 'by')} declared {name} dead and removed it{f': {why}' if why else ''}{held}"


def _dismissed(name: str, details: _Details) -> str:
    return f"{_of(details, 'by')} removed the lost instance {name} from the list"


def _claimed(name: str, details: _Details) -> str:
    former = details.get("former")
    session = f"session {_session(details)} on {_of(details, 'device')}"
    return f"{name} took over {session}{f' from {former}' if former else ''}"


def _moved(name: str, details: _Details) -> str:
    by = details.get("by") or "An administrator"
    return f"{by} moved session {_session(details)} on {_of(details, 'device')} away from {name}"


def _fenced(name: str, details: _Details) -> str:
    return f"{name} dropped its copy of session {_session(details)}, now owned by another instance"


def _failover(name: str, details: _Details) -> str:
    former, address = details.get("former"), details.get("address")
    sessions = f"{name} registered {_counted(details.get('sessions'), 'session')} again"
    if _has_moved(details):
        return f"The Valkey primary moved from {former} to {address}: {sessions}"
    if address:
        return f"Valkey at {address} was restarted: {sessions}"
    return f"{sessions} with a new or restarted Valkey server"


def _valkey_lost(name: str, details: _Details) -> str:
    error, away = details.get("error", "").removeprefix("Valkey: "), details.get("away_secs")
    # It is recorded when Valkey is back: before, no event could be.
    return f"{name} lost contact with Valkey{f' {away} s before this' if away else ''}{f': {error}' if error else ''}"


def _valkey_back(name: str, details: _Details) -> str:
    away = details.get("away_secs")
    return f"{name} has contact with Valkey again{f' after {away} s' if away else ''}"


def _database_lost(name: str, details: _Details) -> str:
    return f"{name} lost contact with PostgreSQL: live sessions go on, log-ins and new sessions wait"


def _database_back(name: str, details: _Details) -> str:
    away = details.get("away_secs")
    return f"{name} has contact with PostgreSQL again{f' after {away} s' if away else ''}"


def _disk_low(name: str, details: _Details) -> str:
    problem = details.get("problem")
    return f"{name} runs out of disk space{f': {problem}' if problem else ''}"


def _clock(name: str, details: _Details) -> str:
    return f"The clock of {name} is {_of(details, 'clock')}, compared with {_of(details, 'seen_by')}"


def _breaker(name: str, details: _Details) -> str:
    provider = f"AI provider {_of(details, 'provider')} ({_of(details, 'model')})"
    match details.get("circuit"):
        case "open":
            return f"No calls to {provider}: {details.get('reason') or 'it failed too often'}"
        case "half-open":
            return f"{name} probes {provider}"
    return f"Calls to {provider} have resumed"


def _licence(name: str, details: _Details) -> str:
    if "status" in details:
        return f"The licence {_of(details, 'change')}"
    return f"{details.get('by') or 'An administrator'} activated a licence: {_of(details, 'change')}"


def _inconsistent(name: str, details: _Details) -> str:
    return f"The instances do not agree: {_of(details, 'problem')}"


_TEXTS: dict[str, Callable[[str, _Details], str]] = {
    "joined": _joined,
    "left": _left,
    "replaced": _replaced,
    "draining": _draining,
    "drain_cancelled": _drain_cancelled,
    "reaped": _reaped,
    "dismissed": _dismissed,
    "claimed": _claimed,
    "moved": _moved,
    "fenced": _fenced,
    "failover": _failover,
    "valkey_lost": _valkey_lost,
    "valkey_back": _valkey_back,
    "database_lost": _database_lost,
    "database_back": _database_back,
    "disk_low": _disk_low,
    "clock": _clock,
    "breaker": _breaker,
    "licence": _licence,
    "inconsistent": _inconsistent,
}


def _plain(event: Event) -> str:
    details = ", ".join(f"{name} {value}" for name, value in event.details.items())
    return f"{event.instance_id}: {event.kind}{f' ({details})' if details else ''}"


def _of(details: _Details, name: str) -> str:
    return details.get(name) or _UNKNOWN


def _session(details: _Details) -> str:
    return _of(details, "session")[:8]


def _counted(count: str | None, noun: str) -> str:
    return f"{count or _UNKNOWN} {noun}{'' if count == '1' else 's'}"
