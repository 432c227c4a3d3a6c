"""The keys in Valkey, documented for use with `valkey-cli`.

| key                       | type   | holds                                                                         |
|---------------------------|--------|-------------------------------------------------------------------------------|
| netstacks:instances       | zset   | instance id, scored by its last heartbeat (the server's TIME, in seconds)     |
| netstacks:instance:{id}   | hash   | host, peer_address, started_at, version, state, secrets_fingerprint, pid,     |
|                           |        | opens_per_sec, waiting, health, reason, sessions, replaces                    |
| netstacks:session:{id}    | hash   | owner, epoch, device, user, started_at, state, cols, rows                     |
| netstacks:owned:{id}      | set    | the ids of that instance's sessions                                           |
| netstacks:server          | string | the run id of the server that had the last heartbeat                          |
| netstacks:cluster         | string | the random id of this Valkey: instances of one cluster have the same one      |
| netstacks:lost            | zset   | instance id, scored by the time of its loss                                   |
| netstacks:lost:{id}       | hash   | the hash of an instance that was reaped and not replaced, with lost_at,       |
|                           |        | last_heartbeat_at, reaped_by, proof; it expires after a day                   |
| netstacks:samples:{id}    | stream | figures of that instance, one entry every ten seconds: at, sessions,          |
|                           |        | heartbeat_age_secs, loop_lag_secs, valkey_latency_secs, memory_bytes; it      |
|                           |        | expires two hours after its last entry                                        |
| netstacks:events          | stream | kind, instance_id and details of each event                                   |
| netstacks:reported:{kind} | string | exists for a while after an event that all instances see at once              |
| netstacks:breakers        | set    | the names of the circuits, which are {provider id}/{model}                    |
| netstacks:breaker:{name}  | hash   | state, failures, opened_at, open_until, reason, probe, probe_until, version,  |
|                           |        | changed_at; it expires two hours after its last change                        |
"""

from uuid import UUID

PREFIX = "netstacks:"
INSTANCES = PREFIX + "instances"
SERVER = PREFIX + "server"
CLUSTER = PREFIX + "cluster"
LOST = PREFIX + "lost"
EVENTS = PREFIX + "events"
BREAKERS = PREFIX + "breakers"


def instance(instance_id: str) -> str:
    return f"{PREFIX}instance:{instance_id}"


def session(session_id: UUID) -> str:
    return f"{PREFIX}session:{session_id}"


def owned(instance_id: str) -> str:
    return f"{PREFIX}owned:{instance_id}"


def lost(instance_id: str) -> str:
    return f"{LOST}:{instance_id}"


def samples(instance_id: str) -> str:
    return f"{PREFIX}samples:{instance_id}"


def reported(kind: str) -> str:
    return f"{PREFIX}reported:{kind}"


def breaker(name: str) -> str:
    return f"{PREFIX}breaker:{name}"
