"""The errors of the client library in words: what fails, and what an operator does about it."""

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

SENTINEL_ADVICE = (
    "is a Sentinel, not a Valkey server: set VALKEY_SENTINEL_URL to it and VALKEY_SENTINEL_MASTER_NAME to the name in"
    " its configuration"
)
_CREDENTIALS = "VALKEY_URL must have the user and password of Valkey, as redis://user:password@host:port"


class HungUp(ConnectionError):
    """The server has closed a new connection before any answer."""


def explain(error: Exception, *, has_sentinels: bool, has_tls: bool = False, address: str = "") -> str:
    """One line without secrets.

    `has_sentinels` is whether the server was found through Sentinels, `has_tls` whether the connection uses TLS, and
    `address` that of the server, empty while it is not known.
    """
    text = str(error)
    match error:
        case AuthenticationError() if "without any password" in text:
            return f"it has no password, and VALKEY_URL has one: remove it there, or set requirepass in Valkey ({text})"
        case AuthenticationError() if "required" in text:
            return f"it asks for a password: {_CREDENTIALS}"
        case AuthenticationError():
            return f"it refuses the password: {_CREDENTIALS} ({text})"
        case NoPermissionError():
            return f"its ACL forbids a command: give the user all commands on the keys netstacks:* ({text})"
        case ReadOnlyError() if has_sentinels:
            return f"a failover is under way, and the next call asks the Sentinels for the primary ({text})"
        case ReadOnlyError() | MasterDownError():
            return (
                "it is a replica, which takes no writes: VALKEY_URL must name the primary; with Sentinels, set"
                f" VALKEY_SENTINEL_URL, so that the primary is found after a failover ({text})"
            )
        case ClusterDownError() | ClusterCrossSlotError() | AskError():
            return (
                "it runs in cluster mode, which is not supported: use one primary with replicas, such as with"
                f" Sentinels ({text})"
            )
        case OutOfMemoryError():
            return f"its memory is full: raise maxmemory in Valkey, or give it a server of its own ({text})"
        case BusyLoadingError():
            return "it has just started and loads its data: wait until it is done"
        case ResponseError():
            return _of_reply(text)
        case InvalidResponse():
            return f"{address} is not a Valkey server: VALKEY_URL must name one ({text})"
        case ConnectionError() | TimeoutError():
            located = text if address in text else f"{text.rstrip('.')} ({address})"
            return _of_connection(located, has_tls=has_tls, is_new=isinstance(error, HungUp))
        case _:
            return text


def _of_connection(text: str, *, has_tls: bool, is_new: bool) -> str:
    """Errors of the network and of TLS. A server that expects TLS hangs up at a new connection without it."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "its certificate is not accepted: it must name the host in VALKEY_URL, or with Sentinels the address that"
            " they announce, and the file in SSL_CERT_FILE, or in ?ssl_ca_certs= of the URL, must have its authority"
            f" ({text})"
        )
    if has_tls and "Timeout connecting" in text:
        return f"{text}: if it speaks no TLS, VALKEY_URL must begin with redis://"
    if is_new and not has_tls:
        return f"{text}: if it expects TLS, VALKEY_URL must begin with rediss://"
    return text


def hangs_up(text: str) -> bool:
    """Whether the server has closed the connection without an answer."""
    return "closed by server" in text or "reset by peer" in text


def _of_reply(text: str) -> str:
    """Errors that the client library does not distinguish; the first word of Valkey's answer does."""
    match text.partition(" ")[0]:
        case "DENIED":
            return (
                "it is in protected mode and takes connections from its own host only: set a password in Valkey"
                " (requirepass) and in VALKEY_URL, or set protected-mode no on a network that only controllers reach"
            )
        case "MISCONF":
            return "it refuses changes because it cannot write to its disk: Valkey's log has the reason"
        case "NOREPLICAS":
            return f"it refuses changes because too few replicas follow it (min-replicas-to-write): start them ({text})"
        case _ if "max number of clients" in text:
            return "it has too many clients: raise maxclients in Valkey, or find the clients with CLIENT LIST"
        case _ if "unknown command" in text:
            return f"it does not know a command of Valkey: VALKEY_URL must name a Valkey server ({text})"
        case _ if "DB index is out of range" in text:
            return "it has fewer databases than the number at the end of VALKEY_URL: use /0"
        case _:
            return text
