"""The Sentinels, what they agree on, and the replicas that they would choose from."""

from typing import Any

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import NetstacksError
from netstacks.registry.addresses import Endpoint
from netstacks.registry.sentinel import Address, Report, Sentinels

_FEWEST_SENTINELS = 3


def examine_sentinels(endpoints: tuple[Endpoint, ...], name: str) -> Findings:
    """Each is asked by itself, as it is seen from here."""
    reports: list[Report] = []
    for endpoint in endpoints:
        try:
            reports.append(Sentinels((endpoint,), name).report())
        except NetstacksError as error:
            why = "a failover needs a majority of them"
            yield Finding("Sentinels", "warning", str(error), why, "start or correct it")
    if len(reports) * 2 <= len(endpoints):
        what = f"only {len(reports)} of {len(endpoints)} answer"
        yield Finding("Sentinels", "error", what, "without a majority there is no failover", "start the others")
    if reports:
        yield from judge_reports(reports)


def judge_reports(reports: list[Report]) -> Findings:
    """What there is to say of those that answer."""
    primaries: set[Address] = {each.primary for each in reports}
    if len(primaries) > 1:
        what = f"they name different primaries: {sorted(primaries)}"
        why = "a failover is under way, or one of them is cut off"
        yield Finding("Sentinels", "warning", what, why, "look again in a minute")
        return
    host, port = reports[0].primary
    yield Finding("Sentinels", "ok", f"{len(reports)} name {host}:{port} as the primary")
    for problem in dict.fromkeys(each.quorum_problem for each in reports if each.quorum_problem):
        why = "they would not replace a primary that fails"
        yield Finding("Sentinels", "error", problem, why, "see that all of them run and reach each other")
    known = max(each.sentinels for each in reports)
    if known < _FEWEST_SENTINELS:
        what, why = f"there are {known} of them", "when one host fails, the rest is no majority"
        yield Finding("Sentinels", "warning", what, why, f"run at least {_FEWEST_SENTINELS}, on hosts that fail apart")
    yield from _judge_replicas(reports[0].replicas)


def _judge_replicas(replicas: tuple[dict[str, Any], ...]) -> Findings:
    if not replicas:
        why = "when the primary fails, nothing can take its place"
        yield Finding("Replicas", "error", "the Sentinels know of none", why, "give the primary two replicas")
    for each in replicas:
        address = f"{each['ip']}:{each['port']}"
        if each["is_sdown"] or each["is_disconnected"]:
            what, do = f"{address} is not reached by the Sentinels", "see that it runs; check announce-ip in containers"
        elif each["master-link-status"] != "ok":
            what, do = f"{address} does not follow the primary", "look at its log, and at masterauth"
        else:
            yield Finding("Replicas", "ok", f"{address} follows the primary")
            continue
        yield Finding("Replicas", "warning", what, "it cannot take the primary's place", do)
