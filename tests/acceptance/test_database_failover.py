"""PostgreSQL fails over to a standby while a terminal is in use, and the standby lags behind."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.recorded import verified
from tests.acceptance.stored import row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def primary() -> Iterator[Postgres]:
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def standby(primary: Postgres) -> Iterator[Postgres]:
    server = primary.standby().start()
    yield server
    server.destroy()


@pytest.fixture
def cluster(primary: Postgres, standby: Postgres) -> Iterator[Cluster]:
    cluster = Cluster(primary, 2)
    for controller in cluster.controllers:
        url = controller.environ["DATABASE_URL"]
        controller.environ["DATABASE_URL"] = url.replace(
            f":{primary.port}/", f":{primary.port},127.0.0.1:{standby.port}/"
        )
    with cluster:
        yield cluster


def caught_up(primary: Postgres) -> None:
    """Waits until the standby has everything that the primary has now."""
    with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
        now = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        caught_up = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= %s"
        until(lambda: connection.execute(caught_up, now).fetchone(), "the standby")


def lag_behind(standby: Postgres) -> None:
    """The standby receives nothing from now on."""
    with psycopg.connect(standby.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        until(lambda: not connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone(), "no receiver")


def test_what_a_standby_had_not_received_is_stored_again(
    cluster: Cluster, primary: Postgres, standby: Postgres, sshd: Sshd
) -> None:
    lab = cluster.lab(sshd)
    terminal = Lab(lab.api.at(cluster.controllers[0]), lab.device, lab.credential).open(epoch=0, offset=0)
    terminal.type("for n in $(seq 100000); do echo line-$n; sleep 0.01; done\r")
    terminal.expect("line-100\r\n")
    assert row(cluster, terminal)
    caught_up(primary)
    lag_behind(standby)
    # Chunks that only the primary has.
    size = len(terminal.output)
    until(lambda: len(terminal.output) > size + 2000, "output")
    before = verified_end(primary, cluster)
    until(lambda: verified_end(primary, cluster) > before, "a chunk that the standby does not have")
    primary.kill()
    standby.promote()
    # The terminal goes on meanwhile and afterwards.
    size = len(terminal.output)
    until(lambda: len(terminal.output) > size + 2000, "output", 60)
    log = until(
        lambda: next((c.log() for c in cluster.controllers if "recorder.stored_again" in c.log()), ""), "the log", 90
    )
    assert "failed over" in log
    terminal.exit()
    until(lambda: ", 0 broken" in verified(cluster.controllers[0]), "the recording is complete", 60)


def verified_end(server: Postgres, cluster: Cluster) -> int:
    """How far the recordings on a server reach."""
    name = cluster.database_url.rsplit("/", 1)[1]
    with psycopg.connect(server.url(name)) as connection:
        found = connection.execute("SELECT coalesce(max(end_offset), 0) FROM recording_chunks").fetchone()
    assert found is not None
    return int(found[0])
