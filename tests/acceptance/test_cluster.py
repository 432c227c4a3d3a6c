"""Several instances are one service: a terminal lives on whatever becomes of the instances."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests
from websockets.exceptions import InvalidStatus

from tests.acceptance.cluster import TTL_SECS, Cluster, come_back
from tests.acceptance.conftest import Lab
from tests.certificates import Authority
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import Valkey

# A quiet shell that counts for about two seconds, so that something can happen meanwhile.
COUNT = "PS1=; stty -echo; clear; for i in $(seq 1 40); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
COUNTED = b"".join(b"%d\r\n" % number for number in range(1000, 41_000))

# Of the product's own issuer, for five seats; it says nothing that is worth hiding.
TEAMS_LICENSE = (
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9"
    ".eyJjdXN0b21lciI6InRoZSB0ZXN0cyIsInRpZXIiOiJ0ZWFtIiwic2VhdHMiOjUsImlhdCI6MTc5NTQ3MTQ2MSwiZXhwIjo0MTAyNDQ0ODAwfQ"
    ".68Skcnp8WctFkKRpgSVuC5-eYeQtt43m2dLJvVZCXUbdPqimSgD9yZgNyPgDTHKp2BKhz4ASPco4cIffyB1GCg"
)


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def shell_pid(terminal: Terminal) -> bytes:
    terminal.type("PS1=; stty -echo; echo pid-$$-\r")
    until(lambda: terminal.output.split(b"pid-")[-1].count(b"-\r\n") == 1, "the shell's pid")
    return terminal.output.split(b"pid-")[-1].split(b"-")[0]


def row(cluster: Cluster, terminal: Terminal) -> tuple[str, int, str]:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute(
            "SELECT owner, epoch, state FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    assert found is not None
    return found


def audited(cluster: Cluster, event: str) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM audit WHERE event = %s", [event]).fetchone()
    assert found is not None
    return int(found[0])


def acknowledged(cluster: Cluster) -> list[int]:
    """What the clients of all sessions are known to have, as stored."""
    with psycopg.connect(cluster.database_url) as connection:
        return [acked for (acked,) in connection.execute("SELECT acked_offset FROM sessions")]


def test_a_terminal_is_reached_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    _, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    pid = shell_pid(first)
    first.type(COUNT)
    first.expect("5000\r\n")
    first.vanish()
    seen = first.output
    again = first.again(b, epoch=1, offset=len(seen)).connected()
    assert again.info == first.info | {"offset": len(seen)}
    again.expect("40999\r\n", 60)
    assert COUNTED in seen + again.output
    assert shell_pid(again) == pid
    assert row(cluster, again)[1] == 1
    again.leave()


def test_losing_the_instance_that_only_relays_costs_no_byte(cluster: Cluster, lab: Lab) -> None:
    _, b, c = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    first.vanish()
    relayed = first.again(b, epoch=1, offset=0).connected()
    relayed.type(COUNT)
    relayed.expect("5000\r\n")
    b.kill()
    assert relayed.closed()[0] == 1006
    again = come_back(relayed, c, epoch=1, offset=len(relayed.output))
    again.expect("40999\r\n", 60)
    assert COUNTED in relayed.output + again.output
    assert row(cluster, again)[1] == 1
    again.leave()


def test_a_killed_owner_is_replaced_by_whoever_is_asked(cluster: Cluster, lab: Lab) -> None:
    a, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    first.vanish()
    relayed = first.again(b, epoch=1, offset=0).connected()
    pid = shell_pid(relayed)
    former = row(cluster, relayed)[0]
    a.kill()
    assert relayed.closed()[0] == 1006
    again = come_back(relayed, b, epoch=1, offset=len(relayed.output))
    assert again.info["session_id"] == first.info["session_id"]
    assert again.info["epoch"] == 2
    assert again.token == first.token
    assert shell_pid(again) != pid
    owner, epoch, state = row(cluster, again)
    assert owner != former
    assert (epoch, state) == (2, "active")
    cluster.gathered(2)
    again.leave()


def test_a_death_that_can_be_proven_is_not_waited_for(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, HA_STALE_INSTANCE_TTL_SECS="600") as cluster:
        a, b = cluster.controllers
        lab = cluster.lab(sshd)
        ours, theirs = lab.open(epoch=0, offset=0), lab.open()
        for terminal in (ours, theirs):
            terminal.type("echo be''fore\n")
            terminal.expect("before")
        dead = a.health()["instance_id"]
        until(lambda: all(acked >= len(ours.output) for acked in acknowledged(cluster)), "the acknowledgements")
        a.kill()
        ours.closed()
        theirs.closed()

        ours = come_back(ours, b, epoch=1, offset=len(ours.output))
        assert ours.info["epoch"] == 2
        until(lambda: b"re-established" in ours.notices, "the line that tells")
        screen, line = ours.notices.split(b"[the SSH connection was")
        assert b"before" in screen
        assert b"this is a new shell" in line
        ours.type("echo af''ter\n")
        ours.expect("after")
        assert b"before" not in ours.output

        theirs = come_back(theirs, b)
        theirs.type("echo af''ter\n")
        theirs.expect("after")
        assert theirs.output.index(b"re-established") < theirs.output.index(b"after")
        assert b"before" not in theirs.output
        until(lambda: dead not in cluster.peer_addresses(), "the dead instance to be forgotten")


def test_a_frozen_owner_is_waited_for_then_replaced_and_closes_its_copy(cluster: Cluster, lab: Lab) -> None:
    a, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    shell_pid(first)
    a.freeze()
    with pytest.raises(InvalidStatus) as refused:
        first.again(b, epoch=1, offset=0)
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) > 0
    again = come_back(first, b, epoch=1, offset=0, timeout_secs=TTL_SECS + 30)
    assert again.info["epoch"] == 2
    a.thaw()
    assert first.closed()[0] == 4410
    until(lambda: a.health()["cluster"]["local_sessions"] == 0, "the copy's end")
    again.type("echo still-$((1+1))\r")
    again.expect("still-2")
    assert row(cluster, again)[1:] == (2, "active")
    again.leave()


def test_a_client_behind_a_frozen_owner_is_let_go(cluster: Cluster, lab: Lab) -> None:
    a, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    first.vanish()
    relayed = first.again(b, epoch=1, offset=0).connected()
    a.freeze()
    assert relayed.closed(TTL_SECS + 30)[0] == 1006
    again = come_back(relayed, b, epoch=1, offset=len(relayed.output))
    assert again.info["epoch"] == 2
    again.leave()


def test_of_clients_that_race_for_an_orphan_one_claims_and_all_end_attached(cluster: Cluster, lab: Lab) -> None:
    a, b, c = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    a.kill()
    assert first.closed()[0] == 1006
    attached: list[Terminal] = []
    racers = [
        threading.Thread(target=lambda via=via: attached.append(come_back(first, via, epoch=1, offset=0)))
        for via in (b, c, b, c)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [each.info["epoch"] for each in attached] == [2] * 4
    assert row(cluster, first)[1:] == (2, "active")
    assert audited(cluster, "session.claimed") == 1
    # The last one has the terminal; the others were told that it was opened elsewhere.
    until(lambda: sum(each.close is None for each in attached) == 1, "one terminal")
    assert {each.close[0] for each in attached if each.close} == {4003}


def test_a_session_is_ended_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open()
    lab.api.at(cluster.controllers[1]).call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert terminal.closed()[0] == 4001
    assert "ended by admin" in terminal.errors[0]
    until(lambda: row(cluster, terminal)[2] == "ended", "the row's end")


def test_an_ended_session_is_told_so_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("exit\r")
    assert terminal.closed()[0] == 4001
    until(lambda: row(cluster, terminal)[2] == "ended", "the row's end")
    again = terminal.again(cluster.controllers[1])
    assert again.closed()[0] == 4001
    assert "ended" in again.errors[0]


def test_without_valkey_a_terminal_is_reached_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    _, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    pid = shell_pid(first)
    cluster.valkey.kill()
    first.vanish()
    again = come_back(first, b, epoch=1, offset=len(first.output))
    assert shell_pid(again) == pid
    again.leave()


def test_a_relaying_instance_that_is_drained_costs_no_byte(cluster: Cluster, lab: Lab) -> None:
    _, b, c = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    first.vanish()
    relayed = first.again(b, epoch=1, offset=0).connected()
    relayed.type(COUNT)
    relayed.expect("5000\r\n")
    b.terminate()
    relayed.closed()
    again = come_back(relayed, c, epoch=1, offset=len(relayed.output))
    again.expect("40999\r\n", 60)
    assert COUNTED in relayed.output + again.output
    assert b.process is not None
    assert b.process.wait(10) == 0
    again.leave()


def test_a_licence_without_high_availability_makes_a_single_instance_of_each(postgres: Postgres) -> None:
    valkey = Valkey().start()
    url = postgres.create_database()
    first = Controller(url, VALKEY_URL=valkey.url).start()
    assert first.health()["valkey"] == "connected"
    first.login().post("/api/admin/license/activate", {"license_key": TEAMS_LICENSE})
    first.stop()
    second = Controller(url, VALKEY_URL=valkey.url).start()
    try:
        assert second.health()["valkey"] == "disabled"
        assert second.health()["cluster"]["registered_instances"] == 1
        assert second.log().count("ha.not_licensed") == 1
        assert "this one is Teams" in second.login().get("/api/v1/ha/status")["valkey"]["error"]
    finally:
        second.stop()
        valkey.destroy()


def test_valkey_that_is_absent_at_the_start_is_joined_when_it_appears(postgres: Postgres) -> None:
    valkey = Valkey()
    with_valkey = Controller(postgres.create_database(), VALKEY_URL=valkey.url, HA_HEARTBEAT_INTERVAL_SECS="2")
    with_valkey.start(wait_for="degraded")
    try:
        assert "valkey" in with_valkey.health()["degraded"]
        valkey.start()
        until(lambda: with_valkey.health().get("status") == "healthy", "an instance that has joined")
    finally:
        with_valkey.stop()
        valkey.destroy()


def test_a_killed_worker_takes_nothing_but_its_own_sessions_with_it(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 1, WEB_CONCURRENCY="3") as cluster:
        lab = cluster.lab(sshd)
        terminals: dict[str, Terminal] = {}
        while len(terminals) < 2:
            terminal = lab.open(epoch=0, offset=0)
            terminals.setdefault(row(cluster, terminal)[0], terminal)
        (lost_owner, lost), (_, kept) = terminals.items()
        kept_pid = shell_pid(kept)
        os.kill(cluster.pid(lost_owner), signal.SIGKILL)
        assert lost.closed()[0] == 1006
        again = come_back(lost, cluster.controllers[0], epoch=1, offset=len(lost.output))
        assert again.info["epoch"] == 2
        assert shell_pid(kept) == kept_pid
        assert row(cluster, kept)[1] == 1


def test_without_postgresql_a_terminal_is_reached_through_any_instance(sshd: Sshd) -> None:
    postgres = Postgres().start()
    with Cluster(postgres, 2) as cluster:
        b = cluster.controllers[1]
        lab = cluster.lab(sshd)
        first = lab.open(epoch=0, offset=0)
        pid = shell_pid(first)
        postgres.stop()
        first.vanish()
        again = come_back(first, b, epoch=1, offset=len(first.output))
        assert shell_pid(again) == pid
        again.leave()
    postgres.destroy()


def test_a_question_about_a_host_key_is_seen_and_answered_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    at_b = lab.api.at(cluster.controllers[1])
    with Sshd() as stranger:
        device = lab.api.add_device(stranger.host, stranger.port, name="stranger")
        credential = lab.api.add_credential(stranger.user, stranger.private_key, "ssh_key", name="stranger")
        terminal = lab.api.open(device, credential)
        prompt = until(lambda: at_b.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        at_b.post(f"/api/host-keys/prompts/{prompt['id']}/approve")
        terminal.connected().leave()


def test_peers_speak_tls_and_refuse_who_has_no_certificate(postgres: Postgres, sshd: Sshd, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    tls = {"HA_PEER_TLS_CERT": str(cert), "HA_PEER_TLS_KEY": str(key), "HA_PEER_TLS_CA": str(authority.ca)}
    with Cluster(postgres, 2, **tls) as cluster:
        first = cluster.lab(sshd).open(epoch=0, offset=0)
        first.vanish()
        relayed = first.again(cluster.controllers[1], epoch=1, offset=0).connected()
        relayed.type(COUNT)
        relayed.expect("40999\r\n", 60)
        assert COUNTED in relayed.output
        relayed.type("exit\r")
        assert relayed.closed()[0] == 4001
        for address in cluster.peer_addresses().values():
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://{address}/health", timeout=10)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"https://{address}/health", verify=str(authority.ca), timeout=10)
            shown = requests.get(f"https://{address}/health", verify=str(authority.ca), cert=(cert, key), timeout=10)
            assert shown.status_code == 200
