"""The plan of faults: targets and times, which follow from the seed alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tests.acceptance.cluster import TTL_SECS

INSTANCES = ("a", "b", "c")
VALKEY, POSTGRES = "valkey", "postgres"

# For each fault how often it is in the pack that is dealt from, and how long it lasts at most.
Kinds = Mapping[str, tuple[int, float]]

FREEZE, FREEZE_IN_TRANSACTION = "freeze", "freeze in a transaction"
CUT_OFF_VALKEY, CUT_OFF_POSTGRES, HIDE = "cut off from Valkey", "cut off from PostgreSQL", "hide"
CROWD = "crowd"
LOCK_SECS = 14
SHORT_DETACH_TTL_SECS, LONG_DETACH_TTL_SECS = 8, 300
OF_POSTGRES: Kinds = {"lock sessions": (2, LOCK_SECS), "lock logins": (1, LOCK_SECS), "lock users": (1, LOCK_SECS)}
# After every time limit a reconciler has to look, and after that another one, each of them every five seconds; twice.
_LOOKS_SECS = 20
_OFTEN = {**dict.fromkeys(INSTANCES, 3), VALKEY: 2, POSTGRES: 1}
_PAUSE_SECS = (1, 3)
# Between two faults of one target. Services have long rests too: heartbeats judge no instance without them.
_REST_SECS, _LONG_REST_SECS = 2, 30


def of_instances(detach_ttl_secs: float, crowd_secs: float) -> Kinds:
    """What is done to instances: cut off for up to longer than every time limit."""
    long_secs = TTL_SECS + min(detach_ttl_secs, TTL_SECS) + _LOOKS_SECS
    return {
        "kill": (3, 3),
        "drain": (1, 1),
        FREEZE: (2, TTL_SECS + 6),
        FREEZE_IN_TRANSACTION: (2, TTL_SECS + 6),
        HIDE: (1, long_secs),
        CUT_OFF_VALKEY: (2, long_secs),
        CUT_OFF_POSTGRES: (1, long_secs),
        CROWD: (1, crowd_secs),
    }


@dataclass(frozen=True)
class Action:
    """`at` and `lasts` are seconds, since the beginning and from there on."""

    at: float
    kind: str
    target: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s: {self.kind} {self.target} for {self.lasts:.1f} s"


class _Pack:
    """Deals every card before one comes again."""

    def __init__(self, random: Random, kinds: Kinds) -> None:
        self._random = random
        self._cards = [kind for kind, (count, _) in kinds.items() for _ in range(count)]
        self._left: list[str] = []

    def deal(self) -> str:
        if not self._left:
            self._left = self._random.sample(self._cards, len(self._cards))
        return self._left.pop()


def plan(seed: int, secs: float, of_instances: Kinds, of_valkey: Kinds) -> list[Action]:
    """The same for the same seed. One instance is always left in peace, and nothing outlasts the end."""
    random = Random(seed)
    kinds = {**dict.fromkeys(INSTANCES, of_instances), VALKEY: of_valkey, POSTGRES: OF_POSTGRES}
    packs = {**dict.fromkeys(INSTANCES, _Pack(random, of_instances))}
    packs |= {VALKEY: _Pack(random, of_valkey), POSTGRES: _Pack(random, OF_POSTGRES)}
    free_at = dict.fromkeys(kinds, 0.0)
    actions: list[Action] = []
    at = random.uniform(*_PAUSE_SECS)
    while at < secs:
        free = [target for target, since in free_at.items() if since <= at]
        target = random.choices(list(kinds), _OFTEN.values())[0]
        if target in free and (target not in INSTANCES or len({*free} & {*INSTANCES}) > 1):
            kind = packs[target].deal()
            most_secs = kinds[target][kind][1]
            lasts = min(most_secs if kind == CROWD else _duration(random, most_secs), secs - at)
            actions.append(Action(round(at, 1), kind, target, round(lasts, 1)))
            is_long = target not in INSTANCES and random.random() < 0.5
            free_at[target] = at + lasts + (_LONG_REST_SECS if is_long else _REST_SECS)
        at += random.uniform(*_PAUSE_SECS)
    return actions


def _duration(random: Random, most_secs: float) -> float:
    """A duration, more often long: half of them outlast three quarters of the longest."""
    return most_secs * float(1 - random.random() ** 2)


def last_victim(seed: int, sessions: int) -> int:
    """In the calm after everything the owner of this session is killed."""
    return Random(f"{seed}, the last").randrange(sessions)


def has_standing_crowd(seed: int) -> bool:
    """In half of the seeds of each store and each detach TTL."""
    return seed // 4 % 2 == 1


def detach_ttl_secs(seed: int) -> float:
    """How long sessions wait for their users: hardly longer than these are away, or longer than everything.

    The one in half of the seeds of each store.
    """
    return SHORT_DETACH_TTL_SECS if seed % 4 in (0, 1) else LONG_DETACH_TTL_SECS
