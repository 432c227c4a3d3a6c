"""The entry point of gunicorn: `app`, the WSGI application, and `start` for the hook `post_worker_init`."""

import os
import signal
from typing import Any

import structlog

from netstacks import greenlets, logs, settings
from netstacks.instance import memory
from netstacks.instance.identity import new_instance_id
from netstacks.peer import relays
from netstacks.peer.tls import wrapping
from netstacks.services import Node
from netstacks.web import public_listener
from netstacks.web.app import WAITING_ROOM, create_app
from netstacks.web.ws import open_clients, routes

log = structlog.get_logger()

# The time limit for closing the last connections.
CLOSING_SECS = 3.0

_settings = settings.load(os.environ)
_instance_id = new_instance_id(_settings.instance_id)
logs.configure(_settings.log_format, instance_id=_instance_id)
# Set when an administrator requests a drain of this instance.
_drain_requested = greenlets.Event()
_node = Node(_settings, _instance_id, on_drain=_drain_requested.set)
app = create_app(_node.services)


def start(worker: Any) -> None:
    """Starts the instance in a gunicorn worker, and makes SIGTERM a drain.

    gunicorn closes all its listeners at SIGTERM, but a draining instance needs them until the drain has ended
    (docs/design-notes.md, 1).
    """
    peer_port = getattr(worker, "peer_port", None)
    if peer_port is not None and _node.peer_tls is not None:
        worker.handle = wrapping(worker.handle, peer_port, _node.peer_tls.for_listening())
    public_listener.set_limits(worker, _settings.address_connections_max, _settings.trusted_proxies)
    _node.lifecycle.start(peer_port, app.extensions[WAITING_ROOM])
    log.info("instance.started", pid=os.getpid())
    draining = greenlets.Event()

    def on_sigterm(*_: Any) -> None:
        draining.set()

    def drain() -> None:
        draining.wait()
        try:
            open_clients.hang_up()
            _node.lifecycle.drain()
            relays.hang_up()
            routes.join(app, CLOSING_SECS)
        finally:
            worker.alive = False

    def drain_on_request() -> None:
        _drain_requested.wait()
        draining.set()
        if worker.cfg.workers == 1:
            # The administrator drains the instance to remove it, and gunicorn would replace a worker that ends.
            os.kill(worker.ppid, signal.SIGTERM)

    greenlets.spawn("drain", drain)
    greenlets.spawn("drain-request", drain_on_request)
    signal.signal(signal.SIGTERM, on_sigterm)
    memory.settle()
