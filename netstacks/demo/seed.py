"""What a first user needs: the demo device, its host key, and the credential to log in with. Over the HTTP API."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from netstacks.demo import device
from netstacks.demo.children import Child

_START_SECS = 60.0


class Api:
    """The controller's API as its administrator uses it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""

    def log_in(self, username: str, password: str) -> None:
        body = {"username": username, "password": password, "client_type": "admin_ui"}
        self._token = self.call("POST", "/api/auth/login", body)["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; raises urllib's HTTPError for a refusal."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
            return json.loads(text) if text else None


def seed(url: str, username: str, password: str, device_port: int, key_file: Path, controller: Child) -> None:
    """Waits for the controller and adds what is not there yet."""
    _wait_until_healthy(url, controller)
    api = Api(url)
    try:
        api.log_in(username, password)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        print(f"The password of {username} was changed: the demo device is left as it is.")
        return
    credential = _find(api.call("GET", "/api/credentials")["items"], name="demo device")
    if credential is None:
        body = {"name": "demo device", "credential_type": "ssh_password"}
        body |= {"username": device.USERNAME, "secret": device.PASSWORD}
        credential = api.call("POST", "/api/credentials", body)
    members = {
        "name": device.NAME,
        "host": "127.0.0.1",
        "port": device_port,
        "device_type": "cisco_ios",
        "description": "A simulated Cisco IOS router",
        "site": "demo",
        "manufacturer": "Cisco",
        "model": "simulated",
        "default_credential_id": credential["id"],
    }
    existing = _find(api.call("GET", "/api/devices/browse")["items"], name=device.NAME)
    if existing is None:
        api.call("POST", "/api/devices", members)
    elif existing["port"] != device_port:
        api.call("PUT", f"/api/devices/{existing['id']}", members)
    key_type, public_key = _public_key(key_file)
    host_key = {"host": "127.0.0.1", "port": device_port, "key_type": key_type, "public_key": public_key}
    api.call("POST", "/api/host-keys", host_key)


def _wait_until_healthy(url: str, controller: Child) -> None:
    give_up_at = time.monotonic() + _START_SECS
    while True:
        controller.check()
        try:
            with urllib.request.urlopen(f"{url}/api/v1/health/ready", timeout=5):  # noqa: S310
                return
        except OSError as error:
            if time.monotonic() > give_up_at:
                raise SystemExit(f"the controller did not become healthy within {_START_SECS:g} s: {error}") from error
        time.sleep(0.2)


def _find(items: list[dict[str, Any]], **members: Any) -> dict[str, Any] | None:
    return next((item for item in items if members.items() <= item.items()), None)


def _public_key(key_file: Path) -> tuple[str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    key = load_pem_private_key(key_file.read_bytes(), None)
    key_type, public_key = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split()
    return key_type, public_key
