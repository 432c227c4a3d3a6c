"""Faults that take several steps."""

import time

import psycopg

from tests.controller import Controller

_TRIES = 400


def freeze_in_transaction(controller: Controller, database_url: str, instance_id: str) -> None:
    """Freezes it while PostgreSQL waits for its next statement in a transaction that holds rows of sessions.

    Its device should print meanwhile, so that its recorder has something to store.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(_TRIES):
            controller.freeze()
            time.sleep(0.02)
            held = connection.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE application_name = %s AND relation = 'sessions'::regclass AND mode = 'RowExclusiveLock'",
                (instance_id,),
            ).fetchone()
            assert held is not None
            if held[0]:
                return
            controller.thaw()
            time.sleep(0.003)
    raise AssertionError("it was never met inside a transaction")
