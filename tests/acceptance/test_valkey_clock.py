"""Valkey's clock jumps while instances rely on it."""

import time

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.shells import quiet, types_on
from tests.acceptance.short_ttl import HEARTBEAT_SECS, TIMES, TTL_SECS
from tests.acceptance.stored import row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import ClockedValkey


@pytest.mark.parametrize("by_secs", [3600, -3600])
def test_when_valkeys_clock_is_set_no_living_instance_is_reaped_and_a_dead_one_is(
    postgres: Postgres, sshd: Sshd, by_secs: int
) -> None:
    valkey = ClockedValkey()
    with Cluster(postgres, 3, valkey=valkey, **TIMES) as cluster:
        a, b, c = cluster.controllers
        lab = cluster.lab(sshd)
        first, second = quiet(lab.open(epoch=0, offset=0)), quiet(lab.at(c).open(epoch=0, offset=0))
        frozen = c.health()["instance_id"]
        # After one TTL in contact, every instance may reap others.
        time.sleep(TTL_SECS + HEARTBEAT_SECS)
        c.freeze()
        valkey.set_clock(by_secs)
        until(lambda: all("registry.clock_set" in each.log() for each in (a, b)), "both to notice")
        second.vanish()
        again = come_back(second, a, b, epoch=1, offset=len(second.output))
        assert again.info["epoch"] == 2
        assert row(cluster, first)[1] == 1
        types_on(first, quiet(again))
        events = a.login().get("/api/v1/ha/status")["events"]
        assert {each["instance_id"] for each in events if each["kind"] == "reaped"} <= {frozen}
        until(lambda: frozen not in cluster.peer_addresses(), "the frozen one to be taken off the list")
        c.thaw()
        cluster.gathered(3)
