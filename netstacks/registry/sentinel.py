"""The Sentinels: which node is the primary, asked of all of them at once, and heard of when it changes."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from netstacks import greenlets
from netstacks.errors import RegistryUnavailable
from netstacks.registry.addresses import Endpoint

log = structlog.get_logger()

# All of them are asked at the same time, and answer or not within this: a frozen one costs nothing.
ANSWER_SECS = 0.4
DISCOVERY_SECS = 0.5
# A subscription that is silent for this long is asked whether it lives, and given as long to say so (pitfall 3).
SILENCE_SECS = 2.0

SWITCH_CHANNEL = "+switch-master"

Address = tuple[str, int]


@dataclass(frozen=True)
class _Answer:
    """What one Sentinel said: the primary since `config_epoch`, or why it named none."""

    primary: Address | None
    config_epoch: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """All that one Sentinel says of the primary; `quorum_problem` is why it would not be replaced, or empty."""

    primary: Address
    sentinels: int
    quorum_problem: str
    replicas: tuple[dict[str, Any], ...]


class Sentinels:
    """`primary` is the node that was named last, None before the first answer."""

    def __init__(self, endpoints: tuple[Endpoint, ...], master_name: str) -> None:
        self.endpoints = endpoints
        self.master_name = master_name
        self.primary: Address | None = None
        self.watch = greenlets.Background("sentinel-watch", self._follow)
        self._turn = greenlets.BoundedSemaphore()
        self._asked_at = 0.0
        self._answers: list[_Answer] = []

    def follow(self) -> None:
        """Hears of a new primary as soon as it is announced, from now on."""
        self.watch.start()

    def discover(self) -> Address:
        """The primary by the newest configuration that a majority knows, or that anybody tells in time.

        Raises RegistryUnavailable, which tells a wrong name, a wrong password and silence apart.
        """
        answers = self._newest_answers()
        named = [each for each in answers if each.primary]
        if not named:
            raise RegistryUnavailable("; ".join(dict.fromkeys(each.problem for each in answers)) or self._silence())
        self._become(max(named, key=lambda each: each.config_epoch).primary)
        assert self.primary is not None
        return self.primary

    def report(self) -> Report:
        """What the first of them says, for people. Raises RegistryUnavailable as `discover` does."""
        endpoint = self.endpoints[0]
        try:
            with closing(_client(endpoint)) as client:
                state = cast(dict[str, Any], client.sentinel_master(self.master_name))
                replicas = client.sentinel_slaves(self.master_name)
                try:
                    client.sentinel_ckquorum(self.master_name)
                    quorum_problem = ""
                except ResponseError as error:
                    quorum_problem = str(error)
            primary, others = (state["ip"], int(state["port"])), int(state["num-other-sentinels"])
        except (RedisError, KeyError, ValueError) as error:
            raise RegistryUnavailable(self._problem(endpoint, error)) from error
        return Report(primary, others + 1, quorum_problem, tuple(replicas))

    def _newest_answers(self) -> list[_Answer]:
        """Of all who want to know at the same time, one asks."""
        wanted_at = time.monotonic()
        with self._turn:
            if self._asked_at < wanted_at:
                self._answers, self._asked_at = list(self._ask_all()), time.monotonic()
            return self._answers

    def _ask_all(self) -> Iterator[_Answer]:
        replies: greenlets.Queue = greenlets.Queue()
        for endpoint in self.endpoints:
            greenlets.spawn("sentinel-question", lambda asked: replies.put(self._ask(asked)), endpoint)
        expires_at, naming = time.monotonic() + DISCOVERY_SECS, 0
        for _ in self.endpoints:
            try:
                answer = replies.get(timeout=max(0.0, expires_at - time.monotonic()))
            except greenlets.Empty:
                return
            yield answer
            naming += answer.primary is not None
            if naming * 2 > len(self.endpoints):
                return

    def _silence(self) -> str:
        return "no Sentinel answers: " + ", ".join(map(str, self.endpoints))

    def _ask(self, endpoint: Endpoint) -> _Answer:
        try:
            with closing(_client(endpoint)) as client:
                state = cast(dict[str, Any], client.sentinel_master(self.master_name))
            return _Answer((state["ip"], int(state["port"])), int(state["config-epoch"]))
        except (RedisError, KeyError, ValueError) as error:
            return _Answer(None, problem=self._problem(endpoint, error))

    def _problem(self, endpoint: Endpoint, error: Exception) -> str:
        match error:
            case KeyError() | ValueError():
                return f"what Sentinel {endpoint} answers is not understood: {error}"
            case AuthenticationError() | NoPermissionError():
                return (
                    f"Sentinel {endpoint} refuses the password: VALKEY_SENTINEL_URL must have the Sentinels' own"
                    f" as redis://user:password@host:port ({error})"
                )
            case ResponseError() if "No such master" in str(error):
                return (
                    f"the Sentinels know no primary named {self.master_name!r}: VALKEY_SENTINEL_MASTER_NAME must be the"
                    " name in their `sentinel monitor` line, in the same case"
                )
            case ResponseError():
                return f"Sentinel {endpoint} answers with an error: {error}"
            case _:
                return f"Sentinel {endpoint} is unreachable: {error}"

    def _become(self, address: Address | None) -> None:
        if address != self.primary:
            log.info("sentinel.primary", name=self.master_name, address=address, former=self.primary)
            self.primary = address

    def _follow(self) -> None:
        """For ever, by one Sentinel after the other."""
        while True:
            for endpoint in self.endpoints:
                try:
                    self._listen(endpoint)
                except (RedisError, RegistryUnavailable) as error:
                    log.debug("sentinel.not_followed", sentinel=str(endpoint), error=str(error))
                except Exception:
                    # One message that cannot be read must not end the watch, on every instance at once.
                    log.exception("sentinel.not_followed", sentinel=str(endpoint))
                greenlets.sleep(SILENCE_SECS / len(self.endpoints))

    def _listen(self, endpoint: Endpoint) -> None:
        """Raises RedisError when the subscription is lost, be it by silence."""
        with closing(_client(endpoint)) as client, closing(client.pubsub()) as subscription:
            subscription.subscribe(SWITCH_CHANNEL)
            # What changed while nobody listened was not heard.
            self.discover()
            pinged = False
            while True:
                message = subscription.get_message(timeout=SILENCE_SECS)
                if message is None and pinged:
                    return
                if pinged := message is None:
                    subscription.ping()
                elif message["type"] == "message":
                    self._on_switch(message["data"])

    def _on_switch(self, message: str) -> None:
        """`<name> <old host> <old port> <new host> <new port>`."""
        name, _, _, host, port = message.split()
        if name == self.master_name:
            self._become((host, int(port)))


def _client(endpoint: Endpoint) -> Redis:
    return Redis(
        endpoint.host,
        endpoint.port,
        username=endpoint.username,
        password=endpoint.password,
        ssl=endpoint.tls,
        socket_connect_timeout=ANSWER_SECS,
        socket_timeout=ANSWER_SECS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
    )
