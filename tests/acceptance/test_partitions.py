"""No partition between instances ends a living session, however long it lasts."""

from contextlib import closing

import pytest

from tests.acceptance.cluster import TEAMS_LICENSE, Cluster
from tests.acceptance.shells import keeps_typing, shell_pid
from tests.acceptance.short_ttl import DETACH_TTL_SECS, ENDING_TIMES, TTL_SECS
from tests.acceptance.stored import kept
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.wire import Wire

# By then an orphan would have ended: it is seen, waits for its user, and is looked at every five seconds.
ENDED_BY_NOW_SECS = TTL_SECS + DETACH_TTL_SECS + 11


def test_an_instance_that_lost_valkey_alone_keeps_its_attached_terminals(postgres: Postgres, sshd: Sshd) -> None:
    cluster = Cluster(postgres, 2, **ENDING_TIMES)
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
    with Cluster(postgres, 1, **ENDING_TIMES) as cluster:
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        stranger = Controller(cluster.database_url, **{**cluster.settings, **alone})
        try:
            stranger.start()
            keeps_typing(ENDED_BY_NOW_SECS, terminal)
            kept(terminal, cluster)
        finally:
            stranger.stop()
