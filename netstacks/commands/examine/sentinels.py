"""Checks of the Sentinels, of their agreement, and of the replicas."""

from typing import Any

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import NetstacksError
from netstacks.registry.addresses import Endpoint
from netstacks.registry.sentinel import Address, Report, Sentinels

_FEWEST_SENTINELS = 3


def examine_sentinels(endpoints: tuple[Endpoint, ...], name: str) -> Findings:
    """Findings about each Sentinel, as seen from this host."""
    reports: list[Report] = []
    for endpoint in endpoints:
        try:
            reports.append(Sentinels((endpoint,), name).report())
        except NetstacksError as error:
            why = "a failover needs a majority of the Sentinels"
            yield Finding("Sentinels", "warning", str(error), why, "start it, or correct its address")
    if len(reports) * 2 <= len(endpoints):
        what = f"only {len(reports)} of {len(endpoints)} answer"
        yield Finding("Sentinels", "error", what, "without a majority there is no failover", "start the others")
    if reports:
        yield from judge_reports(reports)


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
        what, why = f"there are only {known} Sentinels", "when one host fails, the rest is no majority"
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
