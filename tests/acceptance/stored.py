"""What PostgreSQL holds of sessions, and of what was done to them."""

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
    """Its row has not been touched."""
    _, epoch, state = row(cluster, terminal)
    assert (epoch, state) == (terminal.info["epoch"], "active")


def audited(cluster: Cluster, event: str) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM audit WHERE event = %s", [event]).fetchone()
    assert found is not None
    return int(found[0])


def acknowledge(cluster: Cluster, terminal: Terminal) -> None:
    """Waits until it is stored that its client has everything that the device has sent so far.

    What a client has acknowledged is stored with the next output, for which the device echoes a space now and then.
    """
    end = len(terminal.output)

    def is_stored() -> bool:
        seen = len(terminal.output)
        terminal.type(" ")
        until(lambda: len(terminal.output) > seen, "the echo of a space")
        return _acknowledged(cluster, terminal) >= end

    until(is_stored, "the acknowledgement")


def _acknowledged(cluster: Cluster, terminal: Terminal) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute(
            "SELECT acked_offset FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    assert found is not None
    return int(found[0])
