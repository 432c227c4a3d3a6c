"""The log-ins of claims at a device: it may refuse them, and only a few come at once."""

import re

import pytest

from netstacks.store.login_slots import SLOTS
from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.ha import lost
from tests.acceptance.lab import Lab
from tests.controller import until
from tests.sshd import Sshd


def lose(cluster: Cluster, lab: Lab) -> None:
    """Kills the first instance; before its death is proven, others may tell a client to come again later."""
    killed = cluster.controllers[0].health()["instance_id"]
    cluster.controllers[0].kill()
    until(lambda: all(killed in lost(lab.api.at(each)) for each in cluster.controllers[1:]), "the lost instance", 60)


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_a_device_that_is_not_back_yet_leaves_the_session_to_be_claimed_again(
    cluster: Cluster, lab: Lab, sshd: Sshd
) -> None:
    _, b, c = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    lose(cluster, lab)
    first.closed()
    sshd.stop()
    refused = first.again(b, epoch=1, offset=0)
    assert refused.closed()[0] != 4001
    assert "refused" in " ".join(refused.errors)
    sshd.start()
    again = come_back(first, c, epoch=1, offset=0)
    assert again.info["session_id"] == first.info["session_id"]
    assert again.token == first.token
    again.type("echo li''ving\r")
    again.expect("living")
    again.leave()


def test_a_device_whose_sessions_all_come_back_sees_a_few_log_ins_at_once(
    cluster: Cluster, lab: Lab, sshd: Sshd
) -> None:
    _, b, c = cluster.controllers
    terminals = [lab.open(epoch=0, offset=0) for _ in range(4 * SLOTS)]
    before = len(sshd.log)
    lose(cluster, lab)
    for terminal in terminals:
        terminal.closed()
    sshd.freeze()
    again = [terminal.again((b, c)[number % 2], epoch=1, offset=0) for number, terminal in enumerate(terminals)]
    sshd.thaw()
    for former, terminal in zip(terminals, again, strict=True):
        until(lambda terminal=terminal: terminal.info or terminal.close, "SessionInfo")
        assert terminal.info["session_id"] == former.info["session_id"]
        terminal.leave()
    waiting = most = 0
    for line in sshd.log[before:].splitlines():
        waiting += line.startswith("Connection from") - bool(re.match(r"Accepted publickey", line))
        most = max(most, waiting)
    assert 0 < most <= SLOTS
