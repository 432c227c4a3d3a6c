"""Log-ins with private keys, as users have them: encrypted, in either format."""

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_ssh_private_key,
)

from tests.acceptance.lab import Lab
from tests.sshd import Sshd


@pytest.mark.parametrize("style", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PEM"])
def test_an_encrypted_key_logs_in(lab: Lab, sshd: Sshd, style: PrivateFormat) -> None:
    key = load_ssh_private_key(sshd.private_key.encode(), None)
    encrypted = key.private_bytes(Encoding.PEM, style, BestAvailableEncryption(b"open sesame")).decode()
    credential = lab.api.add_credential(sshd.user, encrypted, "ssh_key", passphrase="open sesame")
    terminal = lab.api.open(lab.device, credential).connected()
    terminal.type("echo $((6*7))\r")
    terminal.expect("42")
    terminal.leave()
