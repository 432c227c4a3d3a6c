"""A terminal outlives its instances: they are killed, drained and frozen."""

import os
import signal
import threading

import pytest
import redis

from tests.acceptance import ha
from tests.acceptance.cluster import TTL_SECS, Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.shells import COUNT, COUNTED, shell_pid
from tests.acceptance.stored import acknowledge, audited, row
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def heartbeat_age_secs(cluster: Cluster, instance_id: str) -> float:
    """By Valkey's clock."""
    with redis.Redis(port=cluster.valkey.port) as client:
        seconds, microseconds = client.time()
        last = client.zscore("netstacks:instances", instance_id)
    assert isinstance(last, float)
    return seconds + microseconds / 1e6 - last


def counting(lab: Lab, via: Controller) -> Terminal:
    """A terminal that is relayed by `via`, and in the middle of COUNT."""
    first = lab.open(epoch=0, offset=0)
    first.vanish()
    relayed = first.again(via, epoch=1, offset=0).connected()
    relayed.type(COUNT)
    relayed.expect("5000\r\n")
    return relayed


def test_losing_the_instance_that_only_relays_costs_no_byte(cluster: Cluster, lab: Lab) -> None:
    _, b, c = cluster.controllers
    relayed = counting(lab, b)
    b.kill()
    assert relayed.closed()[0] == 1006
    again = come_back(relayed, c, epoch=1, offset=len(relayed.output))
    again.expect("40999\r\n", 60)
    assert COUNTED in relayed.output + again.output
    assert row(cluster, again)[1] == 1
    again.leave()


def test_a_killed_owner_is_replaced_by_any_instance_that_a_client_reaches(cluster: Cluster, lab: Lab) -> None:
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
        # With a size of its own it is not asked for it, and all that it is sent comes from the device.
        ours, theirs = lab.open(epoch=0, offset=0), lab.open(cols=100, rows=30)
        for terminal in (ours, theirs):
            terminal.type("echo be''fore\n")
            terminal.expect("before")
        dead = a.health()["instance_id"]
        for terminal in (ours, theirs):
            acknowledge(cluster, terminal)
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


def judging(controller: Controller) -> Controller:
    """Waits until the instance may judge heartbeats: not before it has been in contact with Valkey for a TTL."""
    api = controller.login()
    until(lambda: ha.status(api)["totals"]["sessions_without_owner"] is not None, "an instance that judges")
    return controller


def test_a_frozen_owner_is_waited_for_then_replaced_and_closes_its_copy(cluster: Cluster, lab: Lab) -> None:
    a, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    shell_pid(first)
    judging(b)
    a.freeze()
    # Its heartbeat is overdue when it has not answered b for 3 s: b lets the client wait for the claim.
    again = first.again(b, epoch=1, offset=0).connected()
    assert again.info["epoch"] == 2
    a.thaw()
    assert first.closed()[0] == 4410
    until(lambda: a.health()["cluster"]["local_sessions"] == 0, "the copy's end")
    again.type("echo still-$((1+1))\r")
    again.expect("still-2")
    assert row(cluster, again)[1:] == (2, "active")
    again.leave()


def test_a_client_whose_owner_is_overdue_waits_for_the_claim_on_its_first_attempt(cluster: Cluster, lab: Lab) -> None:
    a, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    shell_pid(first)
    instance_id = a.health()["instance_id"]
    judging(b)
    a.freeze()
    until(lambda: heartbeat_age_secs(cluster, instance_id) > TTL_SECS / 3, "an overdue heartbeat")
    again = first.again(b, epoch=1, offset=0).connected()
    assert again.info["epoch"] == 2
    a.thaw()
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


def test_clients_that_race_for_an_orphan_cause_one_claim_and_all_end_attached(cluster: Cluster, lab: Lab) -> None:
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
        racer.join(90)
    assert [each.info["epoch"] for each in attached] == [2] * 4
    assert row(cluster, first)[1:] == (2, "active")
    assert audited(cluster, "session.claimed") == 1
    # The last one has the terminal; the others were told that it was opened elsewhere.
    until(lambda: sum(each.close is None for each in attached) == 1, "one terminal")
    assert {each.close[0] for each in attached if each.close} == {4003}


def test_a_relaying_instance_that_is_drained_costs_no_byte(cluster: Cluster, lab: Lab) -> None:
    _, b, c = cluster.controllers
    relayed = counting(lab, b)
    b.terminate()
    relayed.closed()
    again = come_back(relayed, c, epoch=1, offset=len(relayed.output))
    again.expect("40999\r\n", 60)
    assert COUNTED in relayed.output + again.output
    assert b.process is not None
    assert b.process.wait(60) == 0
    again.leave()


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
