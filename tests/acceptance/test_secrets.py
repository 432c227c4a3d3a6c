"""Which instances a cluster accepts: those that hold its secrets, be it while the master key changes."""

import secrets

from tests.acceptance.cluster import Cluster
from tests.controller import MASTER_KEY, until
from tests.postgres import Postgres

NEW_KEY = secrets.token_hex(32)


def test_an_instance_with_the_old_key_beside_a_new_one_is_accepted_and_a_stranger_is_not(postgres: Postgres) -> None:
    cluster = Cluster(postgres, 3)
    _, rotating, stranger = cluster.controllers
    rotating.environ |= {"VAULT_MASTER_KEY": NEW_KEY, "VAULT_MASTER_KEY_PREVIOUS": MASTER_KEY}
    stranger.environ["JWT_SECRET"] = secrets.token_hex(32)
    cluster.controllers.remove(stranger)
    with cluster:
        stranger.start(wait_for="unhealthy")
        try:
            differs = "differs from the rest of the cluster: JWT_SECRET"
            until(lambda: stranger.health().get("reason") == differs, "the reason")
            cluster.gathered(2)
        finally:
            stranger.stop()
