"""What gunicorn loads in each worker: `app`, and `start` for the hook that runs when the worker is ready."""

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
from netstacks.web.ws import routes, session_client

log = structlog.get_logger()

# What closing the last connections may take.
CLOSING_SECS = 3.0

_settings = settings.load(os.environ)
_instance_id = new_instance_id(_settings.instance_id)
logs.configure(_settings.log_format, instance_id=_instance_id)
_node = Node(_settings, _instance_id)
app = create_app(_node.services)


def start(worker: Any) -> None:
    """Begins the instance's life in a gunicorn worker, and makes SIGTERM a drain.

    gunicorn would close all listeners at SIGTERM; a draining instance needs them open until it is done (pitfalls 1).
    """
    peer_port = getattr(worker, "peer_port", None)
    if peer_port is not None and _node.peer_tls is not None:
        worker.handle = wrapping(worker.handle, peer_port, _node.peer_tls.for_listening())
    public_listener.set_limits(worker, _settings.address_connections_max, _settings.trusted_proxies)
    _node.start(peer_port, app.extensions[WAITING_ROOM])
    log.info("instance.started", pid=os.getpid())
    draining = greenlets.Event()

    def on_sigterm(*_: Any) -> None:
        draining.set()

    def drain() -> None:
        draining.wait()
        try:
            session_client.hang_up()
            _node.drain()
            relays.hang_up()
            routes.join(CLOSING_SECS)
        finally:
            worker.alive = False

    def on_drain() -> None:
        draining.set()
        if worker.cfg.workers == 1:
            # Who drains an instance wants it to be gone, and gunicorn would start another worker in its place.
            os.kill(worker.ppid, signal.SIGTERM)

    greenlets.spawn("drain", drain)
    _node.services.agent.on_drain = on_drain
    signal.signal(signal.SIGTERM, on_sigterm)
    memory.settle()
