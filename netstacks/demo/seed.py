"""The demo data: the demo device, its host key and its credential, added through the HTTP API."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from netstacks.demo import ROUTER_NAME, ROUTER_PASSWORD, ROUTER_USERNAME
from netstacks.demo.children import Child

_START_SECS = 60.0


class Refused(Exception):
    """The controller answered with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the controller answered {status}: {text}")
        self.status = status


class Api:
    """A client of the controller's API."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""

    def log_in(self, username: str, password: str) -> None:
        body = {"username": username, "password": password, "client_type": "admin_ui"}
        self._token = self.call("POST", "/api/auth/login", body)["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the response; raises Refused, or OSError without a response."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error


def wait_until_ready(url: str, controller: Child) -> None:
    """Returns when the controller is ready; raises ChildEnded, or SystemExit with its last answer."""
    give_up_at = time.monotonic() + _START_SECS
    while True:
        try:
            Api(url).call("GET", "/api/v1/health/ready")
            return
        except (Refused, OSError) as error:
            controller.check()
            if time.monotonic() > give_up_at:
                raise SystemExit(f"The controller is not ready after {_START_SECS:g} s: {error}") from None
        time.sleep(0.2)


def seed(url: str, username: str, password: str, device_port: int, key_file: Path) -> bool:
    """Adds the missing data; False, without a change, when the password is no longer valid."""
    api = Api(url)
    try:
        api.log_in(username, password)
    except Refused as error:
        if error.status != 401:
            raise
        # The user has changed the generated password, so this program cannot log in.
        return False
    _seed_device(api, device_port, _seed_credential(api))
    api.call("POST", "/api/host-keys", {"host": "127.0.0.1", "port": device_port, "public_key": public_key(key_file)})
    api.call("POST", "/api/auth/logout")
    return True


def _seed_credential(api: Api) -> str:
    members = {"name": "demo device", "credential_type": "ssh_password", "username": ROUTER_USERNAME}
    known = _find(api.call("GET", "/api/credentials"), **members)
    id_: str = (known or api.call("POST", "/api/credentials", members | {"secret": ROUTER_PASSWORD}))["id"]
    return id_


def _seed_device(api: Api, port: int, credential_id: str) -> None:
    members = {
        "name": ROUTER_NAME,
        "host": "127.0.0.1",
        "port": port,
        "device_type": "cisco_ios",
        "description": "A simulated Cisco IOS router",
        "site": "demo",
        "manufacturer": "Cisco",
        "model": "simulated",
        "default_credential_id": credential_id,
    }
    known = _find(api.call("GET", f"/api/devices/browse?search={ROUTER_NAME}"), name=ROUTER_NAME, host="127.0.0.1")
    if known is None:
        api.call("POST", "/api/devices", members)
    elif known["port"] != port:
        api.call("PUT", f"/api/devices/{known['id']}", {"port": port})


def _find(answer: dict[str, Any], **members: Any) -> dict[str, Any] | None:
    return next((item for item in answer["items"] if members.items() <= item.items()), None)


def public_key(key_file: Path) -> str:
    """The public half of a private key file, as in a `.pub` file."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
