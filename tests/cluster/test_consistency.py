"""Which differences between instances are reported, in which words; those that are none are not."""

from dataclasses import replace
from typing import Any

import pytest

from netstacks.cluster.consistency import AGREEING_SETTINGS, inconsistencies, of_health
from netstacks.cluster.instance_rows import MAX_AGE_SECS, NO_REGISTRY, UNKNOWN_REGISTRY, Inconsistency, InstanceRow

SETTINGS = {
    "HA_HEARTBEAT_INTERVAL_SECS": "5",
    "HA_STALE_INSTANCE_TTL_SECS": "30",
    "HA_EXPECTED_INSTANCES": "3",
    "HA_PEER_TLS_CERT": "unset",
    "SESSION_DETACH_TTL_SECS": "300",
    "ALLOWED_ORIGINS": "unset",
    "RECORDING_RETENTION_DAYS": "0",
}


def row(name: str, **members: Any) -> InstanceRow:
    """A row of `ctrl-NAME` on `host-NAME` in the Valkey V; `settings` replace some of its own."""
    settings = SETTINGS | members.pop("settings", {})
    given = {"registry": "V", "secrets": "vault:1 jwt:1", **members}
    return InstanceRow(f"ctrl-{name}", f"host-{name}", f"{name}:7000", "1", settings=settings, **given)


def only(*rows: InstanceRow) -> Inconsistency:
    [found] = inconsistencies(rows)
    assert found.remedy
    return found


def test_the_settings_of_these_tests_are_all_that_must_agree() -> None:
    assert set(SETTINGS) == set(AGREEING_SETTINGS)


CONSISTENT = {
    "nothing": [],
    "three that agree": [row("a"), row("b"), row("c")],
    "a single instance without Valkey": [row("a", registry=NO_REGISTRY)],
    "one waits for the Valkey that the others know": [row("a"), row("b", registry=UNKNOWN_REGISTRY)],
    "all wait for Valkey": [row("a", registry=UNKNOWN_REGISTRY), row("b", registry=UNKNOWN_REGISTRY)],
    "a single one replaces one that drains": [
        row("a", registry=NO_REGISTRY, is_draining=True),
        row("b", registry=NO_REGISTRY),
    ],
    "one that drains has the former setting": [
        row("a", is_draining=True, settings={"HA_STALE_INSTANCE_TTL_SECS": "60"}),
        row("b"),
    ],
    "an old row": [row("a", registry="W", age_secs=MAX_AGE_SECS + 0.1), row("b")],
    "a single one has no use for a TTL": [row("a", registry=NO_REGISTRY, settings={"HA_PEER_TLS_CERT": "set"})],
    "another version has no such setting": [row("a"), replace(row("b"), settings={})],
    "another version has no fingerprint": [row("a"), row("b", secrets="")],
    "a change of the master key, one pair in common": [
        row("a", secrets="vault:1 jwt:1"),
        row("b", secrets="vault:2 jwt:2"),
        row("c", secrets="vault:2 jwt:2, vault:1 jwt:1"),
    ],
    "dials to one that is gone": [row("a", unreachable={"ctrl-z": "no answer"}), row("b", reached=1)],
    "dials to one that drains": [
        row("a", unreachable={"ctrl-b": "no answer"}),
        row("b", is_draining=True),
        row("c", unreachable={"ctrl-b": "no answer"}),
    ],
}


@pytest.mark.parametrize("rows", CONSISTENT.values(), ids=CONSISTENT.keys())
def test_no_inconsistency(rows: list[InstanceRow]) -> None:
    assert inconsistencies(rows) == []


@pytest.mark.parametrize("name", AGREEING_SETTINGS)
def test_a_setting_that_differs_is_named_with_both_values_and_the_majority_first(name: str) -> None:
    found = only(row("a", settings={name: "other"}), row("b"), row("c"))
    assert found.problem.startswith(
        f"ctrl-b on host-b and ctrl-c on host-c have {name} {SETTINGS[name]}, ctrl-a on host-a has other: "
    )
    assert name in found.remedy
    assert (found.kind, found.about, found.instances) == ("setting", name, ("ctrl-b", "ctrl-c", "ctrl-a"))


def test_each_setting_is_an_inconsistency_of_its_own() -> None:
    other = {"HA_HEARTBEAT_INTERVAL_SECS": "2", "HA_STALE_INSTANCE_TTL_SECS": "8"}
    found = inconsistencies([row("a"), row("b", settings=other)])
    assert [each.key for each in found] == ["setting HA_HEARTBEAT_INTERVAL_SECS", "setting HA_STALE_INSTANCE_TTL_SECS"]


def test_a_single_instance_beside_a_cluster() -> None:
    found = only(row("a"), row("b"), row("c", registry=NO_REGISTRY))
    assert found.problem.startswith(
        "ctrl-a on host-a and ctrl-b on host-b share one Valkey, ctrl-c on host-c uses no Valkey: "
    )
    assert "the same VALKEY_URL" in found.remedy
    assert (found.kind, found.instances) == ("registry", ("ctrl-a", "ctrl-b", "ctrl-c"))


def test_the_settings_of_a_cluster_are_not_compared_with_those_of_a_single_instance() -> None:
    found = only(row("a"), row("b", registry=NO_REGISTRY, settings={"HA_STALE_INSTANCE_TTL_SECS": "60"}))
    assert found.kind == "registry"


def test_two_single_instances() -> None:
    found = only(row("a", registry=NO_REGISTRY), row("b", registry=NO_REGISTRY))
    assert found.problem.startswith("ctrl-a on host-a and ctrl-b on host-b use no Valkey: ")
    assert "do not know each other" in found.problem


def test_a_licence_that_allows_no_cluster_is_told() -> None:
    found = only(row("a", registry=NO_REGISTRY, why_no_registry="needs a licence"), row("b", registry=NO_REGISTRY))
    assert "use no Valkey (needs a licence): " in found.problem


def test_two_valkeys_the_majority_first() -> None:
    found = only(row("a", registry="W"), row("b"), row("c"))
    assert found.problem.startswith(
        "ctrl-b on host-b and ctrl-c on host-c share one Valkey, ctrl-a on host-a uses another Valkey: "
    )


def test_a_single_instance_beside_one_that_waits_for_valkey() -> None:
    found = only(row("a", registry=UNKNOWN_REGISTRY), row("b", registry=NO_REGISTRY))
    assert found.problem.startswith("ctrl-a on host-a waits for Valkey to answer, ctrl-b on host-b uses no Valkey: ")


def test_different_secrets_are_named_without_them() -> None:
    found = only(row("a", secrets="vault:1 jwt:2"), row("b"), row("c"))
    assert found.problem.startswith("ctrl-a on host-a has another VAULT_MASTER_KEY or JWT_SECRET than ctrl-b on host-b")
    assert found.kind == "secrets"
    assert "jwt:" not in found.problem


OTHER_SECRETS = "vault:2 jwt:2"


def blamed(*rows: InstanceRow, refused: str = "") -> set[str]:
    """The instances whose health reports the difference of the secrets."""
    found = [each for each in inconsistencies(rows) if each.kind == "secrets"]
    assert found
    return {each.id for each in rows if of_health(found, each.id, is_refused=each.id == refused)}


def test_secrets_that_a_registry_has_compared_are_a_matter_of_the_refused_one() -> None:
    assert blamed(row("a"), row("b", secrets=OTHER_SECRETS), refused="ctrl-b") == set()
    assert blamed(row("a", secrets=OTHER_SECRETS), row("b"), row("c"), refused="ctrl-a") == set()


@pytest.mark.parametrize("registry", ["W", NO_REGISTRY])
def test_beside_another_valkey_or_none_the_minority_reports_other_secrets(registry: str) -> None:
    assert blamed(row("a"), row("b"), row("c", registry=registry, secrets=OTHER_SECRETS)) == {"ctrl-c"}


def test_of_two_without_a_common_registry_both_report_other_secrets() -> None:
    pair = [row("a", registry=NO_REGISTRY), row("b", registry=NO_REGISTRY, secrets=OTHER_SECRETS)]
    assert blamed(*pair) == {"ctrl-a", "ctrl-b"}


def test_health_reports_every_other_inconsistency() -> None:
    found = only(row("a", settings={"HA_EXPECTED_INSTANCES": "5"}), row("b"))
    assert of_health([found], "ctrl-b", is_refused=False) == (found.problem,)


def test_of_many_instances_only_the_first_are_named() -> None:
    found = only(*(row(name) for name in "bcdefghi"), row("a", settings={"SESSION_DETACH_TTL_SECS": "1"}))
    assert found.problem.startswith(
        "ctrl-b on host-b, ctrl-c on host-c, ctrl-d on host-d, ctrl-e on host-e and 4 others"
    )


def test_an_address_that_several_cannot_reach_is_wrong() -> None:
    refused = {"ctrl-c": "connection refused"}
    found = only(
        row("a", reached=1, unreachable=refused), row("b", reached=1, unreachable=refused), row("c", reached=2)
    )
    assert found.problem.startswith(
        "ctrl-c on host-c advertises the address c:7000, at which ctrl-a on host-a and ctrl-b on host-b cannot reach it"
        " (connection refused), although it sends heartbeats: "
    )
    assert found.remedy.startswith("set HA_ADVERTISE_HOST on host-c ")
    assert (found.kind, found.about, found.instances) == ("unreachable", "ctrl-c", ("ctrl-c", "ctrl-a", "ctrl-b"))


def test_of_two_instances_the_one_that_is_not_reached_has_the_wrong_address() -> None:
    assert only(row("a", unreachable={"ctrl-b": "no answer"}), row("b", reached=1)).about == "ctrl-b"


def test_one_that_reaches_no_other_names_itself_and_no_address_of_theirs() -> None:
    missed = {"ctrl-b": "no answer", "ctrl-c": "no answer"}
    found = only(row("a", unreachable=missed), row("b", reached=2), row("c", reached=2))
    assert found.problem.startswith(
        "ctrl-a on host-a cannot reach any other instance (ctrl-b on host-b at b:7000, ctrl-c on host-c at c:7000): "
    )
    assert "host-a" in found.remedy
    assert found.about == "ctrl-a"


def test_one_route_that_is_broken_is_named_with_both_ends() -> None:
    found = only(row("a", reached=1, unreachable={"ctrl-b": "no answer"}), row("b", reached=2), row("c", reached=2))
    assert found.problem.startswith(
        "ctrl-a on host-a cannot reach ctrl-b on host-b at b:7000, which other instances can"
    )
    assert "between host-a and host-b" in found.remedy


def test_one_that_has_not_reached_an_address_yet_is_no_proof_that_it_is_right() -> None:
    """Its dials have failed as well, and no heartbeat has followed them yet."""
    found = only(row("a", reached=1, unreachable={"ctrl-c": "no answer"}), row("b", reached=1), row("c", reached=2))
    assert found.about == "ctrl-c"
    assert "at which ctrl-a on host-a cannot reach it" in found.problem


def test_an_environment_that_dials_no_instance_changes_no_verdict() -> None:
    """That of `netstacks doctor`, which has no address."""
    doctor = replace(row("doctor"), peer_address="")
    assert only(row("a", unreachable={"ctrl-b": "no answer"}), row("b", reached=1), doctor).about == "ctrl-b"
    found = inconsistencies([*ALL_WRONG, doctor])
    assert [each.about for each in found] == ["ctrl-a", "ctrl-b", "ctrl-c"]
    assert all("HA_ADVERTISE_HOST" in each.remedy for each in found)


ALL_WRONG = [
    row(name, unreachable={f"ctrl-{other}": "connection refused" for other in "abc" if other != name}) for name in "abc"
]


def test_all_addresses_are_wrong() -> None:
    found = inconsistencies(ALL_WRONG)
    assert [each.about for each in found] == ["ctrl-a", "ctrl-b", "ctrl-c"]
    assert all("HA_ADVERTISE_HOST" in each.remedy for each in found)


EXPIRED = "TLS fails: certificate has expired"


@pytest.mark.parametrize(
    ("rows", "about"),
    [
        ([row("a", unreachable={"ctrl-b": EXPIRED}), row("b", reached=1)], "ctrl-b"),
        (
            [
                row("a", unreachable={"ctrl-b": EXPIRED, "ctrl-c": EXPIRED}),
                row("b", reached=2),
                row("c", reached=2),
            ],
            "ctrl-a",
        ),
        ([row("a", reached=1, unreachable={"ctrl-b": EXPIRED}), row("b", reached=2), row("c", reached=2)], "ctrl-a"),
    ],
    ids=["one is not reached", "one reaches no other", "one route"],
)
def test_a_certificate_that_is_not_accepted_is_no_matter_of_addresses(rows: list[InstanceRow], about: str) -> None:
    found = only(*rows)
    assert found.about == about
    assert EXPIRED in found.problem
    assert "HA_PEER_TLS_CERT" in found.remedy
    assert "HA_PEER_TLS_CA" in found.remedy
    assert "firewall" not in found.remedy


def test_a_difference_of_tls_explains_why_peers_are_not_reached() -> None:
    tls = {"HA_PEER_TLS_CERT": "set"}
    found = only(
        row("a", settings=tls, unreachable={"ctrl-b": "no answer"}),
        row("b", unreachable={"ctrl-a": "no answer"}),
    )
    assert found.about == "HA_PEER_TLS_CERT"
