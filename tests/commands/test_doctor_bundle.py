"""The support bundle: complete, also when servers are away, and without a single secret in any form."""

import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
import redis

from netstacks.commands.examine.secrets import Scrubber
from tests.controller import JWT_SECRET, MASTER_KEY, ROOT, Controller
from tests.postgres import Postgres
from tests.valkey import Valkey

VALKEY_PASSWORD = 'v@lkey/pa%ss "wörd'
DATABASE_PASSWORD = "d@tabase pa+ss"
API_KEY = "sk-provider-0123456789"
METRICS_TOKEN, TRACES_KEY, OLD = "a-token-of-the-scraper", "otlp-0123456789", "an-old-pg-password"
SECRETS = (
    JWT_SECRET,
    MASTER_KEY,
    VALKEY_PASSWORD,
    DATABASE_PASSWORD,
    API_KEY,
    METRICS_TOKEN,
    TRACES_KEY,
    OLD,
)
EXPECTED = {
    "README.txt",
    "doctor.json",
    "versions.json",
    "settings.json",
    "postgres.json",
    "valkey-status.json",
    "valkey-info.json",
    "instances.json",
    "lost.json",
    "events.json",
    "unreadable.json",
    "health.json",
}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    valkey = Valkey("--requirepass", VALKEY_PASSWORD)
    valkey.start()
    yield valkey
    valkey.destroy()


@pytest.fixture(scope="module")
def controller(postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("secrets")
    provider = {"name": "One", "type": "openai", "models": ["m"], "key": API_KEY}
    (folder / "providers.json").write_text(json.dumps([provider]))
    (folder / "valkey").write_text(f"redis://:{quote(VALKEY_PASSWORD, safe='')}@127.0.0.1:{valkey.port}\n")
    user = f"postgres:{quote(DATABASE_PASSWORD, safe='')}"
    controller = Controller(
        postgres.create_database().replace("//postgres@", f"//{user}@"),
        VALKEY_URL_FILE=str(folder / "valkey"),
        LLM_PROVIDERS_FILE=str(folder / "providers.json"),
        PGPASSWORD=OLD,
        METRICS_TOKEN=METRICS_TOKEN,
        OTLP_HEADERS=f"x-tenant=one,api-key={TRACES_KEY}",
    )
    yield controller.start()
    controller.stop()


def bundled(controller: Controller, path: Path, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netstacks", "doctor", *words, "--bundle", str(path)],
        cwd=ROOT,
        env={**controller.environ, **changed},
        capture_output=True,
        text=True,
        timeout=120,
    )


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            files[member.name.removeprefix("netstacks-support/")] = file.read()
    return files


def forms(secret: str) -> Iterator[bytes]:
    upper = secret.upper() if secret == MASTER_KEY else secret
    for text in (secret, upper, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        for written in (text, quote(text), quote(text, safe=""), quote(text, safe="").lower(), quote_plus(text)):
            yield written.encode()


def plant(controller: Controller, valkey: Valkey) -> psycopg.Connection[Any]:
    """Puts secrets where a bundle looks: records and events in Valkey, and the names of connections."""
    with redis.Redis(port=valkey.port, password=VALKEY_PASSWORD) as client:
        host = f"host {JWT_SECRET} {MASTER_KEY.upper()} {METRICS_TOKEN} {TRACES_KEY}"
        client.hset("netstacks:instance:planted", mapping={"host": host})
        client.zadd("netstacks:instances", {"planted": 9e9})
        client.hset(f"netstacks:instance:{quote(VALKEY_PASSWORD, safe='')}", mapping={"host": f"x{API_KEY}"})
        client.zadd("netstacks:instances", {quote(VALKEY_PASSWORD, safe=""): 9e9})
        url = f"redis://:{quote_plus(VALKEY_PASSWORD)}@valkey:6379?password={DATABASE_PASSWORD}"
        details: Any = {"by": "jane.roe", "device": "core-1", "problem": url}
        client.xadd("netstacks:events", {"kind": "drain_cancelled", "instance_id": "ctrl-x", **details})
    return psycopg.connect(controller.environ["DATABASE_URL"], application_name=OLD)


def test_it_holds_what_is_promised_and_no_secret(controller: Controller, valkey: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    with plant(controller, valkey):
        run = bundled(controller, path, "--json")
    assert run.returncode in (1, 2)
    found = json.loads(run.stdout)
    files = unpacked(path)
    assert set(files) == EXPECTED
    assert json.loads(files["doctor.json"])
    assert len(json.loads(files["doctor.json"])) == len(found)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in EXPECTED - {"README.txt"}:
        assert name in run.stderr
        assert name in files["README.txt"].decode()
        json.loads(files[name])
    for secret in SECRETS:
        for form in forms(secret):
            for name, content in files.items():
                assert form not in content, (name, form)
    everything = b"".join(files.values())
    for personal in (b"jane.roe", b"core-1", b'"admin"'):
        assert personal not in everything
    [instance_id] = json.loads(files["health.json"])
    assert json.loads(files["health.json"])[instance_id]["instance_id"] == instance_id
    postgres = json.loads(files["postgres.json"])
    assert postgres["migrations"]
    assert OLD not in str(postgres["connections"])
    assert instance_id in str(postgres["connections"])
    assert {each["event"] for each in postgres["audit"]} >= {"user.created"} or postgres["audit"] == []
    assert json.loads(files["valkey-info.json"])["redis_version"]
    assert json.loads(files["settings.json"])["JWT_SECRET"] == "***"


def test_it_is_written_when_everything_is_away(controller: Controller, tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    away = {"DATABASE_URL": "postgresql://u:hidden-word@127.0.0.1:1/x", "VALKEY_URL": "redis://:other-word@127.0.0.1:1"}
    run = bundled(controller, path, **away, VALKEY_URL_FILE="")
    assert run.returncode == 2
    files = unpacked(path)
    assert set(files) == EXPECTED
    assert "Connection refused" in json.loads(files["valkey-info.json"])["problem"]
    assert json.loads(files["postgres.json"])["problem"]
    assert not any(word in content for word in (b"hidden-word", b"other-word") for content in files.values())


def test_it_is_written_for_a_database_without_a_schema(
    controller: Controller, postgres: Postgres, tmp_path: Path
) -> None:
    path = tmp_path / "support.tar.gz"
    run = bundled(controller, path, DATABASE_URL=postgres.create_database())
    assert run.returncode == 2
    facts = json.loads(unpacked(path)["postgres.json"])
    assert facts["server"]
    assert "schema does not exist yet" in facts["migrations"]["problem"]


def test_it_is_written_with_settings_that_are_wrong(controller: Controller, tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    run = bundled(
        controller, path, VALKEY_URL_FILE="", VALKEY_URL="redis://:wrong-#-word@valkey", JWT_SECRET="tooshort"
    )
    assert run.returncode == 2
    files = unpacked(path)
    assert set(files) == {"README.txt", "doctor.json", "versions.json", "settings.json"}
    assert not any(word in content for word in (b"wrong-#-word", b"tooshort") for content in files.values())


def test_an_existing_file_is_not_overwritten(controller: Controller, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    run = bundled(controller, path)
    assert (run.returncode, run.stdout) == (1, "")
    assert "exists already" in run.stderr
    assert path.read_text() == "precious"
    assert "not a folder in which this user can write" in bundled(controller, tmp_path / "missing" / "x").stderr


@pytest.mark.parametrize(
    ("written", "is_removed"),
    [
        ("p@ss/word", True),
        ("p%40ss%2Fword", True),
        ("p%40ss/word", True),
        ("p@ss%2fword", True),
        ("xp@ss/wordx", True),
        ("p@ss/wor", False),
    ],
)
def test_each_form_of_a_secret_is_removed(written: str, is_removed: bool) -> None:
    scrubber = Scrubber({"VALKEY_URL": "redis://:p%40ss%2Fword@valkey", "PATH": "/usr/bin", "SHORT_TOKEN": "abc"})
    assert (scrubber.text(f"a {written} abc") == f"a {written} abc") is not is_removed
    assert scrubber.value({written: [written, 1, None, True]}) == (
        {written.replace(written.strip("x"), "***"): [written.replace(written.strip("x"), "***"), 1, None, True]}
        if is_removed
        else {written: [written, 1, None, True]}
    )


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OTLP_HEADERS", "x-team=core,authorization=Bearer%20abcd-efgh", "abcd-efgh"),
        ("OTLP_HEADERS", "authorization=Basic YWJjOmRlZg==", "YWJjOmRlZg=="),
        ("SMTP_PASS", "hunter-22", "hunter-22"),
        ("OPENAI_API_KEY", "sk-12345678", "sk-12345678"),
        ("VENDOR_APIKEY", "12345678-abc", "12345678-abc"),
    ],
)
def test_the_secret_part_of_a_variable_is_removed(name: str, value: str, secret: str) -> None:
    assert Scrubber({name: value}).text(f"<{secret}>") == "<***>"


def test_numbers_are_removed_and_the_rest_of_the_settings_stays() -> None:
    environ = {"JWT_SECRET": "12345678", "LLM_USER_DAILY_TOKENS": "100000", "HA_PEER_TLS_KEY": "/etc/tls/key.pem"}
    given = {"a": 12345678, "b": 100000, "c": "/etc/tls/key.pem", "d": 0.5}
    assert Scrubber(environ).value(given) == given | {"a": "***"}
    assert Scrubber({}).value(given) == given


def test_a_hexadecimal_key_is_removed_in_any_case() -> None:
    assert Scrubber({"VAULT_MASTER_KEY": MASTER_KEY}).text(f"<{MASTER_KEY.upper()}>") == "<***>"
