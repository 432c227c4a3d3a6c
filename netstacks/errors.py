"""The exceptions that packages raise to each other. Adapters translate library exceptions into these."""


class NetstacksError(Exception):
    """Base of all exceptions of this program; the text is a message for users."""

    api_code = ""
    """The member `code` of the JSON answer, for programs; "" for none."""


class InvalidInput(NetstacksError):
    """A value from the caller is invalid; the text says what is valid."""


class NotFound(NetstacksError):
    """The object does not exist, or the user must not see it."""


class Conflict(NetstacksError):
    """The object already exists, is still in use, or has changed meanwhile."""


class ChangedMeanwhile(Conflict):
    """The object has changed since the caller has read it; the text names the user who has changed it."""

    api_code = "CHANGED_MEANWHILE"


class LimitReached(Conflict):
    """A quota of a user or device is exhausted; the text names the limit and what to do."""


class Forbidden(NetstacksError):
    """The authenticated user lacks the permission."""


class SecondFactorMissing(Forbidden):
    """The user must set up a second factor before anything else."""

    api_code = "SECOND_FACTOR_MISSING"


class AccessWithdrawn(Forbidden):
    """The user was deactivated or deleted, has lost the role, or the log-in was revoked."""


class StoreUnavailable(NetstacksError):
    """PostgreSQL did not answer in time. The caller must assume that the call changed nothing."""


class StoreDenied(StoreUnavailable):
    """The PostgreSQL role lacks a privilege, which an administrator must grant."""


class StoreBusy(StoreUnavailable):
    """PostgreSQL answers, but this call got no connection or lock in time. The caller may retry soon."""


class RegistryUnavailable(NetstacksError):
    """Valkey did not answer in time."""


class RegistryBusy(RegistryUnavailable):
    """All connections to Valkey are in use; Valkey itself may be well."""


class SchemaMismatch(NetstacksError):
    """The schema version of the database is not that of this program."""


class VaultLocked(NetstacksError):
    """The secrets of this database were encrypted with another master key."""


class DeviceError(NetstacksError):
    """The device could not be reached, refused the log-in, or closed the connection."""


class DeviceUnreachable(DeviceError):
    """No SSH connection within the deadline: refused, timed out, or no common algorithm."""


class DeviceLoginRefused(DeviceError):
    """The device refused the log-in. `refused_secret`: it refused the stored secret, not a method or user name."""

    def __init__(self, text: str, *, refused_secret: bool = False) -> None:
        super().__init__(text)
        self.refused_secret = refused_secret


class OpeningAbandoned(DeviceError):
    """The client disconnected before the connection to the device was established."""


class HostKeyRejected(DeviceError):
    """The device's host key is unknown or changed, and was not approved."""


class MalformedClaims(NetstacksError):
    """The claims of a peer's token are not what this version requires; the text names the first invalid member."""


class SessionGone(NetstacksError):
    """The session does not exist or has ended, on all instances."""


class RetryLater(NetstacksError):
    """The request cannot be served at the moment; a retry may succeed (HTTP 503)."""


class OwnerOverdue(RetryLater):
    """The session's owner does not answer, and its heartbeat is overdue.

    It returns within `secs`, or another instance may claim the session then.
    """

    def __init__(self, reason: str, secs: float) -> None:
        super().__init__(reason)
        self.secs = secs


class PeerFailed(RetryLater):
    """A peer instance answered with an error; the text is the peer's message."""


class ConnectionClosed(NetstacksError):
    """The WebSocket is closing or closed. `code` is the peer's close code (RFC 6455), None without a close frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the peer closed with {code} {reason}".rstrip() if code else "the connection is closed")
        self.code = code
        self.reason = reason
