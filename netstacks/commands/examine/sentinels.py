"""Checks of the Sentinels, of their agreement, and of the replicas."""

from contextlib import closing
from typing import Any

from redis.exceptions import RedisError

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import NetstacksError
from netstacks.registry.addresses import Endpoint
from netstacks.registry.sentinel import Address, Report, Sentinels, connect_to

_FEWEST_SENTINELS = 3
_NO_FAILOVER = "without a majority there is no failover"


def examine_sentinels(endpoints: tuple[Endpoint, ...], name: str) -> Findings:
    """Findings about each Sentinel, as seen from this host."""
    reports: list[Report] = []
    unnamed: list[Endpoint] = []
    watched: set[str] = set()
    for endpoint in endpoints:
        names = _watched_names(endpoint)
        if names is not None and name not in names:
            unnamed.append(endpoint)
            watched |= names
            continue
        try:
            reports.append(Sentinels((endpoint,), name).report())
        except NetstacksError as error:
            why = "a failover needs a majority of the Sentinels"
            yield Finding("Sentinels", "warning", str(error), why, "start it, or correct its address")
    if unnamed:
        yield _wrong_name(unnamed, name, watched)
    answering = len(reports) + len(unnamed)
    if answering * 2 <= len(endpoints):
        what, do = f"only {answering} of {len(endpoints)} answer", "start the others, and check their addresses"
        yield Finding("Sentinels", "error", what, _NO_FAILOVER, do)
    if reports:
        yield from judge_reports(reports)


def _watched_names(endpoint: Endpoint) -> set[str] | None:
    """The names of the primaries that a Sentinel watches; None when it does not say."""
    try:
        with closing(connect_to(endpoint)) as client:
            found: Any = client.sentinel_masters()
            return set(found)
    except (RedisError, KeyError, ValueError, TypeError):
        return None


def _wrong_name(endpoints: list[Endpoint], name: str, watched: set[str]) -> Finding:
    at = ", ".join(map(str, endpoints))
    names = " and ".join(map(repr, sorted(watched))) or "none"
    what = f"the Sentinels {at} watch no primary named {name!r}; what they watch: {names}"
    why = "the instances do not find the primary, and cannot join"
    do = (
        "set VALKEY_SENTINEL_MASTER_NAME to the name in the `sentinel monitor` line of the Sentinels, in the same case,"
        " on every instance"
    )
    return Finding("Sentinels", "error", what, why, do)


def judge_reports(reports: list[Report]) -> Findings:
    """Findings about the Sentinels that answer."""
    primaries: set[Address] = {each.primary for each in reports}
    if len(primaries) > 1:
        what = f"they name different primaries: {sorted(primaries)}"
        why = "a failover is under way, or one of them is cut off"
        yield Finding("Sentinels", "warning", what, why, "check again in a minute")
        return
    host, port = reports[0].primary
    yield Finding("Sentinels", "ok", f"{len(reports)} name {host}:{port} as the primary")
    for problem in dict.fromkeys(each.quorum_problem for each in reports if each.quorum_problem):
        why = "they cannot replace a primary that fails"
        yield Finding("Sentinels", "error", problem, why, "start all Sentinels, and check that they reach each other")
    known = max(each.sentinels for each in reports)
    if known < _FEWEST_SENTINELS:
        what, why = f"there are only {known} Sentinels", "when one host fails, the rest is not a majority"
        yield Finding("Sentinels", "warning", what, why, f"run at least {_FEWEST_SENTINELS}, on separate hosts")
    yield from _judge_replicas(reports[0].replicas)


def _judge_replicas(replicas: tuple[dict[str, Any], ...]) -> Findings:
    if not replicas:
        why = "when the primary fails, no node can replace it"
        yield Finding("Replicas", "error", "the Sentinels know no replica", why, "give the primary two replicas")
    for each in replicas:
        address = f"{each['ip']}:{each['port']}"
        if each["is_sdown"] or each["is_disconnected"]:
            what, do = f"the Sentinels do not reach {address}", "start it; check announce-ip in containers"
        elif each["master-link-status"] != "ok":
            what, do = f"{address} does not follow the primary", "read its log, and check masterauth"
        else:
            yield Finding("Replicas", "ok", f"{address} follows the primary")
            continue
        yield Finding("Replicas", "warning", what, "it cannot replace the primary", do)
