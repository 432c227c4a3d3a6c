"""Connections to Valkey that fail early: every wait is bounded, and no command is retried."""

from contextlib import closing
from queue import Empty, LifoQueue
from typing import Any
from weakref import WeakSet

from cachetools import TTLCache
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    MaxConnectionsError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from netstacks.errors import RegistryUnavailable
from netstacks.registry import addresses, metrics
from netstacks.registry.figures import joined
from netstacks.registry.problems import SENTINEL_ADVICE, HungUp, hangs_up
from netstacks.registry.sentinel import Sentinels

# A call waits at most for their sum and a discovery, which is below 2 s.
CONNECT_SECS = 0.3
REPLY_SECS = 0.9
# The longest wait for a free connection: while the server hangs, a longer queue would only grow.
QUEUE_SECS = 0.2
MAX_CONNECTIONS = 16
# For the agent: heartbeat, reaper, publisher, drain.
RESERVED_CONNECTIONS = 4


def connect(url: str) -> Redis:
    """A client for `redis://` or `rediss://`, also written `valkey://` and `valkeys://`; it connects on first use."""
    return _client(**_options(url), redis_connect_func=_refuse_sentinel)


def connect_through(sentinels: Sentinels, url: str | None) -> Redis:
    """A client for the node that the Sentinels name as the primary.

    `url` has the user, password, database and TLS options of the nodes; its host is ignored. Without it, the nodes have
    those of the Sentinels.
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
    """A client for the same server with connections of its own, which `client` cannot use up."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    return Redis(connection_pool=_Pool(max_connections=max_connections, timeout=QUEUE_SECS, **options))


def address_of(client: Redis, sentinels: Sentinels | None) -> str:
    """The `host:port` of the server, as configured or as the Sentinels name it; empty before they have."""
    if sentinels is not None:
        return joined(*sentinels.primary) if sentinels.primary else ""
    options = client.connection_pool.connection_kwargs
    return joined(options["host"], options["port"])


def uses_tls(client: Redis) -> bool:
    return issubclass(client.connection_pool.connection_class, SSLConnection)


def _options(url: str) -> dict[str, Any]:
    node = addresses.parse_valkey(url)
    endpoint = node.endpoint
    options: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "db": node.database, **node.tls_options}
    if endpoint.password is not None:
        options |= {"username": endpoint.username, "password": endpoint.password}
    return options | ({"connection_class": SSLConnection} if endpoint.tls else {})


def _client(**options: Any) -> Redis:
    """A client without retries: redis-py's can apply a command twice (docs/design-notes.md, 3), and callers retry."""
    pool = _Pool(
        max_connections=MAX_CONNECTIONS,
        timeout=QUEUE_SECS,
        socket_connect_timeout=CONNECT_SECS,
        socket_timeout=REPLY_SECS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        # One text that is not UTF-8 must not keep the rest of an answer from being read.
        encoding_errors="replace",
        **options,
    )
    return Redis(connection_pool=pool)


class _Idle(LifoQueue[Any]):
    """The free connections of a pool. The library reports an empty pool as an ordinary connection error."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            with metrics.WAIT_SECS.time():
                return super().get(block, timeout)
        except Empty:
            raise MaxConnectionsError("every connection to Valkey is in use") from None


class _Pool(BlockingConnectionPool):
    def __init__(self, **options: Any) -> None:
        super().__init__(queue_class=_Idle, **options)
        _pools.add(self)

    def counts(self) -> tuple[int, int]:
        """How many connections are in use, and how many are open and idle."""
        kept = [each for each in self.pool.queue if each is not None]
        return len(self._connections) - len(kept), sum(each._sock is not None for each in kept)


# One set per process, like the connections in the pools: metrics count those of all clients.
_pools: WeakSet[_Pool] = WeakSet()


def connection_counts() -> tuple[int, int]:
    """How many connections to Valkey this process uses at the moment, and how many are idle."""
    counts = [pool.counts() for pool in list(_pools)]
    return sum(in_use for in_use, _ in counts), sum(idle for _, idle in counts)


class _ToPrimary(Connection):
    """A connection to the current primary: discovered at each connect, and closed when the primary changes.

    Not redis-py's own class: that one returns the reply of an abandoned command to the next one
    (docs/design-notes.md, 3).
    """

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    def connect(self) -> None:
        """Called by the pool before every command."""
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
            # A former primary, or one that is cut off from its replicas: discover the primary again.
            if isinstance(error, ReadOnlyError) or str(error).startswith("NOREPLICAS"):
                self.disconnect()
            raise


class _TlsToPrimary(_ToPrimary, SSLConnection):
    pass


# The servers that were asked lately why they refuse connections: while one restarts, no caller waits for a second time.
_refusals: TTLCache[tuple[str, int], str] = TTLCache(100, 5.0)


def _greet(connection: Connection) -> None:
    try:
        connection.on_connect()
    except AuthenticationError:
        raise
    except ConnectionError as error:
        address = (connection.host, connection.port)
        if address not in _refusals:
            _refusals[address] = _refusal(connection)
        refusal = _refusals[address]
        if refusal:
            raise ResponseError(refusal) from error
        if hangs_up(str(error)):
            raise HungUp(str(error)) from error
        raise


def _refusal(connection: Connection) -> str:
    """What the server says on a new connection before it closes that, as in protected mode; else empty.

    The library sends its greeting first, and then only sees that the connection is closed.
    """
    try:
        with closing(connection._connect()) as sock:
            sock.settimeout(CONNECT_SECS)
            first = sock.recv(512).decode(errors="replace")
    except (OSError, RedisError, RegistryUnavailable):
        return ""
    return first.partition("\r\n")[0][1:] if first.startswith("-") else ""


def _refuse_sentinel(connection: Connection) -> None:
    """Raises RedisError for a Sentinel: it answers INFO but no script, and those errors do not tell what is wrong."""
    _greet(connection)
    connection.send_command("ROLE")
    try:
        role = connection.read_response()[0]
    except ResponseError:
        return  # The command may be renamed, or forbidden to this user.
    if role == "sentinel":
        connection.disconnect()
        raise RedisError(f"{connection.host}:{connection.port} {SENTINEL_ADVICE}")


def _verify_primary(connection: Connection) -> None:
    """Checks the role by ROLE: a Sentinel that was cut off may name a former primary."""
    _greet(connection)
    connection.send_command("ROLE")
    role = connection.read_response()[0]
    if role != "master":
        connection.disconnect()
        raise ReadOnlyError(
            f"{connection.host}:{connection.port} is not a primary but a {role}: a failover is under way"
        )
