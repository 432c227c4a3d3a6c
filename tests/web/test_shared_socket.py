"""`/ws/shared` up to the session lookup: which links are admitted, and which error the others get."""

import contextlib
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn, cast
from uuid import UUID, uuid4

import pytest
from gevent import socket

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.errors import SessionGone, StoreBusy, StoreUnavailable
from netstacks.store import shares
from netstacks.store.pool import Database
from netstacks.store.shares import Share
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import Api

# The first byte of a close frame, which is in no ASCII text.
_CLOSE = b"\x88"
# The error of an admitted viewer: the broker of these tests reports every session as ended.
ADMITTED = "the session has ended"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def _ended(_: UUID) -> NoReturn:
    raise SessionGone(ADMITTED)


@pytest.fixture
def services(services: Services) -> Services:
    """A broker that reports every session as ended, and an instance that does not drain."""
    services.broker = cast(Any, SimpleNamespace(finder=SimpleNamespace(find=_ended)))
    services.agent = cast(Any, SimpleNamespace(is_draining=False))
    return services


@pytest.fixture
def session_id(database: Database) -> UUID:
    return make_session(database)


def store(database: Database, session_id: UUID) -> Share:
    """A share of an hour."""
    with database.transaction() as tx:
        return shares.create(
            tx,
            session_id=session_id,
            permission="read-only",
            max_viewers=5,
            ttl=timedelta(hours=1),
            created_by="ana",
        )


def told(api: Api, token: str) -> str:
    """What the server sends to a client of `/ws/shared`, up to the close frame."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname(), timeout=10)
        accepted, _ = listener.accept()
    nothing_unread = SimpleNamespace(reader=SimpleNamespace(unreader=SimpleNamespace(take_buffered=lambda: b"")))
    environ = {"gunicorn.socket": accepted, "wsgi.input": nothing_unread}
    with client, accepted:
        # The response raises instead of writing: the connection is a WebSocket by then.
        with contextlib.suppress(StopIteration, RuntimeError):
            api.get("/ws/shared", query_string={"share": token}, headers=UPGRADE, environ_overrides=environ)
        received = bytearray()
        while _CLOSE not in received and (data := client.recv(65536)):
            received += data
    return received.decode("utf-8", "replace")


def test_an_open_share_is_admitted(anonymous: Api, services: Services, database: Database, session_id: UUID) -> None:
    share = store(database, session_id)
    assert ADMITTED in told(anonymous, services.share_tokens.issue(share))


def test_a_token_that_is_not_genuine_is_refused(anonymous: Api, services: Services) -> None:
    answer = told(anonymous, "A" * 72)
    assert "this link is not complete" in answer
    assert ADMITTED not in answer


@pytest.mark.parametrize("member", ["expires_at", "revoked_at"])
def test_a_share_that_has_expired_or_was_revoked_is_refused_by_its_row(
    anonymous: Api, services: Services, database: Database, session_id: UUID, member: str
) -> None:
    """The token says that the share is open. The row decides, by the clock of PostgreSQL."""
    token = services.share_tokens.issue(store(database, session_id))
    with database.transaction() as tx:
        tx.execute(f"UPDATE shares SET {member} = date_trunc('second', now())")
    answer = told(anonymous, token)
    assert "this share was revoked, or has expired" in answer
    assert ADMITTED not in answer


class _Away:
    """A database that does not answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def transaction(self, **_: float) -> NoReturn:
        raise self._error


@pytest.mark.parametrize(
    ("left_secs", "answer"),
    [(60, ADMITTED), (60 - TOLERATED_SECS, ADMITTED), (-60 - TOLERATED_SECS, "this share has expired")],
)
def test_without_the_database_a_share_ends_when_its_token_says_so(
    anonymous: Api, services: Services, left_secs: float, answer: str
) -> None:
    """By the clock of this host, which may differ from the clock of the host that issued the token."""
    services.routing_database = cast(Any, _Away(StoreUnavailable("PostgreSQL is away")))
    expires_at = datetime.fromtimestamp(time.time() + left_secs, UTC)
    share = Share(uuid4(), uuid4(), "read-only", 5, "ana", datetime.now(UTC), expires_at, None)
    assert answer in told(anonymous, services.share_tokens.issue(share))


def test_a_database_that_is_busy_is_no_reason_to_trust_the_token_alone(anonymous: Api, services: Services) -> None:
    services.routing_database = cast(Any, _Away(StoreBusy("too many ask")))
    expires_at = datetime.fromtimestamp(time.time() + 60, UTC)
    share = Share(uuid4(), uuid4(), "read-only", 5, "ana", datetime.now(UTC), expires_at, None)
    answer = told(anonymous, services.share_tokens.issue(share))
    assert "too many ask" in answer
    assert ADMITTED not in answer


def test_sharing_that_is_switched_off_for_all_ends_shares_that_are_open(
    anonymous: Api, admin: Api, services: Services, database: Database, session_id: UUID
) -> None:
    token = services.share_tokens.issue(store(database, session_id))
    path = "/api/v1/settings/features.sharing"
    admin.put(path, json={"value": {"enabled": True, "disabled_roles": ["operator"]}})
    assert ADMITTED in told(anonymous, token)
    admin.put(path, json={"value": {"enabled": False}})
    assert "an administrator has switched the sharing of sessions off" in told(anonymous, token)
