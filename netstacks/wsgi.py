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
from netstacks.web.app import WAITING_ROOM, create_app
from netstacks.web.listener import limited_worker
from netstacks.web.ws import open_clients, routes

log = structlog.get_logger()

# The time limit for closing the last connections.
CLOSING_SECS = 3.0

_settings = settings.load(os.environ)
_instance_id = new_instance_id(_settings.instance_id)
logs.configure(_settings.log_format, instance_id=_instance_id)
_node = Node(_settings, _instance_id)
app = create_app(_node.services)


def start(worker: Any) -> None:
    """Starts the instance in a gunicorn worker, and makes SIGTERM a drain.

    gunicorn closes all its listeners at SIGTERM, but a draining instance needs them until the drain has ended
    (docs/design-notes.md, 1).
    """
    peer_port = getattr(worker, "peer_port", None)
    if peer_port is not None and _node.peer_tls is not None:
        worker.handle = wrapping(worker.handle, peer_port, _node.peer_tls.for_listening())
    limited_worker.install(worker, _settings.address_connections_max, _settings.trusted_proxies)
    _node.lifecycle.start(peer_port, app.extensions[WAITING_ROOM])
    log.info("instance.started", pid=os.getpid())
    control = _node.services.drain_control

    def on_sigterm(*_: Any) -> None:
        control.terminate()

    def stop_arbiter() -> None:
        """Stops gunicorn, which would replace this worker: an administrator removes the whole instance.

        Not before the hand-over has ended: gunicorn cannot be told to go on.
        """
        if worker.cfg.workers == 1 and not control.is_terminated:
            os.kill(worker.ppid, signal.SIGTERM)

    def drain() -> None:
        try:
            is_over = False
            while not is_over:
                control.wait()
                open_clients.hang_up()
                is_over = _node.lifecycle.drain(on_leaving=stop_arbiter)
            relays.hang_up()
            routes.join(app, CLOSING_SECS)
        except BaseException:
            stop_arbiter()
            raise
        finally:
            worker.alive = False

    greenlets.spawn("drain", drain)
    signal.signal(signal.SIGTERM, on_sigterm)
    memory.settle()
