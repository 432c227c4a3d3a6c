"""Audit rows as JSON lines, sent to a webhook in batches that are signed."""

import hashlib
import hmac
import http.client
import json
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from netstacks import __version__
from netstacks.instance.audit_syslog import CONNECT_SECS, SEND_SECS, DeliveryFailed, reason, tls_context
from netstacks.instance.bounded_connection import bounded

SIGNATURE = "X-NetStacks-Signature"


def line(row: dict[str, Any]) -> str:
    """One row as a JSON object, with the seal that covers it."""
    actor_id = str(row["actor_id"]) if row["actor_id"] else None
    plain = {name: row[name] for name in ("id", "position", "actor", "event", "resource", "details", "address")}
    seal = {"number": row["seal"], "sha256": row["head"]}
    return json.dumps({**plain, "at": row["at"].isoformat(), "actor_id": actor_id, "seal": seal})


def signature(secret: str, at: int, body: bytes) -> str:
    """The value of the header SIGNATURE: the time in seconds, and an HMAC-SHA-256 over it, a full stop and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def send(url: str, rows: Sequence[dict[str, Any]], secret: str | None, ca: str | None) -> None:
    """Posts one batch. Raises DeliveryFailed unless the answer's status is 2xx. Redirects are not followed."""
    parts = urlsplit(url)
    body = "".join(f"{line(row)}\n" for row in rows).encode()
    headers = {
        "Content-Type": "application/x-ndjson",
        "User-Agent": f"netstacks-controller/{__version__}",
        # The same batch, if it is sent again, begins with the same row.
        "X-NetStacks-Rows": f"{rows[0]['position']}-{rows[-1]['position']}" if rows else "test",
    }
    if secret:
        headers[SIGNATURE] = signature(secret, int(time.time()), body)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    place = f"{parts.hostname}:{parts.port or 443}"
    context = tls_context(ca)
    client = http.client.HTTPSConnection(parts.hostname or "", parts.port or 443, context=context)
    try:
        with (
            socket.create_connection((client.host, client.port), CONNECT_SECS) as plain,
            bounded(plain, SEND_SECS),
            context.wrap_socket(plain, server_hostname=client.host) as connection,
        ):
            connection.settimeout(10.0)
            client.sock = connection
            client.request("POST", path, body, headers)
            status = client.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(f"{place}: {reason(error)}") from error
    if not 200 <= status < 300:
        raise DeliveryFailed(f"{place}: it answers with the status {status}")
