"""Sessions and their audit rows as PostgreSQL stores them."""

import psycopg

from tests.acceptance.cluster import Cluster
from tests.controller import Terminal, until


def row(cluster: Cluster, terminal: Terminal) -> tuple[str, int, str]:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute(
            "SELECT owner, epoch, state FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    assert found is not None
    return found


def kept(terminal: Terminal, cluster: Cluster) -> None:
    """Asserts that its row is active, at the epoch that the client was told."""
    _, epoch, state = row(cluster, terminal)
    assert (epoch, state) == (terminal.info["epoch"], "active")


def audited(cluster: Cluster, event: str) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM audit WHERE event = %s", [event]).fetchone()
    assert found is not None
    return int(found[0])


def acknowledge(cluster: Cluster, terminal: Terminal) -> None:
    """Waits until PostgreSQL has stored that the client has everything that the device has sent so far."""
    end = len(terminal.output)
    until(lambda: _acknowledged(cluster, terminal) >= end, "the acknowledgement")


def _acknowledged(cluster: Cluster, terminal: Terminal) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute(
            "SELECT acked_offset FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    assert found is not None
    return int(found[0])
