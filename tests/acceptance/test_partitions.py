"""No living session is ended and no dead one is kept, whatever instances see of each other, and for however long."""

import itertools
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.conftest import Lab, make_lab
from tests.acceptance.faults import freeze_in_transaction
from tests.acceptance.test_cluster import TEAMS_LICENSE, row, shell_pid
from tests.acceptance.test_valkey_faults import at
from tests.controller import ROOT, Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.wire import Wire

# Below the times that the tests wait for, and above what a busy machine needs for a heartbeat.
TTL_SECS, DETACH_TTL_SECS = 5, 6
TIMES = {
    "HA_HEARTBEAT_INTERVAL_SECS": "1",
    "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS),
    "SESSION_DETACH_TTL_SECS": str(DETACH_TTL_SECS),
}
# By then an orphan would have ended: it is seen, waits for its user, and is looked at every five seconds.
ENDED_BY_NOW_SECS = TTL_SECS + DETACH_TTL_SECS + 11


def keeps_typing(secs: float, *terminals: Terminal) -> None:
    """Each goes on, in the same shell, for so long."""
    give_up_at = time.monotonic() + secs
    for number in itertools.count():
        for terminal in terminals:
            terminal.type(f"echo going-on-{number}-$((1+1))\r")
            terminal.expect(f"going-on-{number}-2\r\n")
        if time.monotonic() > give_up_at:
            return
        time.sleep(0.5)


def kept(terminal: Terminal, cluster: Cluster) -> None:
    """Its row has not been touched."""
    _, epoch, state = row(cluster, terminal)
    assert (epoch, state) == (terminal.info["epoch"], "active")


def test_an_instance_that_lost_valkey_alone_keeps_its_attached_terminals(postgres: Postgres, sshd: Sshd) -> None:
    cluster = Cluster(postgres, 2, **TIMES)
    with closing(Wire(cluster.valkey.port)) as wire:
        cut_off = cluster.controllers[0]
        cut_off.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"
        with cluster:
            lab = cluster.lab(sshd)
            terminal, through_peer = lab.open(epoch=0, offset=0), lab.open(epoch=0, offset=0)
            shell = shell_pid(terminal)
            wire.cut()
            keeps_typing(ENDED_BY_NOW_SECS, terminal, through_peer)
            kept(terminal, cluster)
            wire.restore()
            until(lambda: cut_off.health().get("status") == "healthy", "healthy again")
            assert shell_pid(terminal) == shell


@pytest.mark.parametrize("alone", [{"VALKEY_URL": ""}, {"LICENSE_KEY": TEAMS_LICENSE}], ids=["no Valkey", "no licence"])
def test_an_instance_that_sees_only_itself_ends_nothing_of_a_cluster_on_the_same_database(
    postgres: Postgres, sshd: Sshd, alone: dict[str, str]
) -> None:
    with Cluster(postgres, 1, **TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        stranger = Controller(cluster.database_url, **{**cluster.settings, **alone})
        try:
            stranger.start()
            keeps_typing(ENDED_BY_NOW_SECS, terminal)
            kept(terminal, cluster)
        finally:
            stranger.stop()


def test_a_dead_instances_sessions_end_when_their_users_do_not_come(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        cluster.controllers[0].kill()
        until(lambda: row(cluster, terminal)[2] == "ended", "its end", 60)


def test_a_frozen_instances_sessions_end_when_their_users_do_not_come(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        cluster.controllers[0].freeze()
        until(lambda: row(cluster, terminal)[2] == "ended", "its end", 60)
        cluster.controllers[0].thaw()
        assert terminal.closed()[0] in (4001, 4410)


def test_a_row_that_names_a_living_instance_in_vain_is_released(postgres: Postgres, sshd: Sshd) -> None:
    """As a commit leaves it whose reply was lost. Nobody ever asks for it."""
    with Cluster(postgres, 1, **TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        with psycopg.connect(cluster.database_url) as connection:
            connection.execute(
                "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, owner, epoch,"
                " state, reconnect_hash) SELECT gen_random_uuid(), user_id, username, 'lost', host, port, term, cols,"
                " rows, owner, 1, 'active', decode(%s, 'hex') FROM sessions WHERE id = %s",
                (uuid.uuid4().hex, terminal.info["session_id"]),
            )
        until(lambda: states(cluster, "lost") == [(None, 2, "detached")], "the release")
        until(lambda: states(cluster, "lost") == [(None, 3, "ended")], "the end", 40)
        keeps_typing(0, terminal)
        kept(terminal, cluster)


def states(cluster: Cluster, device_name: str) -> list[tuple[str | None, int, str]]:
    with psycopg.connect(cluster.database_url) as connection:
        return connection.execute(
            "SELECT owner, epoch, state FROM sessions WHERE device_name = %s", (device_name,)
        ).fetchall()


# A frozen process keeps what it holds.


def test_an_owner_frozen_in_the_middle_of_a_transaction_does_not_keep_its_session(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 2, **{**TIMES, "SESSION_DETACH_TTL_SECS": "60"}) as cluster:
        frozen, other = cluster.controllers
        lab = cluster.lab(sshd)
        terminal = lab.open(epoch=0, offset=0)
        terminal.type("stty -echo; yes 0123456789012345678901234567890123456789\r")
        instance_id = row(cluster, terminal)[0]
        freeze_in_transaction(frozen, cluster.database_url, instance_id)
        again = come_back(terminal, other, epoch=1, offset="tail")
        assert row(cluster, again)[0] != instance_id
        frozen.thaw()
        again.type("echo claimed-$((1+1))\r")
        again.expect("claimed-2")


def test_what_is_typed_into_a_frozen_owner_never_reaches_the_device_after_a_claim(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 2, **{**TIMES, "SESSION_DETACH_TTL_SECS": "60"}) as cluster:
        frozen, other = cluster.controllers
        lab = cluster.lab(sshd)
        terminal = lab.open(epoch=0, offset=0)
        mark = f"/tmp/netstacks-typed-{uuid.uuid4()}"
        shell_pid(terminal)
        frozen.freeze()
        terminal.type(f"touch {mark}\r")
        again = come_back(terminal, other, epoch=1, offset="tail")
        frozen.thaw()
        assert terminal.closed()[0] == 4410
        time.sleep(2)
        again.type(f"ls {mark}; echo loo''ked\r")
        again.expect("looked")
        assert b"No such file" in again.output


def test_an_owner_that_was_frozen_for_a_while_and_not_claimed_types_what_waited(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **{**TIMES, "SESSION_DETACH_TTL_SECS": "60"}) as cluster:
        frozen, _ = cluster.controllers
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        shell = shell_pid(terminal)
        frozen.freeze()
        terminal.type("echo wai''ted\r")
        time.sleep(TTL_SECS + 2)
        frozen.thaw()
        terminal.expect("waited")
        assert shell_pid(terminal) == shell


# An answer not looked at.


def test_what_the_database_refuses_at_the_start_is_named_and_a_grant_is_enough(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE netstacks LOGIN")
    controller = Controller(url.replace("postgres@", "netstacks@"))
    try:
        controller.start(wait_for="unhealthy")
        until(lambda: "permission denied" in controller.health().get("reason", ""), "the reason")
        assert "CREATE" in controller.health()["reason"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("GRANT CREATE ON SCHEMA public TO netstacks")
        until(lambda: controller.health().get("status") == "healthy", f"health with {name}")
    finally:
        controller.stop()


def test_a_session_ended_through_another_instance_loses_nothing_that_its_owner_had_not_stored(
    postgres: Postgres, sshd: Sshd
) -> None:
    """Its user is deactivated there, while the device prints."""
    with Cluster(postgres, 2, **{**TIMES, "SESSION_DETACH_TTL_SECS": "60"}) as cluster:
        owner, other = cluster.controllers
        lab = cluster.lab(sshd)
        user = lab.api.post("/api/users", {"username": "lee", "password": "a password of lee", "role": "operator"})
        credential = lab.api.add_credential(sshd.user, sshd.private_key, "ssh_key", is_shared=True)
        theirs = Lab(owner.login("lee", "a password of lee"), lab.device, credential)
        terminal = theirs.open(epoch=0, offset=0)
        terminal.type("stty -echo; PS1=; i=0; while :; do i=$((i+1)); echo line-$i; sleep .01; done\r")
        terminal.expect("line-100\r\n")
        at(other, lab).api.call(
            "PUT", f"/api/users/{user['id']}", json={"role": "operator", "is_active": False}, expect=200
        )
        assert terminal.closed()[0] == 4001
        assert "access was withdrawn" in terminal.errors[-1]
        session_id = terminal.info["session_id"]
        until(lambda: row(cluster, terminal)[2] == "ended", "the end")
        with psycopg.connect(cluster.database_url) as connection:
            stored = connection.execute(
                "SELECT max(end_offset) FROM recording_chunks WHERE session_id = %s", (session_id,)
            ).fetchone()
            refused = connection.execute("SELECT count(*) FROM audit WHERE event = 'recording.refused'").fetchone()
        assert stored is not None
        assert stored[0] >= len(terminal.output)
        assert refused == (0,)


# A crowd, and locks.


def test_after_a_table_was_locked_until_every_time_limit_had_passed_the_database_is_back(
    own_postgres: Postgres, sshd: Sshd
) -> None:
    controller = Controller(own_postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    try:
        lab = make_lab(controller.login(), sshd)
        terminal = lab.open(epoch=0, offset=0)
        with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
            connection.execute("LOCK TABLE sessions, logins, devices")
            crowd = subprocess.Popen(
                [sys.executable, "-c", _CROWD, controller.url, lab.api.token, "18"], cwd=ROOT, stdout=subprocess.PIPE
            )
            answers, _ = crowd.communicate(timeout=60)
            terminal.type("echo mean''while\r")
            terminal.expect("meanwhile")
            assert controller.health()["database"] == "connected"
            # Busy, and told so: nobody was taken for gone, and nothing failed unexpectedly.
            assert set(answers.split()) <= {b"503", b"200"}
            assert b"503" in answers
            connection.rollback()
        until(lambda: len(lab.api.get("/api/sessions")["items"]) == 1, "the list")
        terminal.vanish()
        again = terminal.again(epoch=1, offset=len(terminal.output)).connected()
        again.type("echo bac''k\r")
        again.expect("back")
        assert controller.health()["status"] == "healthy"
    finally:
        controller.stop()


# Three hundred at a time, for so many seconds.
_CROWD = """
import sys, threading, time, requests
url, token, secs = sys.argv[1], sys.argv[2], float(sys.argv[3])
ends_at, seen = time.monotonic() + secs, set()
def ask():
    while time.monotonic() < ends_at:
        answer = requests.get(url + "/api/sessions", headers={"Authorization": "Bearer " + token}, timeout=60)
        seen.add(answer.status_code)
        if answer.status_code == 503:
            assert "Retry-After" in answer.headers
            time.sleep(0.05)
threads = [threading.Thread(target=ask) for _ in range(300)]
for each in threads: each.start()
for each in threads: each.join()
print(*sorted(seen))
"""


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own."""
    with ExitStack() as stack:
        server = Postgres().start()
        stack.callback(server.destroy)
        yield server
