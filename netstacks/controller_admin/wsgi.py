"""The entry point of gunicorn: `app`, the WSGI application, and `start` for the hook `post_worker_init`."""

import os
from typing import Any

from netstacks import logs
from netstacks.controller_admin import settings
from netstacks.controller_admin.app import create_app
from netstacks.web.listener import limited_worker

_settings = settings.load(os.environ)
logs.configure(_settings.log_format)
app = create_app(_settings)


def start(worker: Any) -> None:
    """Limits the connections of a gunicorn worker, as a controller does."""
    limited_worker.install(worker, _settings.address_connections_max)
