"""Instances that their peers cannot reach at the address that they advertise, judged from the dials of all of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from netstacks.cluster.instance_rows import TLS_FAILS, UNKNOWN_REGISTRY, Inconsistency, InstanceRow, ids, named

_EFFECT = "terminals that it owns work only through this instance itself"


def unreachable_instances(rows: Sequence[InstanceRow]) -> Iterator[Inconsistency]:
    """The wrong addresses and broken networks among the instances, for each Valkey that they share."""
    by_registry: dict[str, list[InstanceRow]] = defaultdict(list)
    for row in rows:
        # Without an address it is the environment of a command, which neither dials nor is dialled.
        if row.registry != UNKNOWN_REGISTRY and row.peer_address:
            by_registry[row.registry].append(row)
    for group in by_registry.values():
        yield from _within(group)


def _within(rows: Sequence[InstanceRow]) -> Iterator[Inconsistency]:
    present = {each.id: each for each in rows}
    failed = [
        (observer, present[target])
        for observer in rows
        for target in observer.unreachable
        # Different TLS settings are an inconsistency of their own, which explains this one.
        if target in present and _has_tls(observer) == _has_tls(present[target])
    ]
    # An instance that reaches none of several peers is the more likely cause, and says nothing about theirs. Where this
    # holds for all of them, for example with HA_ADVERTISE_HOST=127.0.0.1 everywhere, all addresses are wrong.
    isolated = {each.id for each in rows if not each.reached and sum(observer is each for observer, _ in failed) > 1}
    if len(isolated) == len(rows):
        isolated = set()
    trusted = [(observer, target) for observer, target in failed if observer.id not in isolated]
    wrong: set[str] = set()
    for target in rows:
        observers = [observer for observer, seen in trusted if seen is target]
        others = [each for each in rows if each.id not in isolated | {target.id} | set(ids(observers))]
        if observers and (len(observers) > 1 or not any(_reaches_the_rest(each, rows) for each in others)):
            wrong.add(target.id)
            yield _wrong_address(target, observers)
    for observer in rows:
        missed = [target for seen, target in failed if seen is observer and target.id not in wrong]
        if observer.id in wrong or not missed:
            continue
        yield _cut_off(observer, missed) if observer.id in isolated else _no_route(observer, missed)


def _reaches_the_rest(observer: InstanceRow, rows: Sequence[InstanceRow]) -> bool:
    """Whether every peer that it does not name as unreachable has answered it: its failures are named after a while."""
    return observer.reached + len(observer.unreachable.keys() & set(ids(rows))) >= len(rows) - 1


def _has_tls(row: InstanceRow) -> str | None:
    return row.settings.get("HA_PEER_TLS_CERT")


def _how(observers: Sequence[InstanceRow], target: InstanceRow) -> str:
    return " or ".join(sorted({each.unreachable[target.id] for each in observers}))


def _wrong_address(target: InstanceRow, observers: Sequence[InstanceRow]) -> Inconsistency:
    return Inconsistency(
        "unreachable",
        f"{target.name} advertises the address {target.peer_address}, at which {named(observers)} cannot reach it"
        f" ({_how(observers, target)}), although it sends heartbeats: {_EFFECT}",
        _remedy_of_tls(observers, [target])
        or f"set HA_ADVERTISE_HOST on {target.host} to an address at which the other hosts reach it, and allow its"
        " private port (HA_PEER_PORT) through the firewalls",
        (target.id, *ids(observers)),
        about=target.id,
    )


def _cut_off(observer: InstanceRow, missed: Sequence[InstanceRow]) -> Inconsistency:
    return Inconsistency(
        "unreachable",
        f"{observer.name} cannot reach any other instance ({_addresses(observer, missed)}): terminals of the others do"
        " not work through it",
        _remedy_of_tls([observer], missed)
        or f"check the network and the firewalls of {observer.host}: it must be able to connect to the private ports of"
        " the other hosts",
        (observer.id, *ids(missed)),
        about=observer.id,
    )


def _no_route(observer: InstanceRow, missed: Sequence[InstanceRow]) -> Inconsistency:
    hosts = ", ".join(sorted({each.host for each in missed}))
    return Inconsistency(
        "unreachable",
        f"{observer.name} cannot reach {_addresses(observer, missed)}, which other instances can: terminals of those do"
        " not work through it",
        _remedy_of_tls([observer], missed) or f"check the routes and the firewalls between {observer.host} and {hosts}",
        (observer.id, *ids(missed)),
        about=observer.id,
    )


def _remedy_of_tls(observers: Sequence[InstanceRow], missed: Sequence[InstanceRow]) -> str | None:
    """What to do when a certificate is not accepted; None when TLS is not what failed."""
    hows = [observer.unreachable.get(each.id, "") for observer in observers for each in missed]
    if not any(how.startswith(TLS_FAILS) for how in hows):
        return None
    hosts = ", ".join(sorted({each.host for each in (*observers, *missed)}))
    return (
        f"compare the certificates of {hosts}: each HA_PEER_TLS_CERT must be valid, name the address that its instance"
        " advertises, and be signed by the authority in HA_PEER_TLS_CA, which is the same everywhere"
    )


def _addresses(observer: InstanceRow, missed: Sequence[InstanceRow]) -> str:
    found = [f"{each.name} at {each.peer_address}{_tls_of(observer, each)}" for each in missed[:3]]
    return ", ".join([*found, *([f"{len(missed) - 3} others"] if len(missed) > 3 else [])])


def _tls_of(observer: InstanceRow, target: InstanceRow) -> str:
    how = observer.unreachable[target.id]
    return f" ({how})" if how.startswith(TLS_FAILS) else ""
