"""One controller from the environment alone: `gunicorn -c gunicorn.conf.py` in the project's root."""

# Only the standard library up here: what is imported before the fork is not patched by gevent (pitfalls 1).
import os

wsgi_app = "netstacks.wsgi:app"
bind = f"0.0.0.0:{os.environ.get('PORT') or 8080}"
worker_class = "gevent"
workers = int(os.environ.get("WEB_CONCURRENCY") or 1)
# Terminals are long-lived and cheap; what is bounded is memory per session, not their number.
worker_connections = 10_000
# A blocked event loop is killed before its peers would take it for dead (HA_STALE_INSTANCE_TTL_SECS).
timeout = 20
# The instance drains itself within DRAIN_TIMEOUT_SECS; this is the arbiter's patience with it.
graceful_timeout = int(float(os.environ.get("DRAIN_TIMEOUT_SECS") or 20)) + 5
keepalive = 75
control_socket_disable = True
# No access log: the application logs what happens, and query strings hold tokens.
accesslog = None
loglevel = "warning"
if os.path.isdir("/dev/shm"):
    worker_tmp_dir = "/dev/shm"


def on_starting(server):
    """Refuses wrong settings before anything listens, with a line for each and exit code 2."""
    import resource
    import sys

    from netstacks.settings import SettingsError, load

    try:
        load(os.environ)
    except SettingsError as error:
        print(f"netstacks: wrong settings\n{error}", file=sys.stderr)
        sys.exit(2)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def post_worker_init(worker):
    from netstacks.wsgi import start

    start(worker)
