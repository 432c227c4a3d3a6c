"""`/metrics` of real controllers: what Prometheus reads, by whom it may be read, and that it grows with nothing."""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab
from tests.certificates import Authority
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import SentinelCluster

TOKEN = "0123456789abcdef-of-the-tests"
_DOCS = Path(__file__).parents[2] / "docs/operations.md"
# A metric in the table of the documentation, with its labels.
_DOCUMENTED = r"`(netstacks_\w+)(?:\{([\w,]+)\})?`"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(base: str, token: str | None = TOKEN, **headers: str) -> requests.Response:
    authorization = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return requests.get(f"{base}/metrics", headers=authorization | headers, timeout=20)


def series(base: str) -> Series:
    """The value of every series by its name and labels."""
    answer = scrape(base)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def value(base: str, name: str, **labels: str) -> float:
    """The value of one series; NaN, which equals nothing, when there is none."""
    return series(base).get((f"netstacks_{name}", frozenset(labels.items())), math.nan)


def families(base: str) -> set[str]:
    return {family.name for family in parse_openmetrics(scrape(base, Accept=_OPENMETRICS).text)}


@pytest.fixture(scope="module")
def pair(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, METRICS_TOKEN=TOKEN) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pair_lab(pair: Cluster, sshd: Sshd) -> Lab:
    return pair.lab(sshd)


def listeners(cluster: Cluster) -> dict[str, str]:
    """The base URL of each instance's private listener."""
    return {instance_id: f"http://{address}" for instance_id, address in cluster.peer_addresses().items()}


def test_a_scrape_needs_the_token_on_both_listeners(pair: Cluster) -> None:
    for base in (pair.controllers[0].url, *listeners(pair).values()):
        assert scrape(base).status_code == 200
        for token in (None, "", TOKEN[:-1], f"{TOKEN}x", "\xe4"):
            answer = scrape(base, token)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "METRICS_TOKEN" in answer.json()["error"]
            assert TOKEN not in answer.text


def test_without_a_token_there_are_no_metrics(controller: Controller) -> None:
    for token in (None, "", "anything"):
        assert scrape(controller.url, token).status_code == 404


def test_each_private_listener_shows_its_own_worker(postgres: Postgres) -> None:
    with Cluster(postgres, 1, METRICS_TOKEN=TOKEN, WEB_CONCURRENCY="2") as cluster:
        private = listeners(cluster)
        assert len(private) == 2
        for instance_id, base in private.items():
            assert shown_id(base) == instance_id
        assert shown_id(cluster.controllers[0].url) in private


def shown_id(base: str) -> str:
    labels = next(dict(labels) for name, labels in series(base) if name == "netstacks_build_info")
    return labels["instance_id"]


def test_a_private_listener_with_tls_is_scraped_with_a_certificate(postgres: Postgres, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    tls = {"HA_PEER_TLS_CERT": str(cert), "HA_PEER_TLS_KEY": str(key), "HA_PEER_TLS_CA": str(authority.ca)}
    with Cluster(postgres, 1, METRICS_TOKEN=TOKEN, HA_ADVERTISE_HOST="127.0.0.1", **tls) as cluster:
        (address,) = cluster.peer_addresses().values()
        options: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "verify": authority.ca,
            "timeout": 20,
        }
        answer = requests.get(f"https://{address}/metrics", cert=(cert, key), **options)
        assert (answer.status_code, "netstacks_build_info" in answer.text) == (200, True)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"https://{address}/metrics", **options)


def test_both_formats_are_well_formed(pair: Cluster) -> None:
    url = pair.controllers[0].url
    plain = scrape(url)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert list(parse(plain.text))
    openmetrics = scrape(url, Accept=_OPENMETRICS)
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    assert list(parse_openmetrics(openmetrics.text))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's prometheus")
def test_promtool_finds_nothing_to_improve(pair: Cluster) -> None:
    text = scrape(pair.controllers[0].url).text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_documentation_has_every_metric_and_label(pair: Cluster) -> None:
    url = pair.controllers[0].url
    shows_everything(url)
    section = _DOCS.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    cells = "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    documented = {name: set(filter(None, labels.split(","))) for name, labels in re.findall(_DOCUMENTED, cells)}
    actual = {}
    for family in parse(scrape(url).text):
        if family.name.startswith("netstacks_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            # A family without series, such as one of language models, has the labels that the documentation says.
            labels = [set(sample.labels) - {"le"} for sample in family.samples] or [documented.get(name)]
            actual[name] = labels[0]
    # This cluster has no Sentinels, and no backup of it was proven.
    absent = ("netstacks_valkey_failover_possible", "netstacks_backup_proven_timestamp_seconds")
    assert documented == actual | {name: set() for name in absent}


def shows_everything(url: str) -> None:
    """Waits for the first look at the other clocks, and for the first view of the cluster."""
    late = {f"netstacks_{name}" for name in ("clock_skew_seconds", "valkey_replicas", "cluster_sessions_without_owner")}
    until(lambda: late <= families(url), "all metrics")


def test_a_terminal_is_counted_where_it_is(pair: Cluster, pair_lab: Lab) -> None:
    url, other = (each.url for each in pair.controllers)
    before = {name: value(url, name) for name in ("device_bytes_total", "client_bytes_total")}
    keys, opened = value(url, "echo_latency_seconds_count"), value(url, "opens_total", result="opened")
    terminal = pair_lab.open()
    terminal.type("echo me$((40+2))t\r")
    terminal.expect("me42t")
    assert value(url, "sessions", state="active") == 1
    assert value(url, "attachments", kind="control") == 1
    until(lambda: value(url, "opens_total", result="opened") == opened + 1, "the opening")
    assert value(url, "client_bytes_total") == before["client_bytes_total"] + len("echo me$((40+2))t\r")
    assert value(url, "device_bytes_total") >= before["device_bytes_total"] + len("me42t")
    until(lambda: value(url, "echo_latency_seconds_count") > keys, "an echo")
    until(lambda: value(url, "recorder_stored_bytes_total") > 0, "a stored recording")
    until(lambda: value(other, "cluster_sessions") == 1, "the session in the registry")
    assert value(other, "sessions", state="active") == 0
    # A heartbeat or a check may use the only connection at this moment.
    until(lambda: value(url, "registry_connections", state="idle") > 0, "an idle connection to Valkey")
    assert value(url, "registry_wait_seconds_count") > 0
    until(lambda: value(url, "database_connections", pool="vital", state="idle") > 0, "an idle one to PostgreSQL")
    assert value(url, "database_wait_seconds_count", pool="routing") > 0
    assert value(url, "heartbeat_duration_seconds_count") > 0
    terminal.vanish()
    until(lambda: value(url, "sessions", state="detached") == 1, "a detached session")
    again = terminal.again(pair.controllers[1]).connected()
    assert value(other, "hops_open", direction="out") == value(url, "hops_open", direction="in") == 1
    assert value(url, "sessions", state="active") == 1
    again.leave()
    until(lambda: value(url, "hops_open", direction="in") == 0, "the end of the hop")
    until(lambda: value(other, "hops_open", direction="out") == 0, "the end of the relay")
    assert value(url, "hops_total", direction="in") >= 1


def test_refusals_are_counted(pair: Cluster, pair_lab: Lab) -> None:
    url = pair.controllers[0].url
    wrong, failed = value(url, "logins_refused_total", reason="password"), value(url, "opens_total", result="device")
    answer = requests.post(
        f"{url}/api/auth/login", json={"username": "nobody", "password": "a wrong one of the tests"}, timeout=20
    )
    assert answer.status_code == 401
    assert value(url, "logins_refused_total", reason="password") == wrong + 1
    unreachable = pair_lab.api.add_device("127.0.0.1", 1)
    pair_lab.api.open(unreachable, pair_lab.credential)
    until(lambda: value(url, "opens_total", result="device") == failed + 1, "a failed opening")


def test_no_series_grows_with_sessions_users_or_devices(pair: Cluster, pair_lab: Lab, sshd: Sshd) -> None:
    url = pair.controllers[0].url
    shows_everything(url)
    before = set(series(url))
    terminals = [pair_lab.open() for _ in range(3)]
    for number in range(3):
        pair_lab.api.add_device("127.0.0.1", sshd.port, name=f"device-of-metrics-{number}")
        name = f"user-of-metrics-{number}"
        pair_lab.api.post("/api/users", {"username": name, "password": "correct horse battery 1", "role": "operator"})
        terminals.append(pair_lab.at(pair.controllers[0]).open())
    assert value(url, "sessions", state="active") >= 6
    assert set(series(url)) == before
    for terminal in terminals:
        terminal.leave()


def test_a_scrape_answers_without_postgresql(own_postgres: Postgres) -> None:
    with Cluster(own_postgres, 1, METRICS_TOKEN=TOKEN) as cluster:
        url = cluster.controllers[0].url
        assert value(url, "database_up") == value(url, "valkey_up") == 1
        own_postgres.kill()
        until(lambda: value(url, "database_up") == 0, "PostgreSQL away")
        until(lambda: value(url, "health_degraded", dependency="database") == 1, "the dependency that is missing")
        until(lambda: value(url, "health_status", status="degraded") == 1, "degraded health")
        cluster.valkey.kill()
        until(lambda: value(url, "valkey_up") == 0, "Valkey away")
        until(lambda: value(url, "heartbeat_failures_total") > 0, "a failed heartbeat")
        until(lambda: value(url, "heartbeat_age_seconds") > 2, "an old heartbeat")


def test_a_starting_instance_answers(postgres: Postgres) -> None:
    # No server listens there.
    controller = Controller("postgresql://nobody@127.0.0.1:1/none", METRICS_TOKEN=TOKEN).launch()
    try:
        controller.started("unhealthy")
        assert value(controller.url, "health_status", status="unhealthy") == 1
    finally:
        controller.kill()
        controller.stop()


def test_a_lost_instance_is_counted_and_its_session_claimed(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, METRICS_TOKEN=TOKEN) as cluster:
        first, second = cluster.controllers
        terminal = cluster.lab(sshd).open()
        until(lambda: value(second.url, "cluster_expected_instances") == 2, "the first view")
        first.kill()
        come_back(terminal, second)
        until(lambda: value(second.url, "cluster_lost_instances") == 1, "the loss")
        until(lambda: value(second.url, "cluster_registered_instances") == 1, "the removal")
        # The lost instances are read apart from those that are registered, and the counters follow their causes.
        until(lambda: value(second.url, "cluster_expected_instances") == 2, "the view after the loss")
        until(lambda: value(second.url, "claims_total", result="claimed") == 1, "the claim")
        until(lambda: value(second.url, "reaped_total") == 1, "the instance that was declared dead")


def test_a_failover_that_is_not_possible_is_shown_before_it_is_needed(postgres: Postgres) -> None:
    servers = SentinelCluster().start()
    try:
        with Cluster(postgres, 1, sentinels=servers, METRICS_TOKEN=TOKEN) as cluster:
            url = cluster.controllers[0].url
            until(lambda: value(url, "valkey_failover_possible") == 1, "Sentinels that are whole")
            until(lambda: value(url, "valkey_replicas") == 2, "both replicas")
            until(lambda: value(url, "valkey_persistence_ok") == 1, "a disk that takes writes")
            assert value(url, "valkey_memory_used_bytes") > 100_000
            for sentinel in servers.sentinels[1:]:
                sentinel.kill()
            until(lambda: value(url, "valkey_failover_possible") == 0, "the missing majority")
            shown = cluster.controllers[0].login().get("/api/v1/ha/status")["cluster"]
            assert shown["condition"] == "degraded"
            assert "Sentinel cannot replace Valkey's primary: NOQUORUM" in shown["reason"]
            assert value(url, "valkey_up") == 1
    finally:
        servers.destroy()
