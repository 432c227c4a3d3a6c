"""Lost instances in a real cluster: who is lost, what became of its sessions, and who takes its place."""

from typing import Any

import pytest
import redis

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.ha import events, lost, shown, status
from tests.controller import Api, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


def id_of(controller: Controller) -> str:
    return str(controller.health()["instance_id"])


def details(api: Api, kind: str, instance_id: str) -> list[dict[str, Any]]:
    """The events of this kind and instance, with their details."""
    return [each for each in kinds(api, kind) if each["instance_id"] == instance_id]


def add(cluster: Cluster) -> Controller:
    """One more instance, as an orchestrator starts it for a lost one."""
    controller = Controller(cluster.database_url, **cluster.settings)
    cluster.controllers.append(controller)
    return controller.start()


def counted(api: Api, instance_id: str) -> dict[str, int] | None:
    found = lost(api).get(instance_id)
    return found and found["sessions"]


def beats(cluster: Cluster, instance_id: str, count: int) -> None:
    """Waits for heartbeats of the instance."""
    with redis.Redis.from_url(cluster.valkey.url) as client:
        for _ in range(count):
            last = client.zscore("netstacks:instances", instance_id)
            until(lambda last=last: client.zscore("netstacks:instances", instance_id) != last, "a heartbeat")


def test_a_killed_instance_is_lost_until_a_new_one_takes_its_place(cluster: Cluster, sshd: Sshd) -> None:
    a, b, c = cluster.controllers
    killed, taker, judges = id_of(a), id_of(b), {id_of(b), id_of(c)}
    lab = cluster.lab(sshd)
    terminals = [lab.open(epoch=0, offset=0) for _ in range(4)]
    api = lab.api.at(b)
    until(lambda: shown(api)[killed]["sessions"] == 4, "its sessions in the table")
    a.kill()
    for terminal in terminals:
        terminal.closed()
    taken = come_back(terminals[0], b, epoch=1, offset=len(terminals[0].output))
    until(lambda: killed in lost(api), "the lost instance")
    # By the claim of the session, or by the dials of an instance, whichever was first.
    assert lost(api)[killed]["proof"] == "refused"
    assert lost(api)[killed]["reaped_by"] in judges
    assert killed not in shown(api)
    wanted = {"total": 4, "taken_over": 1, "waiting": 3, "ended": 0}
    until(lambda: counted(api, killed) == wanted, "one session that was taken over")
    # Events are stored after what they tell of.
    [reaped] = until(lambda: details(api, "reaped", killed), "the event of the loss")
    assert reaped["by"] in judges
    assert (reaped["proof"], reaped["sessions"]) == ("refused", "4")
    claims = until(lambda: details(api, "claimed", taker), "the event of the claim")
    assert [claim["former"] for claim in claims] == [killed]

    for orphan in terminals[1:3]:
        api.call("DELETE", f"/api/sessions/{orphan.info['session_id']}")
    wanted = {"total": 4, "taken_over": 1, "waiting": 1, "ended": 2}
    until(lambda: counted(api, killed) == wanted, "two sessions that were ended as orphans")

    added = id_of(add(cluster))
    until(lambda: not lost(api), "the end of the loss")
    [joined] = until(lambda: details(api, "joined", added), "the event of the new instance")
    assert joined["replaces"] == killed
    until(lambda: status(api)["cluster"]["condition"] == "healthy", "a healthy cluster")
    taken.leave()


def test_a_killed_instance_that_no_client_misses_is_lost_without_waiting_for_the_ttl(postgres: Postgres) -> None:
    # A TTL that the test does not outlast.
    with Cluster(postgres, 3, HA_STALE_INSTANCE_TTL_SECS="600") as cluster:
        a, b, _ = cluster.controllers
        killed = id_of(b)
        api = a.login()
        b.kill()
        until(lambda: killed in lost(api), "the lost instance", 120)
        assert lost(api)[killed]["proof"] == "refused"
        assert status(api)["cluster"]["condition"] == "degraded"
        assert len(until(lambda: details(api, "reaped", killed), "the event of the loss")) == 1


@pytest.mark.timeout(300)
def test_a_valkey_that_comes_back_empty_has_the_losses_from_before_and_of_the_outage(postgres: Postgres) -> None:
    with Cluster(postgres, 3) as cluster:
        a, b, c = cluster.controllers
        before, meanwhile = id_of(b), id_of(c)
        api = a.login()
        b.kill()
        until(lambda: before in lost(api), "the first lost instance", 60)
        # For a TTL after its start, an instance judges nothing; then it remembers what it sees at each heartbeat.
        until(lambda: status(api)["totals"]["sessions_without_owner"] is not None, "an instance that judges")
        beats(cluster, id_of(a), 3)
        cluster.valkey.kill()
        until(lambda: a.health()["status"] == "degraded", "the outage")
        c.kill()
        cluster.valkey.wipe()
        cluster.valkey.start()
        until(lambda: lost(api).keys() == {before, meanwhile}, "both losses", 120)
        assert {each["proof"] for each in lost(api).values()} == {"refused"}
        assert status(api)["cluster"]["condition"] == "degraded"
        [reaped] = until(lambda: details(api, "reaped", meanwhile), "the event of the second loss")
        assert reaped["by"] == id_of(a)
        for _ in range(2):
            add(cluster)
        until(lambda: not lost(api), "the end of the losses", 60)


def test_an_outage_of_postgresql_is_told_once(own_postgres: Postgres) -> None:
    with Cluster(own_postgres, 2) as cluster:
        api = cluster.controllers[0].login()
        own_postgres.stop()
        until(lambda: "netstacks:reported:database_lost" in cluster.keys("netstacks:reported:*"), "the event", 60)
        own_postgres.start()
        until(lambda: kinds(api, "database_back"), "the end of the outage", 60)
        cluster.gathered(2)
        [gone] = until(lambda: kinds(api, "database_lost"), "the event of the outage")
        [back] = kinds(api, "database_back")
        assert gone["text"].startswith(f"{gone['instance_id']} lost contact with PostgreSQL")
        assert int(back["away_secs"]) >= 3


def test_a_frozen_instance_is_lost_until_it_thaws_and_a_drained_one_never(cluster: Cluster) -> None:
    a, b, c = cluster.controllers
    frozen, drained = id_of(b), id_of(c)
    api = a.login()
    b.freeze()
    until(lambda: frozen in lost(api), "the lost instance", 60)
    assert lost(api)[frozen]["proof"] == "silence"
    assert counted(api, frozen) == {"total": 0, "taken_over": 0, "waiting": 0, "ended": 0}
    b.thaw()
    until(lambda: not lost(api) and frozen in shown(api), "the instance that is back")
    assert all("replaces" not in each for each in details(api, "joined", frozen))
    c.terminate()
    until(lambda: drained not in shown(api), "the end of the drained instance")
    until(lambda: ("left", drained) in events(api), "the event left")
    assert lost(api) == {}
    assert cluster.keys("netstacks:lost*") == []


def test_a_process_that_is_restarted_before_its_loss_is_known_leaves_none(cluster: Cluster) -> None:
    a, b, _ = cluster.controllers
    killed = id_of(b)
    api = a.login()
    b.kill()
    added = id_of(add(cluster))
    until(lambda: details(api, "reaped", killed), "the dead instance to be reaped", 60)
    until(lambda: not lost(api), "the end of the loss")

    def replaced_by() -> list[str]:
        """Whichever was first: the loss that was noticed, or the new instance."""
        replaced = [each["by"] for each in details(api, "replaced", killed)]
        return replaced + [added for each in details(api, "joined", added) if each.get("replaces") == killed]

    assert until(replaced_by, "the event of the replacement") == [added]


def test_an_outage_of_valkey_is_told_once_and_stays_visible_in_the_history(postgres: Postgres) -> None:
    with Cluster(postgres, 2) as cluster:
        api = cluster.controllers[0].login()
        own = id_of(cluster.controllers[0])
        before = api.get("/api/v1/ha/history")
        assert before["step_secs"] == 60
        cluster.valkey.kill()
        until(
            # Health may notice it before a heartbeat does, and only heartbeats decide contact.
            lambda: all("registry.away" in each.log() for each in cluster.controllers),
            "an outage that a heartbeat of each has noticed",
        )
        cluster.valkey.start()
        until(lambda: ("valkey_back", own) in events(api) or len(kinds(api, "valkey_back")) == 1, "the return")
        cluster.gathered(2)
        wanted = ("valkey_lost", "valkey_back", "failover")
        until(lambda: all(len(kinds(api, kind)) == 1 for kind in wanted), "one event of each kind")
        [gone], [back] = kinds(api, "valkey_lost"), kinds(api, "valkey_back")
        assert int(back["away_secs"]) >= 0
        assert f" lost contact with Valkey {gone['away_secs']} s before this: " in gone["text"]
        [failover] = kinds(api, "failover")
        address = f"127.0.0.1:{cluster.valkey.port}"
        assert (failover["former"], failover["address"]) == (address, address)
        until(lambda: cluster.keys("netstacks:samples:*"), "the samples")
        assert len(cluster.keys("netstacks:samples:*")) <= 2


def kinds(api: Api, kind: str) -> list[dict[str, Any]]:
    return [each for each in status(api)["events"] if each["kind"] == kind]
