"""Orphans end: sessions of instances that died, that froze, and that do not hold them."""

import uuid

import psycopg

from tests.acceptance.cluster import Cluster
from tests.acceptance.shells import keeps_typing
from tests.acceptance.short_ttl import ENDING_TIMES
from tests.acceptance.stored import kept, row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd


def test_a_dead_instances_sessions_end_when_their_users_do_not_come(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **ENDING_TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        cluster.controllers[0].kill()
        until(lambda: row(cluster, terminal)[2] == "ended", "its end", 60)


def test_a_frozen_instances_sessions_end_when_their_users_do_not_come(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **ENDING_TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        cluster.controllers[0].freeze()
        until(lambda: row(cluster, terminal)[2] == "ended", "its end", 60)
        cluster.controllers[0].thaw()
        assert terminal.closed()[0] in (4001, 4410)


def test_a_row_that_names_a_living_instance_in_vain_is_released(postgres: Postgres, sshd: Sshd) -> None:
    """The state after a commit whose reply was lost. No client ever asks for the session."""
    # Long enough to be seen between the release and the end.
    times = ENDING_TIMES | {"SESSION_DETACH_TTL_SECS": "15"}
    with Cluster(postgres, 1, **times) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        with psycopg.connect(cluster.database_url) as connection:
            connection.execute(
                "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, owner, epoch,"
                " state, reconnect_hash) SELECT gen_random_uuid(), user_id, username, 'lost', host, port, term, cols,"
                " rows, owner, 1, 'active', decode(%s, 'hex') FROM sessions WHERE id = %s",
                (uuid.uuid4().hex, terminal.info["session_id"]),
            )
        until(lambda: states(cluster, "lost") == [(None, 2, "detached")], "the release")
        until(lambda: states(cluster, "lost") == [(None, 3, "ended")], "the end", 60)
        keeps_typing(0, terminal)
        kept(terminal, cluster)


def states(cluster: Cluster, device_name: str) -> list[tuple[str | None, int, str]]:
    with psycopg.connect(cluster.database_url) as connection:
        return connection.execute(
            "SELECT owner, epoch, state FROM sessions WHERE device_name = %s", (device_name,)
        ).fetchall()
