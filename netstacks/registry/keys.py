"""The keys in Valkey, documented for use with `valkey-cli`.

| key                       | type   | holds                                                                         |
|---------------------------|--------|-------------------------------------------------------------------------------|
| netstacks:instances       | zset   | instance id, scored by its last heartbeat (the server's TIME, in seconds)     |
| netstacks:instance:{id}   | hash   | host, peer_address, started_at, version, state, secrets_fingerprint, pid,     |
|                           |        | opens_per_sec, waiting, sessions                                              |
| netstacks:session:{id}    | hash   | owner, epoch, device, user, started_at, state, cols, rows                     |
| netstacks:owned:{id}      | set    | the ids of that instance's sessions                                           |
| netstacks:server          | string | the run id of the server that had the last heartbeat                          |
| netstacks:events          | stream | kind, instance_id and details of each event                                   |
| netstacks:breakers        | set    | the names of the circuits, which are {provider id}/{model}                    |
| netstacks:breaker:{name}  | hash   | state, failures, opened_at, open_until, reason, probe, probe_until, version,  |
|                           |        | changed_at; it expires two hours after its last change                        |
"""

from uuid import UUID

PREFIX = "netstacks:"
INSTANCES = PREFIX + "instances"
SERVER = PREFIX + "server"
EVENTS = PREFIX + "events"
BREAKERS = PREFIX + "breakers"


def instance(instance_id: str) -> str:
    return f"{PREFIX}instance:{instance_id}"


def session(session_id: UUID) -> str:
    return f"{PREFIX}session:{session_id}"


def owned(instance_id: str) -> str:
    return f"{PREFIX}owned:{instance_id}"


def breaker(name: str) -> str:
    return f"{PREFIX}breaker:{name}"
