"""A user with a device behind a controller."""

from dataclasses import dataclass
from typing import Any

from tests.controller import Api, Controller, Terminal
from tests.sshd import Sshd


@dataclass
class Lab:
    """A user with a device to type into."""

    api: Api
    device: Any
    credential: Any

    def open(self, **query: Any) -> Terminal:
        return self.api.open(self.device, self.credential, **query).connected()

    def at(self, controller: Controller) -> "Lab":
        """The same user and device through another instance."""
        return Lab(self.api.at(controller), self.device, self.credential)


def make_lab(api: Api, sshd: Sshd) -> Lab:
    """Adds the server as a device whose host key is known, and a key to log in with."""
    device = api.add_device(sshd.host, sshd.port, host_key=(sshd.host_key_type, sshd.host_key_base64))
    return Lab(api, device, api.add_credential(sshd.user, sshd.private_key, "ssh_key"))
