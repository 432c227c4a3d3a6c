"""The delivery to a webhook has a limit as a whole."""

import pytest

from netstacks.instance import audit_webhook
from netstacks.instance.audit_syslog import DeliveryFailed
from tests.endless import endless
from tests.patched import patched


@patched
def test_a_webhook_whose_tls_handshake_has_no_end_is_given_up() -> None:
    audit_webhook.SEND_SECS = 0.5
    # The head of a TLS record, whose content comes slowly.
    with endless(b"\x16\x03\x03\x3f\xff") as port, pytest.raises(DeliveryFailed, match="it does not answer in time"):
        audit_webhook.send(f"https://127.0.0.1:{port}/", [], None, None)
