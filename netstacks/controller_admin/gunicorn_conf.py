"""The gunicorn configuration of a controller-admin, from environment variables alone."""

# Only the standard library at module level: gevent does not patch what is imported before the fork.
import os
from typing import Any

wsgi_app = "netstacks.controller_admin.wsgi:app"
bind = f"0.0.0.0:{os.environ.get('PORT') or 8080}"
worker_class = "gevent"
# Half of it is for clients (netstacks.web.listener.connection_limits), the rest for health checks at that limit.
worker_connections = 2000
timeout = 20
# Streams of live updates end with the process, and the pages open the next ones elsewhere.
graceful_timeout = 3
keepalive = 75
control_socket_disable = True
# X-Forwarded-* headers are passed on to the API, which has the list of trusted proxies.
forwarded_allow_ips = ""
# No access log: query strings contain tokens.
accesslog = None
loglevel = "warning"
if os.path.isdir("/dev/shm"):  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def on_starting(server: Any) -> None:
    """Rejects wrong settings before any socket listens: exit code 2."""
    import resource
    import sys

    from netstacks.controller_admin.settings import SettingsError, load

    try:
        if not (os.environ.get("PORT") or "8080").isdigit():
            raise SettingsError(f"PORT: {os.environ['PORT']!r} must be a number from 1 to 65535")
        load(os.environ)
    except SettingsError as error:
        print(f"netstacks controller-admin: wrong settings\n{error}", file=sys.stderr)
        sys.exit(2)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def post_worker_init(worker: Any) -> None:
    """Limits the connections of the worker: gevent has patched the process by now."""
    from netstacks.controller_admin.wsgi import start

    start(worker)
