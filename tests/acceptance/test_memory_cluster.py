"""Relays and takeovers leave nothing to the garbage collector: after a loss, hundreds of them follow each other."""

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import make_lab
from tests.acceptance.test_memory import ProbedController
from tests.controller import Terminal
from tests.postgres import Postgres
from tests.sshd import Sshd


def through(probed: ProbedController, terminals: list[Terminal]) -> list[Terminal]:
    """All terminals come back through the instance; the first one makes objects that are made only once."""
    back = []
    for terminal in terminals:
        terminal.vanish()
        back.append(come_back(terminal, probed, epoch=terminal.info["epoch"], offset=len(terminal.output)))
        if len(back) == 1:
            probed.garbage()
    return back


def test_a_relay_and_a_takeover_leave_nothing_to_the_garbage_collector(postgres: Postgres, sshd: Sshd) -> None:
    cluster = Cluster(postgres, 2)
    probed = ProbedController(cluster.database_url, **cluster.settings)
    owner = cluster.controllers[0]
    cluster.controllers[1] = probed
    with cluster:
        lab = make_lab(owner.login(), sshd)
        relayed = through(probed, [lab.open(epoch=0, offset=0) for _ in range(4)])
        assert probed.garbage() == []
        owner.kill()
        taken_over = through(probed, relayed)
        assert {each.info["epoch"] for each in taken_over} == {2}
        assert probed.garbage() == []
