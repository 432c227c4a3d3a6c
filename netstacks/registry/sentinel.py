"""The client of Sentinels: discovers the primary by asking all of them at once, and follows its changes."""

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
from netstacks.registry.figures import SentinelFigures, SentinelView, joined
from netstacks.registry.problems import hangs_up

log = structlog.get_logger()

# The time limit for each Sentinel. All are asked at the same time, so a frozen one does not delay the discovery.
ANSWER_SECS = 0.4
DISCOVERY_SECS = 0.5
# How long the figures for operators are reused: each round connects to every Sentinel.
FIGURES_SECS = 5.0
# A subscription that is silent for this long gets a ping, and as much time again for the pong
# (docs/design-notes.md, 3).
SILENCE_SECS = 2.0

SWITCH_CHANNEL = "+switch-master"

Address = tuple[str, int]


@dataclass(frozen=True)
class _Answer:
    """The answer of one Sentinel: the primary since `config_epoch`, or the problem when it named none."""

    primary: Address | None
    config_epoch: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """The view of one Sentinel; `quorum_problem` says why it could not replace a failed primary, empty if it could."""

    primary: Address
    sentinels: int
    quorum_problem: str
    replicas: tuple[dict[str, Any], ...]


class Sentinels:
    """`primary` is the node of the latest discovery or announcement, None before the first."""

    def __init__(self, endpoints: tuple[Endpoint, ...], master_name: str) -> None:
        self.endpoints = endpoints
        self.master_name = master_name
        self.primary: Address | None = None
        self.watch = greenlets.Background("sentinel-watch", self._follow)
        self._turn = greenlets.BoundedSemaphore()
        self._asked_at = 0.0
        """When the last round ended, by the monotonic clock; a caller from before that may use its answers."""
        self._answers: list[_Answer] = []
        self._figures: SentinelFigures | None = None
        self._figured_at = 0.0
        """When the last round for figures began, by the monotonic clock."""
        self._was_silent = False
        """Whether no Sentinel answered in the last round for figures."""
        self._figuring = greenlets.SingleFlight("sentinel-figures", self._figure)

    def follow(self) -> None:
        """Starts to follow announcements of a new primary."""
        self.watch.start()

    def discover(self) -> Address:
        """The primary by the answer with the highest configuration epoch, from a majority or all that answer in time.

        Raises RegistryUnavailable; its text distinguishes a wrong name, a wrong password and silence.
        """
        answers = self._newest_answers()
        named = [each for each in answers if each.primary]
        if not named:
            raise RegistryUnavailable("; ".join(dict.fromkeys(each.problem for each in answers)) or self._silence())
        self._become(max(named, key=lambda each: each.config_epoch).primary)
        assert self.primary is not None
        return self.primary

    def report(self) -> Report:
        """The view of the first Sentinel, for operators. Raises RegistryUnavailable as `discover` does."""
        endpoint = self.endpoints[0]
        try:
            with closing(connect_to(endpoint)) as client:
                state = cast(dict[str, Any], client.sentinel_master(self.master_name))
                replicas = client.sentinel_slaves(self.master_name)
                quorum_problem = _check_quorum(client, self.master_name)
            primary, others = (state["ip"], int(state["port"])), int(state["num-other-sentinels"])
        except (RedisError, KeyError, ValueError) as error:
            raise RegistryUnavailable(self._problem(endpoint, error)) from error
        return Report(primary, others + 1, quorum_problem, tuple(replicas))

    def figures(self) -> SentinelFigures | None:
        """The views of all Sentinels, at most a round older than FIGURES_SECS; waits only for the first round."""
        if time.monotonic() - self._figured_at > FIGURES_SECS:
            self._figured_at = time.monotonic()
            run = self._figuring.begin()
            if self._figures is None:
                run.wait(DISCOVERY_SECS)
        return self._figures

    def _figure(self) -> None:
        asked = [greenlets.spawn("sentinel-view", self._view, each) for each in self.endpoints]
        greenlets.joinall(asked)
        seen = [each.get() for each in asked]
        views = tuple(view for view, *_ in seen)
        answers = [(quorum, problem) for _, quorum, problem in seen if quorum is not None]
        if answers:
            # The quorum is one setting of the cluster. One Sentinel that reaches enough others can start a failover.
            quorum, problems = answers[0][0], [problem for _, problem in answers]
            quorum_problem = None if None in problems else problems[0]
        else:
            # One silent round may be a busy host: only the second one in a row is a problem.
            quorum = None
            quorum_problem = f"no Sentinel names a primary ({views[0].problem})" if self._was_silent else None
        self._was_silent = not answers
        self._figures = SentinelFigures(self.master_name, quorum, quorum_problem, views)

    def _view(self, endpoint: Endpoint) -> tuple[SentinelView, int | None, str | None]:
        """The view of one Sentinel, the quorum, and the reason why it could not replace the primary."""
        try:
            with closing(connect_to(endpoint)) as client:
                state = cast(dict[str, Any], client.sentinel_master(self.master_name))
                problem = _check_quorum(client, self.master_name) or None
            return SentinelView(str(endpoint), joined(state["ip"], state["port"]), None), int(state["quorum"]), problem
        except (RedisError, KeyError, ValueError) as error:
            return SentinelView(str(endpoint), None, self._problem(endpoint, error)), None, None

    def _newest_answers(self) -> list[_Answer]:
        """The answers of one round; concurrent callers share it."""
        called_at = time.monotonic()
        with self._turn:
            if self._asked_at < called_at:
                self._answers, self._asked_at = list(self._ask_all()), time.monotonic()
            return self._answers

    def _ask_all(self) -> Iterator[_Answer]:
        replies: greenlets.Queue = greenlets.Queue()
        for endpoint in self.endpoints:
            greenlets.spawn("sentinel-question", lambda each: replies.put(self._ask(each)), endpoint)
        expires_at, naming = time.monotonic() + DISCOVERY_SECS, 0
        for _ in self.endpoints:
            try:
                answer = replies.get(timeout=max(0.0, expires_at - time.monotonic()))
            except greenlets.Empty:
                return
            yield answer
            naming += answer.primary is not None
            # A majority that names a primary is enough; slower answers are not awaited.
            if naming * 2 > len(self.endpoints):
                return

    def _silence(self) -> str:
        return "no Sentinel answers: " + ", ".join(map(str, self.endpoints))

    def _ask(self, endpoint: Endpoint) -> _Answer:
        try:
            with closing(connect_to(endpoint)) as client:
                state = cast(dict[str, Any], client.sentinel_master(self.master_name))
            return _Answer((state["ip"], int(state["port"])), int(state["config-epoch"]))
        except (RedisError, KeyError, ValueError) as error:
            return _Answer(None, problem=self._problem(endpoint, error))

    def _problem(self, endpoint: Endpoint, error: Exception) -> str:
        match error:
            case KeyError() | ValueError():
                return f"the answer of Sentinel {endpoint} is malformed: {error}"
            case AuthenticationError() if "without any password" in str(error):
                return (
                    f"Sentinel {endpoint} has no password, and VALKEY_SENTINEL_URL has one: remove it there; the nodes'"
                    f" own belongs in VALKEY_URL ({error})"
                )
            case AuthenticationError() | NoPermissionError():
                verb = "asks for a password" if "required" in str(error) else "refuses the password"
                return (
                    f"Sentinel {endpoint} {verb}: VALKEY_SENTINEL_URL must have the Sentinels' own"
                    f" as redis://user:password@host:port ({error})"
                )
            case ResponseError() if "unknown command" in str(error):
                return (
                    f"{endpoint} is not a Sentinel: VALKEY_SENTINEL_URL must name Sentinels; for a Valkey server"
                    f" without Sentinels, set VALKEY_URL instead ({error})"
                )
            case ResponseError() if "No such master" in str(error):
                return (
                    f"the Sentinels know no primary named {self.master_name!r}: VALKEY_SENTINEL_MASTER_NAME must be the"
                    " name in their `sentinel monitor` line, in the same case"
                )
            case ResponseError():
                return f"Sentinel {endpoint} answers with an error: {error}"
            case _ if hangs_up(str(error)) and not endpoint.tls:
                return (
                    f"Sentinel {endpoint} hangs up: if it expects TLS, VALKEY_SENTINEL_URL must begin with rediss://"
                    f" ({error})"
                )
            case _:
                return f"Sentinel {endpoint} is unreachable: {error}"

    def _become(self, address: Address | None) -> None:
        if address != self.primary:
            log.info("sentinel.primary", name=self.master_name, address=address, former=self.primary)
            self.primary = address

    def _follow(self) -> None:
        """Follows one Sentinel after the other, until the process ends."""
        while True:
            for endpoint in self.endpoints:
                try:
                    self._listen(endpoint)
                except (RedisError, RegistryUnavailable) as error:
                    log.debug("sentinel.not_followed", sentinel=str(endpoint), error=str(error))
                except Exception:
                    # A malformed message must not end the watch: it would do so on every instance at once.
                    log.exception("sentinel.not_followed", sentinel=str(endpoint))
                greenlets.sleep(SILENCE_SECS / len(self.endpoints))

    def _listen(self, endpoint: Endpoint) -> None:
        """Returns after a missing pong; raises RedisError when the subscription is lost."""
        with closing(connect_to(endpoint)) as client, closing(client.pubsub()) as subscription:
            subscription.subscribe(SWITCH_CHANNEL)
            # A change before the subscription was not announced here.
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


def _check_quorum(client: Redis, master_name: str) -> str:
    """Why these Sentinels could not replace a failed primary; empty if they could."""
    try:
        client.sentinel_ckquorum(master_name)
    except ResponseError as error:
        return str(error)
    return ""


def connect_to(endpoint: Endpoint) -> Redis:
    """A client for one Sentinel; it connects when first used, and each call is bounded by ANSWER_SECS."""
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
