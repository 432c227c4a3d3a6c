"""A user whose access is withdrawn has no terminal any more, at once."""

import psycopg

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.short_ttl import TIMES
from tests.acceptance.stored import row
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


def test_a_deactivated_users_terminal_ends_with_the_reason(controller: Controller, lab: Lab) -> None:
    name, password = "lee", "a password of lee"
    user = lab.api.post("/api/users", {"username": name, "password": password, "role": "operator"})
    theirs = Lab(controller.login(name, password), lab.device, lab.credential)
    terminal = theirs.open(epoch=0, offset=0)
    own = lab.open()
    terminal.type("echo al''ive\r")
    terminal.expect("alive")

    lab.api.call("PUT", f"/api/users/{user['id']}", json={"role": "operator", "is_active": False})
    assert terminal.closed()[0] == 4001
    assert "access was withdrawn" in terminal.errors[-1]
    own.type("echo un''touched\r")
    own.expect("untouched")
    own.leave()


def test_a_session_ended_through_another_instance_loses_nothing_that_its_owner_had_not_stored(
    postgres: Postgres, sshd: Sshd
) -> None:
    """Its user is deactivated there, while the device prints."""
    with Cluster(postgres, 2, **TIMES) as cluster:
        owner, other = cluster.controllers
        lab = cluster.lab(sshd)
        user = lab.api.post("/api/users", {"username": "lee", "password": "a password of lee", "role": "operator"})
        credential = lab.api.add_credential(sshd.user, sshd.private_key, "ssh_key", is_shared=True)
        theirs = Lab(owner.login("lee", "a password of lee"), lab.device, credential)
        terminal = theirs.open(epoch=0, offset=0)
        terminal.type("stty -echo; PS1=; i=0; while :; do i=$((i+1)); echo line-$i; sleep .01; done\r")
        terminal.expect("line-100\r\n")
        lab.at(other).api.call(
            "PUT", f"/api/users/{user['id']}", json={"role": "operator", "is_active": False}, expect=200
        )
        assert terminal.closed()[0] == 4001
        assert "access was withdrawn" in terminal.errors[-1]
        session_id = terminal.info["session_id"]
        until(lambda: row(cluster, terminal)[2] == "ended", "the end")
        with psycopg.connect(cluster.database_url, autocommit=True) as connection:

            def stored() -> int:
                sql = "SELECT coalesce(max(end_offset), 0) FROM recording_chunks WHERE session_id = %s"
                found = connection.execute(sql, (session_id,)).fetchone()
                assert found is not None
                return int(found[0])

            # The instance that ends the session does not wait for its owner.
            until(lambda: stored() >= len(terminal.output), "all that the client got, in the recording")
            refused = connection.execute("SELECT count(*) FROM audit WHERE event = 'recording.refused'").fetchone()
        assert refused == (0,)
