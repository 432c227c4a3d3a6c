"""The gunicorn configuration of a controller, from environment variables alone."""

# Only the standard library at module level: gevent does not patch what is imported before the fork
# (docs/design-notes.md, 1).
import os
from typing import Any


def _number(name: str, default: int) -> int:
    """The value of a variable; a malformed one counts as absent here, and `on_starting` reports it."""
    try:
        return int(float(os.environ.get(name) or default))
    except (ValueError, OverflowError):
        return default


wsgi_app = "netstacks.wsgi:app"
bind = f"0.0.0.0:{_number('PORT', 8080)}"
worker_class = "gevent"
# `workers` is left to gunicorn, which reads WEB_CONCURRENCY itself.
# The limit of concurrent requests: an open WebSocket does not count towards it.
# netstacks.web.listener.connection_limits divides it among anonymous clients, users and health probes.
worker_connections = 10_000
# Connections that wait for accept; the kernel allows at most net.core.somaxconn. After a loss thousands of clients
# connect in one moment, and one that finds no place, perhaps a health probe, tries again only after a second.
backlog = 65_535
# A worker with a blocked event loop is killed before its peers declare it dead (HA_STALE_INSTANCE_TTL_SECS, 30 s).
timeout = 20
# The instance drains itself within DRAIN_TIMEOUT_SECS; the arbiter kills it 5 s after that.
graceful_timeout = _number("DRAIN_TIMEOUT_SECS", 20) + 5
keepalive = 75
control_socket_disable = True
# The application handles X-Forwarded-* headers itself, by TRUSTED_PROXIES.
forwarded_allow_ips = ""
# No access log: query strings contain tokens, and the application logs its own events.
accesslog = None
loglevel = "warning"
# In memory: a worker that waits for a slow disk to touch its heartbeat file would count as blocked.
if os.path.isdir("/dev/shm"):  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def on_starting(server: Any) -> None:
    """Rejects wrong settings before any socket listens: one line for each, exit code 2."""
    import resource
    import sys

    from netstacks.settings import SettingsError, load

    try:
        settings = load(os.environ)
        if settings.license_key:
            _check_license(settings.license_key)
    except SettingsError as error:
        print(f"netstacks: wrong settings\n{error}", file=sys.stderr)
        sys.exit(2)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_license(key: str) -> None:
    """Checks the licence in a subprocess: its imports must not happen here before gevent has patched this process."""
    import subprocess
    import sys

    from netstacks.settings import SettingsError

    command = [sys.executable, "-m", "netstacks", "license", "inspect"]
    answer = subprocess.run(  # noqa: S603 - no part of the command is user input
        command, env={**os.environ, "LICENSE_KEY": key}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SettingsError(f"LICENSE_KEY: {answer.stderr.strip().removeprefix('netstacks: ')}")


def _is_clustered() -> bool:
    names = ("VALKEY_URL", "VALKEY_SENTINEL_URL")
    return any(os.environ.get(name, "").strip() or os.environ.get(f"{name}_FILE", "").strip() for name in names)


def post_fork(server: Any, worker: Any) -> None:
    """Gives each worker a private listener of its own, so that peers can address this worker and not just this host."""
    import gc

    from gunicorn.sock import TCPSocket  # type: ignore[import-untyped]

    # Imports leave no garbage, and collections during them take a tenth of the start; memory.settle enables it again.
    gc.disable()
    if _is_clustered():
        listener = TCPSocket(("0.0.0.0", _number("HA_PEER_PORT", 0)), worker.cfg, worker.log)  # noqa: S104
        worker.peer_port = listener.getsockname()[1]
        worker.sockets = [*worker.sockets, listener]


def post_worker_init(worker: Any) -> None:
    """Starts the instance: gevent has patched the process by now."""
    from netstacks.wsgi import start

    start(worker)
