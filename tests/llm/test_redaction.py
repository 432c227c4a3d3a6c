"""Redaction: real lines of configurations, and what providers get of them."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.llm.conversation import ChatRequest, Message, Text, ToolResult, ToolUse
from netstacks.llm.custom_patterns import compiled
from netstacks.llm.redaction import MAX_CHARS, Redactor
from netstacks.llm.secret_patterns import CREDENTIALS, OPTIONAL
from netstacks.store.sanitization import CustomPattern, SanitizationConfig

TYPE_5 = "$1$wtHI$0rN7R8PKwC30AsCGA77vy."
TYPE_9 = "$9$nhEmQVczB7dqsO$X.HsgL6x1il0RxkOSSvyQYwucySCt7qFm4v7pqCxkKM"
SHA512 = "$6$RMxgK5ALGIf.nWEC$tHuKCyfNtJMCY561P52dTzHUmYMmLxb/Mxik.j3vMUs8lMCPocM00/NAS.SN6GCWx7d/vQIgxnClyQLAb7n3x0"
VRP = "%^%#>Kc!Y$]}2Wq0w.mD2*H)%^%#"
FORTI = "ENC SH2nlSm9QL9tapcHPXIqAXvX7vBJuuqu22hpa0JX0sBuKIo7z2g0Kz/+0KyH4E="
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nAbCd12==\n-----END RSA PRIVATE KEY-----"

# «the secret» stands where the placeholder must be; a line without one must stay as it is.
LINES: dict[str, list[str]] = {
    "cisco_enable_secret": [
        f"enable secret 5 «{TYPE_5}»",
        f"enable secret 9 «{TYPE_9}»",
        "enable password level 12 «RemoveMe»",
        "enable password «8Ry2YjIyt7RRXU24» encrypted",
        "r1(config)#enable secret «hunter2»",
    ],
    "cisco_password_7": [" password 7 «122A00190102180D3C2E»", "username lee password 7 «0822455D0A16»"],
    "cisco_password_0": ["username X privilege 15 password 0 «Y»", "l2tp tunnel password 0 «RemoveMe»"],
    "cisco_password_5": [f"username ops role network-admin password 5 «{TYPE_5}»"],
    "cisco_password_6": [" password 6 «FLgBaJHXdYY_AcHZZMgQ_RhTDJXHUBAAB»"],
    "cisco_password_8": [" password 8 «$8$dsYGNam3K1SIJO$7nv/35M/qr6t.dVc7UY9zrJDWRVqncHub1PE9UlMQFs»"],
    "cisco_password_9": [f" password 9 «{TYPE_9}»"],
    "cisco_secret": [f"username lee privilege 15 secret 9 «{TYPE_9}»"],
    "arista_secret": [f"username noc secret sha512 «{SHA512}»", f"username lee secret 5 «{TYPE_5}»"],
    "snmp_community": [
        "snmp-server community «public» RO 10",
        "snmp-server community «s3cr3t» view ALL RW 99",
        "snmp-server host 10.1.1.1 version 2c «RemoveMe»  cpu",
        "snmp-server host 10.1.1.1 vrf Mgmt informs «RemoveMe» config",
        "snmp-server host inside 10.1.1.1 community «RemoveMe» version 2c",
        "snmp-server mib community-map «RemoveMe»:100 context ctx",
        "set snmp community «RemoveMe» authorization read-only",
        "    community «public» {",
        'community "«private»" hash2 access-permissions rwa',
        f"snmp-agent community read cipher «{VRP}» acl 2000",
        "snmp-agent community write «RemoveMe»",
        "snmpwalk -v2c -c «public» 10.0.0.1 sysDescr",
        "rocommunity «public» 10.0.0.0/8",
        "snmp-community-string «RemoveMe»",
    ],
    "snmp_v3_auth": [
        "snmp-server user lee grp v3 auth sha «RemoveMe» priv aes 128 «RemoveMe2» access 10",
        "snmp-server user lee network-admin auth md5 «0xfe1c» priv aes-128 «0xab2d» localizedkey",
        "snmp-server user lee grp remote 10.0.0.1 v3 encrypted auth md5 «aa:bb:cc»",
        "snmp-agent usm-user v3 lee authentication-mode sha cipher «RemoveMe»",
        "snmp-agent usm-user v3 lee grp authentication-mode md5 «RemoveMe» privacy-mode aes128 «RemoveMe2»",
    ],
    "tacacs_key": [
        "tacacs-server host 10.0.0.1 single-connection key «RemoveMe»",
        "tacacs-server key 7 «122A00190102180D3C2E»",
        'set system tacplus-server 10.0.0.1 secret "«$9$HqfQ1IcrK8n/t0IcvM24aZGi6/t»"',
    ],
    "radius_key": [
        "radius-server host 10.0.0.1 auth-port 1812 acct-port 1813 key 0 «RemoveMe»",
        f" radius-server shared-key cipher «{VRP}»",
        " server-private 10.0.0.1 auth-port 1812 key 7 «0822455D0A16»",
        " key authentication cipher «$c$3$abcdefgh==»",
    ],
    "server_key": [" key 7 «0822455D0A16»", " key «RemoveMe»", "failover key «RemoveMe»"],
    "juniper_secret": [
        'secret "«$9$Be4EhyVb2GDkevYo»"; ## SECRET-DATA',
        'simple-password "«RemoveMe»"; ## SECRET-DATA',
    ],
    "juniper_encrypted": [f'set system root-authentication encrypted-password "«{TYPE_5}»"'],
    "paloalto_password": [f"    <phash>«{TYPE_5}»</phash>", "<password>«RemoveMe»</password>"],
    "paloalto_key": ["  <key>«-AQ==abcdefghijklmn==»</key>", "set shared x bind-pw «-AQ==abcdefghijklmn==»"],
    "fortinet_secret": [
        f"    set password {FORTI.replace('ENC ', 'ENC «')}»",
        "        set psksecret «mysecret»",
        '    set passphrase "«two words»"',
    ],
    "huawei_cipher": [
        "local-user admin password irreversible-cipher «$1a$abc$defghijklmn$»",
        " ospf authentication-mode md5 1 cipher «RemoveMe»",
        f" user-password «{VRP}»",
    ],
    "pre_shared_key": [
        "crypto isakmp key 6 «RemoveMe» address 10.0.0.1 255.255.255.0",
        "  pre-shared-key address 0.0.0.0 0.0.0.0 key «RemoveMe»",
        "pre-shared-key remote hex «1234a»",
        "ikev2 remote-authentication pre-shared-key «RemoveMe»",
        'set security ike policy p pre-shared-key ascii-text "«$9$/E6g9tO1IcSrvfTCu1hKv-VwgJD»"',
        "set session-key outbound esp 256 cipher «1234abcdef» authenticator «1234abcdee»",
        "set session-key inbound ah 256 «1234abcdef»",
    ],
    "routing_key": [
        " neighbor 10.0.0.1 password «RemoveMe»",
        " ip ospf message-digest-key 1 md5 3 «RemoveMe»",
        " ip ospf authentication-key «RemoveMe»",
        'authentication-key "«$9$i.m5OBEevLz3RSevx7-VwgZj5TFCA0Tz9p»";',
        "ntp authentication-key 1 md5 «RemoveMe» 7",
        "  key-string 7 «0822455D0A16»",
        " standby 1 authentication md5 key-string «RemoveMe» timeout 30",
        " standby 1 authentication «RemoveMe»",
        " vrrp 2 authentication text «RemoveMe»",
        " ip rip authentication string «RemoveMe»",
        "  authentication mode hmac-sha-256 «RemoveMe»",
        "isis password «RemoveMe» level-1",
        "area-password «RemoveMe» authenticate snp validate",
        " lsp-password hmac-md5 encrypted «0822455D0A16»",
        '  md5 1 key "«RemoveMe»";',
    ],
    "wireless_key": [
        "   wpa-psk ascii 0 «RemoveMe»",
        " security wpa psk set-key ascii 0 «RemoveMe»",
        " wpa-passphrase «RemoveMe»",
        " encryption key 1 size 128bit 7 «0822455D0A16» transmit-key",
    ],
    "ppp_password": [" ppp chap password «RemoveMe»", " ppp pap sent-username lee password «RemoveMe»"],
    "service_password": [
        "ip ftp password «RemoveMe»",
        "vtp password «RemoveMe»",
        " ldap-login-password «RemoveMe»",
        "digest secret «RemoveMe» hash MD5",
    ],
    "user_password": [
        "username lee view V secret «RemoveMe»",
        'password manager user-name "admin" sha1 "«deadbeef»"',
        "mgmt-user admin root «0a1b2c3d»",
    ],
    "line_password": [" password «RemoveMe»", "passwd «2KFQnbNIdI.2KYOU» encrypted"],
    "password_hash": [f"root:«{SHA512}»:19000:0:99999:7:::".replace(":19000:0:99999:7:::", "")],
    "aws_access_key": ["id «AKIAIOSFODNN7EXAMPLE» is used"],
    "aws_secret_key": ["aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"],
    "bearer_token": [
        'curl -H "Authorization: Bearer «abcdefghijkl.mnopqrst»" https://x',
        "Authorization: Basic «bGVlOnNlY3JldA==»",
    ],
    "jwt": ["got «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123» back"],
    "api_key_generic": ["api_key: '«abcdefghijklmnopqrst»'", "use «glpat-abcdefghij0123456789» here"],
    "url_password": ["copy ftp://lee:«pa55»@10.1.1.1/x.bin flash:"],
    "command_password": ["sshpass -p «hunter2» ssh lee@r1", "tool --password «hunter2» --verbose"],
    "generic_password": [
        "password: «hunter2»",
        '/ppp secret add name=lee password="«my secret»" profile=default',
        '{"db_password": "«hunter2»", "port": 5432}',
    ],
    "generic_secret": [
        "add name=w wpa2-pre-shared-key=«hunter22» mode=dynamic-keys",
        "PrivateKey = «yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=»",
    ],
    "private_key_block": [f"crypto key import\n«{PEM}»\nquit"],
    "certificate_block": ["«-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----»"],
    "": [
        "Password: ",
        "service password-encryption",
        "snmp-server host 10.1.1.1 version 3 priv lee",
        "snmp-server group G v3 priv read V",
        "snmp-server enable traps snmp authentication linkdown",
        " set community 65000:100 additive",
        "set policy-options community FOO members 65000:100",
        "ntp server 10.0.0.1 key 7 prefer",
        "key chain EIGRP\n key 1",
        "tunnel key 1234",
        "crypto key generate rsa modulus 2048",
        " authentication pre-share",
        "authentication-method pre-shared-keys;",
        "ip ssh server algorithm encryption aes256-ctr",
        "aaa authentication login default group tacacs+ local",
        "snmp-server community ********",
        "The enable password is not set, and the password for the user has expired.",
        "interface GigabitEthernet0/1\n description to secret lab key customer\n ip address 10.0.0.1 255.255.255.0",
    ],
}
# The names that the Terminal client's page promises.
MANDATORY = {
    *("cisco_enable_secret", "cisco_password_7", "cisco_password_0", "snmp_community", "snmp_v3_auth", "tacacs_key"),
    *("radius_key", "juniper_secret", "juniper_encrypted", "arista_secret", "paloalto_password", "paloalto_key"),
    *("private_key_block", "certificate_block", "api_key_generic", "aws_access_key", "aws_secret_key"),
    *("generic_password", "generic_secret"),
}
CASES = [(name, line) for name, lines in LINES.items() for line in lines]
ROUTER = "R1#show running-config\n"


def redactor(*known: str, **config: Any) -> Redactor:
    return Redactor(SanitizationConfig(**config), known)


def shown(these: Redactor, text: str) -> str:
    """The redacted text, each placeholder as <>."""
    return these.placeholders.pattern.sub("<>", these.redact(text))


@pytest.mark.parametrize(("name", "line"), CASES, ids=[line.split("\n")[0][:50] for _, line in CASES])
def test_a_secret_is_taken_out_and_nothing_else(name: str, line: str) -> None:
    these = redactor()
    text = line.replace("«", "").replace("»", "")
    assert shown(these, text) == re.sub(r"«[^»]*»", lambda secret: "<>" + "\n" * secret[0].count("\n"), line)
    assert set(these.counts) == ({name} if name else set())
    assert these.counts.total() == line.count("«")


def test_the_patterns_that_the_page_promises_are_there() -> None:
    assert set(LINES) >= MANDATORY


@pytest.mark.parametrize("line", [line for _, line in CASES if "BEGIN" not in line])
def test_restored_text_equals_the_original(line: str) -> None:
    these = redactor()
    text = ROUTER + line.replace("«", "").replace("»", "") + "\nR1#"
    assert these.restore(these.redact(text)) == text


def test_the_same_secret_has_one_placeholder_wherever_it_stands() -> None:
    these = redactor()
    first, second, third = these.redact_all(
        ["why does Tr0ub4dor fail?", "snmp-server community Tr0ub4dor RO", "snmp-server community other RW"]
    )
    placeholder = these.placeholders.of("Tr0ub4dor", "")
    assert first == f"why does {placeholder} fail?"
    assert second == f"snmp-server community {placeholder} RO"
    assert placeholder not in third
    assert placeholder.startswith("REDACTED-SNMP-COMMUNITY-1-")


def test_an_ordinary_word_that_is_a_secret_stays_elsewhere() -> None:
    text = "snmp-server community public RO\nip access-list extended public\n remark for the public"
    assert shown(redactor(), text).split("\n")[1:] == text.split("\n")[1:]


def test_secrets_of_the_vault_are_found_without_their_context() -> None:
    these = redactor("correct horse", "Passw0", "x" * 300)
    assert shown(these, "he typed correct horse, then Passw0.") == "he typed <>, then <>."
    assert dict(these.counts) == {"vault_secret": 2}
    assert shown(these, "the Passw0rd of another") == "the Passw0rd of another"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_secret_of_the_vault_is_found_across_lines(end: str) -> None:
    these = redactor("correcthorse")
    assert shown(these, f"he typed correct{end}horse and went{end}home") == f"he typed <>{end} and went{end}home"
    assert these.restore(these.redact("correct\nhorse")) == "correcthorse\n"


@pytest.mark.parametrize("columns", [80, 132])
@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"username noc privilege 15 role network-admin secret sha512 {SHA512}", SHA512),
        (
            f"radius-server host 10.0.0.1 {'timeout 5 ' * 7}key A-rather-long-shared-secret-of-RADIUS-0123456789-ab",
            None,
        ),
        (f"{'x' * 60} snmp-server community S3cr3tC0mmun1ty RO 10", "S3cr3tC0mmun1ty"),
    ],
)
def test_a_secret_that_the_terminal_has_broken_is_found(columns: int, line: str, secret: str | None) -> None:
    secret = secret or line.split(" ")[-1]
    rows = [line[at : at + columns] for at in range(0, len(line), columns)]
    text = "\n".join([ROUTER + "!", *rows, "interface Loopback0", "R1#"])
    these = redactor()
    redacted = these.redact(text)
    assert redacted.count("\n") == text.count("\n")
    assert these.placeholders.restore(redacted).replace("\n", "") == text.replace("\n", "")
    assert redacted.replace("\n", "") == text.replace("\n", "").replace(secret, these.placeholders.of(secret, ""))


def test_the_line_after_the_longest_one_is_not_its_rest() -> None:
    long = "radius-server host 10.1.1.1 auth-port 1812 acct-port 1813 key MySharedKey"
    for following in ("R1#", "interface Loopback0", " key x", "!", "", "radius-server host 10.1.1.2", "lee@r1> show"):
        assert shown(redactor(), f"{long}\n{following}").split("\n")[0] == long.replace("MySharedKey", "<>")
        assert shown(redactor(), f"{long}\n{following}").split("\n")[1] == following.replace(" key x", " key <>")


def test_a_continued_line_of_mikrotik_is_one_line() -> None:
    text = '/ppp secret add name=lee password=\\\n    "my secret" profile=default\n/ip address\n'
    assert shown(redactor(), text) == text.replace("my secret", "<>")


def test_a_key_that_the_screen_cuts_off_is_taken_out_up_to_there() -> None:
    head, body, more, tail = PEM.split("\n")
    assert shown(redactor(), f"R1#more key\n{head}\n{body}\n{more}") == "R1#more key\n<>\n\n"
    assert shown(redactor(), f"{body}\n{more}\n{tail}\nR1#") == "<>\n\n\nR1#"
    assert shown(redactor(), f"a\n{PEM}\nb\n{PEM}\nc") == "a\n<>\n\n\n\nb\n<>\n\n\n\nc"


def test_a_result_in_json_is_read_without_its_escapes() -> None:
    these = redactor('say "please"')
    result = {"success": True, "output": "R1#\nsnmp-server community S3cr3t RO\n key hunter2", "said": 'say "please"!'}
    text = json.dumps(result)
    redacted = json.loads(these.redact(text))
    assert these.placeholders.pattern.sub("<>", redacted["output"]) == "R1#\nsnmp-server community <> RO\n key <>"
    assert these.placeholders.pattern.sub("<>", redacted["said"]) == "<>!"
    assert {name: these.restore(str(text)) for name, text in redacted.items()} == {**result, "success": "True"}
    pem = json.loads(these.redact(json.dumps({"output": f"a\n{PEM}\nb"})))
    assert these.placeholders.pattern.sub("<>", pem["output"]) == "a\n<>\n\n\n\nb"
    assert PEM in these.restore(pem["output"])


def test_the_first_line_of_a_text_in_json_is_the_beginning_of_a_line() -> None:
    text = json.dumps({"recentOutput": "key hunter2\nR1#", "shown": ["password Tr0ub4dor"]}, indent=1)
    redacted = redactor().redact(text)
    assert "hunter2" not in redacted
    assert "Tr0ub4dor" not in redacted


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"api_key": 12345678}, {"api_key": "<>"}),
        ({"password 7 0822455D0A16": 1}, {"password 7 <>": 1}),
        ({"password": "hunter2", "count": 3}, {"password": "<>", "count": 3}),
        ({"lines": PEM.split("\n")}, {"lines": ["<>"] * 4}),
        ({"ticket": "TT-7"}, {"ticket": 'the "ticket"'}),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_stays_json(value: dict[str, Any], expected: dict[str, Any], indent: int | None) -> None:
    these = redactor(custom_patterns=(CustomPattern("ticket", r"TT-\d+", 'the "ticket"'),))
    assert json.loads(shown(these, json.dumps(value, indent=indent))) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["enable secret x1", "key 7 0822", 'a"\\n', PEM])
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["password", "key", "snmp-server community x RO", "a"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([None, 1]))
def test_any_json_stays_json(value: Any, indent: int | None) -> None:
    json.loads(redactor("correct horse").redact(json.dumps(value, indent=indent, ensure_ascii=False)))


def test_json_that_another_text_quotes_gives_nothing_away() -> None:
    these = redactor()
    text = "The tool returned " + json.dumps({"output": "R1#\n key hunter2\nenable secret Tr0ub4dor"}) + " to me."
    redacted = these.redact(text)
    assert "hunter2" not in redacted
    assert "Tr0ub4dor" not in redacted
    assert these.restore(redacted) == text


def test_a_placeholder_that_the_text_holds_already_does_not_become_a_secret() -> None:
    these = redactor()
    stolen = these.redact("snmp-server community Tr0ub4dor RO").split(" ")[2]
    guess = stolen.replace("-1-", "-2-")
    for attack in (stolen, guess):
        answer = these.restore(these.redact(f"send {attack} to http://x"))
        assert answer == f"send {attack} to http://x"
    assert redactor().restore(stolen) == stolen


def test_the_ends_of_placeholders_are_drawn_at_random() -> None:
    assert redactor().placeholders.of("x", "y") != redactor().placeholders.of("x", "y")


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        (
            "redact_ip_addresses",
            " ip address 10.0.0.1 255.255.255.0\n network 10.1.0.0 0.0.255.255\nVersion 15.2(4)M3, 10.0.0.9/30, 1.2.3",
            " ip address <> 255.255.255.0\n network <> 0.0.255.255\nVersion 15.2(4)M3, <>, 1.2.3",
        ),
        (
            "redact_ipv6_addresses",
            "2001:db8::1/64 and fe80::1, ::1 at 10:20:30 from aa:bb:cc:dd:ee:ff, 2001:db8:0:0:0:0:0:1",
            "<> and <>, <> at 10:20:30 from aa:bb:cc:dd:ee:ff, <>",
        ),
        (
            "redact_mac_addresses",
            "aa:bb:cc:dd:ee:ff 0011.2233.4455 00e0-fc12-3456 00-11-22-33-44-55 1.2.3.4",
            "<> <> <> <> 1.2.3.4",
        ),
        (
            "redact_hostnames",
            "hostname core1\ncore1#ping r1.lab.example.net\nlee@core2>show\nv15.2.4",
            "hostname <>\n<>#ping <>\nlee@<>>show\nv15.2.4",
        ),
        ("redact_usernames", "username lee secret 5 x\nlee@r1> exit", "username <> secret 5 <>\n<>@r1> exit"),
    ],
)
def test_optional_kinds_are_taken_out_where_they_are_wished(option: str, text: str, expected: str) -> None:
    assert shown(redactor(**{option: True}), text) == expected
    if option != "redact_usernames":
        assert shown(redactor(), text) == text


def test_allowed_text_stays() -> None:
    these = redactor("LabSecret", redact_ip_addresses=True, allowlist=("10.0.0.1", "labsecret", "Public"))
    text = "snmp-server community public RO\n10.0.0.1 10.0.0.11 LabSecret"
    assert shown(these, text) == "snmp-server community public RO\n10.0.0.1 <> LabSecret"


def test_patterns_of_the_administrator_replace_what_they_match() -> None:
    patterns = (CustomPattern("ticket", r"TT-\d+", "[ticket]"), CustomPattern("Kunde (neu)", r"ACME\w+"))
    these = redactor(custom_patterns=patterns)
    redacted = these.redact("TT-42 of ACMEcorp\n" * 30_000)
    assert redacted.count("[ticket] of REDACTED-KUNDE-NEU-1-") == 30_000
    assert these.restore(redacted) == "[ticket] of ACMEcorp\n" * 30_000
    assert dict(these.counts) == {"ticket": 30_000, "Kunde (neu)": 30_000}


@pytest.mark.parametrize(
    "expression", [r"\d{3}-\d+", r"(?:[ab]+x){1,9}", r"(foo|bar){1,500}", "[a-z]+@acme", r"(?i)x.*y", "((a|ab)*)c"]
)
def test_usual_expressions_are_accepted(expression: str) -> None:
    assert compiled(expression, "regex")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("(", "is not a regular expression"),
        ("a" * 501, "must not be longer than 500"),
        ("a*", "matches the empty text"),
        ("(?:x{1000}){1000}", "repeats groups too often"),
        ("(?:(?:x{1000}) {1000}){1000}", "repeats groups too often"),
    ],
)
def test_wrong_expressions_are_refused(expression: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^regex: {problem}"):
        compiled(expression, "regex")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"\w+-key", "a" * 40_000 + "-"),
        (r"\w+-key", "a" * 40_000 + "-key"),
        (r"\w+\d+\w+-key", "1" * 5000),
        (r"\w+\d+\w+(-key|-k)", "1" * 5000 + "-"),
        ("(a+)+b", "a" * 5000 + "c"),
        ("(a|ab)*c", "ab" * 5000),
        (r"(a*)*\1\1x", "a" * 5000),
        ("a.*b.*c.*d.*e", "abcd" * 10_000),
    ],
)
def test_a_pattern_that_takes_too_long_refuses_the_request(expression: str, text: str) -> None:
    """Or it ends, because the library is good: either does before the limit of a test."""
    these = redactor(custom_patterns=(CustomPattern("quick", "zzz"), CustomPattern("slow one", expression)))
    why = ""
    try:
        these.redact(text)
    except InvalidInput as error:
        why = str(error)
    assert not why or "the administrator's pattern 'slow one' takes too long" in why


def test_the_patterns_time_is_that_of_the_whole_request() -> None:
    these = redactor(custom_patterns=(CustomPattern("slow one", "(a+)+b"),))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="'slow one' takes too long on this text, so nothing was sent"):
            these.redact("a" * 5000)


def _repeats(tree: Any, longest: int = 1) -> Iterable[int]:
    """For each repeat in a parsed expression how often its innermost part may be repeated, the outer ones included."""
    parser: Any = import_module("re._parser")
    for operation, argument in tree:
        times = longest * (argument[1] if str(operation).endswith("_REPEAT") else 1)
        if str(operation).endswith("_REPEAT"):
            yield times
        stack = [argument]
        while stack:
            item = stack.pop()
            if isinstance(item, parser.SubPattern):
                yield from _repeats(item, times)
            elif isinstance(item, (tuple, list)):
                stack.extend(item)


def test_no_pattern_of_ours_has_an_unbounded_repeat() -> None:
    parser: Any = import_module("re._parser")
    for pattern in [*CREDENTIALS, *(pattern for patterns in OPTIONAL.values() for pattern in patterns)]:
        assert max(_repeats(parser.parse(pattern.regex.pattern)), default=0) <= 4000, pattern.name


@pytest.mark.parametrize(
    "part", ["radius-server ", "snmp-server user ", "username a ", 'password "', "secret=", "-a-secret"]
)
def test_a_text_made_to_be_slow_is_read(part: str) -> None:
    """What costs the square of the text's length does not end before the limit of a test."""
    assert redactor().redact(part * (600_000 // len(part)))


@pytest.mark.parametrize(
    "text",
    ["-----BEGIN X-----\n", "-----END X-----\n", "A" * 64 + "\n", "\\\n ", '["', "a\n", "a" * 80 + "\n", "\\n"],
)
def test_a_text_of_many_blocks_and_lines_is_read(text: str) -> None:
    assert redactor("aaaaaaab").redact(text * (300_000 // len(text)))


@pytest.mark.timeout(300)
def test_a_text_that_gives_away_many_secrets_is_read() -> None:
    lines = [f"snmp-server community Tr0ub4dor{number} RO" for number in range(150_000)]
    these = redactor()
    redacted = these.redact("\n".join(lines))
    assert these.counts.total() == len(lines)
    assert "Tr0ub4dor" not in redacted


@pytest.mark.parametrize(
    ("patterns", "text"),
    [((), "a\n" * 200_000), ((CustomPattern("slow", "(a+)+b"),), "a" * 3000)],
    ids=["long text", "slow pattern"],
)
def test_other_greenlets_go_on_while_a_text_is_read(patterns: tuple[CustomPattern, ...], text: str) -> None:
    turns = 0
    done = greenlets.Event()

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            greenlets.sleep(0.001)

    counting = greenlets.spawn("count", count)
    with suppress(InvalidInput):
        redactor(custom_patterns=patterns).redact(text)
    done.set()
    counting.join()
    assert turns > 5


PIECES = st.sampled_from(
    [line.replace("«", "").replace("»", "") for _, line in CASES if "BEGIN" not in line]
    + [
        "\n",
        " ",
        '"',
        "\\",
        "password ",
        "key 7 ",
        "x" * 79,
        "İstanbul",
        "{",
        "}",
        "REDACTED-",
        "snmp-server community ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=20), max_size=12).map("".join))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    these = redactor("correct horse", redact_ip_addresses=True, redact_hostnames=True)
    redacted = these.redact(text)
    assert redacted.count("\n") == text.count("\n")
    # A secret that was broken stands in one line, and its break behind it.
    blanks = re.compile(r"\\(?=\r?\n)|\s")
    assert blanks.sub("", these.restore(redacted)) == blanks.sub("", text)


def test_everything_written_in_a_request_is_redacted() -> None:
    these = redactor()
    line = "snmp-server community Tr0ub4dor RO"
    tool_input = {"command": line, "more": [line, 7, {"x": line}], "password": "hunter22", "Tr0ub4dor": None}
    request = ChatRequest(
        messages=(
            Message("user", (Text(line), Text(line, is_device_output=True))),
            Message("assistant", (Text("ok"), ToolUse("1", "run", tool_input))),
            Message("user", (ToolResult("1", json.dumps({"output": f"{line}\nTr0ub4dor"})),)),
        ),
        system=f"Screen:\n{line}",
    )
    redacted = these.redact_request(request)
    assert "Tr0ub4dor" not in repr(redacted)
    assert "hunter22" not in repr(redacted)
    assert these.counts["snmp_community"] == 9
    assert redacted.messages[1].blocks[0] == Text("ok")
    called = redacted.messages[1].blocks[1]
    assert isinstance(called, ToolUse)
    assert called.input["more"][1] == 7
    assert [getattr(block, "is_device_output", None) for block in redacted.messages[0].blocks] == [False, True]
    assert request.system == f"Screen:\n{line}"


def test_a_request_that_is_too_long_is_refused() -> None:
    half = Text("a " * (MAX_CHARS // 4))
    redactor().redact_request(ChatRequest((Message("user", (half, half)),)))
    with pytest.raises(InvalidInput, match="too long: 600,001 characters, at most 600,000"):
        redactor().redact_request(ChatRequest((Message("user", (half, half)),), system="a"))


def test_the_input_of_a_tool_that_is_nested_too_deeply_is_refused() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    call = ToolUse("1", "run", {"x": nested})
    with pytest.raises(InvalidInput, match="nested too deeply"):
        redactor().redact_request(ChatRequest((Message("assistant", (call,)),)))
