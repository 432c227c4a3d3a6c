"""The queue of writes that nothing waits for."""

from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database, Transaction


def test_rows_that_other_instances_write_too_are_locked_last_and_in_one_order(database: Database) -> None:
    written: list[str] = []

    def write(_: Transaction, name: str) -> None:
        written.append(name)

    queue = DeferredWrites(database)
    for lock in ("row 2", "", "row 1", "", "row 2"):
        queue.put_locking(lock, write, f"{lock or 'free'} {len(queue)}")
    queue.put(write, "free 5")
    queue.start()
    assert queue.flush(30)
    assert written == ["free 1", "free 3", "free 5", "row 1 2", "row 2 0", "row 2 4"]
