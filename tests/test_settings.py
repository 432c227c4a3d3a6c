"""Settings: defaults, NAME_FILE, one line for each wrong value, and no secret in any of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netstacks.settings import SECRETS, Settings, SettingsError, effective, load

ROOT = Path(__file__).parents[1]
KEY = "0123456789abcdef" * 4
JWT_SECRET = "thirty-two characters, no less !"
REQUIRED = {
    "DATABASE_URL": "postgres://netstacks:hunter2@db:5432/netstacks",
    "VAULT_MASTER_KEY": KEY,
    "JWT_SECRET": JWT_SECRET,
}
# Beside PATH and the like, which the commands below need.
CLEAN = {name: value for name, value in os.environ.items() if name not in map(str.upper, Settings.model_fields)}


def refused(**variables: str) -> list[str]:
    """The lines in which the settings are refused."""
    with pytest.raises(SettingsError) as caught:
        load(REQUIRED | variables)
    return str(caught.value).splitlines()


def test_three_settings_are_enough() -> None:
    settings = load(REQUIRED)
    assert (settings.port, settings.drain_timeout_secs, settings.session_detach_ttl_secs) == (8080, 20, 300)
    assert (settings.ha_heartbeat_interval_secs, settings.ha_stale_instance_ttl_secs) == (5, 30)
    assert settings.valkey_url is None


def test_the_documentation_names_every_setting_with_its_default_and_whether_it_is_a_secret() -> None:
    documented = {}
    for row in re.findall(r"^\| (`.*)\|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE):
        names, *cells = row.split("|")
        default = cells[0].strip() if len(cells) == 2 else None
        documented.update({name: (default, star == "*") for name, star in re.findall(r"`(\w+)`(\*?)", names)})
    defaults = effective(Settings.model_construct())
    actual = {
        name.upper(): (None if field.is_required() else defaults[name.upper()], name in SECRETS)
        for name, field in Settings.model_fields.items()
    }
    assert documented == actual


def test_each_missing_setting_is_told_with_what_it_is_for() -> None:
    with pytest.raises(SettingsError) as caught:
        load({})
    lines = str(caught.value).splitlines()
    assert [line.split(" is not set: ")[0] for line in lines] == ["DATABASE_URL", "VAULT_MASTER_KEY", "JWT_SECRET"]


def test_an_empty_value_counts_as_absent() -> None:
    assert load(REQUIRED | {"PORT": " ", "VALKEY_URL": ""}).port == 8080


def test_lists_are_separated_by_commas() -> None:
    settings = load(REQUIRED | {"TRUSTED_PROXIES": "10.0.0.0/8, ::1", "ALLOWED_ORIGINS": "https://a.example,"})
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.allowed_origins == ("https://a.example",)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(REQUIRED).port = 1


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("PORT", "http", "PORT='http': must be a valid integer"),
        ("PORT", "0", "PORT='0': must be greater than or equal to 1"),
        ("PORT", "65536", "PORT='65536': must be less than or equal to 65535"),
        ("HA_PEER_PORT", "-1", "HA_PEER_PORT='-1': must be greater than or equal to 0"),
        ("AGENT_CHECK_PORT", "8080", "AGENT_CHECK_PORT=8080: must differ from PORT and HA_PEER_PORT"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT='xml': must be 'text' or 'json'"),
        ("INSTANCE_ID", "a b", "INSTANCE_ID='a b': must be 1 to 40 letters, digits or any of . _ -"),
        ("DRAIN_TIMEOUT_SECS", "0", "DRAIN_TIMEOUT_SECS='0': must be greater than or equal to 1"),
        ("DRAIN_TIMEOUT_SECS", "soon", "DRAIN_TIMEOUT_SECS='soon': must be a valid number"),
        ("LLM_TIMEOUT_SECS", "inf", "LLM_TIMEOUT_SECS='inf': must be a finite number"),
        ("LLM_FIRST_TOKEN_SECS", "0", "LLM_FIRST_TOKEN_SECS='0': must be greater than 0"),
        ("LLM_USER_CONCURRENCY", "0", "LLM_USER_CONCURRENCY='0': must be greater than or equal to 1"),
        ("LLM_PROVIDERS_FILE", "/nowhere", "LLM_PROVIDERS_FILE='/nowhere': must be a readable text file (FileNotFound"),
        ("SESSION_LOG_BYTES", "1", "SESSION_LOG_BYTES='1': must be greater than or equal to 4096"),
        ("RECORDING_LIMIT_ACTION", "stop", "RECORDING_LIMIT_ACTION='stop': must be 'end' or 'unrecorded'"),
        ("USER_SESSIONS_MAX", "-1", "USER_SESSIONS_MAX='-1': must be greater than or equal to 0"),
        ("USER_OPENINGS_MAX", "0", "USER_OPENINGS_MAX='0': must be greater than or equal to 1"),
        ("RECORDING_RETENTION_DAYS", "-1", "RECORDING_RETENTION_DAYS='-1': must be greater than or equal to 0"),
        ("DATABASE_URL", "db:5432", "DATABASE_URL='***': must be a URL such as postgres://"),
        ("DATABASE_URL", "mysql://u:hunter2@db/x", "DATABASE_URL='mysql://u:***@db/x': must be a URL such as postgres"),
        ("VALKEY_URL", "http://:hunter2@v", "VALKEY_URL='http://:***@v': must be a URL such as redis://"),
        ("VALKEY_SENTINEL_URL", "v:26379", "VALKEY_SENTINEL_URL='***': must be a URL such as redis://"),
        ("VAULT_MASTER_KEY", KEY[1:], "VAULT_MASTER_KEY='***': must be 64 hexadecimal digits"),
        ("VAULT_MASTER_KEY", KEY[1:] + "g", "VAULT_MASTER_KEY='***': must be 64 hexadecimal digits"),
        ("JWT_SECRET", "hunter2", "JWT_SECRET='***': must have at least 32 characters"),
        ("JWT_SECRET", "a://b:c@d", "JWT_SECRET='***': must have at least 32 characters"),
        ("BOOTSTRAP_ADMIN_PASSWORD", "hunter2", "BOOTSTRAP_ADMIN_PASSWORD='***': must have at least 8 characters"),
        ("LOGIN_MAX_DAYS", "0", "LOGIN_MAX_DAYS='0': must be greater than or equal to 1"),
        ("TRUSTED_PROXIES", "10.0.0.1,lb", "TRUSTED_PROXIES='10.0.0.1,lb': has 'lb': must be addresses or networks"),
        (
            "ALLOWED_ORIGINS",
            "a.example",
            "ALLOWED_ORIGINS='a.example': has 'a.example': it must be a URL such as https:",
        ),
        ("ALLOWED_ORIGINS", "https://a.example/x", "ALLOWED_ORIGINS='https://a.example/x': has 'https://a.example/x'"),
        (
            "HA_ADVERTISE_HOST",
            "10.0.0.5:80",
            "HA_ADVERTISE_HOST='10.0.0.5:80': must be only a host name or an address",
        ),
        ("HA_ADVERTISE_HOST", "http://a", "HA_ADVERTISE_HOST='http://a': must be only a host name or an address"),
        ("HA_PEER_TLS_CA", "/nowhere", "HA_PEER_TLS_CA='/nowhere': must be the path of a file"),
        ("TERMINAL_WEB_DIR", "/nowhere", "TERMINAL_WEB_DIR='/nowhere': must be a folder with an index.html in it"),
        ("HA_HEARTBEAT_INTERVAL_SECS", "10.1", "HA_HEARTBEAT_INTERVAL_SECS=10.1: must be at most a third of HA_STALE"),
        ("HA_PEER_TLS_KEY", str(ROOT / "setup.cfg"), "HA_PEER_TLS_CERT and HA_PEER_TLS_KEY: must both be set"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_is_right(name: str, value: str, wanted: str) -> None:
    (line,) = refused(**{name: value})
    assert line.startswith(wanted)


def test_a_heartbeat_may_take_a_third_of_the_ttl() -> None:
    assert load(REQUIRED | {"HA_HEARTBEAT_INTERVAL_SECS": "10"}).ha_heartbeat_interval_secs == 10


def test_a_fixed_peer_port_is_for_one_worker() -> None:
    assert load(REQUIRED | {"HA_PEER_PORT": "9000"}).ha_peer_port == 9000
    (line,) = refused(HA_PEER_PORT="9000", WEB_CONCURRENCY="2")
    assert line.startswith("HA_PEER_PORT=9000: must be 0 with WEB_CONCURRENCY=2")


def test_several_wrong_values_are_several_lines() -> None:
    assert len(refused(PORT="x", LOG_FORMAT="y", VAULT_MASTER_KEY="z")) == 3
    assert len(refused(HA_PEER_PORT="1", WEB_CONCURRENCY="2", HA_STALE_INSTANCE_TTL_SECS="5")) == 2


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    settings = load({**REQUIRED, "VAULT_MASTER_KEY": "", "VAULT_MASTER_KEY_FILE": str(path)})
    assert settings.vault_master_key == KEY


def test_a_secret_has_one_source(tmp_path: Path) -> None:
    (line,) = refused(JWT_SECRET_FILE=str(tmp_path / "secret"))
    assert line == "JWT_SECRET and JWT_SECRET_FILE: must not both be set"


def test_an_unreadable_file_is_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, "JWT_SECRET": "", "JWT_SECRET_FILE": "/nowhere"})
    assert str(caught.value) == "JWT_SECRET_FILE='/nowhere': must be a readable text file (FileNotFoundError)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgres://u:hunter2@db/x", "postgres://u:***@db/x"),
        ("postgres://u:hun:ter2@db/x", "postgres://u:***@db/x"),
        ("postgres://u:hun#t?r2@db/x", "postgres://u:***@db/x"),
        ("host=db user=u password='://a b'", "***"),
        ("postgres://db/x?sslpassword=hunter2&password=hunter2", "postgres://db/x?sslpassword=***&password=***"),
        ("postgres://u@db:5432/x", "postgres://u@db:5432/x"),
    ],
)
def test_passwords_in_urls_are_masked(value: str, shown: str) -> None:
    assert effective(load(REQUIRED | {"DATABASE_URL": value}))["DATABASE_URL"] == shown


@pytest.mark.parametrize("url", ["redis://s1:26379,s2:26379", "redis://s1,redis://s2", "valkeys://:pw@[::1]:26379"])
def test_sentinels_are_named_with_commas(url: str) -> None:
    assert load(REQUIRED | {"VALKEY_SENTINEL_URL": url}).valkey_sentinel_url == url


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("HTTPS://A.example:443", None),
        ("https://A.example:443", "https://a.example"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_origins_are_kept_as_browsers_spell_them(given: str, kept: str | None) -> None:
    if kept is None:
        assert "scheme in lower case" in refused(ALLOWED_ORIGINS=given)[0]
    else:
        assert load(REQUIRED | {"ALLOWED_ORIGINS": given}).allowed_origins == (kept,)


@pytest.mark.parametrize("host", ["controller-1", "10.0.0.5", "2001:db8::1", "[2001:db8::1]"])
def test_an_advertised_host_is_a_name_or_an_address(host: str) -> None:
    assert load(REQUIRED | {"HA_ADVERTISE_HOST": host}).ha_advertise_host == host.strip("[]")


def test_a_url_in_a_file_may_end_with_a_line_break_and_no_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_bytes(b"redis://valkey\r\n\n")
    assert load({**REQUIRED, "VALKEY_URL_FILE": str(path)}).valkey_url == "redis://valkey"
    path.write_bytes(b"\xef\xbb\xbfredis://:hunter2@valkey")
    assert refused(VALKEY_URL_FILE=str(path)) == [
        "VALKEY_URL='***': has a space, a line break or an invisible character: a space in a password is written %20"
    ]


def test_the_file_of_a_first_start_is_checked_with_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "providers.json"
    path.write_text('[{"name": "a", "type": "ollama", "models": ["m"], "key": "hunter2"}]')
    assert load(REQUIRED | {"LLM_PROVIDERS_FILE": str(path)}).llm_providers_file == path
    path.write_text('[{"name": "a", "type": "ollama", "models": []}, {"name": "b", "key": "hun ter2"}]')
    result = _run(["-m", "netstacks", "check-config"], REQUIRED | {"LLM_PROVIDERS_FILE": str(path)})
    assert (result.returncode, result.stdout) == (2, "")
    head, *lines = result.stderr.splitlines()
    assert head == "netstacks: wrong settings"
    assert [line.removeprefix(f"LLM_PROVIDERS_FILE={str(path)!r}: ") for line in lines] == [
        "provider 1 ('a'), models: must have at least 1 item, not 0",
        "provider 2 ('b'), models: is missing",
        "provider 2 ('b'), type: is missing",
        "provider 2 ('b'), key: must be printable ASCII without spaces, as the provider has issued it",
    ]


def test_check_config_prints_every_setting_and_no_secret() -> None:
    secrets = {
        "VALKEY_URL": "redis://:hunter2@valkey:6379",
        "LICENSE_KEY": "hunter2",
        "BOOTSTRAP_ADMIN_PASSWORD": "hunter2hunter2",
        "VAULT_MASTER_KEY_PREVIOUS": KEY[::-1],
    }
    result = _run(["-m", "netstacks", "check-config"], REQUIRED | secrets)
    assert result.returncode == 0
    printed = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert printed.keys() == {name.upper() for name in Settings.model_fields}
    assert printed["DATABASE_URL"] == "postgres://netstacks:***@db:5432/netstacks"
    for secret in ("hunter2", KEY, KEY[::-1], JWT_SECRET):
        assert secret not in result.stdout + result.stderr


@pytest.mark.parametrize("command", [["-m", "netstacks", "check-config"], ["-m", "gunicorn", "-c", "gunicorn.conf.py"]])
def test_a_wrong_setting_ends_the_program_before_it_listens(command: list[str]) -> None:
    wrong = REQUIRED | {"PORT": "high", "DRAIN_TIMEOUT_SECS": "long", "JWT_SECRET": "hunter2"}
    result = _run(command, wrong)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "netstacks: wrong settings",
        "PORT='high': must be a valid integer",
        "JWT_SECRET='***': must have at least 32 characters",
        "DRAIN_TIMEOUT_SECS='long': must be a valid number",
    ]


def _run(command: list[str], environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=CLEAN | environ, capture_output=True, text=True, timeout=60
    )
