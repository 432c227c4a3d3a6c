"""While the master key changes, instances with one key, with two and with the other one are a cluster."""

import secrets

from tests.acceptance.cluster import Cluster
from tests.acceptance.short_ttl import statuses
from tests.controller import MASTER_KEY, until
from tests.postgres import Postgres

NEW_KEY = secrets.token_hex(32)


def test_an_instance_with_the_old_key_beside_a_new_one_is_accepted(postgres: Postgres) -> None:
    with Cluster(postgres, 2) as cluster:
        other = cluster.controllers[1]
        other.terminate()
        other.process.wait(60)
        other.environ |= {"VAULT_MASTER_KEY": NEW_KEY, "VAULT_MASTER_KEY_PREVIOUS": MASTER_KEY}
        other.start()
        cluster.gathered(2)
        until(lambda: statuses(cluster) == {"healthy"}, "good health of both")
