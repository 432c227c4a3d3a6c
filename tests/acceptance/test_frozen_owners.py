"""A frozen process keeps what it holds, and its session goes on without it."""

import time
import uuid
from pathlib import Path

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.faults import freeze_in_transaction
from tests.acceptance.shells import shell_pid
from tests.acceptance.short_ttl import TIMES, TTL_SECS
from tests.acceptance.stored import row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd


def test_an_owner_frozen_in_the_middle_of_a_transaction_does_not_keep_its_session(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 2, **TIMES) as cluster:
        frozen, other = cluster.controllers
        lab = cluster.lab(sshd)
        terminal = lab.open(epoch=0, offset=0)
        terminal.type("stty -echo; yes 0123456789012345678901234567890123456789\r")
        instance_id = row(cluster, terminal)[0]
        freeze_in_transaction(frozen, cluster.database_url, instance_id)
        again = come_back(terminal, other, epoch=1, offset="tail")
        assert row(cluster, again)[0] != instance_id
        frozen.thaw()
        again.type("echo claimed-$((1+1))\r")
        again.expect("claimed-2")


def test_keys_typed_into_a_frozen_owner_never_reach_the_device_after_a_claim(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **TIMES) as cluster:
        frozen, other = cluster.controllers
        lab = cluster.lab(sshd)
        terminal = lab.open(epoch=0, offset=0)
        mark = f"/tmp/netstacks-typed-{uuid.uuid4()}"
        shell = Path("/proc") / shell_pid(terminal).decode()
        frozen.freeze()
        terminal.type(f"touch {mark}\r")
        again = come_back(terminal, other, epoch=1, offset="tail")
        frozen.thaw()
        assert terminal.closed()[0] == 4410
        until(lambda: not shell.exists(), "the end of the former shell, which types nothing after it")
        again.type(f"ls {mark}; echo loo''ked\r")
        again.expect("looked")
        assert b"No such file" in again.output


def test_an_owner_that_was_frozen_for_a_while_and_not_claimed_types_what_waited(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2, **TIMES) as cluster:
        frozen, _ = cluster.controllers
        terminal = cluster.lab(sshd).open(epoch=0, offset=0)
        shell = shell_pid(terminal)
        frozen.freeze()
        terminal.type("echo wai''ted\r")
        # Longer than the TTL: another instance could claim, but no client asks for the session.
        time.sleep(TTL_SECS + 1)
        frozen.thaw()
        terminal.expect("waited")
        assert shell_pid(terminal) == shell
