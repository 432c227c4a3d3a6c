"""A whole cluster is restarted, one instance after the other, while its terminals are in use."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.load import Counter, check
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd


# Three instances are drained and started in turn, while nine terminals are in use.
@pytest.mark.timeout(300)
def test_a_rolling_restart_under_load_loses_no_byte_and_leaves_every_client_attached(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 3) as cluster:
        lab = cluster.lab(sshd)
        counters = [
            Counter(Lab(lab.api.at(each), lab.device, lab.credential), cluster.controllers)
            for each in cluster.controllers
            for _ in range(3)
        ]
        for controller in cluster.controllers:
            controller.terminate()
            assert controller.process is not None
            assert controller.process.wait(60) == 0
            controller.start()
            cluster.gathered(3)
            until(lambda: all(each.is_attached for each in counters), "every client on some instance", 60)
        assert all(each.epoch > 1 for each in counters)
        with ThreadPoolExecutor(len(counters)) as pool:
            list(pool.map(Counter.stop, counters))
        for counter in counters:
            check(counter, cluster.database_url)
