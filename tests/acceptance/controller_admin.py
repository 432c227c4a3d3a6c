"""A controller-admin as it is deployed: a gunicorn of its own in front of the API's load balancer."""

import sys
from typing import Any

import requests

from tests.controller import ADMIN, Controller, until
from tests.deploy.balancers import Balancer


class ControllerAdmin(Controller):
    """One process; its `url` is that of the pages of administration."""

    def __init__(self, api: Balancer | Controller) -> None:
        super().__init__("")
        # Nothing else is in its environment: neither a secret nor the address of a store.
        kept = {name: self.environ[name] for name in ("PATH", "PORT", "SPOOL_DIR", "HOME") if name in self.environ}
        self.environ = {**kept, "CONTROLLER_API_URL": api.url}
        self.command = [sys.executable, "-m", "gunicorn", "-c", "python:netstacks.controller_admin.gunicorn_conf"]

    def __enter__(self) -> "ControllerAdmin":
        self.launch()
        until(lambda: self._has_failed() or self._is_alive(), "a controller-admin", 60)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_alive(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False


class Visitor:
    """A browser without scripts, logged in at a controller or a controller-admin."""

    def __init__(self, site: Controller, username: str = ADMIN[0], password: str = ADMIN[1]) -> None:
        self.site = site
        self.session = requests.Session()
        body = {"username": username, "password": password, "client_type": "admin_ui"}
        self.login = self.send("POST", "/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"})
        assert self.login.ok, self.login.text

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Origin": self.site.url, **options.pop("headers", {})}
        return self.session.request(method, self.site.url + path, headers=headers, timeout=30, **options)

    def change(self, method: str, path: str, **options: Any) -> requests.Response:
        """A change with the CSRF token of the log-in."""
        headers = {"X-CSRF-Token": self.login.json()["csrf_token"], **options.pop("headers", {})}
        return self.send(method, path, headers=headers, **options)
