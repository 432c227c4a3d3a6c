"""Connections to Valkey that fail early: every wait is bounded, and nothing is tried twice."""

from queue import Empty, LifoQueue
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection
from redis.exceptions import MaxConnectionsError, ReadOnlyError, ResponseError
from redis.retry import Retry

from netstacks.registry import addresses
from netstacks.registry.sentinel import Sentinels

# A server hangs at one of these, so that nobody waits for longer than their sum, with a discovery in it: below 2 s.
CONNECT_SECS = 0.3
REPLY_SECS = 0.9
# A caller that waits longer for one of the connections is turned away: behind a server that hangs, a queue would only
# grow.
QUEUE_SECS = 0.2
MAX_CONNECTIONS = 16
# The agent's heartbeat, its reaper, its publisher and its drain.
RESERVED_CONNECTIONS = 4


def connect(url: str) -> Redis:
    """A client for `redis://` or `rediss://`, also spelt `valkey://` and `valkeys://`; it connects when first used."""
    return _client(**_options(url))


def connect_through(sentinels: Sentinels, url: str | None) -> Redis:
    """A client for whichever node the Sentinels call the primary.

    `url` says how the nodes are reached: user, password, database and TLS. Its host counts for nothing. Without it,
    they are reached as the Sentinels are.
    """
    first = sentinels.endpoints[0]
    options = _options(url) if url else {"username": first.username, "password": first.password}
    tls = options.pop("connection_class", None) is not None if url else first.tls
    return _client(
        **options,
        connection_class=_TlsToPrimary if tls else _ToPrimary,
        sentinels=sentinels,
        redis_connect_func=_verify_primary,
    )


def beside(client: Redis, max_connections: int) -> Redis:
    """A client for the same server, with connections that `client` cannot use up."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    return Redis(connection_pool=_Pool(max_connections=max_connections, timeout=QUEUE_SECS, **options))


def _options(url: str) -> dict[str, Any]:
    node = addresses.parse_valkey(url)
    endpoint = node.endpoint
    options: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "db": node.database, **node.tls_options}
    if endpoint.password is not None:
        options |= {"username": endpoint.username, "password": endpoint.password}
    return options | ({"connection_class": SSLConnection} if endpoint.tls else {})


def _client(**options: Any) -> Redis:
    """A command is tried once: the library's retries can apply one twice (pitfall 3), and our callers come again."""
    pool = _Pool(
        max_connections=MAX_CONNECTIONS,
        timeout=QUEUE_SECS,
        socket_connect_timeout=CONNECT_SECS,
        socket_timeout=REPLY_SECS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        # One text that is no UTF-8 must not keep the rest of an answer from being read.
        encoding_errors="replace",
        **options,
    )
    return Redis(connection_pool=pool)


class _Idle(LifoQueue[Any]):
    """The connections that a pool has left. The library reports an empty one as any connection error."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return super().get(block, timeout)
        except Empty:
            raise MaxConnectionsError("every connection to Valkey is in use") from None


class _Pool(BlockingConnectionPool):
    def __init__(self, **options: Any) -> None:
        super().__init__(queue_class=_Idle, **options)


class _ToPrimary(Connection):
    """Leads to the primary of this moment: it is looked up for each connection, and left when it is another.

    Ours rather than the library's own, which after an abandoned command gives its reply to the next (pitfall 3).
    """

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    def connect(self) -> None:
        """The pool calls it before every command."""
        if (self.host, self.port) != self._sentinels.primary:
            self.disconnect()
        super().connect()

    def _connect(self) -> Any:
        self.host, self.port = self._sentinels.discover()
        return super()._connect()

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ResponseError as error:
            # The primary of yesterday: replaced, or cut off from its replicas.
            if isinstance(error, ReadOnlyError) or str(error).startswith("NOREPLICAS"):
                self.disconnect()
            raise


class _TlsToPrimary(_ToPrimary, SSLConnection):
    pass


def _verify_primary(connection: Connection) -> None:
    """A Sentinel that was cut off may name a node that has been replaced."""
    connection.on_connect()
    connection.send_command("ROLE")
    role = connection.read_response()[0]
    if role != "master":
        connection.disconnect()
        raise ReadOnlyError(f"{connection.host}:{connection.port} is no primary but a {role}: a failover is under way")
