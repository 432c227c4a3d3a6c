"""The consistency of the instances on one database: where their settings, their Valkeys or their addresses disagree."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from netstacks.cluster.instance_rows import (
    MAX_AGE_SECS,
    NO_REGISTRY,
    UNKNOWN_REGISTRY,
    Inconsistency,
    InstanceRow,
    ids,
    named,
)
from netstacks.cluster.reachability import unreachable_instances

# Of instances that share a Valkey: what a difference does.
_CLUSTER_SETTINGS = {
    "HA_HEARTBEAT_INTERVAL_SECS": "the slower heartbeat can be too slow for the TTL of the others, which then take a"
    " living instance for dead",
    "HA_STALE_INSTANCE_TTL_SECS": "they declare a silent instance dead after different times, and the shortest time"
    " decides for all of them",
    "HA_EXPECTED_INSTANCES": "some of them show the cluster as healthy while others show it as degraded",
    "HA_PEER_TLS_CERT": "they cannot connect to each other, so a terminal works only through the instance that owns it",
}
# Of all instances on one database. TRUSTED_PROXIES may differ: each site can have load balancers of its own.
_COMMON_SETTINGS = {
    "SESSION_DETACH_TTL_SECS": "the time after which a terminal without its client ends depends on the instance",
    "ALLOWED_ORIGINS": "an address of the web pages that one instance accepts is refused by another, so whether a page"
    " works depends on the choice of the load balancer",
    "RECORDING_RETENTION_DAYS": "each instance deletes recordings by its own value, so the shortest time destroys those"
    " that the others are to keep",
}
AGREEING_SETTINGS = (*_CLUSTER_SETTINGS, *_COMMON_SETTINGS)

_SET_VALKEY = (
    "set the same VALKEY_URL, or VALKEY_SENTINEL_URL and VALKEY_SENTINEL_MASTER_NAME, on every instance that uses this"
    " database, and restart those that change; without Valkey run one instance only (WEB_CONCURRENCY 1); give another"
    " installation a database of its own"
)


def inconsistencies(rows: Iterable[InstanceRow]) -> list[Inconsistency]:
    """All inconsistencies between the instances of these rows, the worst first.

    Pass the rows of living instances only. Old rows and instances that drain do not count: they are on their way out.
    """
    present = sorted(
        (each for each in rows if each.age_secs <= MAX_AGE_SECS and not each.is_draining), key=lambda row: row.id
    )
    clustered = [each for each in present if each.registry != NO_REGISTRY]
    return [
        *_registries(present),
        *_secrets(present),
        *_settings(clustered, _CLUSTER_SETTINGS),
        *_settings(present, _COMMON_SETTINGS),
        *unreachable_instances(clustered),
    ]


def of_health(found: Iterable[Inconsistency], instance_id: str, *, is_refused: bool) -> tuple[str, ...]:
    """The problems that the health of an instance reports.

    Different secrets are reported only by the instances of the minority. An instance that its registry has refused for
    them (`is_refused`) is unhealthy already, and does not report them again.
    """
    return tuple(
        each.problem for each in found if each.kind != "secrets" or (instance_id in each.differing and not is_refused)
    )


def _by_size(groups: Iterable[Sequence[InstanceRow]]) -> list[Sequence[InstanceRow]]:
    """The majority first."""
    return sorted(groups, key=len, reverse=True)


def _registries(rows: Sequence[InstanceRow]) -> Iterator[Inconsistency]:
    single = [each for each in rows if each.registry == NO_REGISTRY]
    unknown = [each for each in rows if each.registry == UNKNOWN_REGISTRY]
    by_registry: dict[str, list[InstanceRow]] = defaultdict(list)
    for row in rows:
        if row.registry not in (NO_REGISTRY, UNKNOWN_REGISTRY):
            by_registry[row.registry].append(row)
    # An instance whose Valkey has not answered yet may use that of the others: health says that it does not answer.
    apart = len(single) + max(len(by_registry), bool(unknown))
    if apart < 2:
        return
    parts: list[str] = []
    for group in _by_size(by_registry.values()):
        which = "another Valkey" if parts else "one Valkey"
        parts.append(f"{named(group)} {'uses' if len(group) == 1 else 'share'} {which}")
    if unknown:
        parts.append(f"{named(unknown)} {_verb(unknown, 'waits', 'wait')} for Valkey to answer")
    if single:
        why = next((f" ({each.why_no_registry})" for each in single if each.why_no_registry), "")
        parts.append(f"{named(single)} {_verb(single, 'uses', 'use')} no Valkey{why}")
    yield Inconsistency(
        "registry",
        f"{', '.join(parts)}: instances on one database that do not share a Valkey do not know each other, so a"
        " terminal on one of them cannot be reached through the others",
        _SET_VALKEY,
        ids(rows),
    )


def _verb(rows: Sequence[InstanceRow], singular: str, plural: str) -> str:
    return singular if len(rows) == 1 else plural


def _secrets(rows: Sequence[InstanceRow]) -> Iterator[Inconsistency]:
    groups: list[tuple[set[str], list[InstanceRow]]] = []
    for row in rows:
        if not row.secrets:
            continue
        # During a change of the master key an instance has two pairs; one in common is enough.
        pairs, members = set(row.secrets.split(", ")), [row]
        for group in [each for each in groups if each[0] & pairs]:
            groups.remove(group)
            pairs |= group[0]
            members = group[1] + members
        groups.append((pairs, members))
    if len(groups) < 2:
        return
    first, *others = _by_size(sorted(members, key=lambda row: row.id) for _, members in groups)
    different = [each for group in others for each in group]
    yield Inconsistency(
        "secrets",
        f"{named(different)} {_verb(different, 'has', 'have')} another VAULT_MASTER_KEY or JWT_SECRET than"
        f" {named(first)}: log-ins and credentials of one are not valid at the other",
        "give every instance the same VAULT_MASTER_KEY and JWT_SECRET, and restart those that change",
        ids([*first, *different]),
        differing=ids([each for group in _minorities([first, *others]) for each in group if _is_apart(each, rows)]),
    )


def _minorities(groups: Sequence[Sequence[InstanceRow]]) -> Sequence[Sequence[InstanceRow]]:
    """All groups but the majority; without one, all of them. The largest group comes first."""
    return groups[1:] if len(groups[0]) > len(groups[1]) else groups


def _is_apart(row: InstanceRow, rows: Iterable[InstanceRow]) -> bool:
    """Whether another instance has another registry, or none: a shared one compares the secrets itself."""
    return row.registry == NO_REGISTRY or any(each.registry != row.registry for each in rows)


def _settings(rows: Sequence[InstanceRow], effects: dict[str, str]) -> Iterator[Inconsistency]:
    for name, effect in effects.items():
        by_value: dict[str, list[InstanceRow]] = defaultdict(list)
        for row in rows:
            if name in row.settings:
                by_value[row.settings[name]].append(row)
        if len(by_value) < 2:
            continue
        groups = _by_size(by_value.values())
        parts = [
            f"{named(group)} {_verb(group, 'has', 'have')} {f'{name} ' if not at else ''}{group[0].settings[name]}"
            for at, group in enumerate(groups)
        ]
        yield Inconsistency(
            "setting",
            f"{', '.join(parts)}: {effect}",
            f"set {name} to the same value on every instance, and restart those that change; while you change it"
            " instance by instance, this lasts until the last restart",
            tuple(each for group in groups for each in ids(group)),
            about=name,
        )
