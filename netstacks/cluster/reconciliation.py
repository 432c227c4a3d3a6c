"""Rules for differences between PostgreSQL and an instance over a session.

The row in PostgreSQL decides the owner of a session. An instance compares in both directions: its copies with the rows,
and the rows that name it with its copies. It leaves rows that name another living instance to that one.
"""

from dataclasses import dataclass
from typing import Literal

from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import Instance, SessionRecord
from netstacks.cluster.routing import Outcome, Witness


@dataclass(frozen=True)
class Keep:
    """The row agrees."""


@dataclass(frozen=True)
class Fence:
    """Another instance owns the session: this copy closes, and PostgreSQL refuses its unstored recording."""


@dataclass(frozen=True)
class End:
    """The session must end: this instance, its owner, stores the rest of the recording and releases it."""

    reason: str


def judge_held(
    epoch: int, row: SessionRecord | None, *, end_reason: str | None, end_requested: str | None
) -> Keep | Fence | End:
    """The decision for a copy at `epoch` on this instance; `row` is the session's row in PostgreSQL."""
    if row is None:
        return Fence()
    if row.state == "ended":
        return End(end_reason or "it was ended elsewhere")
    if row.epoch != epoch:
        return Fence()
    return End(end_requested) if end_requested else Keep()


def is_forsaken(row: SessionRecord, me: str, *, held: bool) -> bool:
    """Whether a row names this instance, which does not hold, open or store the session.

    A commit whose reply was lost leaves such a row. Look `held` up after reading the row.
    """
    return row.owner == me and row.state != "ended" and not held


# What an entry of the registry proves. blind: nothing, contact is younger than a TTL. alone: nothing, the registry is
# in memory and knows no other instance.
Proof = Literal["counts", "blind", "alone"]


@dataclass(frozen=True)
class Signs:
    """The facts about an instance that rows name as their owner.

    `registered` is its entry in the registry; `proof` says whether the age or absence of that entry counts. `outcome`
    is that of a dial, "refused" when the owner has no address.
    """

    registered: Instance | None
    proof: Proof
    witness: Witness
    outcome: Outcome


def is_alive(registered: Instance | None, witness: Witness, now: float, ttl_secs: float) -> bool:
    """Whether an owner is certainly alive, without a dial. `now` is by the registry's clock."""
    return witness == "held" or (registered is not None and not is_stale(registered, now, ttl_secs))


def is_gone(signs: Signs, now: float, ttl_secs: float) -> bool:
    """Whether an owner is gone, so that its sessions are orphans.

    A missing entry alone proves nothing. An owner is alive while its witness is held, while it answers a dial in any
    way, or while its heartbeat is fresh. Otherwise it is gone when its process is proven dead, or when heartbeats
    count. Without a cluster, it is gone when its connection to PostgreSQL has been silent for a whole TTL.
    """
    if is_alive(signs.registered, signs.witness, now, ttl_secs):
        return False
    if signs.outcome in ("confirmed", "denied", "declined"):
        return False
    proven = signs.outcome in ("refused", "other_id") and signs.witness == "free"
    return proven or signs.proof == "counts" or (signs.proof == "alone" and signs.witness == "silent")
