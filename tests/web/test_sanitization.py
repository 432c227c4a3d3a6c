"""The redaction rules: the administrator's configuration, and its trial on the page."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store import sanitization
from netstacks.store.pool import Database
from netstacks.store.sanitization import CustomPattern, SanitizationConfig
from tests.web.conftest import Api

PATH = "/api/admin/sanitization/config"
TEST = "/api/ai/sanitization/test"
DEFAULT: dict[str, Any] = {
    "redact_ip_addresses": False,
    "redact_ipv6_addresses": False,
    "redact_mac_addresses": False,
    "redact_hostnames": False,
    "redact_usernames": False,
    "custom_patterns": [],
    "allowlist": [],
    "version": 0,
}
TICKET = {"name": "ticket", "regex": r"TT-\d+", "replacement": "[ticket]"}


def test_without_a_configuration_credentials_are_kept_back(admin: Api) -> None:
    assert admin.get(PATH).json == DEFAULT
    answer = admin.post(TEST, json={"text": "snmp-server community S3cr3t RO 10\nenable secret 5 hunter22"}).json
    lines = answer["sanitized"].split("\n")
    assert lines[0].startswith("snmp-server community REDACTED-SNMP-COMMUNITY-1-")
    assert lines[0].endswith(" RO 10")
    assert answer["redaction_count"] == 2
    assert sorted(answer["pattern_names"]) == ["cisco_enable_secret", "snmp_community"]


def test_a_configuration_is_stored_answered_and_audited(admin: Api, audited: Callable[[str], Any]) -> None:
    wished = DEFAULT | {"redact_ip_addresses": True, "custom_patterns": [TICKET], "allowlist": ["10.0.0.1"]}
    answer = admin.put(PATH, json=wished)
    assert (answer.status_code, answer.json) == (200, wished | {"version": 1})
    assert admin.get(PATH).json == wished | {"version": 1}
    (row,) = audited("ai.sanitization_changed")
    assert row["details"] == {
        "redact_ip_addresses": [False, True],
        "custom_patterns": [[], [TICKET]],
        "allowlist": [[], ["10.0.0.1"]],
    }
    tried = admin.post(TEST, json={"text": "TT-42: 10.0.0.1 cannot reach 10.0.0.2"}).json
    assert tried["sanitized"].startswith("[ticket]: 10.0.0.1 cannot reach REDACTED-IPV4-ADDRESS-1-")
    assert sorted(tried["pattern_names"]) == ["ipv4_address", "ticket"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"custom_patterns": [{**TICKET, "regex": "(?:a{999}){999}"}]}, "custom_patterns.0.regex: repeats groups too"),
        (
            {"custom_patterns": [TICKET, {**TICKET, "regex": "("}]},
            "custom_patterns.1.regex: is not a regular expression",
        ),
        ({"custom_patterns": [{**TICKET, "regex": "x" * 501}]}, "custom_patterns.0.regex: must not be longer"),
        ({"custom_patterns": [{**TICKET, "regex": "x?"}]}, "custom_patterns.0.regex: matches the empty text"),
        ({"custom_patterns": [{"name": "n"}]}, "custom_patterns.0.regex: is missing"),
        ({"allowlist": [""]}, "allowlist.0: "),
        ({"redact_hostnames": "perhaps"}, "redact_hostnames: "),
    ],
)
def test_a_wrong_configuration_is_refused_and_changes_nothing(admin: Api, wrong: dict[str, Any], problem: str) -> None:
    answer = admin.put(PATH, json=wrong)
    assert answer.status_code == 422
    assert answer.json["error"].startswith(problem)
    assert admin.get(PATH).json == DEFAULT


def test_only_administrators_see_and_change_the_configuration(operator: Api, anonymous: Api) -> None:
    assert operator.get(PATH).status_code == 403
    assert operator.put(PATH, json=DEFAULT).status_code == 403
    assert anonymous.get(PATH).status_code == 401
    assert anonymous.post(TEST, json={"text": ""}).status_code == 401


def test_trying_does_not_tell_whether_a_guess_is_in_the_vault(admin: Api, operator: Api) -> None:
    body = {"name": "all", "credential_type": "ssh_password", "username": "admin", "secret": "correct horse"}
    assert admin.post("/api/credentials", json=body).status_code == 201
    assert operator.post(TEST, json={"text": "correct horse"}).json == {
        "sanitized": "correct horse",
        "redaction_count": 0,
        "pattern_names": [],
    }


def test_members_of_a_newer_version_are_ignored(database: Database) -> None:
    with database.transaction() as tx:
        sanitization.put(
            tx, SanitizationConfig(redact_usernames=True, custom_patterns=(CustomPattern("n", "x"),)), "ann"
        )
        tx.execute("UPDATE settings SET value = value || '{\"redact_moons\": true}' WHERE key = 'ai.sanitization'")
        assert sanitization.get(tx) == SanitizationConfig(
            redact_usernames=True, custom_patterns=(CustomPattern("n", "x"),)
        )
