"""Ready-made instances and session records for the tests of the cluster's rules."""

from uuid import UUID

from netstacks.cluster.model import Instance, InstanceState, SessionRecord, SessionState
from netstacks.registry.memory import MemoryRegistry


class SharedRegistry(MemoryRegistry):
    """A registry in memory that stands for one that several instances share."""

    is_shared = True


SESSION = UUID("6f1a2f0e-0000-4000-8000-000000000001")


def instance(
    name: str, *, last_heartbeat_at: float = 0.0, state: InstanceState = "active", opens_per_sec: float = 0.0
) -> Instance:
    return Instance(
        id=name,
        host="host-" + name,
        peer_address=f"10.0.0.1:{sum(name.encode())}",
        started_at=0.0,
        version="1",
        state=state,
        secrets_fingerprint="vault:1 jwt:1",
        pid=1,
        opens_per_sec=opens_per_sec,
        last_heartbeat_at=last_heartbeat_at,
    )


def record(
    owner: str | None, epoch: int = 1, *, session_id: UUID = SESSION, state: SessionState = "active"
) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        owner=owner,
        epoch=epoch,
        device="core-1",
        user="alice",
        started_at=0.0,
        state=state,
        cols=80,
        rows=24,
    )
