"""One controller from the environment alone: `gunicorn -c gunicorn.conf.py` in the project's root."""

# Only the standard library up here: what is imported before the fork is not patched by gevent (pitfalls 1).
import os
from typing import Any


def _number(name: str, default: int) -> int:
    """A wrong value counts as absent here: `on_starting` refuses it, in words."""
    try:
        return int(float(os.environ.get(name) or default))
    except (ValueError, OverflowError):
        return default


wsgi_app = "netstacks.wsgi:app"
bind = f"0.0.0.0:{_number('PORT', 8080)}"
worker_class = "gevent"
# `workers` is left to gunicorn, which reads WEB_CONCURRENCY itself.
# For requests: a terminal has no place among them once its WebSocket is open.
# netstacks.web.listener.connection_limits divides the places among strangers, users and health.
worker_connections = 10_000
# A blocked event loop is killed before its peers would take it for dead (HA_STALE_INSTANCE_TTL_SECS).
timeout = 20
# The instance drains itself within DRAIN_TIMEOUT_SECS; this is the arbiter's patience with it.
graceful_timeout = _number("DRAIN_TIMEOUT_SECS", 20) + 5
keepalive = 75
control_socket_disable = True
# Whose X-Forwarded-* headers count is TRUSTED_PROXIES, and the application's business.
forwarded_allow_ips = ""
# No access log: the application logs what happens, and query strings hold tokens.
accesslog = None
loglevel = "warning"
# In memory: a worker that waits for a slow disk to touch its heartbeat file would be taken for blocked.
if os.path.isdir("/dev/shm"):  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def on_starting(server: Any) -> None:
    """Refuses wrong settings before anything listens, with a line for each and exit code 2."""
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
    """In a process of its own: what reads licences must not be imported before gevent has patched this one."""
    import subprocess
    import sys

    from netstacks.settings import SettingsError

    command = [sys.executable, "-m", "netstacks", "license", "inspect"]
    answer = subprocess.run(  # noqa: S603 - nothing of it comes from outside
        command, env={**os.environ, "LICENSE_KEY": key}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SettingsError(f"LICENSE_KEY: {answer.stderr.strip().removeprefix('netstacks: ')}")


def _is_clustered() -> bool:
    names = ("VALKEY_URL", "VALKEY_SENTINEL_URL")
    return any(os.environ.get(name, "").strip() or os.environ.get(f"{name}_FILE", "").strip() for name in names)


def post_fork(server: Any, worker: Any) -> None:
    """Gives each worker a listener of its own, for other instances: one that is shared cannot address a worker."""
    import gc

    from gunicorn.sock import TCPSocket  # type: ignore[import-untyped]

    # Nothing that is imported is garbage, and to look at all of it takes a tenth of the start (memory.settle).
    gc.disable()
    if _is_clustered():
        listener = TCPSocket(("0.0.0.0", _number("HA_PEER_PORT", 0)), worker.cfg, worker.log)  # noqa: S104
        worker.peer_port = listener.getsockname()[1]
        worker.sockets = [*worker.sockets, listener]


def post_worker_init(worker: Any) -> None:
    """Begins the instance's life, now that everything is patched."""
    from netstacks.wsgi import start

    start(worker)
