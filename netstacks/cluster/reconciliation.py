"""What is to be done where PostgreSQL and an instance disagree on a session: rules, without a clock or a question.

PostgreSQL's row decides who owns a session. An instance compares both ways: what it holds against the rows, and the
rows that name it against what it holds. Rows that name another instance are that one's affair while it lives.
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
    """Another instance owns the session: this copy stops, and what it has not stored is refused."""


@dataclass(frozen=True)
class End:
    """The session is to end here: its owner stores what it has, then lets go."""

    reason: str


def judge_held(
    epoch: int, row: SessionRecord | None, *, end_reason: str | None, end_requested: str | None
) -> Keep | Fence | End:
    """What becomes of a copy at `epoch` that this instance holds; `row` is what PostgreSQL says of the session."""
    if row is None:
        return Fence()
    if row.state == "ended":
        return End(end_reason or "it was ended elsewhere")
    if row.epoch != epoch:
        return Fence()
    return End(end_requested) if end_requested else Keep()


def is_forsaken(row: SessionRecord, me: str, *, held: bool) -> bool:
    """Whether a row names this instance, which neither holds nor opens nor stores anything of the session.

    A commit whose reply was lost leaves such a row. `held` is to be looked up after the row was read.
    """
    return row.owner == me and row.state != "ended" and not held


# blind: the registry has not been in contact for a whole TTL. alone: it is this instance's own, and knows no others.
Proof = Literal["counts", "blind", "alone"]


@dataclass(frozen=True)
class Signs:
    """What is known of an instance that rows name as an owner.

    `registered` is the registry's entry, and `proof` says what its age, or its absence, counts for. `outcome` is what
    came of a dial; "refused" where there is nothing to dial.
    """

    registered: Instance | None
    proof: Proof
    witness: Witness
    outcome: Outcome


def is_alive(registered: Instance | None, witness: Witness, now: float, ttl_secs: float) -> bool:
    """Whether an owner lives for certain, so that it need not be dialled. `now` is the registry's clock."""
    return witness == "held" or (registered is not None and not is_stale(registered, now, ttl_secs))


def is_gone(signs: Signs, now: float, ttl_secs: float) -> bool:
    """Whether an owner is gone, so that its sessions wait for their users and end when these do not come.

    Its absence from a list is no death. It lives while its witness is held, while it answers a dial, whatever it says,
    and while its heartbeat is fresh. Without all that it is gone when its process is proven to be, or when heartbeats
    count. An instance that sees no others' heartbeats goes by what PostgreSQL has heard of the owner for a whole TTL.
    """
    if is_alive(signs.registered, signs.witness, now, ttl_secs):
        return False
    if signs.outcome in ("confirmed", "denied", "declined"):
        return False
    proven = signs.outcome in ("refused", "other_id") and signs.witness == "free"
    return proven or signs.proof == "counts" or (signs.proof == "alone" and signs.witness == "silent")
